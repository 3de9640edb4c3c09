// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/hook_costs.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(HookCostsTest, ATableTellsWhatAStepCosts) {
  HookCosts costs;
  costs.steps = 4;
  costs.running = absl::Microseconds(60);
  costs.hooks = {{"Saver", absl::Microseconds(8), absl::Microseconds(28),
                  absl::Microseconds(31)},
                 {"ALongerName", absl::Microseconds(4), absl::ZeroDuration(),
                  absl::Microseconds(2.5)}};

  EXPECT_EQ(costs.ToTable(),
            "4 steps, microseconds per step\n"
            "hook             BeforeRun   AfterRun      worst   share\n"
            "Saver                 2.00       7.00       31.0   36.0%\n"
            "ALongerName           1.00       0.00        2.5    4.0%\n"
            "the step itself                 15.00              60.0%\n");
}

TEST(HookCostsTest, NoStepCostsNothing) {
  EXPECT_THAT(HookCosts().ToTable(), HasSubstr("0.00"));
}

TEST(HookCostsTest, ASessionMeasuresItsHooksWhenItIsAskedTo) {
  std::vector<std::string> calls;
  SingularMonitoredSession::Options options;
  options.hooks = {std::make_shared<RecordingHook>("A", &calls),
                   std::make_shared<RecordingHook>("B", &calls)};
  options.measure_hooks = true;
  auto session = *SingularMonitoredSession::Create(CountingGraph(), options);
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(session->Run(Target("train")), IsOk());
  }

  const HookCosts& costs = session->hook_costs();
  EXPECT_EQ(costs.steps, 3);
  EXPECT_THAT(costs.running, Gt(absl::ZeroDuration()));
  ASSERT_THAT(costs.hooks, SizeIs(2));
  for (const HookCosts::Hook& hook : costs.hooks) {
    EXPECT_THAT(hook.before_run, Gt(absl::ZeroDuration()));
    EXPECT_THAT(hook.after_run, Gt(absl::ZeroDuration()));
    EXPECT_THAT(hook.worst * 3, testing::Ge(hook.before_run + hook.after_run));
  }
  LogCapture log;
  EXPECT_THAT(session->Close(), IsOk());
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(),
                Contains(AllOf(HasSubstr("3 steps"), HasSubstr("\nA "),
                               HasSubstr("\nB "))));
  }
}

TEST(HookCostsTest, NothingIsMeasuredUnasked) {
  std::vector<std::string> calls;
  SingularMonitoredSession::Options options;
  options.hooks = {std::make_shared<RecordingHook>("A", &calls)};
  auto session = *SingularMonitoredSession::Create(CountingGraph(), options);
  ASSERT_THAT(session->Run(Target("train")), IsOk());

  EXPECT_EQ(session->hook_costs().running, absl::ZeroDuration());
  EXPECT_EQ(session->hook_costs().hooks[0].worst, absl::ZeroDuration());
}

}  // namespace
}  // namespace tftrain

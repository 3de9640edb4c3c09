// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/global_step_waiter_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tftrain/base/errors.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Options = GlobalStepWaiterHook::Options;

// A worker whose hook waits, on a clock that stands still, for the global step
// that a chief brings on.
class GlobalStepWaiterHookTest : public testing::Test {
 protected:
  void Begin(const Options& options) {
    hook_ = std::make_shared<GlobalStepWaiterHook>(options);
    const GraphPtr graph = CountingGraph();
    const auto scaffold = std::make_shared<Scaffold>();
    BeginContext context(graph, scaffold);
    ASSERT_THAT(hook_->Begin(context), IsOk());
    ASSERT_THAT(scaffold->Finalize(*graph), IsOk());
    auto session = Session::Create(graph);
    ASSERT_THAT(session, IsOk());
    session_ = *session;
    ASSERT_THAT(session_->Run(Target(*scaffold->init_op())), IsOk());
    ASSERT_THAT(hook_->AfterCreateSession(*session_, coordinator_), IsOk());
  }

  absl::Status BeforeRun() {
    const Request nothing;
    SessionRunContext context(session_.get(), &nothing);
    return hook_->BeforeRun(context).status();
  }

  // The same on a thread; AwaitWorker() returns what came of it.
  void BeginToRun() {
    worker_ = std::thread([this] { result_ = BeforeRun(); });
    clock_.AwaitWaiters(1);
  }
  absl::Status AwaitWorker() {
    worker_.join();
    return result_;
  }

  // Time passes; the worker looks, and waits on.
  void LetItLook() {
    clock_.Advance(absl::Milliseconds(500));
    clock_.AwaitWaiters(1);
  }

  void ChiefTrains(int64_t steps) {
    ASSERT_THAT(session_->Run(Target("train"), {{"increment:0", steps}}),
                IsOk());
  }

  static Coordinator::Options OnClock(Clock* clock) {
    Coordinator::Options options;
    options.clock = clock;
    return options;
  }

  FakeClock clock_;
  Coordinator coordinator_{OnClock(&clock_)};
  std::shared_ptr<GlobalStepWaiterHook> hook_;
  std::shared_ptr<Session> session_;
  std::thread worker_;
  absl::Status result_;
};

TEST_F(GlobalStepWaiterHookTest, NobodyWaitsForStepZero) {
  // GSW-01
  for (const int64_t step : {0, -3}) {
    Options options;
    options.wait_until_step = step;
    Begin(options);
    // The step could not even be read.
    ASSERT_THAT(session_->Close(), IsOk());
    EXPECT_THAT(BeforeRun(), IsOk());
  }
}

TEST_F(GlobalStepWaiterHookTest, TheFirstStepWaitsAndNoLaterOne) {
  // GSW-02
  LogCapture log;
  Options options;
  EXPECT_EQ(options.poll_secs, 0.5);
  options.wait_until_step = 5;
  Begin(options);
  BeginToRun();
  ChiefTrains(4);
  LetItLook();
  ChiefTrains(1);
  clock_.Advance(absl::Milliseconds(500));

  EXPECT_THAT(AwaitWorker(), IsOk());

  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(),
                Contains(HasSubstr("waits for the global step 5")));
  }
  ChiefTrains(-5);
  EXPECT_THAT(BeforeRun(), IsOk());
}

TEST_F(GlobalStepWaiterHookTest, TellsHowFarTheOthersAre) {
  // GSW-03: whenever they made more than a thousand steps.
  LogCapture log;
  Options options;
  options.wait_until_step = 5000;
  Begin(options);
  BeginToRun();
  for (const int64_t steps : {1000, 1, 1000, 1}) {
    ChiefTrains(steps);
    LetItLook();
  }
  ChiefTrains(5000);
  clock_.Advance(absl::Milliseconds(500));
  EXPECT_THAT(AwaitWorker(), IsOk());

  if (!LogCapture::HoldsInfo()) GTEST_SKIP() << "INFO cannot be seen here";
  std::vector<std::string> told;
  for (const std::string& line : log.lines()) {
    const size_t which = line.find(", which is ");
    if (which != std::string::npos) told.push_back(line.substr(which));
  }
  EXPECT_THAT(told, ElementsAre(", which is 1001 now", ", which is 2002 now"));
}

TEST_F(GlobalStepWaiterHookTest, ARequestToStopEndsTheWait) {
  // GSW-04
  Options options;
  options.wait_until_step = 5;
  Begin(options);
  BeginToRun();

  coordinator_.RequestStop();

  EXPECT_TRUE(IsStopIteration(AwaitWorker()));
}

TEST_F(GlobalStepWaiterHookTest, WaitsNoLongerThanItIsTold) {
  // GSW-04
  Options options;
  options.wait_until_step = 5;
  options.timeout_secs = 0.7;
  Begin(options);
  BeginToRun();
  ChiefTrains(2);
  LetItLook();
  clock_.Advance(absl::Milliseconds(200));

  EXPECT_THAT(AwaitWorker(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                      HasSubstr("\"2\" and not \"5\"")));
}

TEST_F(GlobalStepWaiterHookTest, BeginArmsItAnew) {
  // GSW-04
  Options options;
  options.wait_until_step = 5;
  options.timeout_secs = 0;
  Begin(options);
  ChiefTrains(5);
  EXPECT_THAT(BeforeRun(), IsOk());

  const GraphPtr graph = CountingGraph();
  BeginContext again(graph, std::make_shared<Scaffold>());
  ASSERT_THAT(hook_->Begin(again), IsOk());
  ChiefTrains(-1);

  EXPECT_THAT(BeforeRun(), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(GlobalStepWaiterTest, AStopEndsASessionThatWaitsCleanly) {
  HookDriver run({WaitForGlobalStep(1'000'000)});
  ASSERT_THAT(run.Open(), IsOk());
  run.session().RequestStop("enough");

  const absl::Status status = run.session().Run(Target("train"));

  EXPECT_TRUE(IsCleanStop(status));
  EXPECT_THAT(run.session().raw_session().GlobalStep(), IsOkAndHolds(0));
  EXPECT_THAT(run.Close(status), IsOk());
}

TEST(GlobalStepWaiterTest, RefusesBadOptionsAndGraphs) {
  const auto open = [](const Options& options, GraphPtr graph) {
    return HookDriver({std::make_shared<GlobalStepWaiterHook>(options)}, "",
                      std::move(graph))
        .Open();
  };
  Options options;
  options.timeout_secs = -1;
  EXPECT_THAT(
      open(options, CountingGraph()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("timeout_secs")));
  options = Options();
  options.poll_secs = 0;
  EXPECT_THAT(
      open(options, CountingGraph()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("poll_secs")));
  // GSW-04
  EXPECT_THAT(open(Options(), Graph::Create()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("GlobalStepWaiterHook")));
}

}  // namespace
}  // namespace tftrain

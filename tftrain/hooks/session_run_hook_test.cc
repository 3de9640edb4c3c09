// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/session_run_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {

// A hook without callbacks, of a type with a name to be told in errors.
class IdleHook : public SessionRunHook {};

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Asks for one tensor and keeps what it gets.
class FetchingHook : public SessionRunHook {
 public:
  absl::Status Begin(BeginContext& context) override {
    context.Declare(args_);
    return absl::OkStatus();
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext&) override {
    return args_;
  }
  absl::Status AfterRun(SessionRunContext&,
                        const SessionRunValues& values) override {
    got_ = values.Get(fetch_);
    not_asked_ = values.Get(std::tuple{fetch_, fetch_}).status();
    has_options_ = values.options() != nullptr;
    return absl::OkStatus();
  }

  const Fetch<float> fetch_{"constant:0"};
  const SessionRunArgs args_{fetch_, {}, tensorflow::RunOptions()};
  absl::StatusOr<float> got_;
  absl::Status not_asked_;
  bool has_options_ = false;
};

TEST(SessionRunHookTest, EveryCallbackIsOptional) {
  // HOOK-01
  HookDriver run({std::make_shared<IdleHook>()});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(run.Close(), IsOk());
}

TEST(SessionRunHookTest, IsCalledByTheNameOfItsClass) {
  EXPECT_EQ(IdleHook().name(), "IdleHook");
}

TEST(SessionRunHookTest, SeesWhatItAskedFor) {
  // HOOK-05
  const auto hook = std::make_shared<FetchingHook>();
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());

  EXPECT_THAT(hook->got_, IsOkAndHolds(1.5f));
  EXPECT_TRUE(hook->has_options_);
  EXPECT_THAT(hook->not_asked_, StatusIs(absl::StatusCode::kFailedPrecondition,
                                         HasSubstr("BeforeRun")));
}

TEST(SessionRunHookTest, AnEmptyListIsARequestAndNothingIsNone) {
  // HOOK-10, MRG-15
  EXPECT_TRUE(SessionRunArgs().empty());
  const SessionRunArgs args(List({}));
  EXPECT_FALSE(args.empty());
  EXPECT_TRUE(args.request()->empty());
  EXPECT_FALSE(SessionRunArgs::FeedOnly({{"x:0", 1.0f}}).empty());
}

TEST(SessionRunHookTest, TheFirstReasonToStopIsKept) {
  const Request request;
  SessionRunContext context(nullptr, &request);
  EXPECT_FALSE(context.stop_requested());
  context.RequestStop("first");
  context.RequestStop("second");
  EXPECT_TRUE(context.stop_requested());
  EXPECT_EQ(context.stop_reason(), "first");
}

TEST(SessionRunHookTest, AStopAskedForBeforeAStepComesAfterIt) {
  // HOOK-06
  class StoppingHook : public SessionRunHook {
    absl::StatusOr<SessionRunArgs> BeforeRun(
        SessionRunContext& context) override {
      context.RequestStop();
      return SessionRunArgs();
    }
  };
  HookDriver run({std::make_shared<StoppingHook>()});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(5), IsOkAndHolds(ElementsAre(1)));
}

TEST(SessionRunHookTest, SeesTheStepBeforeAndAfterTheRun) {
  std::vector<std::string> calls;
  const auto hook = std::make_shared<RecordingHook>("A", &calls);
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());

  EXPECT_THAT(hook->steps(), ElementsAre(1, 2));
}

}  // namespace
}  // namespace tftrain

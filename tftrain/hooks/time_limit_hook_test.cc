// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/time_limit_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A run in which each step takes ten seconds.
class TimeLimitHookTest : public ::testing::Test {
 protected:
  TimeLimitHookTest() {
    options_.max_secs = 30;
    options_.clock = &clock_;
  }

  HookDriver MakeRun() {
    if (hook_ == nullptr) hook_ = std::make_shared<TimeLimitHook>(options_);
    HookDriver run({hook_});
    run.AfterEachRun([this] { clock_.Advance(absl::Seconds(10)); });
    return run;
  }

  FakeClock clock_;
  TimeLimitHook::Options options_;
  std::shared_ptr<TimeLimitHook> hook_;
};

TEST_F(TimeLimitHookTest, StopsAfterTheStepWithWhichTheTimeIsOver) {
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3, 4)));

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(run.session().summary().reason, StopReason::kStopRequested);
  EXPECT_EQ(run.session().summary().detail,
            "the time limit of 30 s is reached");
}

TEST_F(TimeLimitHookTest, LeavesTimeForWhatFollows) {
  options_.reserve_secs = 15;
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3)));

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(run.session().summary().detail,
              HasSubstr("but for the 15 s in reserve"));
}

TEST_F(TimeLimitHookTest, CountsFromTheStartOfTheJob) {
  options_.since = clock_.Now() - absl::Seconds(20);
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2)));
}

TEST_F(TimeLimitHookTest, TrainsNothingWhenTheTimeIsOverAtTheStart) {
  options_.since = clock_.Now() - absl::Hours(1);
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(run.session().summary().detail, Not(IsEmpty()));
}

TEST_F(TimeLimitHookTest, AnotherSessionDoesNotMoveTheLimit) {
  {
    HookDriver first = MakeRun();
    ASSERT_THAT(first.Open(), IsOk());
    EXPECT_THAT(first.Train(2), IsOk());
    EXPECT_THAT(first.Close(), IsOk());
  }
  HookDriver second = MakeRun();
  ASSERT_THAT(second.Open(), IsOk());

  EXPECT_THAT(second.Train(9), IsOkAndHolds(ElementsAre(1, 2)));
}

TEST_F(TimeLimitHookTest, SettingTheMachinesClockChangesNothing) {
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  clock_.SetNow(clock_.Now() - absl::Hours(5));

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3, 4)));
}

TEST_F(TimeLimitHookTest, BadOptionsComeOutOfCreate) {
  const auto open = [](double max_secs, double reserve_secs) {
    return HookDriver({StopAfterTime(max_secs, reserve_secs)}).Open();
  };
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double secs : {0.0, -1.0, infinity}) {
    EXPECT_THAT(open(secs, 0), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("max_secs is")));
  }
  for (const double secs : {-1.0, 10.0}) {
    EXPECT_THAT(open(10, secs), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("reserve_secs is")));
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/second_or_step_timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Eq;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr int64_t kMaxStep = std::numeric_limits<int64_t>::max();

// One question to a timer, asked some time after the one before. The timer is
// told of a trigger if the answer is true.
struct Ask {
  double after_secs;
  int64_t step;
  bool triggers;
};

struct Case {
  const char* name;
  Every every;
  std::vector<Ask> asks;
};

class SecondOrStepTimerTest : public ::testing::TestWithParam<Case> {};

TEST_P(SecondOrStepTimerTest, TriggersWhenItIsTime) {
  FakeClock clock;
  absl::StatusOr<SecondOrStepTimer> timer =
      SecondOrStepTimer::Create(GetParam().every, &clock);
  ASSERT_THAT(timer, IsOk());

  for (const Ask& ask : GetParam().asks) {
    clock.Advance(absl::Seconds(ask.after_secs));
    EXPECT_EQ(timer->ShouldTriggerForStep(ask.step), ask.triggers)
        << "step " << ask.step;
    if (ask.triggers) timer->UpdateLastTriggeredStep(ask.step);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SecondOrStepTimerTest,
    ::testing::Values(
        // TMR-02: whatever the first step is.
        Case{"FirstStepBySteps", Every::Steps(100), {{0, 7, true}}},
        Case{"FirstStepBySecs", Every::Secs(100), {{0, 7, true}}},
        // TMR-03.
        Case{"SameStepBySteps",
             Every::Steps(0),
             {{0, 1, true}, {0, 1, false}, {1000, 1, false}}},
        // TMR-03, TMR-04; port of test_every_secs.
        Case{"SameStepBySecs",
             Every::Secs(1),
             {{0, 1, true}, {0, 1, false}, {2, 1, false}, {0, 2, true}}},
        // TMR-04: the end of the interval belongs to it.
        Case{"EverySecs",
             Every::Secs(10),
             {{0, 1, true},
              {9.5, 2, false},
              {0.5, 3, true},
              {5, 4, false},
              {20, 5, true},
              {5, 6, false}}},
        Case{"ForeverBySecs",
             Every::Secs(kInfinity),
             {{0, 1, true}, {1e9, 2, false}}},
        // TMR-05; port of test_every_steps.
        Case{"EverySteps",
             Every::Steps(3),
             {{0, 1, true},
              {0, 2, false},
              {100, 3, false},
              {0, 4, true},
              {0, 5, false},
              {0, 9, true}}},
        Case{"ForeverBySteps",
             Every::Steps(kMaxStep),
             {{0, 1, true}, {0, 2, false}, {0, kMaxStep, false}}},
        // TMR-05: a step that lies before the last one. Python's timer would
        // wait for step 13.
        Case{"StepsThatGoBack",
             Every::Steps(3),
             {{0, 10, true},
              {0, 5, true},
              {0, 7, false},
              {0, 8, true},
              {0, 11, true}}},
        Case{"StepsThatGoBackBySecs",
             Every::Secs(10),
             {{0, 10, true}, {1, 5, true}, {5, 6, false}, {5, 7, true}}},
        // TMR-08.
        Case{"ZeroSteps",
             Every::Steps(0),
             {{0, 1, true}, {0, 1, false}, {0, 2, true}, {0, 3, true}}},
        Case{"ZeroSecs",
             Every::Secs(0),
             {{0, 1, true}, {0, 1, false}, {0, 2, true}, {0, 3, true}}}),
    [](const auto& test) { return std::string(test.param.name); });

// TMR-01; ports of test_raise_in_both_secs_and_steps and -none.
TEST(SecondOrStepTimerCreateTest, NeedsExactlyOneInterval) {
  SecondOrStepTimer::Options both;
  both.every_secs = 2.0;
  both.every_steps = 10;

  EXPECT_THAT(SecondOrStepTimer::Create(both),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));
  EXPECT_THAT(
      SecondOrStepTimer::Create(SecondOrStepTimer::Options()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither")));
  EXPECT_THAT(
      SecondOrStepTimer::Create(Every()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither")));
}

TEST(SecondOrStepTimerCreateTest, RefusesIntervalsThatAreNone) {
  for (const Every& every :
       {Every::Steps(-1), Every::Secs(-0.5), Every::Secs(kNan)}) {
    EXPECT_THAT(SecondOrStepTimer::Create(every),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("not negative")));
  }
}

// TMR-06; port of test_update_last_triggered_step.
TEST(SecondOrStepTimerStateTest, ReportsWhatPassedSinceTheLastTrigger) {
  FakeClock clock;
  absl::StatusOr<SecondOrStepTimer> timer =
      SecondOrStepTimer::Create(Every::Steps(1), &clock);
  ASSERT_THAT(timer, IsOk());

  EXPECT_EQ(timer->UpdateLastTriggeredStep(1), std::nullopt);
  clock.Advance(absl::Seconds(1.5));
  EXPECT_THAT(timer->UpdateLastTriggeredStep(5),
              Optional(AllOf(Field(&SecondOrStepTimer::Elapsed::secs, 1.5),
                             Field(&SecondOrStepTimer::Elapsed::steps, 4))));
  EXPECT_THAT(timer->UpdateLastTriggeredStep(7),
              Optional(AllOf(Field(&SecondOrStepTimer::Elapsed::secs, 0.0),
                             Field(&SecondOrStepTimer::Elapsed::steps, 2))));
}

// TMR-06: Python's timer would report -4 steps.
TEST(SecondOrStepTimerStateTest, NothingPassedWhenTheStepWentBack) {
  absl::StatusOr<SecondOrStepTimer> timer =
      SecondOrStepTimer::Create(Every::Steps(1));
  ASSERT_THAT(timer, IsOk());
  timer->UpdateLastTriggeredStep(5);

  EXPECT_EQ(timer->UpdateLastTriggeredStep(1), std::nullopt);
  EXPECT_THAT(timer->UpdateLastTriggeredStep(3),
              Optional(Field(&SecondOrStepTimer::Elapsed::steps, 2)));
}

// TMR-07.
TEST(SecondOrStepTimerStateTest, ResetForgetsTheLastTrigger) {
  absl::StatusOr<SecondOrStepTimer> timer =
      SecondOrStepTimer::Create(Every::Steps(10));
  ASSERT_THAT(timer, IsOk());
  EXPECT_EQ(timer->last_triggered_step(), std::nullopt);

  timer->UpdateLastTriggeredStep(3);
  EXPECT_THAT(timer->last_triggered_step(), Optional(Eq(3)));
  EXPECT_FALSE(timer->ShouldTriggerForStep(4));

  timer->Reset();
  EXPECT_EQ(timer->last_triggered_step(), std::nullopt);
  EXPECT_TRUE(timer->ShouldTriggerForStep(4));
  EXPECT_EQ(timer->UpdateLastTriggeredStep(4), std::nullopt);
}

// TMR-04: Python's timer would wait for an hour here.
TEST(SecondOrStepTimerStateTest, AClockThatIsSetBackStopsNothing) {
  FakeClock clock;
  absl::StatusOr<SecondOrStepTimer> timer =
      SecondOrStepTimer::Create(Every::Secs(10), &clock);
  ASSERT_THAT(timer, IsOk());
  timer->UpdateLastTriggeredStep(1);

  clock.SetNow(clock.Now() - absl::Hours(1));
  clock.Advance(absl::Seconds(10));

  EXPECT_TRUE(timer->ShouldTriggerForStep(2));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/stop_at_step_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(StopAtStepHookTest, StopsAtLastStep) {
  // SAS-04
  HookDriver run({StopAtStep(4)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3, 4)));

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(run.session().summary().reason, StopReason::kStopRequested);
  EXPECT_THAT(run.session().summary().detail, HasSubstr("global step 4"));
}

TEST(StopAtStepHookTest, StopsAfterNumStepsCountedFromTheFirstSession) {
  // SAS-03: the limit is that of the hook, not of the session.
  const TempDir dir;
  auto hook = StopAfterSteps(4);
  {
    HookDriver first({SaveCheckpoints(dir.path(), Every::Steps(100)), hook},
                     dir.path());
    ASSERT_THAT(first.Open(), IsOk());
    EXPECT_THAT(first.Train(3), IsOkAndHolds(ElementsAre(1, 2, 3)));
    EXPECT_THAT(first.Close(), IsOk());
  }

  HookDriver second({hook}, dir.path());
  ASSERT_THAT(second.Open(), IsOk());

  EXPECT_EQ(hook->last_step(), 4);
  EXPECT_THAT(second.Train(9), IsOkAndHolds(ElementsAre(4)));
}

TEST(StopAtStepHookTest, CountsNumStepsFromTheRestoredStep) {
  // SAS-03
  const TempDir dir;
  {
    HookDriver first({SaveCheckpoints(dir.path(), Every::Steps(100))},
                     dir.path());
    ASSERT_THAT(first.Open(), IsOk());
    EXPECT_THAT(first.Train(3), IsOk());
    EXPECT_THAT(first.Close(), IsOk());
  }

  HookDriver second({StopAfterSteps(4)}, dir.path());
  ASSERT_THAT(second.Open(), IsOk());

  EXPECT_THAT(second.Train(9), IsOkAndHolds(ElementsAre(4, 5, 6, 7)));
}

TEST(StopAtStepHookTest, StopsWhenStepsJumpPastTheLimit) {
  // SAS-05
  HookDriver run({StopAtStep(10)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9, {{"increment:0", 4}}),
              IsOkAndHolds(ElementsAre(4, 8, 12)));
}

TEST(StopAtStepHookTest, TrainsNothingWhenTheLimitIsReachedAtTheStart) {
  // SAS-06; users.md V2, row 40: no step beyond the limit in a second run.
  const TempDir dir;
  for (int start = 0; start < 2; ++start) {
    HookDriver run(
        {SaveCheckpoints(dir.path(), Every::Steps(100)), StopAtStep(3)},
        dir.path());
    ASSERT_THAT(run.Open(), IsOk());
    if (start == 0) {
      EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3)));
    } else {
      EXPECT_TRUE(run.session().ShouldStop());
      EXPECT_THAT(run.Train(9), IsOkAndHolds(IsEmpty()));
    }
    EXPECT_THAT(run.Close(), IsOk());
    EXPECT_EQ(run.session().summary().last_step, 3);
    EXPECT_EQ(run.session().summary().detail,
              "the global step 3 has reached the last one, 3");
  }
}

TEST(StopAtStepHookTest, AsManyStepsAsCanBeAreNoLimit) {
  const TempDir dir;
  for (const std::vector<int64_t>& steps :
       {std::vector<int64_t>{1, 2}, std::vector<int64_t>{3, 4}}) {
    HookDriver run({SaveCheckpoints(dir.path(), Every::Steps(100)),
                    StopAfterSteps(std::numeric_limits<int64_t>::max())},
                   dir.path());
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(2), IsOkAndHolds(ElementsAreArray(steps)));
    EXPECT_THAT(run.Close(), IsOk());
  }
}

TEST(StopAtStepHookTest, TrainsNothingForZeroSteps) {
  HookDriver run({StopAfterSteps(0)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(IsEmpty()));
}

TEST(StopAtStepHookTest, RefusesBadOptionsWithItsName) {
  // SAS-01
  StopAtStepHook::Options both;
  both.num_steps = 1;
  both.last_step = 1;
  const std::vector<std::pair<HookPtr, const char*>> bad = {
      {std::make_shared<StopAtStepHook>(StopAtStepHook::Options()), "neither"},
      {std::make_shared<StopAtStepHook>(both), "both"},
      {StopAfterSteps(-2), "\"-2\""}};
  for (const auto& [hook, text] : bad) {
    HookDriver run({hook});
    EXPECT_THAT(run.Open(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(text), HasSubstr("StopAtStepHook"))));
  }
}

TEST(StopAtStepHookTest, NeedsAGlobalStep) {
  // SAS-02
  HookDriver run({StopAtStep(1)}, "", Graph::Create());

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

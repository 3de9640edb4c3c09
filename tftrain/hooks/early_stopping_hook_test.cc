// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/early_stopping_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

// Trains with a "loss" x:0 that takes these values, one in each step.
class EarlyStoppingHookTest : public ::testing::Test {
 protected:
  EarlyStoppingHookTest() {
    options_.tensor = "x:0";
    options_.every = Every::Steps(1);
    options_.patience = 2;
  }

  // Returns how many steps were trained.
  int StepsOf(const std::vector<double>& losses) {
    hook_ = std::make_shared<EarlyStoppingHook>(options_);
    run_.emplace(std::vector<HookPtr>{hook_});
    EXPECT_THAT(run_->Open(), IsOk());
    int steps = 0;
    for (const double loss : losses) {
      if (run_->session().ShouldStop()) break;
      EXPECT_THAT(run_->Train(1, {{"x:0", static_cast<float>(loss)}}), IsOk());
      ++steps;
    }
    return steps;
  }

  absl::Status CreateWith(const EarlyStoppingHook::Options& options) {
    return HookDriver({std::make_shared<EarlyStoppingHook>(options)}).Open();
  }

  std::string Reason() {
    EXPECT_THAT(run_->Close(), IsOk());
    return run_->session().summary().detail;
  }

  EarlyStoppingHook::Options options_;
  std::shared_ptr<EarlyStoppingHook> hook_;
  std::optional<HookDriver> run_;
};

TEST_F(EarlyStoppingHookTest, StopsAfterChecksInARowWithoutAnImprovement) {
  EXPECT_EQ(StepsOf({5, 3, 4, 2, 2, 3, 1}), 6);

  ASSERT_TRUE(hook_->best().has_value());
  EXPECT_EQ(hook_->best()->step, 4);
  EXPECT_EQ(hook_->best()->value, 2);
  EXPECT_THAT(Reason(), AllOf(HasSubstr("\"x:0\" has not fallen in 2 checks"),
                              HasSubstr("best value was 2, at step 4")));
}

TEST_F(EarlyStoppingHookTest, LargerIsBetterWhereAskedFor) {
  options_.mode = MetricMode::kMax;

  EXPECT_EQ(StepsOf({1, 2, 3, 3, 2, 9}), 5);

  EXPECT_EQ(hook_->best()->step, 3);
  EXPECT_THAT(Reason(), HasSubstr("has not risen"));
}

TEST_F(EarlyStoppingHookTest, AnImprovementIsOneByMoreThanMinDelta) {
  options_.min_delta = 1;

  EXPECT_EQ(StepsOf({5, 4, 3.5, 2.5, 3, 0}), 5);

  EXPECT_EQ(hook_->best()->step, 3);
  EXPECT_THAT(Reason(), HasSubstr("fallen by more than 1 in 2 checks"));
}

TEST_F(EarlyStoppingHookTest, SmoothingJudgesTheRunningMean) {
  // The smoothed values: 8, 6, 5, 5.5, 5.75.
  options_.smoothing = 0.5;

  EXPECT_EQ(StepsOf({8, 4, 4, 6, 6, 1}), 5);

  EXPECT_EQ(hook_->best()->step, 3);
  EXPECT_EQ(hook_->best()->value, 5);
}

TEST_F(EarlyStoppingHookTest, AValueThatIsNotFiniteIsNeverTheBest) {
  options_.smoothing = 0.5;

  // Nor does it spoil the smoothed value: 8, 6.
  EXPECT_EQ(StepsOf({kNan, 8, -kInfinity, 4, kNan, kNan, 1}), 6);

  EXPECT_EQ(hook_->best()->step, 4);
  EXPECT_EQ(hook_->best()->value, 6);
}

TEST_F(EarlyStoppingHookTest, SaysThatNoValueWasFinite) {
  EXPECT_EQ(StepsOf({kNan, kNan, 1}), 2);

  EXPECT_THAT(Reason(), HasSubstr("no value was finite"));
}

TEST_F(EarlyStoppingHookTest, EarlierStepsAreNotJudged) {
  options_.start_from_step = 4;

  EXPECT_EQ(StepsOf({1, 2, 3, 4, 5, 6, 7}), 6);

  EXPECT_EQ(hook_->best()->step, 4);
}

TEST_F(EarlyStoppingHookTest, ABaselineMustBeBeatenFromTheStart) {
  options_.baseline = 1;

  EXPECT_EQ(StepsOf({3, 2, 1}), 2);

  EXPECT_FALSE(hook_->best().has_value());
  EXPECT_THAT(Reason(), HasSubstr("the baseline, 1"));
}

TEST_F(EarlyStoppingHookTest, ChecksAtItsCadence) {
  options_.every = Every::Steps(3);

  // Steps 1, 4 and 7 are checks.
  EXPECT_EQ(StepsOf({1, 0, 0, 1, 0, 0, 1, 0}), 7);
}

TEST_F(EarlyStoppingHookTest, KnowsItsBestInTheNextSession) {
  const TempDir dir;
  hook_ = std::make_shared<EarlyStoppingHook>(options_);
  for (const std::vector<float>& losses :
       {std::vector<float>{3, 4}, std::vector<float>{3.5}}) {
    HookDriver run({SaveCheckpoints(dir.path(), Every::Steps(1000)), hook_},
                   dir.path());
    ASSERT_THAT(run.Open(), IsOk());
    for (const float loss : losses) {
      EXPECT_FALSE(run.session().ShouldStop());
      EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
    }
    EXPECT_THAT(run.Close(), IsOk());
  }

  EXPECT_EQ(hook_->checks_without_improvement(), 2);
  EXPECT_EQ(hook_->best()->step, 1);
}

TEST_F(EarlyStoppingHookTest, StepsThatWereLostAreJudgedAnew) {
  // -50 is of a step that no checkpoint has.
  hook_ = std::make_shared<EarlyStoppingHook>(options_);
  for (int session = 0; session < 2; ++session) {
    HookDriver run({hook_});
    ASSERT_THAT(run.Open(), IsOk());
    for (const float loss : {5.0f, 4.0f, session == 0 ? -50.0f : 3.0f, 2.0f}) {
      EXPECT_FALSE(run.session().ShouldStop());
      EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
    }
  }

  EXPECT_EQ(hook_->best()->step, 4);
  EXPECT_EQ(hook_->best()->value, 2);
}

TEST_F(EarlyStoppingHookTest, ASourceIsJudgedWhenItHasSomethingNew) {
  std::optional<Measurement> measured;
  auto hook = StopEarly(
      "accuracy", [&] { return measured; }, /*patience=*/1, MetricMode::kMax);
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(2), IsOk());
  measured = Measurement{2, 0.5};
  // The same one three times is one check.
  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_FALSE(run.session().ShouldStop());

  measured = Measurement{5, 0.5};
  EXPECT_THAT(run.Train(3), IsOkAndHolds(::testing::ElementsAre(6)));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(run.session().summary().detail, HasSubstr("\"accuracy\""));
}

TEST_F(EarlyStoppingHookTest, AnErrorOfASourceIsTold) {
  absl::Status status = absl::InvalidArgumentError("injected");
  const auto hook = StopEarly(
      "accuracy",
      [&]() -> absl::StatusOr<std::optional<Measurement>> {
        if (!status.ok()) return status;
        return std::nullopt;
      },
      /*patience=*/1);
  EXPECT_THAT(
      HookDriver({hook}).Open(),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("injected")));

  status = absl::OkStatus();
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  status = absl::InternalError("later");
  EXPECT_THAT(run.Train(1),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("later")));
  EXPECT_THAT(run.Close(),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("later")));
}

TEST_F(EarlyStoppingHookTest, CloseFailsWhenTheMetricNeverAppeared) {
  // users.md row 54: the only step that feeds the tensor fails.
  std::vector<std::string> calls;
  const auto failing = std::make_shared<RecordingHook>("A", &calls);
  failing->FailIn("AfterRun", absl::InternalError("injected"));
  HookDriver run({failing, StopEarly("x:0", /*patience=*/3, Every::Steps(1))});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}}),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(run.Close(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("\"x:0\" has had no value in 4 steps")));
}

TEST_F(EarlyStoppingHookTest, ASourceThatWasNotDueIsNoFailure) {
  LogCapture log;
  HookDriver run({StopEarly(
      "accuracy", [] { return std::optional<Measurement>(); }, 3)});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING: "),
                                          HasSubstr("\"accuracy\" has had no "
                                                    "value in 4 steps"))));
}

TEST_F(EarlyStoppingHookTest, ASourceIsAskedOnceMoreAtTheEnd) {
  std::optional<Measurement> measured;
  options_ = EarlyStoppingHook::Options();
  options_.source = [&] { return measured; };
  options_.must_appear_within_steps = 4;
  hook_ = std::make_shared<EarlyStoppingHook>(options_);
  HookDriver run({hook_});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());

  // As a hook does that comes earlier in the list.
  measured = Measurement{4, 0.5};

  EXPECT_THAT(run.Close(), IsOk());
  ASSERT_TRUE(hook_->best().has_value());
  EXPECT_EQ(hook_->best()->value, 0.5);
}

TEST_F(EarlyStoppingHookTest, CloseFailsWhenASourceShouldHaveMeasured) {
  options_ = EarlyStoppingHook::Options();
  options_.source = [] { return std::optional<Measurement>(); };
  options_.must_appear_within_steps = 4;
  HookDriver run({std::make_shared<EarlyStoppingHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());

  EXPECT_THAT(run.Close(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    HasSubstr("in 4 steps")));
}

TEST_F(EarlyStoppingHookTest, AStepFailsWhenTheMetricShouldHaveAppeared) {
  options_ = EarlyStoppingHook::Options();
  options_.source = [] { return std::optional<Measurement>(); };
  options_.start_from_step = 2;
  options_.must_appear_within_steps = 3;
  HookDriver run({std::make_shared<EarlyStoppingHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  // Steps 2, 3 and 4 might have brought it.
  EXPECT_THAT(run.Train(4), IsOk());

  EXPECT_THAT(run.Train(1), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("\"metric\" has had no value")));
}

TEST_F(EarlyStoppingHookTest, ARunThatEndsBeforeItsFirstCheckIsNoFailure) {
  options_.start_from_step = 100;

  EXPECT_EQ(StepsOf({1, 2}), 2);

  EXPECT_THAT(run_->Close(), IsOk());
}

TEST_F(EarlyStoppingHookTest, BadOptionsComeOutOfCreate) {
  const auto bad = [this](auto change, const char* message) {
    EarlyStoppingHook::Options options = options_;
    change(&options);
    EXPECT_THAT(
        CreateWith(options),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  bad([](auto* o) { o->tensor.clear(); }, "neither of tensor and source");
  bad([](auto* o) { o->source = [] { return std::nullopt; }; },
      "both of tensor and source");
  bad([](auto* o) { o->tensor = "los"; }, "\"los\"");
  bad([](auto* o) { o->tensor = "pair"; }, "2 outputs");
  bad([](auto* o) { o->tensor = "w_summary"; }, "of type string");
  bad([](auto* o) { o->patience = 0; }, "patience is \"0\"");
  bad([](auto* o) { o->min_delta = -1; }, "min_delta is \"-1\"");
  bad([](auto* o) { o->smoothing = 1; }, "smoothing is \"1\"");
  bad([](auto* o) { o->must_appear_within_steps = 0; },
      "must_appear_within_steps is \"0\"");
  bad([](auto* o) { o->every = Every{}; }, "every_steps");
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/lambda_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

using Seen = std::vector<std::pair<int64_t, float>>;

// Trains so many steps under the hook, to a clean end.
absl::Status TrainUnder(HookPtr hook, int steps) {
  HookDriver run({std::move(hook)});
  if (absl::Status opened = run.Open(); !opened.ok()) return opened;
  const absl::Status trained = run.Train(steps).status();
  EXPECT_EQ(run.Close(trained), trained);
  return trained;
}

TEST(OnStepTest, CallsWithOneValueAtItsCadence) {
  Seen seen;

  EXPECT_THAT(TrainUnder(OnStep(Every::Steps(3), Fetch<float>("constant:0"),
                                [&](int64_t step, float value) {
                                  seen.emplace_back(step, value);
                                }),
                         8),
              IsOk());

  EXPECT_THAT(seen, ElementsAre(Pair(1, 1.5f), Pair(4, 1.5f), Pair(7, 1.5f)));
}

TEST(OnStepTest, KeepsItsCadenceWhereARunIsManySteps) {
  Seen seen;
  HookDriver run({OnStep(
      Every::Steps(20), Fetch<float>("constant:0"),
      [&](int64_t step, float value) { seen.emplace_back(step, value); })});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(6, {{"increment:0", 10}}), IsOk());

  EXPECT_THAT(seen,
              ElementsAre(Pair(10, 1.5f), Pair(30, 1.5f), Pair(50, 1.5f)));
}

TEST(OnStepTest, KeepsItsCadenceWhereRunsDiffer) {
  std::vector<int64_t> seen;
  HookDriver run(
      {OnStep(Every::Steps(100), [&](int64_t step) { seen.push_back(step); })});
  ASSERT_THAT(run.Open(), IsOk());

  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(run.Train(1, {{"increment:0", 50}}), IsOk());
    EXPECT_THAT(run.Train(5, {{"increment:0", 1}}), IsOk());
  }

  EXPECT_THAT(seen, ElementsAre(50, 161));
}

TEST(OnStepTest, ARunThatDoesNotTrainIsNoStep) {
  // As where the gradients of several runs are gathered for one step.
  std::vector<int64_t> seen;
  HookDriver run(
      {OnStep(Every::Steps(2), [&](int64_t step) { seen.push_back(step); })});
  ASSERT_THAT(run.Open(), IsOk());

  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(run.Train(3, {{"increment:0", 0}}), IsOk());
    EXPECT_THAT(run.Train(1), IsOk());
  }

  EXPECT_THAT(seen, ElementsAre(0, 2, 4));
}

TEST(OnStepTest, EachFetchWithAValueIsAnArgument) {
  std::vector<std::string> seen;
  const std::tuple fetches{Fetch<float>("constant:0"), Target("fill"),
                           Map({{"w", Fetch<float>("w_value:0")}})};

  EXPECT_THAT(TrainUnder(OnStep(Every::Steps(1), fetches,
                                [&](int64_t step, float constant,
                                    const Value& values) -> absl::Status {
                                  EXPECT_EQ(constant, 1.5f);
                                  EXPECT_THAT(values.Get<float>({"w"}), IsOk());
                                  seen.push_back(absl::StrCat("step ", step));
                                  return absl::OkStatus();
                                }),
                         2),
              IsOk());

  EXPECT_THAT(seen, ElementsAre("step 1", "step 2"));
}

TEST(OnStepTest, ATargetHasNoValueAndIsRun) {
  HookDriver run({OnStep(Every::Steps(2), Target("fill"), [](int64_t) {})});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(run.session().raw_session().Run(Fetch<int>("left:0")),
              IsOkAndHolds(200));
}

TEST(OnStepTest, NeedsNoFetches) {
  std::vector<int64_t> steps;

  EXPECT_THAT(TrainUnder(OnStep(Every::Steps(2),
                                [&](int64_t step) { steps.push_back(step); }),
                         4),
              IsOk());

  EXPECT_THAT(steps, ElementsAre(1, 3));
}

TEST(OnStepTest, MayAskForAStop) {
  HookDriver run(
      {OnStep(Every::Steps(1), std::tuple{Fetch<float>("constant:0")},
              [](SessionRunContext& context, int64_t step, float constant) {
                if (static_cast<float>(step) > constant)
                  context.RequestStop("enough");
              })});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2)));

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(run.session().summary().detail, "enough");
}

TEST(OnStepTest, AnErrorIsThatOfTheStep) {
  EXPECT_THAT(TrainUnder(OnStep(Every::Steps(1), Fetch<float>("constant:0"),
                                [](int64_t, float) {
                                  return absl::UnknownError("cannot plot");
                                }),
                         1),
              StatusIs(absl::StatusCode::kUnknown,
                       AllOf(HasSubstr("cannot plot"),
                             HasSubstr("in OnStepHook::AfterRun"))));
}

TEST(OnStepTest, KeepsItsStateBetweenCalls) {
  auto last = std::make_shared<int>(0);

  EXPECT_THAT(TrainUnder(OnStep(Every::Steps(1),
                                [last, calls = 0](int64_t) mutable {
                                  *last = ++calls;
                                }),
                         3),
              IsOk());

  EXPECT_EQ(*last, 3);
}

TEST(OnStepTest, ASecondSessionBeginsAnew) {
  std::vector<int64_t> steps;
  const HookPtr hook =
      OnStep(Every::Steps(100), [&](int64_t step) { steps.push_back(step); });

  EXPECT_THAT(TrainUnder(hook, 2), IsOk());
  EXPECT_THAT(TrainUnder(hook, 2), IsOk());

  EXPECT_THAT(steps, ElementsAre(1, 1));
}

TEST(OnStepTest, MistakesAreToldByCreate) {
  const auto nothing = [](int64_t, float) {};
  EXPECT_THAT(
      TrainUnder(OnStep(Every::Steps(1), Fetch<float>("lost:0"), nothing), 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"lost")));
  EXPECT_THAT(
      TrainUnder(OnStep(Every{}, Fetch<float>("constant:0"), nothing), 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("every_steps")));
  EXPECT_THAT(
      TrainUnder(OnStep(Every::Steps(1), std::function<void(int64_t)>()), 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is empty")));
  EXPECT_THAT(
      HookDriver({OnStep(Every::Steps(1), [](int64_t) {})}, "", Graph::Create())
          .Open(),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("OnStep")));
}

TEST(LambdaHookTest, CallsTheFunctionOfEachCallback) {
  std::vector<std::string> calls;
  StepVerdict verdict = StepVerdict::kGood;
  const Fetch<float> constant("constant:0");
  LambdaHook::Options options;
  options.name = "mine";
  options.begin = [&](BeginContext&) {
    calls.push_back("begin");
    return absl::OkStatus();
  };
  options.after_create_session = [&](Session&, Coordinator&) {
    calls.push_back("after_create_session");
    return absl::OkStatus();
  };
  options.before_run = [&](SessionRunContext&) {
    calls.push_back("before_run");
    return SessionRunArgs(constant);
  };
  options.judge = [&](SessionRunContext&, const SessionRunValues& values) {
    calls.push_back("judge");
    EXPECT_THAT(values.Get(constant), IsOkAndHolds(1.5f));
    return verdict;
  };
  options.on_undone = [&](SessionRunContext&) {
    calls.push_back("on_undone");
    return absl::OkStatus();
  };
  options.after_run = [&](SessionRunContext&, const SessionRunValues& values) {
    calls.push_back("after_run");
    EXPECT_THAT(values.Get(constant), IsOkAndHolds(1.5f));
    return absl::UnknownError("of the function");
  };
  options.end = [&](Session&) {
    calls.push_back("end");
    return absl::OkStatus();
  };
  options.on_abort = [&](const absl::Status& status) {
    calls.push_back("on_abort " + std::string(status.message()));
  };
  HookDriver run({std::make_shared<LambdaHook>(options)});
  ASSERT_THAT(run.Open(), IsOk());

  const absl::Status status = run.Train(1).status();
  EXPECT_THAT(status.message(), HasSubstr("in mine::AfterRun"));
  verdict = StepVerdict::kUndone;
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(), IsOk());
  HookDriver failing({std::make_shared<LambdaHook>(options)});
  ASSERT_THAT(failing.Open(), IsOk());
  failing.Close(absl::UnknownError("of the body")).IgnoreError();

  EXPECT_THAT(
      calls,
      ElementsAre("begin", "after_create_session", "before_run", "judge",
                  "after_run", "before_run", "judge", "on_undone", "end",
                  "begin", "after_create_session", "on_abort of the body"));
}

TEST(LambdaHookTest, DoesNothingWithoutFunctions) {
  EXPECT_THAT(
      TrainUnder(std::make_shared<LambdaHook>(LambdaHook::Options()), 2),
      IsOk());
  // Nor when the run fails.
  HookDriver run({std::make_shared<LambdaHook>(LambdaHook::Options())});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Close(absl::UnknownError("of the body")),
              StatusIs(absl::StatusCode::kUnknown));
}

}  // namespace
}  // namespace tftrain

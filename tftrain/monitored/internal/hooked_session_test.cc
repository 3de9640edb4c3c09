// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which plan serves which step, and which hooks take part in it. What a
// monitored session promises stands in singular_monitored_session_test.cc.

#include "tftrain/monitored/internal/hooked_session.h"

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/small_graphs.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Fetches one tensor in every so many steps and keeps what it got.
class FetchingHook : public SessionRunHook {
 public:
  explicit FetchingHook(Fetch<float> fetch, int every = 1)
      : fetch_(std::move(fetch)), args_(fetch_), every_(every) {}

  void DeclareNothing() { declares_ = false; }
  void TakeInputAnyhow() { waits_ = false; }

  // The values, and how many steps AfterRun() was called for.
  const std::vector<float>& values() const { return values_; }
  int runs() const { return runs_; }

  std::string name() const override { return "FetchingHook"; }
  bool waits_for_input() const override { return waits_; }
  absl::Status Begin(BeginContext& context) override {
    if (declares_) context.Declare(args_);
    return absl::OkStatus();
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext&) override {
    due_ = step_++ % every_ == 0;
    return due_ ? args_ : SessionRunArgs();
  }
  absl::Status AfterRun(SessionRunContext&,
                        const SessionRunValues& values) override {
    ++runs_;
    if (!due_) {
      EXPECT_EQ(values.results().size(), 0u);
      return absl::OkStatus();
    }
    const absl::StatusOr<float> value = values.Get(fetch_);
    if (value.ok()) values_.push_back(*value);
    return value.status();
  }

 private:
  const Fetch<float> fetch_;
  const SessionRunArgs args_;
  const int every_;
  bool declares_ = true;
  bool waits_ = true;
  bool due_ = false;
  int step_ = 0;
  int runs_ = 0;
  std::vector<float> values_;
};

std::unique_ptr<SingularMonitoredSession> Open(std::vector<HookPtr> hooks) {
  SingularMonitoredSession::Options options;
  options.hooks = std::move(hooks);
  return SingularMonitoredSession::Create(CountingGraph(), options).value();
}

const Target& Train() {
  static const auto* const train = new Target("train");
  return *train;
}

TEST(HookedSessionTest, UnequalCadencesNeedNoPlanInTheMidstOfTraining) {
  std::vector<HookPtr> hooks;
  for (const int every : {10, 100, 300, 25, 7}) {
    hooks.push_back(
        std::make_shared<FetchingHook>(Fetch<float>("constant:0"), every));
  }
  auto session = Open(hooks);
  const int64_t at_start = session->raw_session().plans_made();
  const auto step = session->Prepare(Train());
  ASSERT_THAT(step, IsOk());
  const int64_t plans = session->raw_session().plans_made();
  EXPECT_EQ(plans, at_start + 2);

  for (int i = 0; i < 700; ++i) ASSERT_THAT((*step)(), IsOk());

  EXPECT_EQ(session->raw_session().plans_made(), plans);
  for (const HookPtr& hook : hooks) {
    const auto& fetching = static_cast<const FetchingHook&>(*hook);
    EXPECT_EQ(fetching.runs(), 700);
    EXPECT_THAT(fetching.values(), Each(1.5f));
  }
  EXPECT_EQ(static_cast<const FetchingHook&>(*hooks[4]).values().size(), 100u);
  EXPECT_THAT(session->Close(), IsOk());
}

// Steps ten times and tells in which steps the operation `name` was run.
std::vector<int> StepsThatRun(const std::string& name,
                              SingularMonitoredSession& session) {
  tensorflow::RunOptions trace;
  trace.set_trace_level(tensorflow::RunOptions::FULL_TRACE);
  std::vector<int> steps;
  for (int i = 0; i < 10; ++i) {
    tensorflow::RunMetadata metadata;
    EXPECT_THAT(session.Run(Train(), {}, &trace, &metadata), IsOk());
    EXPECT_GT(metadata.step_stats().dev_stats_size(), 0);
    bool ran = false;
    for (const auto& device : metadata.step_stats().dev_stats()) {
      for (const auto& node : device.node_stats()) {
        ran = ran || node.node_name() == name;
      }
    }
    if (ran) steps.push_back(i);
  }
  return steps;
}

TEST(HookedSessionTest, AHookDueInEveryStepMakesNobodyElseWorkInVain) {
  const TempDir dir;
  auto watches = std::make_shared<FetchingHook>(Fetch<float>("w_value:0"));
  auto session = Open(
      {watches, SaveSummaries(dir.path(), Every::Steps(4), "w_summary:0")});

  EXPECT_THAT(StepsThatRun("w_summary", *session), ElementsAre(0, 4, 8));

  EXPECT_EQ(watches->values().size(), 10u);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, WhatIsDueEverySecondStepIsNotComputedInEach) {
  const TempDir dir;
  auto watches = std::make_shared<FetchingHook>(Fetch<float>("w_value:0"));
  auto session = Open(
      {watches, SaveSummaries(dir.path(), Every::Steps(2), "w_summary:0")});

  EXPECT_THAT(StepsThatRun("w_summary", *session), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, AHookDueInEveryStepTakesOnePlanMore) {
  auto watches = std::make_shared<FetchingHook>(Fetch<float>("constant:0"));
  auto seldom = std::make_shared<FetchingHook>(Fetch<float>("w_value:0"), 3);
  auto session = Open({watches, seldom});
  const auto step = session->Prepare(Train());
  ASSERT_THAT(step, IsOk());
  const int64_t plans = session->raw_session().plans_made();

  ASSERT_THAT((*step)(), IsOk());
  EXPECT_EQ(session->raw_session().plans_made(), plans) << "both were due";
  for (int i = 1; i < 20; ++i) ASSERT_THAT((*step)(), IsOk());

  EXPECT_EQ(session->raw_session().plans_made(), plans + 1);
  EXPECT_EQ(watches->values().size(), 20u);
  EXPECT_EQ(seldom->values().size(), 7u);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, WhatTheCallerComputesAnywayIsFetchedAlong) {
  // Both ask for what the step feeds on, so sharing costs nothing.
  auto watches = std::make_shared<FetchingHook>(Fetch<float>("x:0"));
  auto seldom = std::make_shared<FetchingHook>(Fetch<float>("w_value:0"), 3);
  auto session = Open({watches, seldom});
  const auto step =
      session->Prepare(std::tuple(Train(), Fetch<float>("w_value:0")), {"x:0"});
  ASSERT_THAT(step, IsOk());
  const int64_t plans = session->raw_session().plans_made();

  for (int i = 0; i < 9; ++i) ASSERT_THAT((*step)(2.0f), IsOk());

  EXPECT_EQ(session->raw_session().plans_made(), plans);
  EXPECT_THAT(watches->values(), Each(2.0f));
  EXPECT_EQ(seldom->values().size(), 3u);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, WhatIsNotDeclaredIsPlannedWhenItComes) {
  auto declared = std::make_shared<FetchingHook>(Fetch<float>("constant:0"), 2);
  auto other = std::make_shared<FetchingHook>(Fetch<float>("w_value:0"), 3);
  other->DeclareNothing();
  auto session = Open({declared, other});
  const auto step = session->Prepare(Train());
  ASSERT_THAT(step, IsOk());
  const int64_t plans = session->raw_session().plans_made();

  // Both, none, the declared one, the other one: two plans more.
  for (int i = 0; i < 12; ++i) ASSERT_THAT((*step)(), IsOk());

  EXPECT_EQ(session->raw_session().plans_made(), plans + 2);
  EXPECT_THAT(declared->values(), Each(1.5f));
  EXPECT_EQ(declared->values().size(), 6u);
  EXPECT_EQ(other->values().size(), 4u);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, ARequestWithEffectsRunsOnlyWhenItIsDue) {
  auto counts = std::make_shared<FetchingHook>(Fetch<float>("constant:0"), 2);
  // Reads the queue, which nobody else does: it must not be read unasked.
  auto reads = std::make_shared<FetchingHook>(Fetch<float>("next:0"), 5);
  auto session = Open({counts, reads});
  ASSERT_THAT(session->raw_session().Run(Target("fill")), IsOk());

  for (int i = 0; i < 10; ++i) ASSERT_THAT(session->Run(Train()), IsOk());

  EXPECT_THAT(reads->values(), ElementsAre(0.0f, 1.0f));
  EXPECT_THAT(session->raw_session().Run(Fetch<int32_t>("left:0")),
              IsOkAndHolds(98));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, AHookThatNeedsAFeedSitsOutStepsWithoutIt) {
  auto hook = std::make_shared<FetchingHook>(Fetch<float>("x:0"));
  auto session = Open({hook});
  LogCapture log;

  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(session->Run(Train(), {{"x:0", static_cast<float>(i)}}),
                IsOk());
    ASSERT_THAT(session->Run(Fetch<float>("w_value:0")), IsOk());
  }

  EXPECT_THAT(hook->values(), ElementsAre(0.0f, 1.0f, 2.0f));
  EXPECT_EQ(hook->runs(), 3) << "AfterRun() of a step it had no part in";
  EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr("WARNING"),
                                             HasSubstr("FetchingHook waits"),
                                             HasSubstr(" x"))));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, AHookTakesNoBatchAwayFromTraining) {
  auto hook = std::make_shared<FetchingHook>(Fetch<float>("next:0"));
  auto session = Open({hook});
  ASSERT_THAT(session->raw_session().Run(Target("fill")), IsOk());

  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(session->Run(Target("train_next")), IsOk());
    ASSERT_THAT(session->Run(Fetch<float>("w_value:0")), IsOk());
  }

  EXPECT_THAT(hook->values(), ElementsAre(0.0f, 1.0f, 2.0f));
  EXPECT_THAT(session->raw_session().Run(Fetch<int32_t>("left:0")),
              IsOkAndHolds(97));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, AHookMayTakeInputAllTheSame) {
  auto takes = std::make_shared<FetchingHook>(Fetch<float>("next:0"));
  takes->TakeInputAnyhow();
  auto session = Open({takes});
  ASSERT_THAT(session->raw_session().Run(Target("fill")), IsOk());
  LogCapture log;

  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(session->Run(Target("train_next")), IsOk());
    ASSERT_THAT(session->Run(Fetch<float>("w_value:0")), IsOk());
  }

  EXPECT_EQ(takes->values().size(), 6u);
  EXPECT_THAT(log.lines(), IsEmpty());
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(HookedSessionTest, AFetchNotAskedForMayBeOnABranchNotTaken) {
  // Both hooks are declared; the second one's tensor is dead unless x is above
  // zero, which matters only in the steps that ask for it.
  const GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const auto x = AsOutput(*graph->FindTensor("x:0"));
  const auto branch = tensorflow::ops::Switch(
      scope.WithOpName("branch"), x,
      tensorflow::ops::Greater(scope, x, tensorflow::ops::Const(scope, 0.0f)));
  tensorflow::ops::Identity(scope.WithOpName("taken"), branch.output_true);
  ASSERT_THAT(graph->status(), IsOk());
  auto often = std::make_shared<FetchingHook>(Fetch<float>("constant:0"), 2);
  auto seldom = std::make_shared<FetchingHook>(Fetch<float>("taken:0"), 3);
  SingularMonitoredSession::Options options;
  options.hooks = {often, seldom};
  auto session = *SingularMonitoredSession::Create(graph, options);
  const auto step = session->Prepare(Train(), {"x:0"});
  ASSERT_THAT(step, IsOk());
  const int64_t plans = session->raw_session().plans_made();

  // Both, none, the first, the second.
  EXPECT_THAT((*step)(5.0f), IsOk());
  EXPECT_THAT((*step)(-5.0f), IsOk());
  EXPECT_THAT((*step)(-5.0f), IsOk());
  EXPECT_THAT((*step)(-5.0f),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("taken")));

  EXPECT_THAT(seldom->values(), ElementsAre(5.0f));
  EXPECT_THAT(often->values(), ElementsAre(1.5f, 1.5f));
  EXPECT_EQ(session->raw_session().plans_made(), plans);
  EXPECT_THAT(session->Close(), IsOk());
}

// Judges each step as it is told to, and notes what is called.
class JudgingHook : public RecordingHook {
 public:
  using Verdict = std::function<absl::StatusOr<StepVerdict>()>;

  JudgingHook(
      std::string name, std::vector<std::string>* calls,
      Verdict verdict = [] { return StepVerdict::kGood; })
      : RecordingHook(std::move(name), calls), verdict_(std::move(verdict)) {
    JudgeSteps();
  }

  absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                    const SessionRunValues& values) override {
    TF_RETURN_IF_ERROR(RecordingHook::Judge(context, values).status());
    return verdict_();
  }

 private:
  const Verdict verdict_;
};

// A session under a plain hook and two that judge, of which the first answers
// what the test says.
class JudgingTest : public testing::Test {
 protected:
  JudgingTest()
      : plain_(std::make_shared<RecordingHook>("A", &calls_)),
        session_(Open({plain_,
                       std::make_shared<JudgingHook>(
                           "B", &calls_, [this] { return verdict_; }),
                       std::make_shared<JudgingHook>("C", &calls_)})) {
    calls_.clear();
  }

  // What is called after a step that is judged so, and what comes of it.
  absl::Status Step(absl::StatusOr<StepVerdict> verdict) {
    verdict_ = std::move(verdict);
    absl::Status status = session_->Run(Train());
    EXPECT_THAT(std::vector<std::string>(calls_.begin(), calls_.begin() + 3),
                ElementsAre("A.BeforeRun", "B.BeforeRun", "C.BeforeRun"));
    calls_.erase(calls_.begin(), calls_.begin() + 3);
    return status;
  }
  bool rejected() const { return session_->raw_session().state_rejected(); }

  std::vector<std::string> calls_;
  absl::StatusOr<StepVerdict> verdict_ = StepVerdict::kGood;
  const std::shared_ptr<RecordingHook> plain_;
  const std::unique_ptr<SingularMonitoredSession> session_;
};

TEST_F(JudgingTest, AllJudgeBeforeAnyHookSeesTheStep) {
  EXPECT_THAT(Step(StepVerdict::kGood), IsOk());

  EXPECT_THAT(calls_, ElementsAre("B.Judge", "C.Judge", "A.AfterRun",
                                  "B.AfterRun", "C.AfterRun"));
  EXPECT_FALSE(rejected());
}

TEST_F(JudgingTest, ABadStepIsSeenAndRejectedUntilAGoodOne) {
  EXPECT_THAT(Step(StepVerdict::kBad), IsOk());
  EXPECT_THAT(calls_, ElementsAre("B.Judge", "C.Judge", "A.AfterRun",
                                  "B.AfterRun", "C.AfterRun"));
  EXPECT_TRUE(rejected());
  calls_.clear();

  EXPECT_THAT(Step(StepVerdict::kGood), IsOk());
  EXPECT_FALSE(rejected());
}

TEST_F(JudgingTest, TheSessionTellsThatItIsJudged) {
  EXPECT_TRUE(session_->raw_session().state_judged());

  auto other = Open({std::make_shared<RecordingHook>("A", &calls_)});
  EXPECT_FALSE(other->raw_session().state_judged());
  EXPECT_THAT(other->Close(), IsOk());
}

TEST_F(JudgingTest, AStepThatIsUndoneIsToldAsSuch) {
  EXPECT_THAT(Step(StepVerdict::kUndone), IsOk());

  EXPECT_THAT(calls_,
              ElementsAre("B.Judge", "A.OnUndone", "B.OnUndone", "C.OnUndone"));
  EXPECT_FALSE(rejected());
}

TEST_F(JudgingTest, AllAreToldOfItWhateverOneOfThemSays) {
  plain_->FailIn("OnUndone", absl::UnknownError("of a hook"));

  EXPECT_THAT(
      Step(StepVerdict::kUndone),
      StatusIs(absl::StatusCode::kUnknown,
               AllOf(HasSubstr("of a hook"), HasSubstr("A::OnUndone"))));

  EXPECT_THAT(calls_,
              ElementsAre("B.Judge", "A.OnUndone", "B.OnUndone", "C.OnUndone"));
}

TEST_F(JudgingTest, AnErrorIsToldAndRejectsTheState) {
  EXPECT_THAT(Step(absl::UnknownError("cannot tell")),
              StatusIs(absl::StatusCode::kUnknown,
                       AllOf(HasSubstr("cannot tell"), HasSubstr("B::Judge"))));

  EXPECT_THAT(calls_, ElementsAre("B.Judge"));
  EXPECT_TRUE(rejected());
}

TEST(HookedSessionTest, WhoWaitsForInputDoesNotJudge) {
  std::vector<std::string> calls;
  auto judge = std::make_shared<JudgingHook>("A", &calls,
                                             [] { return StepVerdict::kBad; });
  judge->Ask(SessionRunArgs(Fetch<float>("x:0")));
  auto session = Open({judge});
  ASSERT_THAT(session->Run(Train(), {{"x:0", 1.0f}}), IsOk());
  EXPECT_TRUE(session->raw_session().state_rejected());
  calls.clear();

  ASSERT_THAT(session->Run(Train()), IsOk());

  EXPECT_THAT(calls, ElementsAre("A.BeforeRun"));
  EXPECT_TRUE(session->raw_session().state_rejected()) << "as it was";
  EXPECT_THAT(session->Close(), IsOk());
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What hooks do when training is taken back to an earlier step.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/early_stopping_hook.h"
#include "tftrain/hooks/eval_hook.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/hooks/metrics_hook.h"
#include "tftrain/hooks/nan_tensor_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/progress_hook.h"
#include "tftrain/hooks/resource_usage_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr Every kEvery2 = Every::Steps(2);

// Sessions that are taken back to step 0, the only one that is saved, under a
// hook with a cadence of two steps.
class TakenBackTest : public ::testing::Test {
 protected:
  // Trains `before` steps, is taken back, and trains `after` steps, in which
  // x:0 is 2 instead of 1.
  void Live(const HookPtr& hook, int before = 5, int after = 3) {
    const GraphPtr graph = DivergingGraph();
    const tensorflow::Scope scope = graph->scope();
    tensorflow::ops::ScalarSummary(scope.WithOpName("summary"),
                                   std::string("one"),
                                   tensorflow::ops::Const(scope, 1.0f));
    ASSERT_THAT(graph->AddToCollection(collection_keys::kTrainOp, "train"),
                IsOk());
    NanTensorHook::Options nan;
    nan.loss_tensor = "loss:0";
    nan.checkpoint_dir = dir_ / "run";
    nan.max_rollbacks = 1;
    nan.clock = &clock_;
    HookDriver run({SaveCheckpoints(dir_ / "run", Every::Steps(1000)),
                    std::make_shared<NanTensorHook>(nan), hook},
                   dir_ / "run", graph);
    run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(before), IsOk());
    EXPECT_THAT(run.Train(1, {{"x:0", kNan}}), IsOkAndHolds(ElementsAre(0)));
    EXPECT_THAT(run.Train(after, {{"x:0", 2.0f}}), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  std::vector<std::string> Names(const std::string& folder) {
    const auto names = ListFolder(dir_ / folder);
    EXPECT_THAT(names, IsOk());
    return names.value_or(std::vector<std::string>());
  }

  // The events in the only file of a folder.
  std::vector<std::string> Events(const std::string& folder) {
    const std::vector<std::string> names = Names(folder);
    EXPECT_EQ(names.size(), 1u);
    return names.empty() ? names
                         : Describe(JoinPath(dir_ / folder, names.front()));
  }

  HookPtr Metrics() {
    MetricsHook::Options options;
    options.tensors = {{"x", "x:0"}};
    options.every = kEvery2;
    options.csv_path = dir_ / "m.csv";
    options.clock = &clock_;
    return std::make_shared<MetricsHook>(options);
  }

  HookPtr StepCounter() {
    StepCounterHook::Options options;
    options.every_n_steps = 2;
    options.output_dir = dir_ / "events";
    options.clock = &clock_;
    return std::make_shared<StepCounterHook>(options);
  }

  const TempDir dir_;
  FakeClock clock_;
};

TEST_F(TakenBackTest, SummariesBeginAsAfterARestart) {
  Live(SaveSummaries(dir_ / "events", kEvery2, "summary:0"));

  EXPECT_THAT(Events("events"),
              ElementsAre("START()@1", "one=1@1", "one=1@3", "one=1@5",
                          "START()@1", "one=1@1", "one=1@3"));
}

TEST_F(TakenBackTest, RowsThatComeAgainAreReplaced) {
  Live(Metrics());

  EXPECT_THAT(ReadFile(dir_ / "m.csv", 1000),
              IsOkAndHolds("step,time,x\n"
                           "1,1000000006.000,2.0\n"
                           "3,1000000008.000,2.0\n"));
}

TEST_F(TakenBackTest, SoIsTheRowOfTheVeryStepThatIsNext) {
  // Step 1 comes twice in a row.
  Live(Metrics(), /*before=*/1, /*after=*/1);

  EXPECT_THAT(ReadFile(dir_ / "m.csv", 1000),
              IsOkAndHolds("step,time,x\n1,1000000002.000,2.0\n"));
}

TEST_F(TakenBackTest, NoRateIsMeasuredAcrossIt) {
  Live(StepCounter());

  EXPECT_THAT(Events("events"),
              ElementsAre("global_step/sec=1@3", "global_step/sec=1@5",
                          "global_step/sec=1@3"));
}

TEST_F(TakenBackTest, NorDoesTheStepSeemToStandStill) {
  LogCapture log;

  Live(StepCounter(), /*before=*/1, /*after=*/1);

  EXPECT_THAT(log.lines(), Not(Contains(HasSubstr("step is still"))));
}

TEST_F(TakenBackTest, AFunctionIsCalledFromTheFirstStepOn) {
  std::vector<int64_t> steps;

  Live(OnStep(kEvery2, [&](int64_t step) { steps.push_back(step); }));

  EXPECT_THAT(steps, ElementsAre(1, 3, 5, 1, 3));
}

TEST_F(TakenBackTest, EvaluationsGoOn) {
  std::vector<int64_t> steps;
  EvalHook::Options options;
  options.metrics = {{"w", "w_value:0"}};
  options.max_steps = 1;
  options.every = kEvery2;
  options.checkpoint_dir = dir_.path();  // For its events.
  options.on_result = [&](const EvalResult& result) {
    steps.push_back(result.step);
    return absl::OkStatus();
  };

  Live(std::make_shared<EvalHook>(options));

  // The last one is that of the end.
  EXPECT_THAT(steps, ElementsAre(2, 4, 2, 3));
  EXPECT_THAT(Events("eval"), ElementsAre("START()@2", "w=2@2", "w=4@4",
                                          "START()@2", "w=4@2", "w=6@3"));
}

TEST_F(TakenBackTest, AnEvaluationOfAnUndoneStepIsForgotten) {
  EvalHook::Options options;
  options.metrics = {{"w", "w_value:0"}};
  options.max_steps = 1;
  options.every = kEvery2;
  const auto eval = std::make_shared<EvalHook>(options);
  std::vector<double> seen;  // After each step, 0 for nothing.
  LambdaHook::Options look;
  look.after_run = [&](SessionRunContext&, const SessionRunValues&) {
    const std::optional<EvalResult>& result = eval->last_result();
    seen.push_back(result.has_value() ? result->metrics.at("w") : 0);
    return absl::OkStatus();
  };
  const auto early = StopEarly("w", MetricOf(eval, "w"), /*patience=*/2);

  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1000)),
                  RollBackAtNan("loss:0", dir_.path(), 1), eval, early,
                  std::make_shared<LambdaHook>(look)},
                 dir_.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", kNan}}), IsOkAndHolds(ElementsAre(0)));
  EXPECT_FALSE(eval->last_result().has_value());
  EXPECT_THAT(run.Train(3, {{"x:0", 2.0f}}), IsOk());

  EXPECT_THAT(seen, ElementsAre(0, 2, 2, 0, 4, 4));
  // Nor is it to be beaten, though it was better.
  ASSERT_TRUE(early->best().has_value());
  EXPECT_EQ(early->best()->value, 4);
}

TEST_F(TakenBackTest, ABestValueOfAnUndoneStepNeedNotBeBeaten) {
  // The odd value comes just before the NaN.
  const auto early = StopEarly("x:0", /*patience=*/2, Every::Steps(1));
  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1000)),
                  RollBackAtNan("loss:0", dir_.path(), 1), early},
                 dir_.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  for (const float loss : {5.0f, -50.0f, kNan, 4.0f, 3.0f, 2.0f}) {
    EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
  }

  EXPECT_FALSE(run.session().ShouldStop());
  EXPECT_EQ(early->best()->step, 3);
  EXPECT_EQ(early->best()->value, 2);
}

TEST_F(TakenBackTest, TheChecksOfUndoneStepsDoNotCount) {
  // Step 2 is saved, so that 3 is undone.
  EarlyStoppingHook::Options options;
  options.tensor = "x:0";
  options.every = Every::Steps(1);
  options.patience = 3;
  options.smoothing = 0.5;
  const auto early = std::make_shared<EarlyStoppingHook>(options);
  HookDriver run({early, SaveCheckpoints(dir_.path(), Every::Steps(2)),
                  RollBackAtNan("loss:0", dir_.path(), 1)},
                 dir_.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  for (const float loss : {1.0f, 2.0f, 64.0f, kNan, 2.0f, 2.0f}) {
    EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
  }

  EXPECT_FALSE(run.session().ShouldStop());
  EXPECT_EQ(early->checks_without_improvement(), 2);
  // The best value is of a step that was not undone, and stays.
  EXPECT_EQ(early->best()->step, 1);
  // The running mean begins anew as well.
  EXPECT_THAT(run.Train(1, {{"x:0", -1.0f}}), IsOk());
  EXPECT_EQ(early->best()->value, 0.5);
}

TEST_F(TakenBackTest, EvenOfTheStepThatWasEvaluatedLast) {
  std::vector<double> found;
  EvalHook::Options options;
  options.metrics = {{"w", "w_value:0"}};
  options.max_steps = 1;
  options.every = Every::Steps(100);  // But at the end.
  options.on_result = [&](const EvalResult& result) {
    found.push_back(result.metrics.at("w"));
    return absl::OkStatus();
  };
  const auto eval = std::make_shared<EvalHook>(options);
  LambdaHook::Options each_step;
  each_step.after_run = [&](SessionRunContext& context,
                            const SessionRunValues&) {
    return eval->Evaluate(context.session());
  };

  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1000)),
                  RollBackAtNan("loss:0", dir_.path(), 1), eval,
                  std::make_shared<LambdaHook>(each_step)},
                 dir_.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", kNan}}), IsOkAndHolds(ElementsAre(0)));
  EXPECT_THAT(run.Train(1, {{"x:0", 2.0f}}), IsOk());

  EXPECT_THAT(found, ElementsAre(1, 2));
}

TEST_F(TakenBackTest, ResourcesAreMeasuredOn) {
  Live(TellResourceUsage(dir_ / "events", kEvery2));

  EXPECT_THAT(Events("events"),
              ElementsAre(EndsWith("@1"), EndsWith("@3"), EndsWith("@5"),
                          EndsWith("@1"), EndsWith("@3")));
}

TEST_F(TakenBackTest, TimelinesAreMadeOn) {
  Live(SaveTimelines(dir_ / "timelines", kEvery2), /*before=*/4);

  const std::vector<std::string> names = Names("timelines");
  ASSERT_THAT(names, ElementsAre(StartsWith("events"), "timeline-2.json",
                                 "timeline-4.json"));
  EXPECT_THAT(Describe(dir_ / ("timelines/" + names[0])),
              ElementsAre("run:step_2", "run:step_4", "run:step_2_2"));
}

TEST_F(TakenBackTest, ACheckpointTakesThePlaceOfTheAbandonedOne) {
  // The step that was saved last, by a spoiled gradient, comes again at once.
  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1)),
                  RollBackAtNan("loss:0", dir_.path(), 1)},
                 dir_.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1, {{"gradient:0", kNan}}),
              IsOkAndHolds(ElementsAre(1)));
  EXPECT_THAT(run.Train(1), IsOkAndHolds(ElementsAre(0)));

  EXPECT_THAT(run.Train(1), IsOkAndHolds(ElementsAre(1)));

  EXPECT_THAT(ScanForNonFinite(dir_ / "model.ckpt-1"), IsOkAndHolds(IsEmpty()));
}

// Reading which checkpoints there are takes a minute of the fake clock.
//
// Thread-safe.
class MinuteFileOps : public FaultyFileOps {
 public:
  explicit MinuteFileOps(FakeClock* clock) : clock_(clock) {}

  int Open(const char* path, int flags, mode_t mode) override {
    if (BaseName(path) == "checkpoint") clock_->Advance(absl::Minutes(1));
    return FaultyFileOps::Open(path, flags, mode);
  }

 private:
  FakeClock* const clock_;
};

// Keeps what is shown.
//
// Confined: use from the thread that created it.
class LineSink : public ProgressSink {
 public:
  void Write(std::string_view shown) override { text += shown; }
  bool is_terminal() const override { return false; }

  std::string text;
};

TEST_F(TakenBackTest, TheRestoreIsNoTrainingTime) {
  const auto sink = std::make_shared<LineSink>();
  ProgressHook::Options options;
  options.every = Every::Steps(1);
  options.sink = sink;
  options.clock = &clock_;
  CheckpointSaverHook::Options saving;
  saving.checkpoint_dir = dir_.path();
  saving.save_steps = 1000;
  saving.clock = &clock_;
  NanTensorHook::Options nan;
  nan.loss_tensor = "loss:0";
  nan.checkpoint_dir = dir_.path();
  nan.max_rollbacks = 1;
  nan.clock = &clock_;
  HookDriver run({std::make_shared<CheckpointSaverHook>(saving),
                  std::make_shared<NanTensorHook>(nan),
                  std::make_shared<ProgressHook>(options)},
                 dir_.path(), DivergingGraph());
  run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());
  {
    const MinuteFileOps slow(&clock_);
    EXPECT_THAT(run.Train(1, {{"x:0", kNan}}), IsOkAndHolds(ElementsAre(0)));
  }

  EXPECT_THAT(run.Train(2), IsOk());

  // Three steps in five seconds; the one taken back, and the first one that
  // comes again, count as none.
  EXPECT_THAT(sink->text, EndsWith("\nstep 2, 0.6 steps/s\n"));
}

}  // namespace
}  // namespace tftrain

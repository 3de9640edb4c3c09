// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/eval_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <tuple>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/errors.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/hooks/eval_hook_for_test.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// A CountingGraph() with the float input "from_runner:0", from a queue that a
// queue runner fills: with ones, or not at all, as `fails` says.
GraphPtr GraphWithQueueRunner(bool fails = false) {
  GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const ops::FIFOQueue queue(
      scope.WithOpName("run_queue"), {tensorflow::DT_FLOAT},
      ops::FIFOQueue::Shapes({tensorflow::PartialTensorShape({})}).Capacity(2));
  tensorflow::Output one = ops::Const(scope, 1.0f);
  if (fails)
    one = ops::CheckNumerics(scope, ops::Log(scope, -1.0f), "injected");
  const ops::QueueEnqueue enqueue(scope.WithOpName("enqueue"), queue.handle,
                                  tensorflow::InputList({one}));
  ops::QueueDequeue(scope.WithOpName("from_runner"), queue.handle,
                    {tensorflow::DT_FLOAT});
  const auto runner =
      QueueRunner::Create(*graph, queue.handle, {enqueue.operation});
  CHECK(runner.ok()) << runner.status();
  CHECK(AddQueueRunner(*graph, **runner).ok());
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// Adds the float input "from_behind:0" to a CountingGraph(), from a queue that
// a queue runner fills out of the graph's own.
void AddRunnerBehindTheQueue(Graph& graph) {
  const tensorflow::Scope scope = graph.scope();
  const ops::FIFOQueue queue(scope.WithOpName("behind"),
                             {tensorflow::DT_FLOAT});
  const auto next = graph.FindOperation("next");
  CHECK(next.ok()) << next.status();
  const ops::QueueEnqueue enqueue(
      scope.WithOpName("enqueue_behind"), queue.handle,
      tensorflow::InputList({tensorflow::Output(AsOutput({*next, 0}))}));
  ops::QueueDequeue(scope.WithOpName("from_behind"), queue.handle,
                    {tensorflow::DT_FLOAT});
  const auto runner =
      QueueRunner::Create(graph, queue.handle, {enqueue.operation});
  CHECK(runner.ok()) << runner.status();
  CHECK(AddQueueRunner(graph, **runner).ok());
}

// Whether a thread of this process is called `name`.
bool ThreadRuns(const std::string& name) {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::any_of(begin(tasks), end(tasks), [&](const auto& task) {
    std::string found;
    std::getline(std::ifstream(task.path() / "comm"), found);
    return found == name;
  });
}

class EvalInputTest : public EvalHookTest {};

TEST_F(EvalInputTest, EndsWithItsInput) {
  EvaluateCheckpointsAlone();
  options_.init_ops = {"fill", "close"};
  options_.max_steps.reset();
  options_.every = Every::Steps(2);
  options_.at_end = false;
  auto run = MakeRun();

  EXPECT_THAT(run->Train(3), IsOkAndHolds(ElementsAre(1, 2, 3)));

  ASSERT_EQ(results_.size(), 1u);
  EXPECT_EQ(results_[0].num_steps, 100);
  EXPECT_EQ(results_[0].metrics["next"], 49.5);
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(EvalInputTest, QueueRunnersFillTheInputOfEachEvaluation) {
  options_.graph = GraphWithQueueRunner();
  options_.metrics = {{"ones", "from_runner:0"}};
  options_.max_steps = 5;
  auto run = MakeRun(/*after_checkpoints=*/true);

  EXPECT_THAT(run->Train(3), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 2, 3));
  EXPECT_THAT(MetricsOfStep(3), ElementsAre(Pair("ones", 1)));
}

TEST_F(EvalInputTest, AQueueRunnerThatFailsIsNoEndOfTheInput) {
  options_.graph = GraphWithQueueRunner(/*fails=*/true);
  options_.metrics = {{"ones", "from_runner:0"}};
  options_.every = Every::Steps(2);
  auto run = MakeRun();

  EXPECT_THAT(run->Train(2),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("injected"),
                             HasSubstr("the queue runner of \"run_queue\""))));
}

TEST_F(EvalInputTest, AQueueRunnerThatWaitsForInputHoldsNothingUp) {
  // Beside the one that fills the input: it takes from a queue that the program
  // was to fill.
  options_.graph = GraphWithQueueRunner();
  AddRunnerBehindTheQueue(*options_.graph);
  options_.metrics = {{"ones", "from_runner:0"}};
  options_.max_steps = 5;
  auto run = MakeRun(/*after_checkpoints=*/true);
  const absl::Duration before = Clock::Real()->Monotonic();

  EXPECT_THAT(run->Train(3), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 2, 3));
  EXPECT_LT(Clock::Real()->Monotonic() - before, absl::Seconds(60));
  // Its thread ends as well; the system knows 15 bytes of the name.
  while (ThreadRuns("behind/enqueue_")) std::this_thread::yield();
}

TEST_F(EvalInputTest, AQueueBehindOneThatNothingFillsIsRefused) {
  options_.graph = CountingGraph();
  AddRunnerBehindTheQueue(*options_.graph);
  options_.metrics = {{"behind", "from_behind:0"}};

  EXPECT_THAT(HookDriver({std::make_shared<EvalHook>(options_)}).Open(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("as nothing fills \"queue\"")));
}

TEST_F(EvalInputTest, AQueueThatNothingFillsIsRefused) {
  options_.graph = CountingGraph();
  options_.metrics = {{"next", "next:0"}};

  EXPECT_THAT(HookDriver({std::make_shared<EvalHook>(options_)}).Open(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("as nothing fills \"queue\"")));
}

TEST_F(EvalInputTest, NeverTakesInputAwayFromTraining) {
  // users.md row 44
  options_.metrics = {{"next", "next:0"}};
  options_.max_steps = 1;
  options_.every = Every::Steps(50);

  // That it is the input, the collection of train ops tells.
  EXPECT_THAT(
      HookDriver({std::make_shared<EvalHook>(options_)}).Open(),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               HasSubstr("\"next\", which would change \"queue\", the input")));
}

TEST_F(EvalInputTest, NorDoWhatIsReadWithoutTheFeeds) {
  EvaluateLive();
  options_.final_metrics = {{"next", "next:0"}};
  options_.feeds = [](int64_t) -> absl::StatusOr<Feeds> {
    return Feeds{{"x:0", 1.0f}, {"next:0", 1.0f}};
  };

  EXPECT_THAT(HookDriver({std::make_shared<EvalHook>(options_)}).Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("\"queue\", the input of training")));
}

TEST_F(EvalInputTest, WhatIsFedTakesNothingAway) {
  EvaluateLive();
  options_.metrics = {{"next", "next:0"}};
  options_.feeds = [](int64_t i) -> absl::StatusOr<Feeds> {
    if (i == 2) return EndOfInputError("two are enough");
    return Feeds{{"next:0", 4.0f}};
  };
  auto run = MakeRun();

  EXPECT_THAT(run->Train(2), IsOk());

  ASSERT_EQ(results_.size(), 1u);
  EXPECT_EQ(results_[0].metrics["next"], 4);
}

TEST_F(EvalInputTest, NorByAnotherNameForIt) {
  // Another operation for the queue, and its handle passed on.
  GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const auto queue = [&](const std::string& name) {
    return ops::FIFOQueue(scope.WithOpName(name), {tensorflow::DT_FLOAT},
                          ops::FIFOQueue::SharedName("input").Shapes(
                              {tensorflow::PartialTensorShape({})}))
        .handle;
  };
  const tensorflow::Output mine = queue("mine");
  ops::QueueEnqueueMany(
      scope.WithOpName("fill_input"), mine,
      tensorflow::InputList({ops::Const(scope, {3.0f, 5.0f, 7.0f})}));
  ops::QueueDequeue(scope.WithOpName("batch"), mine, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope.WithOpName("of_alias"), queue("alias"),
                    {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope.WithOpName("of_copy"),
                    ops::Identity(scope.WithOpName("copy"), mine),
                    {tensorflow::DT_FLOAT});
  options_.max_steps = 1;
  options_.every = Every::Steps(50);
  for (const std::string name : {"of_alias", "of_copy"}) {
    options_.metrics = {{"batch", name + ":0"}};
    HookDriver run({std::make_shared<EvalHook>(options_)}, "", graph);
    ASSERT_THAT(run.Open(), IsOk());
    Session& session = run.session().raw_session();
    ASSERT_THAT(session.Run(Target("fill_input")), IsOk());

    // The first step fails, and so does each that is like it.
    for (int i = 0; i < 2; ++i) {
      EXPECT_THAT(
          run.session().Run(
              std::tuple{Target("train"), Fetch<float>("batch:0")}),
          StatusIs(absl::StatusCode::kFailedPrecondition,
                   AllOf(HasSubstr(name), HasSubstr("the input of training"))));
    }
  }
}

TEST_F(EvalInputTest, MayReadInputThatTrainingLeavesAlone) {
  GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const ops::FIFOQueue queue(
      scope, {tensorflow::DT_FLOAT},
      ops::FIFOQueue::Shapes({tensorflow::PartialTensorShape({})}));
  ops::QueueEnqueueMany(
      scope.WithOpName("fill_other"), queue.handle,
      tensorflow::InputList({ops::Const(scope, {3.0f, 5.0f, 7.0f})}));
  ops::QueueDequeue(scope.WithOpName("other"), queue.handle,
                    {tensorflow::DT_FLOAT});
  options_.metrics = {{"other", "other:0"}};
  options_.init_ops = {"fill_other"};
  options_.max_steps = 2;
  options_.every = Every::Steps(1);
  HookDriver run({std::make_shared<EvalHook>(options_)}, "", graph);
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(1), IsOk());
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_EQ(results_[0].metrics["other"], 4);

  // As soon as a step reads it, it is training's.
  EXPECT_THAT(
      run.session().Run(std::tuple{Target("train"), Fetch<float>("other:0")}),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               HasSubstr("the input of training")));
}

TEST_F(EvalInputTest, AnEvaluationWithoutInputIsAnErrorAndNotTheEnd) {
  // users.md row 54
  EvaluateLive();
  options_.feeds = [](int64_t) -> absl::StatusOr<Feeds> {
    return EndOfInputError("nothing");
  };
  auto run = MakeRun();

  const absl::Status status = run->Train(2).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               HasSubstr("found no input")));
  EXPECT_FALSE(IsEndOfInput(status));
}

TEST_F(EvalInputTest, AnInputThatEndsElsewhereDoesNotEndTraining) {
  EvaluateCheckpointsAlone();
  // All is read before the steps begin, and then one more.
  options_.init_ops = {"close", "next"};
  options_.every = Every::Steps(2);
  auto run = MakeRun();

  const absl::Status status = run->Train(2).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               HasSubstr("input ended outside the steps")));
  EXPECT_FALSE(IsEndOfInput(status));
}

}  // namespace
}  // namespace tftrain

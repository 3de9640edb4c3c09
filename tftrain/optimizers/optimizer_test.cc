// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/optimizer.h"

#include <gmock/gmock.h>

#include "tensorflow/cc/framework/scope.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/state_ops.h"
#include "tensorflow/core/framework/node_def.pb.h"
#include "tftrain/optimizers/adam.h"
#include "tftrain/optimizers/gradient_descent.h"
#include "tftrain/optimizers/optimizer_test_fixture.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using ::testing::_;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Pointwise;

using OptimizerTest = OptimizerFixture;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_F(OptimizerTest, GlobalStepGrowsByOneAfterTheUpdates) {
  const Variable w = MakeVariable("w", {1});
  auto step = CreateGlobalStep(*graph_);
  ASSERT_THAT(step, IsOk());
  Optimizer::MinimizeOptions options;
  options.global_step = *step;
  GradientDescentOptimizer optimizer(0.5);

  auto train =
      optimizer.Minimize(*graph_, scope_, Distance(w.value(), {0}), options);

  ASSERT_THAT(train, IsOk());
  EXPECT_EQ(train->node()->name(), "GradientDescent");
  EXPECT_EQ(train->node()->type_string(), "AssignAddVariableOp");
  auto one = graph_->FindOperation("GradientDescent/Const");
  ASSERT_THAT(one, IsOk());
  EXPECT_THAT((*one)->def().input(), ElementsAre("^GradientDescent/update"));
  Start();
  Run(*train);
  Run(*train);
  EXPECT_EQ(Fetch(step->value()).scalar<int64_t>()(), 2);
  EXPECT_THAT(Value(w.value()), ElementsAre(FloatEq(0.25f)));
}

TEST_F(OptimizerTest, ReferenceGlobalStepIsCountedAsWell) {
  const Variable w = MakeVariable("w", {1});
  const auto reference =
      ops::Variable(scope_.WithOpName("steps"), {}, tensorflow::DT_INT64);
  const auto assign = ops::Assign(scope_.WithOpName("steps/Assign"), reference,
                                  ops::Const(scope_, int64_t{7}));
  tensorflow::VariableDef def;
  def.set_variable_name("steps:0");
  def.set_initializer_name("steps/Assign");
  ASSERT_THAT(graph_->AddToCollection(collection_keys::kGlobalVariables, def),
              IsOk());
  auto step = Variable::FromDef(*graph_, def);
  ASSERT_THAT(step, IsOk());
  Optimizer::MinimizeOptions options;
  options.global_step = *step;

  auto train = GradientDescentOptimizer(0.5).Minimize(
      *graph_, scope_, Distance(w.value(), {0}), options);

  ASSERT_THAT(train, IsOk());
  EXPECT_EQ(train->node()->type_string(), "AssignAdd");
  Start();
  Run(*train);
  EXPECT_EQ(Fetch(step->value()).scalar<int64_t>()(), 8);
}

TEST_F(OptimizerTest, TrainOperationHasTheGivenNameAndIsInItsCollection) {
  const Variable w = MakeVariable("w", {1});
  const tensorflow::Output loss = Distance(w.value(), {0});
  GradientDescentOptimizer optimizer(0.5);
  Optimizer::MinimizeOptions options;
  options.name = "train";

  auto first = optimizer.Minimize(*graph_, scope_, loss, options);
  options.name = "Train";
  auto second = optimizer.Minimize(*graph_, scope_, loss, options);
  auto third = optimizer.Minimize(*graph_, scope_.NewSubScope("inner"), loss);

  ASSERT_THAT(third, IsOk());
  EXPECT_EQ(first->node()->type_string(), "NoOp");
  EXPECT_THAT(graph_->GetCollection(collection_keys::kTrainOp),
              ElementsAre("train", "Train_1", "inner/GradientDescent"));
  EXPECT_TRUE(HasOperation("train/update_w/ResourceApplyGradientDescent"));
  EXPECT_TRUE(HasOperation("train/learning_rate"));
}

TEST_F(OptimizerTest, GivenVariablesAloneAreChanged) {
  const Variable a = MakeVariable("a", {1});
  const Variable b = MakeVariable("b", {1});
  Optimizer::MinimizeOptions options;
  options.var_list = {b};

  auto train = GradientDescentOptimizer(1).Minimize(
      *graph_, scope_, Distance(ops::Add(scope_, a.value(), b.value()), {0}),
      options);

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Value(a.value()), ElementsAre(FloatEq(1)));
  EXPECT_THAT(Value(b.value()), ElementsAre(FloatEq(-1)));
}

TEST_F(OptimizerTest, VariableWithoutGradientIsLeftAsItIs) {
  const Variable used = MakeVariable("used", {1});
  const Variable idle = MakeVariable("idle", {1});
  const Variable stopped = MakeVariable("stopped", {1});
  const auto sum = ops::Add(scope_, used.value(),
                            ops::StopGradient(scope_, stopped.value()));

  auto train =
      GradientDescentOptimizer(1).Minimize(*graph_, scope_, Distance(sum, {0}));

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Value(used.value()), ElementsAre(FloatEq(-1)));
  EXPECT_THAT(Value(idle.value()), ElementsAre(FloatEq(1)));
  EXPECT_THAT(Value(stopped.value()), ElementsAre(FloatEq(1)));
}

TEST_F(OptimizerTest, AllReadsOfAVariableAreFollowed) {
  const Variable w = MakeVariable("w", {3});
  const auto other =
      ops::ReadVariableOp(scope_, w.handle(), tensorflow::DT_FLOAT);
  const auto sum = ops::Add(scope_, w.value(), other);

  auto train = GradientDescentOptimizer(0.25).Minimize(*graph_, scope_,
                                                       Distance(sum, {0}));

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Value(w.value()), ElementsAre(FloatEq(0)));
}

TEST_F(OptimizerTest, LookupHasAGradient) {
  const Variable table = MakeVariable("table", {1, 2, 3, 4});
  const auto rows =
      ops::GatherV2(scope_, table.value(), ops::Const(scope_, {1, 3, 1}),
                    ops::Const(scope_, 0));

  auto train = GradientDescentOptimizer(0.5).Minimize(
      *graph_, scope_, Distance(rows, {0, 0, 0}));

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Value(table.value()),
              Pointwise(FloatEq(), std::vector<float>{1, 0, 3, 2}));
}

TEST_F(OptimizerTest, GradientsMayBeChangedBeforeTheyAreApplied) {
  const Variable w = MakeVariable("w", {10});
  GradientDescentOptimizer optimizer(1);
  auto gradients =
      optimizer.ComputeGradients(*graph_, scope_, Distance(w.value(), {0}));
  ASSERT_THAT(gradients, IsOk());
  auto& gradient = gradients->front().gradient;
  gradient = ops::ClipByValue(scope_, *gradient, ops::Const(scope_, -1.0f),
                              ops::Const(scope_, 1.0f));

  auto train = optimizer.ApplyGradients(*graph_, scope_, *gradients);

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Value(w.value()), ElementsAre(FloatEq(9)));
}

TEST_F(OptimizerTest, OperationsWithoutGradientAreNamedAndNothingIsAdded) {
  const Variable table = MakeVariable("table", {1, 2});
  const auto row =
      ops::ResourceGather(scope_.WithOpName("lookup"), table.handle(),
                          ops::Const(scope_, {1}), tensorflow::DT_FLOAT);
  const auto angle = ops::Igamma(scope_.WithOpName("angle"), row, row);
  const tensorflow::Output loss = Distance(angle, {0});
  const int nodes = graph_->engine_graph().num_node_ids();

  AdamOptimizer adam;
  const auto train = adam.Minimize(*graph_, scope_, loss);

  EXPECT_THAT(train,
              StatusIs(kInvalid, AllOf(HasSubstr("\"lookup\" (ResourceG"),
                                       HasSubstr("\"angle\" (Igamma)"))));
  EXPECT_EQ(graph_->engine_graph().num_node_ids(), nodes);
  EXPECT_THAT(graph_->status(), IsOk());
}

TEST_F(OptimizerTest, GradientThatFailsSaysThatItsPartsStay) {
  const Variable w = MakeVariable("w", {2});
  const auto branches =
      ops::Switch(scope_, w.value(), ops::Const(scope_, true));

  EXPECT_THAT(
      GradientDescentOptimizer(1).Minimize(*graph_, scope_,
                                           Distance(branches.output_true, {0})),
      StatusIs(_, AllOf(HasSubstr("Switch"), HasSubstr("stay in the graph"))));
}

TEST_F(OptimizerTest, OperationsWithoutGradientOffThePathDoNotMatter) {
  const Variable w = MakeVariable("w", {2});
  const auto constant = ops::Igamma(scope_, ops::Const(scope_, {1.0f}),
                                    ops::Const(scope_, {1.0f}));
  const auto stopped =
      ops::StopGradient(scope_, ops::Igamma(scope_, w.value(), w.value()));
  const auto sum = ops::AddN(scope_, std::initializer_list<tensorflow::Input>{
                                         w.value(), constant, stopped});

  EXPECT_THAT(
      GradientDescentOptimizer(1).Minimize(*graph_, scope_, Distance(sum, {0})),
      IsOk());
}

TEST_F(OptimizerTest, LossThatDependsOnNoVariableIsRefused) {
  MakeVariable("w", {1});
  MakeVariable("b", {1});

  EXPECT_THAT(
      GradientDescentOptimizer(1).Minimize(
          *graph_, scope_, Distance(ops::Const(scope_, {1.0f}), {0})),
      StatusIs(kInvalid, AllOf(HasSubstr("\"w\", \"b\""), HasSubstr("loss"))));
}

TEST_F(OptimizerTest, LossOfIntegersIsRefused) {
  MakeVariable("w", {1});

  EXPECT_THAT(GradientDescentOptimizer(1).Minimize(*graph_, scope_,
                                                   ops::Const(scope_, 1)),
              StatusIs(kInvalid, HasSubstr("int32")));
}

TEST_F(OptimizerTest, GraphWithoutTrainableVariablesIsRefused) {
  const Variable w = MakeVariable("w", {1}, /*trainable=*/false);

  EXPECT_THAT(GradientDescentOptimizer(1).Minimize(*graph_, scope_,
                                                   Distance(w.value(), {0})),
              StatusIs(kInvalid, HasSubstr("no trainable variables")));
}

TEST_F(OptimizerTest, ReferenceVariableIsRefused) {
  const auto reference =
      ops::Variable(scope_.WithOpName("old"), {1}, tensorflow::DT_FLOAT);
  const auto assign = ops::Assign(scope_.WithOpName("old/Assign"), reference,
                                  ops::Const(scope_, {1.0f}));
  tensorflow::VariableDef def;
  def.set_variable_name("old:0");
  def.set_initializer_name("old/Assign");
  ASSERT_THAT(
      graph_->AddToCollection(collection_keys::kTrainableVariables, def),
      IsOk());

  EXPECT_THAT(
      AdamOptimizer().Minimize(*graph_, scope_, Distance(reference, {0})),
      StatusIs(kInvalid, AllOf(HasSubstr("\"old\""), HasSubstr("train_op"))));
}

TEST_F(OptimizerTest, VariableGivenTwiceIsRefused) {
  const Variable w = MakeVariable("w", {1});
  Optimizer::MinimizeOptions options;
  options.var_list = {w, w};

  EXPECT_THAT(GradientDescentOptimizer(1).Minimize(
                  *graph_, scope_, Distance(w.value(), {0}), options),
              StatusIs(kInvalid, HasSubstr("\"w\" is given twice")));
}

TEST_F(OptimizerTest, FinalizedGraphIsRefused) {
  const Variable w = MakeVariable("w", {1});
  const tensorflow::Output loss = Distance(w.value(), {0});
  ASSERT_THAT(graph_->Finalize(), IsOk());

  EXPECT_THAT(GradientDescentOptimizer(1).Minimize(*graph_, scope_, loss),
              StatusIs(absl::StatusCode::kFailedPrecondition, _));
}

TEST_F(OptimizerTest, OptimizerBelongsToOneGraph) {
  const Variable w = MakeVariable("w", {1});
  GradientDescentOptimizer optimizer(1);
  ASSERT_THAT(optimizer.Minimize(*graph_, scope_, Distance(w.value(), {0})),
              IsOk());
  const GraphPtr kept = graph_;
  graph_ = Graph::Create();
  scope_ = graph_->scope();
  const Variable other = MakeVariable("w", {1});

  EXPECT_THAT(optimizer.Minimize(*graph_, scope_, Distance(other.value(), {0})),
              StatusIs(kInvalid, HasSubstr("another graph")));
}

}  // namespace
}  // namespace tftrain

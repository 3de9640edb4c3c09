// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::Scope;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

std::vector<std::string> OperationNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto* node : graph.engine_graph().op_nodes()) {
    names.push_back(node->name());
  }
  return names;
}

// A graph with "loss" (a float), "ends" (two outputs) and "train" (none).
GraphPtr SmallGraph() {
  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const auto loss = ops::Const(scope.WithOpName("loss"), {1.0f, 2.0f});
  ops::Unstack(scope.WithOpName("ends"), loss, 2);
  ops::NoOp(scope.WithOpName("train"));
  EXPECT_THAT(graph->status(), IsOk());
  return graph;
}

tensorflow::Output VarHandle(const Scope& scope, const std::string& name,
                             const std::string& shared_name,
                             const std::string& container = "") {
  return ops::VarHandleOp(
      scope.WithOpName(name), tensorflow::DT_FLOAT, {},
      ops::VarHandleOp::SharedName(shared_name).Container(container));
}

TEST(GraphTest, NewGraphHasNothing) {
  const GraphPtr graph = Graph::Create();

  EXPECT_THAT(OperationNames(*graph), IsEmpty());
  EXPECT_THAT(graph->collections(), IsEmpty());
  EXPECT_THAT(graph->status(), IsOk());
  EXPECT_FALSE(graph->finalized());
  EXPECT_FALSE(graph->saver_def().has_value());
}

// GRF-07
TEST(GraphTest, FindsWhatAScopeMade) {
  const GraphPtr graph = SmallGraph();

  const auto train = graph->FindOperation("train");
  const auto end = graph->FindTensor("ends:1");

  ASSERT_THAT(train, IsOk());
  EXPECT_EQ((*train)->type_string(), "NoOp");
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->name(), "ends:1");
  EXPECT_EQ(end->dtype(), tensorflow::DT_FLOAT);
  EXPECT_FALSE(end->is_ref());
}

// GRF-07
TEST(GraphTest, FindsWhatWasAddedAfterTheLastLook) {
  const GraphPtr graph = SmallGraph();
  ASSERT_THAT(graph->FindOperation("late"), StatusIs(kInvalid));

  ops::NoOp(graph->scope().WithOpName("late"));

  EXPECT_THAT(graph->FindOperation("late"), IsOk());
}

// GRF-07, RUN-08: never OUT_OF_RANGE, which would read as the end of input.
TEST(GraphTest, WhatIsNoTensorOfTheGraphIsInvalid) {
  const GraphPtr graph = SmallGraph();

  for (const char* name :
       {"", ":", ":0", "0", "loss:", "loss:1", "loss:-1", "loss:+", "loss:x",
        "loss:0:0", "loss:99999999999999999999", "^loss", "^loss:0", " loss:0",
        "train:0", "LOSS:0"}) {
    EXPECT_THAT(graph->FindTensor(name), StatusIs(kInvalid)) << name;
  }
}

// GRF-07
TEST(GraphTest, AnOperationIsNoTensorAndTheReverse) {
  const GraphPtr graph = SmallGraph();

  EXPECT_THAT(graph->FindTensor("loss"),
              StatusIs(kInvalid, HasSubstr("its first output is \"loss:0\"")));
  EXPECT_THAT(graph->FindTensor("train"),
              StatusIs(kInvalid, HasSubstr("run it as a Target")));
  EXPECT_THAT(graph->FindOperation("loss:0"),
              StatusIs(kInvalid, HasSubstr("\"loss:0\"")));
  EXPECT_THAT(graph->FindOperation(""), StatusIs(kInvalid));
}

TEST(GraphTest, UnknownNamesComeWithThoseThatAreNear) {
  const GraphPtr graph = SmallGraph();

  EXPECT_THAT(graph->FindOperation("trein"),
              StatusIs(kInvalid, AllOf(HasSubstr("\"trein\""),
                                       HasSubstr("did you mean \"train\""))));
  EXPECT_THAT(graph->FindTensor("los:0"),
              StatusIs(kInvalid, HasSubstr("did you mean \"loss\"")));
  EXPECT_THAT(graph->FindTensor("loss:3"),
              StatusIs(kInvalid, HasSubstr("has 1 output")));
}

// GRF-06
TEST(GraphTest, CaseOfNames) {
  const GraphPtr graph = SmallGraph();
  // A scope, unlike Python, takes names apart that differ in case only.
  ops::NoOp(graph->scope().WithOpName("TRAIN"));

  EXPECT_EQ(graph->UniqueName("fresh"), "fresh");
  EXPECT_EQ(graph->UniqueName("LOSS"), "LOSS_1");
  EXPECT_EQ(graph->UniqueName("Train"), "Train_1");
  EXPECT_NE(*graph->FindOperation("train"), *graph->FindOperation("TRAIN"));
}

// GRF-06
TEST(GraphTest, UniqueNamesCountOn) {
  const GraphPtr graph = SmallGraph();
  ops::NoOp(graph->scope().WithOpName("Loss_1"));

  EXPECT_EQ(graph->UniqueName("loss"), "loss_2");
}

// GRF-06
TEST(GraphTest, NewNamesNeverClashWithLoadedOnes) {
  const GraphPtr made = Graph::Create();
  ops::NoOp(made->scope().WithOpName("hidden/layer/kernel"));
  const auto graph = Graph::FromMetaGraph(*made->ToMetaGraph());
  ASSERT_THAT(graph, IsOk());

  const Scope scope = (*graph)->scope();
  ops::NoOp(scope.WithOpName("hidden/layer/kernel"));
  ops::NoOp(
      scope.NewSubScope("hidden").NewSubScope("layer").WithOpName("kernel"));
  ops::NoOp(scope.NewSubScope("hidden/layer").WithOpName("kernel"));

  EXPECT_THAT(OperationNames(**graph),
              ElementsAre("hidden/layer/kernel", "hidden/layer/kernel_1",
                          "hidden_1/layer/kernel", "hidden/layer_1/kernel"));
}

// GRF-04
TEST(GraphTest, FinalizedGraphCannotChange) {
  const GraphPtr graph = SmallGraph();
  const Scope before = graph->scope();
  const auto names = OperationNames(*graph);
  ASSERT_THAT(graph->Finalize(), IsOk());

  ops::NoOp(before.WithOpName("a"));
  ops::NoOp(graph->scope().NewSubScope("sub").WithOpName("b"));

  EXPECT_THAT(graph->status(), StatusIs(kPrecondition, HasSubstr("finalized")));
  EXPECT_THAT(before.status(), StatusIs(kPrecondition, HasSubstr("finalized")));
  EXPECT_THAT(graph->AddToCollection("losses", "loss:0"),
              StatusIs(kPrecondition, HasSubstr("finalized")));
  EXPECT_THAT(graph->AddToCollection("variables", tensorflow::VariableDef()),
              StatusIs(kPrecondition, HasSubstr("finalized")));
  EXPECT_EQ(OperationNames(*graph), names);
  EXPECT_THAT(graph->collections(), IsEmpty());
  EXPECT_THAT(graph->FindTensor("loss:0"), IsOk());
  EXPECT_THAT(graph->ToMetaGraph(), IsOk());
}

// GRF-04
TEST(GraphTest, OpensAgainAfterAsManyUnfinalizes) {
  const GraphPtr graph = SmallGraph();
  ASSERT_THAT(graph->Finalize(), IsOk());
  ASSERT_THAT(graph->Finalize(), IsOk());

  graph->Unfinalize();
  EXPECT_TRUE(graph->finalized());
  graph->Unfinalize();
  EXPECT_FALSE(graph->finalized());
  graph->Unfinalize();

  ops::NoOp(graph->scope().WithOpName("late"));
  EXPECT_THAT(graph->status(), IsOk());
  EXPECT_THAT(graph->FindOperation("late"), IsOk());
  EXPECT_THAT(graph->Finalize(), IsOk());
  EXPECT_TRUE(graph->finalized());
}

TEST(GraphTest, FinalizeTellsWhatFailedWhileBuilding) {
  const GraphPtr graph = SmallGraph();
  const Scope scope = graph->scope();
  ops::MatMul(scope.WithOpName("product"), ops::Const(scope, {{1.0f, 2.0f}}),
              ops::Const(scope, {{1.0f, 2.0f}}));

  EXPECT_THAT(graph->status(), StatusIs(kInvalid));
  EXPECT_THAT(graph->Finalize(),
              StatusIs(kInvalid, HasSubstr("while the graph was built")));
  EXPECT_FALSE(graph->finalized());
}

TEST(GraphTest, VarHandlesWithoutSharedNameWouldShareStorage) {
  const GraphPtr graph = Graph::Create();
  VarHandle(graph->scope(), "a", "");
  ASSERT_THAT(graph->Finalize(), IsOk());
  graph->Unfinalize();

  VarHandle(graph->scope(), "b", "");

  EXPECT_THAT(graph->Finalize(),
              StatusIs(kInvalid, AllOf(HasSubstr("\"a\""), HasSubstr("\"b\""),
                                       HasSubstr("shared_name"))));
  EXPECT_FALSE(graph->finalized());
}

TEST(GraphTest, VarHandlesWithNamesOrContainersHaveTheirOwnStorage) {
  const GraphPtr graph = Graph::Create();
  VarHandle(graph->scope(), "a", "");
  VarHandle(graph->scope(), "b", "b");
  VarHandle(graph->scope(), "c", "", "another");

  EXPECT_THAT(graph->Finalize(), IsOk());
}

// GRF-01
TEST(GraphTest, CollectionsKeepOrderAndDuplicates) {
  const GraphPtr graph = Graph::Create();

  for (const char* name : {"b:0", "a:0", "b:0"}) {
    ASSERT_THAT(graph->AddToCollection("losses", name), IsOk());
  }

  EXPECT_THAT(graph->GetCollection("losses"), ElementsAre("b:0", "a:0", "b:0"));
}

// GRF-02
TEST(GraphTest, AskingForAnUnknownCollectionDoesNotMakeIt) {
  const GraphPtr graph = Graph::Create();

  EXPECT_THAT(graph->GetCollection("losses"), IsEmpty());
  EXPECT_THAT(graph->GetProtoCollection<tensorflow::VariableDef>("variables"),
              IsOkAndHolds(IsEmpty()));

  EXPECT_THAT(graph->collections(), IsEmpty());
}

// GRF-03
TEST(GraphTest, AScopeIsARegularExpressionForTheStartOfNames) {
  const GraphPtr graph = Graph::Create();
  for (const char* name : {"a/loss:0", "b/loss:0", "b2/loss:0", "c/b/x:0"}) {
    ASSERT_THAT(graph->AddToCollection("losses", name), IsOk());
  }

  EXPECT_THAT(graph->GetCollection("losses", "b"),
              IsOkAndHolds(ElementsAre("b/loss:0", "b2/loss:0")));
  EXPECT_THAT(graph->GetCollection("losses", "b/"),
              IsOkAndHolds(ElementsAre("b/loss:0")));
  EXPECT_THAT(graph->GetCollection("losses", ".*/b"),
              IsOkAndHolds(ElementsAre("c/b/x:0")));
  EXPECT_THAT(graph->GetCollection("losses", "(a|b2)/"),
              IsOkAndHolds(ElementsAre("a/loss:0", "b2/loss:0")));
  EXPECT_THAT(graph->GetCollection("losses", ""), IsOkAndHolds(SizeIs(4)));
  EXPECT_THAT(graph->GetCollection("nothing", "b"), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(graph->GetCollection("losses", "b("),
              StatusIs(kInvalid, HasSubstr("\"b(\"")));
}

// GRF-05
TEST(GraphTest, CollectionsAreCalledAsInPython) {
  namespace keys = collection_keys;
  EXPECT_EQ(keys::kGlobalVariables, "variables");
  EXPECT_EQ(keys::kLocalVariables, "local_variables");
  EXPECT_EQ(keys::kTrainableVariables, "trainable_variables");
  EXPECT_EQ(keys::kModelVariables, "model_variables");
  EXPECT_EQ(keys::kMetricVariables, "metric_variables");
  EXPECT_EQ(keys::kSummaries, "summaries");
  EXPECT_EQ(keys::kQueueRunners, "queue_runners");
  EXPECT_EQ(keys::kTableInitializers, "table_initializer");
  EXPECT_EQ(keys::kSavers, "savers");
  EXPECT_EQ(keys::kSaveableObjects, "saveable_objects");
  EXPECT_EQ(keys::kResources, "resources");
  EXPECT_EQ(keys::kLocalResources, "local_resources");
  EXPECT_EQ(keys::kInitOp, "init_op");
  EXPECT_EQ(keys::kLocalInitOp, "local_init_op");
  EXPECT_EQ(keys::kReadyOp, "ready_op");
  EXPECT_EQ(keys::kReadyForLocalInitOp, "ready_for_local_init_op");
  EXPECT_EQ(keys::kSummaryOp, "summary_op");
  EXPECT_EQ(keys::kGlobalStep, "global_step");
  EXPECT_EQ(keys::kTrainOp, "train_op");
  EXPECT_EQ(keys::kLosses, "losses");
  EXPECT_EQ(keys::kUpdateOps, "update_ops");
}

// MGR-02
TEST(GraphTest, ACollectionHoldsNamesOrProtos) {
  const GraphPtr graph = Graph::Create();
  tensorflow::VariableDef def;
  def.set_variable_name("w:0");
  ASSERT_THAT(graph->AddToCollection("losses", "loss:0"), IsOk());
  ASSERT_THAT(graph->AddToCollection("variables", def), IsOk());

  EXPECT_THAT(graph->AddToCollection("losses", def),
              StatusIs(kInvalid, HasSubstr("\"losses\"")));
  EXPECT_THAT(graph->AddToCollection("variables", "w:0"),
              StatusIs(kInvalid, HasSubstr("\"variables\"")));

  EXPECT_THAT(graph->GetCollection("losses"), ElementsAre("loss:0"));
  const auto defs =
      graph->GetProtoCollection<tensorflow::VariableDef>("variables");
  ASSERT_THAT(defs, IsOk());
  ASSERT_EQ(defs->size(), 1);
  EXPECT_EQ(defs->front().variable_name(), "w:0");
}

TEST(GraphTest, AnItemThatDoesNotParseIsNamed) {
  tensorflow::MetaGraphDef meta_graph = *SmallGraph()->ToMetaGraph();
  (*meta_graph.mutable_collection_def())["variables"]
      .mutable_bytes_list()
      ->add_value("\xff\xff no proto");
  const auto graph = Graph::FromMetaGraph(meta_graph);
  ASSERT_THAT(graph, IsOk());

  EXPECT_THAT(
      (*graph)->GetProtoCollection<tensorflow::VariableDef>("variables"),
      StatusIs(kInvalid,
               AllOf(HasSubstr("\"variables\""), HasSubstr("VariableDef"))));
}

TEST(GraphTest, ShapesAreKnownAsFarAsTheyCanBeInferred) {
  const GraphPtr graph = SmallGraph();
  const Scope scope = graph->scope();
  const tensorflow::Output rows = ops::Placeholder(
      scope, tensorflow::DT_FLOAT,
      ops::Placeholder::Shape(tensorflow::PartialTensorShape({-1, 2})));
  const tensorflow::Output any = ops::Placeholder(scope, tensorflow::DT_FLOAT);
  const tensorflow::Output loss = AsOutput(*graph->FindTensor("loss:0"));

  EXPECT_EQ(graph->ShapeOf(loss).DebugString(), "[2]");
  EXPECT_EQ(graph->ShapeOf(rows).DebugString(), "[?,2]");
  EXPECT_EQ(graph->ShapeOf(any).dims(), -1);
}

TEST(GraphTest, TheProtoIsMadeOnceUntilTheGraphGrows) {
  const GraphPtr graph = SmallGraph();
  const auto first = graph->ToGraphDef();
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(graph->ToGraphDef(), IsOkAndHolds(*first));

  ops::NoOp(graph->scope().WithOpName("late"));
  const auto second = graph->ToGraphDef();

  ASSERT_THAT(second, IsOk());
  EXPECT_NE(*first, *second);
  EXPECT_EQ((*first)->node_size() + 1, (*second)->node_size());
}

// GRF-09
TEST(GraphTest, GroupWaitsForItsOperations) {
  const GraphPtr graph = SmallGraph();
  const Scope scope = graph->scope();

  const auto empty = Group(scope.WithOpName("nothing"), {});
  const auto both = Group(scope.WithOpName("both"),
                          {AsOperation(*graph->FindOperation("train")), empty});

  EXPECT_THAT(graph->status(), IsOk());
  EXPECT_EQ(both.node()->type_string(), "NoOp");
  std::vector<std::string> inputs;
  for (const auto* edge : both.node()->in_edges()) {
    inputs.push_back(edge->src()->name());
  }
  EXPECT_THAT(inputs, testing::UnorderedElementsAre("train", "nothing"));
}

TEST(GraphTest, ConstCallsRunTogether) {
  const GraphPtr graph = SmallGraph();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      EXPECT_THAT(graph->FindTensor("ends:1"), IsOk());
      EXPECT_THAT(graph->ToGraphDef(), IsOk());
      EXPECT_THAT(graph->FindOperation("trian"), StatusIs(kInvalid));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(GraphTest, SessionsMayFinalizeTogether) {
  const GraphPtr graph = SmallGraph();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 100; ++j) {
        EXPECT_THAT(graph->Finalize(), IsOk());
        EXPECT_TRUE(graph->finalized());
        graph->Unfinalize();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_FALSE(graph->finalized());
  EXPECT_THAT(graph->status(), IsOk());
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/scaffold.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/summary_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

namespace keys = collection_keys;
namespace ops = tensorflow::ops;
using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Strings = std::vector<std::string>;

// A graph with one global and one local variable, "g" and "l".
GraphPtr GraphWithVariables() {
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  EXPECT_THAT(Variable::Create(*graph, scope, "g", ops::Const(scope, 1.0f)),
              IsOk());
  Variable::Options local;
  local.trainable = false;
  local.collection = keys::kLocalVariables;
  EXPECT_THAT(
      Variable::Create(*graph, scope, "l", ops::Const(scope, 2.0f), local),
      IsOk());
  return graph;
}

TEST(ScaffoldTest, NothingIsMadeBeforeFinalize) {  // SCF-01
  const Scaffold scaffold;

  EXPECT_EQ(scaffold.init_op(), std::nullopt);
  EXPECT_EQ(scaffold.ready_op(), std::nullopt);
  EXPECT_EQ(scaffold.ready_for_local_init_op(), std::nullopt);
  EXPECT_EQ(scaffold.local_init_op(), std::nullopt);
  EXPECT_EQ(scaffold.summary_op(), std::nullopt);
  EXPECT_EQ(scaffold.saver(), nullptr);
  EXPECT_FALSE(scaffold.has_init_fn());
}

TEST(ScaffoldTest, DefaultsTellWhatHasNoValueYet) {  // SCF-02, SCF-04, SCF-05
  const GraphPtr graph = GraphWithVariables();
  Scaffold scaffold;
  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());
  const auto session = Session::Create(graph).value();
  const Fetch<Strings> ready(*scaffold.ready_op());
  const Fetch<Strings> ready_for_local(*scaffold.ready_for_local_init_op());

  EXPECT_THAT(session->Run(ready), IsOkAndHolds(ElementsAre("g", "l")));
  EXPECT_THAT(session->Run(ready_for_local), IsOkAndHolds(ElementsAre("g")));

  EXPECT_THAT(session->Run(Target(*scaffold.init_op())), IsOk());
  EXPECT_THAT(session->Run(ready), IsOkAndHolds(ElementsAre("l")));
  EXPECT_THAT(session->Run(ready_for_local), IsOkAndHolds(IsEmpty()));

  EXPECT_THAT(session->Run(Target(*scaffold.local_init_op())), IsOk());
  EXPECT_THAT(session->Run(ready), IsOkAndHolds(IsEmpty()));
}

TEST(ScaffoldTest, AGraphWithoutVariablesHasThePiecesToo) {  // SCF-03
  const GraphPtr graph = Graph::Create();
  Scaffold scaffold;

  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());

  const auto session = Session::Create(graph).value();
  EXPECT_THAT(session->Run(Fetch<Strings>(*scaffold.ready_op())),
              IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(session->Run(Target(*scaffold.init_op())), IsOk());
  EXPECT_TRUE(scaffold.saver()->empty());
  EXPECT_EQ(scaffold.summary_op(), std::nullopt);
  EXPECT_THAT(graph->GetCollection(keys::kSummaryOp), IsEmpty());  // SCF-08
}

TEST(ScaffoldTest, InitOpsRunWhatTheCollectionsName) {  // SCF-06, SCF-07
  const GraphPtr graph = GraphWithVariables();
  const tensorflow::Scope scope = graph->scope();
  for (std::string_view key :
       {keys::kResources, keys::kSavedModelInitializers,
        keys::kTableInitializers, keys::kLocalResources}) {
    // An operation that gives a variable, which nothing else does, its value.
    const auto made = ops::VarHandleOp(
        scope.WithOpName(std::string(key)), tensorflow::DT_FLOAT, {},
        ops::VarHandleOp::SharedName(std::string(key)));
    const std::string make = absl::StrCat("make_", key);
    ops::AssignVariableOp(scope.WithOpName(make), made,
                          ops::Const(scope, 5.0f));
    ops::VarIsInitializedOp(scope.WithOpName(absl::StrCat("has_", key)), made);
    ASSERT_THAT(graph->AddToCollection(key, make), IsOk());
  }
  Scaffold scaffold;
  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());
  const auto made_by = [&](const std::string& op) {
    const auto session = Session::Create(graph).value();
    EXPECT_THAT(session->Run(Target(op)), IsOk());
    std::vector<std::string> made;
    for (std::string_view key :
         {keys::kResources, keys::kSavedModelInitializers,
          keys::kTableInitializers, keys::kLocalResources}) {
      const Fetch<bool> has(absl::StrCat("has_", key, ":0"));
      if (session->Run(has).value()) made.emplace_back(key);
    }
    return made;
  };

  EXPECT_THAT(made_by(*scaffold.init_op()),
              ElementsAre("resources", "saved_model_initializers"));
  EXPECT_THAT(made_by(*scaffold.local_init_op()),
              ElementsAre("table_initializer", "local_resources"));
}

TEST(ScaffoldTest, SummariesAreMerged) {  // SCF-08
  const GraphPtr graph = GraphWithVariables();
  const tensorflow::Scope scope = graph->scope();
  ASSERT_THAT(ScalarSummary(*graph, scope, "a", ops::Const(scope, 1.0f)),
              IsOk());
  ASSERT_THAT(ScalarSummary(*graph, scope, "b", ops::Const(scope, 2.0f)),
              IsOk());
  Scaffold scaffold;
  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());
  const auto session = Session::Create(graph).value();

  const auto bytes = session->Run(Fetch<std::string>(*scaffold.summary_op()));

  tensorflow::Summary summary;
  ASSERT_TRUE(summary.ParseFromString(bytes.value()));
  EXPECT_THAT(summary.value(), SizeIs(2));
}

TEST(ScaffoldTest, PiecesAreKeptInCollections) {  // SCF-09, SCF-12
  const GraphPtr graph = GraphWithVariables();
  Scaffold first, second;

  ASSERT_THAT(first.Finalize(*graph), IsOk());
  ASSERT_THAT(second.Finalize(*graph), IsOk());  // SCF-19: on a frozen graph

  EXPECT_EQ(second.init_op(), first.init_op());
  EXPECT_EQ(second.ready_op(), first.ready_op());
  EXPECT_EQ(second.ready_for_local_init_op(), first.ready_for_local_init_op());
  EXPECT_EQ(second.local_init_op(), first.local_init_op());
  EXPECT_EQ(second.saver()->saver_def().save_tensor_name(),
            first.saver()->saver_def().save_tensor_name());
  EXPECT_THAT(graph->GetCollection(keys::kInitOp),
              ElementsAre(*first.init_op()));
}

TEST(ScaffoldTest, TheSaverOfTheCollectionIsTaken) {  // SCF-11
  const GraphPtr graph = GraphWithVariables();
  Scaffold first;
  ASSERT_THAT(first.Finalize(*graph), IsOk());
  const auto savers =
      graph->GetProtoCollection<tensorflow::SaverDef>(keys::kSavers).value();
  ASSERT_THAT(savers, SizeIs(1));
  EXPECT_EQ(savers[0].save_tensor_name(),
            first.saver()->saver_def().save_tensor_name());
  const int nodes = graph->engine_graph().num_op_nodes();
  first.Unfinalize();

  Scaffold second;
  ASSERT_THAT(second.Finalize(*graph), IsOk());
  EXPECT_EQ(graph->engine_graph().num_op_nodes(), nodes);
  second.Unfinalize();

  ASSERT_THAT(graph->AddToCollection(keys::kSavers, savers[0]), IsOk());
  EXPECT_THAT(Scaffold().Finalize(*graph),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("savers"), HasSubstr("2 items"),
                             HasSubstr("its saver"))));
}

TEST(ScaffoldTest, MakesThePiecesInPythonsOrder) {  // SCF-18
  const GraphPtr graph = GraphWithVariables();
  const tensorflow::Scope scope = graph->scope();
  ASSERT_THAT(ScalarSummary(*graph, scope, "a", ops::Const(scope, 1.0f)),
              IsOk());
  Scaffold scaffold;

  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());

  EXPECT_EQ(scaffold.init_op(), "group_deps");
  EXPECT_EQ(scaffold.local_init_op(), "group_deps_1");
  std::vector<int> ids;
  for (const std::string& name :
       {*scaffold.init_op(), *scaffold.ready_op(),
        *scaffold.ready_for_local_init_op(), *scaffold.local_init_op(),
        *scaffold.summary_op(),
        scaffold.saver()->saver_def().save_tensor_name()}) {
    const std::string operation = name.substr(0, name.find(':'));
    ids.push_back(graph->FindOperation(operation).value()->id());
  }
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
}

TEST(ScaffoldTest, ReportsAreMadeOnACpu) {  // GRF-08
  const auto device = [] {
    const GraphPtr graph = GraphWithVariables();
    Scaffold scaffold;
    EXPECT_THAT(scaffold.Finalize(*graph), IsOk());
    return graph->FindTensor(*scaffold.ready_op())->node->requested_device();
  };
  constexpr char kVariable[] = "TF_DEVICE_FOR_UNINITIALIZED_VARIABLE_REPORTING";

  EXPECT_EQ(device(), "/device:CPU:0");
  ::setenv(kVariable, "/device:CPU:1", 1);
  EXPECT_EQ(device(), "/device:CPU:1");
  ::unsetenv(kVariable);
}

TEST(ScaffoldTest, ALocalInitOpMayExtendTheDefault) {  // SCF-22
  const GraphPtr graph = GraphWithVariables();

  const auto local_init_op = Scaffold::DefaultLocalInitOp(*graph);

  ASSERT_THAT(local_init_op, IsOk());
  EXPECT_THAT(graph->GetCollection(keys::kLocalInitOp), IsEmpty());
  const auto session = Session::Create(graph).value();
  EXPECT_THAT(session->Run(Target(*local_init_op)), IsOk());
  EXPECT_THAT(session->Run(Fetch<float>("l/Read/ReadVariableOp:0")),
              IsOkAndHolds(2.0f));
}

TEST(ScaffoldTest, GetOrDefaultMakesWhatIsNotCollected) {  // SCF-22
  const GraphPtr graph = Graph::Create();
  std::optional<std::string> made;
  const auto get = [&] {
    return Scaffold::GetOrDefault(
        *graph, "my_op", "mine",
        [&]() -> absl::StatusOr<std::optional<std::string>> { return made; });
  };

  EXPECT_THAT(get(), IsOkAndHolds(std::nullopt));
  EXPECT_THAT(graph->GetCollection("mine"), IsEmpty());
  made = "first";
  EXPECT_THAT(get(), IsOkAndHolds("first"));
  made = "second";
  EXPECT_THAT(get(), IsOkAndHolds("first"));
  EXPECT_THAT(graph->GetCollection("mine"), ElementsAre("first"));
  ASSERT_THAT(graph->AddToCollection("mine", "third"), IsOk());
  EXPECT_THAT(get(),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("\"mine\""), HasSubstr("its my_op"))));
}

TEST(ScaffoldTest, MoreThanOneItemIsAnError) {  // SCF-09, SCF-10
  for (std::string_view key :
       {keys::kInitOp, keys::kReadyOp, keys::kReadyForLocalInitOp,
        keys::kLocalInitOp, keys::kSummaryOp}) {
    const GraphPtr graph = GraphWithVariables();
    ASSERT_THAT(graph->AddToCollection(key, "g/Assign"), IsOk());
    ASSERT_THAT(graph->AddToCollection(key, "g/Assign"), IsOk());
    Scaffold scaffold;

    EXPECT_THAT(scaffold.Finalize(*graph),
                StatusIs(StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(std::string(key)), HasSubstr("2"))));
  }
}

TEST(ScaffoldTest, WhatIsGivenIsUsedAsItIs) {  // SCF-13
  const GraphPtr graph = GraphWithVariables();
  Scaffold::Options options;
  options.init_op = "g/Assign";
  options.saver = Saver::Deferred();
  Scaffold scaffold(options);

  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());

  EXPECT_EQ(scaffold.init_op(), "g/Assign");
  EXPECT_EQ(scaffold.saver(), options.saver);
  EXPECT_TRUE(scaffold.saver()->built());  // SCF-15
  EXPECT_THAT(graph->GetCollection(keys::kInitOp), IsEmpty());
}

TEST(ScaffoldTest, TheInitFnGetsTheScaffoldItBelongsTo) {  // SCF-14, SCF-20
  Scaffold* given = nullptr;
  Scaffold::Options options;
  options.init_op = "g/Assign";
  options.init_fn = [&](Scaffold& scaffold, Session&) {
    given = &scaffold;
    return absl::OkStatus();
  };
  Scaffold::Options copy;
  copy.copy_from_scaffold = std::make_shared<Scaffold>(options);
  copy.ready_op = "mine:0";
  Scaffold copied(copy);
  const auto session = Session::Create(GraphWithVariables()).value();

  EXPECT_THAT(copied.RunInitFn(*session), IsOk());

  EXPECT_EQ(given, &copied);
  EXPECT_EQ(copied.init_op(), "g/Assign");
  EXPECT_EQ(copied.ready_op(), "mine:0");
}

TEST(ScaffoldTest, FinalizeFreezesTheGraph) {  // SCF-17, SCF-19
  const GraphPtr graph = GraphWithVariables();
  Scaffold scaffold;

  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());
  ASSERT_THAT(scaffold.Finalize(*graph), IsOk());

  EXPECT_TRUE(graph->finalized());
  const tensorflow::Scope scope = graph->scope();
  ops::NoOp(scope.WithOpName("late"));
  EXPECT_THAT(scope.status(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(graph->FindOperation("late"),
              StatusIs(StatusCode::kInvalidArgument));
  scaffold.Unfinalize();
  EXPECT_FALSE(graph->finalized());
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/variable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::Scope;
using ::tensorflow::VariableDef;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

std::string SharedName(const Variable& variable) {
  std::string name;
  EXPECT_THAT(tensorflow::GetNodeAttr(variable.handle().node()->attrs(),
                                      "shared_name", &name),
              IsOk());
  return name;
}

std::vector<std::string> Names(const Graph& graph, std::string_view key) {
  const auto variables = Variable::FromCollection(graph, key);
  EXPECT_THAT(variables, IsOk());
  std::vector<std::string> names;
  for (const Variable& variable : *variables) names.push_back(variable.name());
  return names;
}

class VariableTest : public testing::Test {
 protected:
  absl::StatusOr<Variable> Create(std::string_view name) {
    return CreateIn(graph_->scope(), name, Variable::Options());
  }
  absl::StatusOr<Variable> CreateIn(const Scope& scope, std::string_view name,
                                    const Variable::Options& options) {
    return Variable::Create(*graph_, scope, name,
                            ops::Const(graph_->scope(), {0.5f, 1.5f}), options);
  }

  const GraphPtr graph_ = Graph::Create();
};

// MGR-02
TEST_F(VariableTest, IsMadeAndListedAsPythonDoes) {
  const auto variable = Create("w");

  ASSERT_THAT(variable, IsOk());
  EXPECT_EQ(variable->name(), "w");
  EXPECT_EQ(variable->dtype(), tensorflow::DT_FLOAT);
  EXPECT_TRUE(variable->is_resource());
  EXPECT_TRUE(variable->trainable());
  EXPECT_EQ(SharedName(*variable), "w");
  EXPECT_EQ(graph_->ShapeOf(variable->value()).DebugString(), "[2]");
  const auto defs = graph_->GetProtoCollection<VariableDef>("variables");
  ASSERT_THAT(defs, IsOk());
  ASSERT_EQ(defs->size(), 1);
  const VariableDef& def = defs->front();
  EXPECT_EQ(def.variable_name(), "w:0");
  EXPECT_EQ(def.initializer_name(), "w/Assign");
  EXPECT_EQ(def.snapshot_name(), "w/Read/ReadVariableOp:0");
  EXPECT_EQ(def.initial_value_name(), "Const:0");
  EXPECT_TRUE(def.is_resource());
  EXPECT_TRUE(def.trainable());
  EXPECT_THAT(graph_->FindOperation("w/IsInitialized/VarIsInitializedOp"),
              IsOk());
}

TEST_F(VariableTest, GoesToTheCollectionsItIsMeantFor) {
  Variable::Options fixed;
  fixed.trainable = false;
  Variable::Options local = fixed;
  local.collection = collection_keys::kLocalVariables;

  ASSERT_THAT(Create("w"), IsOk());
  ASSERT_THAT(CreateIn(graph_->scope(), "fixed", fixed), IsOk());
  ASSERT_THAT(CreateIn(graph_->scope(), "local", local), IsOk());

  EXPECT_THAT(Names(*graph_, "variables"), ElementsAre("w", "fixed"));
  EXPECT_THAT(Names(*graph_, "trainable_variables"), ElementsAre("w"));
  EXPECT_THAT(Names(*graph_, "local_variables"), ElementsAre("local"));
}

// GRF-03
TEST_F(VariableTest, AreFoundByTheStartOfTheirNames) {
  for (const char* name : {"layer", "w", "layer10"}) {
    ASSERT_THAT(Create(name), IsOk());
  }
  const auto in_scope = [this](std::string_view scope) {
    const auto found = Variable::FromCollection(*graph_, "variables", scope);
    EXPECT_THAT(found, IsOk());
    std::vector<std::string> names;
    for (const Variable& variable : *found) names.push_back(variable.name());
    return names;
  };

  EXPECT_THAT(in_scope("layer"), ElementsAre("layer", "layer10"));
  EXPECT_THAT(in_scope("layer:"), ElementsAre("layer"));
  EXPECT_THAT(in_scope("ayer"), IsEmpty());
  EXPECT_THAT(Variable::FromCollection(*graph_, "variables", "["),
              StatusIs(kInvalid, HasSubstr("\"[\"")));
}

// GRF-06
TEST_F(VariableTest, NamesAreMadeUniqueWithAStorageEach) {
  const auto first = Create("w");
  const auto second = Create("w");

  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->name(), "w_1");
  EXPECT_EQ(second->initializer().node()->name(), "w_1/Assign");
  EXPECT_EQ(SharedName(*first), "w");
  EXPECT_EQ(SharedName(*second), "w_1");
  EXPECT_THAT(graph_->Finalize(), IsOk());
}

// GRF-06: names of checkpoints too must not differ from Python's.
TEST_F(VariableTest, CaseOfNames) {
  ASSERT_THAT(Create("loss"), IsOk());

  const auto upper = Create("LOSS");

  ASSERT_THAT(upper, IsOk());
  EXPECT_EQ(upper->name(), "LOSS_1");
  EXPECT_EQ(SharedName(*upper), "LOSS_1");
}

TEST_F(VariableTest, StandsUnderItsScope) {
  const Scope layer = graph_->scope().NewSubScope("net").NewSubScope("layer");

  const auto first = CreateIn(layer, "w", Variable::Options());
  const auto second = CreateIn(layer, "w", Variable::Options());

  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first->name(), "net/layer/w");
  EXPECT_EQ(first->value().name(), "net/layer/w/Read/ReadVariableOp:0");
  EXPECT_EQ(second->name(), "net/layer/w_1");
  EXPECT_EQ(second->initializer().node()->name(), "net/layer/w_1/Assign");
}

TEST_F(VariableTest, NeverTakesANameThatIsThereAlready) {
  ops::NoOp(graph_->scope().WithOpName("layer/w"));

  const auto variable =
      CreateIn(graph_->scope().NewSubScope("layer"), "w", Variable::Options());

  ASSERT_THAT(variable, IsOk());
  EXPECT_EQ(variable->name(), "layer/w_1");
}

TEST_F(VariableTest, TakesTheNameItIsGivenUnderANamedScope) {
  const auto variable =
      CreateIn(graph_->scope().WithOpName("other"), "w", Variable::Options());

  ASSERT_THAT(variable, IsOk());
  EXPECT_EQ(variable->name(), "w");
}

TEST_F(VariableTest, TakesTheDeviceOfItsScope) {
  const auto variable = CreateIn(graph_->scope().WithDevice("/device:CPU:0"),
                                 "w", Variable::Options());

  ASSERT_THAT(variable, IsOk());
  EXPECT_EQ(variable->handle().node()->requested_device(), "/device:CPU:0");
}

TEST_F(VariableTest, InitialValueOfUnknownShapeIsInvalid) {
  const tensorflow::Output any =
      ops::Placeholder(graph_->scope(), tensorflow::DT_FLOAT);
  const int nodes = graph_->engine_graph().num_op_nodes();

  EXPECT_THAT(Variable::Create(*graph_, graph_->scope(), "w", any),
              StatusIs(kInvalid, HasSubstr("\"w\"")));

  EXPECT_EQ(graph_->engine_graph().num_op_nodes(), nodes);
  EXPECT_THAT(graph_->collections(), IsEmpty());
}

// GRF-04
TEST_F(VariableTest, FinalizedGraphTakesNoVariable) {
  const tensorflow::Output value = ops::Const(graph_->scope(), 0.5f);
  ASSERT_THAT(graph_->Finalize(), IsOk());
  const int nodes = graph_->engine_graph().num_op_nodes();

  EXPECT_THAT(Variable::Create(*graph_, graph_->scope(), "w", value),
              StatusIs(kPrecondition, HasSubstr("finalized")));

  EXPECT_EQ(graph_->engine_graph().num_op_nodes(), nodes);
  EXPECT_THAT(graph_->collections(), IsEmpty());
}

TEST_F(VariableTest, ErrorOfTheInitialValueComesOut) {
  const Scope scope = graph_->scope();
  const tensorflow::Output bad =
      ops::MatMul(scope, ops::Const(scope, {{1.0f, 2.0f}}),
                  ops::Const(scope, {{1.0f, 2.0f}}));

  EXPECT_THAT(Variable::Create(*graph_, scope, "w", bad), StatusIs(kInvalid));
}

TEST_F(VariableTest, IsFoundAgainByItsDef) {
  const auto made = Create("w");
  ASSERT_THAT(made, IsOk());

  const auto found = Variable::FromCollection(*graph_, "variables");

  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->size(), 1);
  EXPECT_EQ(found->front().name(), made->name());
  EXPECT_EQ(found->front().dtype(), made->dtype());
  EXPECT_EQ(found->front().handle(), made->handle());
  EXPECT_EQ(found->front().value(), made->value());
  EXPECT_EQ(found->front().initializer().node(), made->initializer().node());
}

TEST_F(VariableTest, DefOfAnotherGraphIsInvalid) {
  VariableDef def;
  def.set_variable_name("absent:0");
  def.set_initializer_name("absent/Assign");
  def.set_snapshot_name("absent/Read/ReadVariableOp:0");
  ASSERT_THAT(graph_->AddToCollection("variables", def), IsOk());

  EXPECT_THAT(Variable::FromDef(*graph_, def),
              StatusIs(kInvalid, HasSubstr("\"absent\"")));
  EXPECT_THAT(Variable::FromCollection(*graph_, "variables"),
              StatusIs(kInvalid, AllOf(HasSubstr("\"absent\""),
                                       HasSubstr("\"variables\""))));
  EXPECT_THAT(Variable::FromDef(*graph_, VariableDef()), StatusIs(kInvalid));
}

TEST_F(VariableTest, BothKindsAreFoundInAGraphOfPython) {
  const auto graph =
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/adam_queue/model.meta"));
  ASSERT_THAT(graph, IsOk());

  const auto variables = Variable::FromCollection(**graph, "variables");

  ASSERT_THAT(variables, IsOk());
  std::vector<std::string> references;
  std::vector<std::string> resources;
  for (const Variable& variable : *variables) {
    (variable.is_resource() ? resources : references)
        .push_back(variable.name());
    EXPECT_EQ(variable.dtype(), variable.name() == "global_step"
                                    ? tensorflow::DT_INT64
                                    : tensorflow::DT_FLOAT);
  }
  EXPECT_THAT(references,
              AllOf(Contains("global_step"), Contains("hidden/kernel"),
                    Contains("out/offset/Adam")));
  EXPECT_THAT(resources,
              AllOf(Contains("hidden/offset"), Contains("out/kernel/Adam_1")));
}

TEST_F(VariableTest, PartsOfAPartitionedVariableAreVariables) {
  const auto graph =
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/partitioned/model.meta"));
  ASSERT_THAT(graph, IsOk());

  EXPECT_THAT(Names(**graph, "variables"),
              ElementsAre("embedding/part_0", "embedding/part_1",
                          "embedding/part_2", "global_step"));
}

}  // namespace
}  // namespace tftrain

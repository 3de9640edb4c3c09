// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/global_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::VariableDef;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

absl::StatusOr<std::string> NameOfGlobalStep(const Graph& graph) {
  const auto step = GetGlobalStep(graph);
  if (!step.ok()) return step.status();
  return step->has_value() ? (*step)->name() : "none";
}

// Adds a variable under its own name, in "variables" only.
template <typename T>
Variable AddVariable(Graph& graph, const std::string& name, const T& value) {
  const tensorflow::Scope scope = graph.scope();
  Variable::Options options;
  options.trainable = false;
  auto variable =
      Variable::Create(graph, scope, name, ops::Const(scope, value), options);
  EXPECT_THAT(variable, IsOk());
  return *variable;
}

VariableDef LastDef(const Graph& graph) {
  return graph.GetProtoCollection<VariableDef>("variables")->back();
}

// GST-01
TEST(GlobalStepTest, IsMadeAsPythonDoes) {
  const GraphPtr graph = Graph::Create();

  const auto step = CreateGlobalStep(*graph);

  ASSERT_THAT(step, IsOk());
  EXPECT_EQ(step->name(), "global_step");
  EXPECT_EQ(step->dtype(), tensorflow::DT_INT64);
  EXPECT_FALSE(step->trainable());
  EXPECT_EQ(graph->ShapeOf(step->value()).dims(), 0);
  EXPECT_THAT(graph->FindOperation("global_step/Initializer/zeros"), IsOk());
  for (const char* key : {"variables", "global_step"}) {
    const auto defs = graph->GetProtoCollection<VariableDef>(key);
    ASSERT_THAT(defs, IsOk());
    ASSERT_EQ(defs->size(), 1) << key;
    EXPECT_EQ(defs->front().variable_name(), "global_step:0");
  }
  EXPECT_THAT(graph->GetCollection("trainable_variables"), IsEmpty());
  EXPECT_THAT(NameOfGlobalStep(*graph), IsOkAndHolds("global_step"));
}

// GST-01
TEST(GlobalStepTest, SecondOneIsInvalid) {
  const GraphPtr graph = Graph::Create();
  ASSERT_THAT(CreateGlobalStep(*graph), IsOk());
  const int nodes = graph->engine_graph().num_op_nodes();

  EXPECT_THAT(CreateGlobalStep(*graph),
              StatusIs(kInvalid, HasSubstr("\"global_step\"")));

  EXPECT_EQ(graph->engine_graph().num_op_nodes(), nodes);
}

// GRF-04
TEST(GlobalStepTest, FinalizedGraphTakesNone) {
  const GraphPtr graph = Graph::Create();
  ASSERT_THAT(graph->Finalize(), IsOk());

  EXPECT_THAT(CreateGlobalStep(*graph), StatusIs(kPrecondition));
  EXPECT_THAT(GetOrCreateGlobalStep(*graph), StatusIs(kPrecondition));

  EXPECT_EQ(graph->engine_graph().num_op_nodes(), 0);
}

// GST-05
TEST(GlobalStepTest, GetOrCreateMakesItOnce) {
  const GraphPtr graph = Graph::Create();

  const auto first = GetOrCreateGlobalStep(*graph);
  const auto second = GetOrCreateGlobalStep(*graph);

  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first->handle(), second->handle());
}

TEST(GlobalStepTest, NoneIsNoErrorUnlessItIsRequired) {
  const GraphPtr graph = Graph::Create();

  EXPECT_THAT(NameOfGlobalStep(*graph), IsOkAndHolds("none"));
  EXPECT_THAT(RequireGlobalStep(*graph, "StopAtStepHook"),
              StatusIs(kPrecondition, AllOf(HasSubstr("StopAtStepHook"),
                                            HasSubstr("CreateGlobalStep"))));
}

// GST-04
TEST(GlobalStepTest, IsFoundByNameAmongTheGlobalVariables) {
  const GraphPtr graph = Graph::Create();
  AddVariable(*graph, "w", 0.5f);
  AddVariable(*graph, "global_step", int64_t{3});
  AddVariable(*graph, "z", 0.5f);

  EXPECT_THAT(NameOfGlobalStep(*graph), IsOkAndHolds("global_step"));
  EXPECT_THAT(CreateGlobalStep(*graph), StatusIs(kInvalid));
}

TEST(GlobalStepTest, CollectionWinsOverTheName) {
  const GraphPtr graph = Graph::Create();
  AddVariable(*graph, "global_step", int64_t{3});
  AddVariable(*graph, "counter", 0);
  ASSERT_THAT(graph->AddToCollection("global_step", LastDef(*graph)), IsOk());

  EXPECT_THAT(NameOfGlobalStep(*graph), IsOkAndHolds("counter"));
}

TEST(GlobalStepTest, TwoInTheCollectionAreRefused) {
  const GraphPtr graph = Graph::Create();
  for (const char* name : {"first", "second"}) {
    AddVariable(*graph, name, int64_t{0});
    ASSERT_THAT(graph->AddToCollection("global_step", LastDef(*graph)), IsOk());
  }

  EXPECT_THAT(GetGlobalStep(*graph),
              StatusIs(kPrecondition,
                       AllOf(HasSubstr("\"first\""), HasSubstr("\"second\""))));
}

// GST-03
TEST(GlobalStepTest, MustBeAnInteger) {
  const GraphPtr graph = Graph::Create();
  AddVariable(*graph, "global_step", 0.0f);

  EXPECT_THAT(GetGlobalStep(*graph),
              StatusIs(kInvalid, AllOf(HasSubstr("\"global_step\""),
                                       HasSubstr("float"))));
  EXPECT_THAT(GetOrCreateGlobalStep(*graph), StatusIs(kInvalid));
}

// GST-03
TEST(GlobalStepTest, MustBeAScalar) {
  const GraphPtr graph = Graph::Create();
  AddVariable(*graph, "global_step",
              tensorflow::Input::Initializer({int64_t{1}, int64_t{2}}));

  EXPECT_THAT(GetGlobalStep(*graph), StatusIs(kInvalid, HasSubstr("[2]")));
}

TEST(GlobalStepTest, BothKindsAreFoundInGraphsOfPython) {
  for (const char* kind : {"linear", "adam_queue"}) {
    const auto graph =
        Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/", kind, "/model.meta"));
    ASSERT_THAT(graph, IsOk());

    const auto step = RequireGlobalStep(**graph, "the test");

    ASSERT_THAT(step, IsOk());
    EXPECT_EQ(step->name(), "global_step");
    EXPECT_EQ(step->is_resource(), kind == std::string("linear"));
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/build_save_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = ::tensorflow::ops;

using ::tensorflow::PartialTensorShape;
using ::tensorflow::Scope;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

// 1, 2, 3, … in the given shape.
Tensor Counted(const TensorShape& shape) {
  Tensor tensor(tensorflow::DT_FLOAT, shape);
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    tensor.flat<float>()(i) = static_cast<float>(i + 1);
  }
  return tensor;
}

// A graph with the variable `w`.
GraphPtr ResourceModel(const TensorShape& shape) {
  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  CHECK(Variable::Create(*graph, scope, "w", ops::Const(scope, Counted(shape)))
            .ok());
  return graph;
}

// The same with a reference variable.
GraphPtr ReferenceModel(const TensorShape& shape) {
  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const ops::Variable w(scope.WithOpName("w"), shape, tensorflow::DT_FLOAT);
  ops::Assign(scope.WithOpName("w/Assign"), w,
              ops::Const(scope, Counted(shape)));
  ops::Identity(scope.WithOpName("w/read"), w);
  tensorflow::VariableDef def;
  def.set_variable_name("w:0");
  def.set_initializer_name("w/Assign");
  def.set_snapshot_name("w/read:0");
  CHECK(graph->AddToCollection(collection_keys::kGlobalVariables, def).ok());
  return graph;
}

// The same with a resource variable whose shape only its value has.
GraphPtr ShapelessModel(const TensorShape& shape) {
  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const ops::VarHandleOp w(scope.WithOpName("w"), tensorflow::DT_FLOAT,
                           PartialTensorShape(),
                           ops::VarHandleOp::SharedName("w"));
  ops::AssignVariableOp(scope.WithOpName("w/Assign"), w,
                        ops::Const(scope, Counted(shape)));
  ops::ReadVariableOp(scope.WithOpName("w/read"), w, tensorflow::DT_FLOAT);
  tensorflow::VariableDef def;
  def.set_variable_name("w:0");
  def.set_initializer_name("w/Assign");
  def.set_snapshot_name("w/read:0");
  def.set_is_resource(true);
  CHECK(graph->AddToCollection(collection_keys::kGlobalVariables, def).ok());
  return graph;
}

struct Kind {
  std::string name;
  GraphPtr (*model)(const TensorShape&);
};

class ReshapeTest : public testing::TestWithParam<Kind> {
 protected:
  // Saves a `w` of the shape to the folder.
  void Save(const TensorShape& shape) {
    const GraphPtr graph = GetParam().model(shape);
    const auto saver = Saver::Create(*graph);
    ASSERT_THAT(saver, IsOk());
    const auto session = Session::Create(graph);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->Run(Target("w/Assign")), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir_ / "model"), IsOk());
  }

  // Restores that to a `w` of the shape, all of whose elements are 0.
  absl::StatusOr<Tensor> Restore(const TensorShape& shape, bool reshape) {
    const GraphPtr graph = GetParam().model(shape);
    Saver::Options options;
    options.reshape = reshape;
    const auto saver = Saver::Create(*graph, options);
    CHECK(saver.ok()) << saver.status();
    const auto session = Session::Create(graph);
    CHECK(session.ok()) << session.status();
    CHECK((*session)->Run(Target("w/Assign")).ok());
    const absl::Status restored = (*saver)->Restore(**session, dir_ / "model");
    if (!restored.ok()) return restored;
    const auto values =
        Variable::FromCollection(*graph, collection_keys::kGlobalVariables);
    CHECK(values.ok()) << values.status();
    return (*session)->Run(Fetch<Tensor>(values->front().value().name()));
  }

  const TempDir dir_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, ReshapeTest,
                         testing::Values(Kind{"resource", ResourceModel},
                                         Kind{"reference", ReferenceModel},
                                         Kind{"shapeless", ShapelessModel}),
                         [](const auto& kind) { return kind.param.name; });

// SVR-20
TEST_P(ReshapeTest, RestoresAsManyElementsInTheShapeOfTheVariable) {
  Save({6});

  const auto restored = Restore({2, 3}, true);

  ASSERT_THAT(restored, IsOk());
  EXPECT_EQ(restored->shape(), TensorShape({2, 3}));
  EXPECT_EQ(restored->DebugString(), Counted({2, 3}).DebugString());
}

// SVR-20
TEST_P(ReshapeTest, AnotherNumberOfElementsIsInvalid) {
  Save({6});

  EXPECT_THAT(Restore({2, 2}, true), StatusIs(Code::kInvalidArgument));
}

// SVR-18, SVR-20: a variable takes any shape only where the graph has none.
TEST_P(ReshapeTest, WithoutItAnotherShapeThanTheGraphsIsInvalid) {
  Save({6});

  const auto restored = Restore({2, 3}, false);

  if (GetParam().name == "shapeless") {
    ASSERT_THAT(restored, IsOk());
    EXPECT_EQ(restored->shape(), TensorShape({6}));
  } else {
    EXPECT_THAT(restored,
                StatusIs(Code::kInvalidArgument,
                         HasSubstr("\"w\" (float [6], not float [2,3])")));
  }
}

// SVR-13: one file holds the variables of all devices; what is read from it
// comes to the CPU, and goes to each variable's device from there.
TEST(BuildSaveGraphTest, SavesVariablesOfSeveralDevicesTogether) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  std::vector<tensorflow::Operation> inits;
  for (const std::string device : {"/device:CPU:1", "/device:CPU:0"}) {
    const Scope there = scope.WithDevice(device);
    const auto w =
        Variable::Create(*graph, there, "w", ops::Const(there, Counted({3})));
    ASSERT_THAT(w, IsOk());
    inits.push_back(w->initializer());
  }
  Group(scope.WithOpName("init"), inits);

  const auto saver = Saver::Create(*graph);

  ASSERT_THAT(saver, IsOk());
  ASSERT_THAT(graph->FindOperation("save/RestoreV2"), IsOk());
  EXPECT_EQ((*graph->FindOperation("save/RestoreV2"))->requested_device(),
            "/device:CPU:0");
  Session::Options options;
  (*options.config.mutable_device_count())["CPU"] = 2;
  auto session = Session::Create(graph, options);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT((*saver)->Save(**session, dir / "model"), IsOk());
  EXPECT_THAT(dir.List(),
              testing::ElementsAre("checkpoint", "model.data-00000-of-00001",
                                   "model.index", "model.meta"));

  session = Session::Create(graph, options);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model"), IsOk());
  for (const std::string value :
       {"w/Read/ReadVariableOp:0", "w_1/Read/ReadVariableOp:0"}) {
    const auto restored = (*session)->Run(Fetch<Tensor>(value));
    ASSERT_THAT(restored, IsOk());
    EXPECT_EQ(restored->DebugString(), Counted({3}).DebugString());
  }
}

}  // namespace
}  // namespace tftrain

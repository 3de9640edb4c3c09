// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A small model and a session, for the tests of optimizers.

#ifndef TFTRAIN_OPTIMIZERS_OPTIMIZER_TEST_FIXTURE_H_
#define TFTRAIN_OPTIMIZERS_OPTIMIZER_TEST_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {

// Builds a graph, then trains it with the runtime's own session.
// Confined: use from the thread that runs the test.
class OptimizerFixture : public ::testing::Test {
 protected:
  OptimizerFixture() : graph_(Graph::Create()), scope_(graph_->scope()) {}

  Variable MakeVariable(const std::string& name, std::vector<float> initial,
                        bool trainable = true) {
    const tensorflow::Tensor tensor = MakeTensor(initial);
    Variable::Options options;
    options.trainable = trainable;
    auto variable = Variable::Create(
        *graph_, scope_, name, tensorflow::ops::Const(scope_, tensor), options);
    EXPECT_THAT(variable, IsOk());
    return *variable;
  }

  // Half the sum of the squares of `value` minus `goal`.
  tensorflow::Output Distance(const tensorflow::Output& value,
                              std::vector<float> goal) {
    return tensorflow::ops::L2Loss(
        scope_,
        tensorflow::ops::Sub(scope_, value,
                             tensorflow::ops::Const(scope_, MakeTensor(goal))));
  }

  // Opens a session on the graph as it is and initialises the variables.
  void Start() {
    auto graph_def = graph_->ToGraphDef();
    ASSERT_THAT(graph_def, IsOk());
    session_.reset(tensorflow::NewSession(tensorflow::SessionOptions()));
    ASSERT_THAT(session_->Create(**graph_def), IsOk());
    auto variables =
        Variable::FromCollection(*graph_, collection_keys::kGlobalVariables);
    ASSERT_THAT(variables, IsOk());
    for (const Variable& variable : *variables) Run(variable.initializer());
  }

  void Run(const tensorflow::Operation& operation) {
    ASSERT_THAT(session_->Run({}, {}, {operation.node()->name()}, nullptr),
                IsOk());
  }

  tensorflow::Tensor Fetch(const tensorflow::Output& output) {
    std::vector<tensorflow::Tensor> fetched;
    EXPECT_THAT(session_->Run({}, {output.name()}, {}, &fetched), IsOk());
    return fetched.empty() ? tensorflow::Tensor() : fetched[0];
  }

  std::vector<float> Value(const tensorflow::Output& output) {
    const tensorflow::Tensor tensor = Fetch(output);
    const auto flat = tensor.flat<float>();
    return {flat.data(), flat.data() + flat.size()};
  }

  std::vector<std::string> VariableNames(std::string_view collection) {
    std::vector<std::string> names;
    auto variables = Variable::FromCollection(*graph_, collection);
    EXPECT_THAT(variables, IsOk());
    for (const Variable& variable : *variables) {
      names.push_back(variable.name());
    }
    return names;
  }

  bool HasOperation(std::string_view name) {
    return graph_->FindOperation(name).ok();
  }

  static tensorflow::Tensor MakeTensor(absl::Span<const float> values) {
    tensorflow::Tensor tensor(
        tensorflow::DT_FLOAT,
        tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
    std::copy(values.begin(), values.end(), tensor.flat<float>().data());
    return tensor;
  }

  GraphPtr graph_;
  tensorflow::Scope scope_;
  std::unique_ptr<tensorflow::Session> session_;
};

}  // namespace tftrain

#endif  // TFTRAIN_OPTIMIZERS_OPTIMIZER_TEST_FIXTURE_H_

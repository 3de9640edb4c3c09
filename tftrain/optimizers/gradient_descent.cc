// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/gradient_descent.h"

#include "tensorflow/cc/ops/training_ops.h"

namespace tftrain {

using tensorflow::Operation;
using tensorflow::Scope;

GradientDescentOptimizer::GradientDescentOptimizer(
    const Hyperparameter& learning_rate, const Options& options)
    : Optimizer(options.name),
      learning_rate_(learning_rate),
      use_locking_(options.use_locking) {}

absl::Status GradientDescentOptimizer::CreateSlots(
    Graph&, const std::vector<Variable>&) {
  return absl::OkStatus();
}

void GradientDescentOptimizer::Prepare(const Scope& scope) {
  rate_ = learning_rate_.AsTensor(scope.WithOpName("learning_rate"));
}

Operation GradientDescentOptimizer::Apply(const Scope& scope,
                                          const Variable& variable,
                                          const tensorflow::Output& gradient) {
  using tensorflow::ops::ResourceApplyGradientDescent;
  return ResourceApplyGradientDescent(
             scope, variable.handle(), CastTo(scope, rate_, variable.dtype()),
             gradient, ResourceApplyGradientDescent::UseLocking(use_locking_))
      .operation;
}

std::vector<Operation> GradientDescentOptimizer::Finish(
    const Scope&, const std::vector<Operation>&) {
  return {};
}

}  // namespace tftrain

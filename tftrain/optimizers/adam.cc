// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/adam.h"

#include <algorithm>

#include "tensorflow/cc/ops/math_ops.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/training_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {

using tensorflow::Operation;
using tensorflow::Output;
using tensorflow::Scope;

AdamOptimizer::AdamOptimizer(const Options& options)
    : Optimizer(options.name), options_(options) {}

absl::Status AdamOptimizer::CreateSlots(
    Graph& graph, const std::vector<Variable>& variables) {
  if (!beta1_power_.has_value()) {
    const Variable& first =
        *std::min_element(variables.begin(), variables.end(),
                          [](const Variable& a, const Variable& b) {
                            return a.name() < b.name();
                          });
    TF_ASSIGN_OR_RETURN(beta1_power_,
                        CreateNonSlot(graph, first, "beta1_power",
                                      static_cast<float>(options_.beta1)));
    TF_ASSIGN_OR_RETURN(beta2_power_,
                        CreateNonSlot(graph, first, "beta2_power",
                                      static_cast<float>(options_.beta2)));
  }
  for (const Variable& variable : variables) {
    TF_RETURN_IF_ERROR(CreateZerosSlot(graph, variable, "m"));
    TF_RETURN_IF_ERROR(CreateZerosSlot(graph, variable, "v"));
  }
  return absl::OkStatus();
}

void AdamOptimizer::Prepare(const Scope& scope) {
  learning_rate_ =
      options_.learning_rate.AsTensor(scope.WithOpName("learning_rate"));
  beta1_ = Hyperparameter(options_.beta1).AsTensor(scope.WithOpName("beta1"));
  beta2_ = Hyperparameter(options_.beta2).AsTensor(scope.WithOpName("beta2"));
  epsilon_ =
      Hyperparameter(options_.epsilon).AsTensor(scope.WithOpName("epsilon"));
}

Operation AdamOptimizer::Apply(const Scope& scope, const Variable& variable,
                               const Output& gradient) {
  using tensorflow::ops::ResourceApplyAdam;
  const auto cast = [&](const Output& setting) {
    return CastTo(scope, setting, variable.dtype());
  };
  return ResourceApplyAdam(
             scope, variable.handle(), GetSlot(variable, "m")->handle(),
             GetSlot(variable, "v")->handle(), cast(beta1_power_->value()),
             cast(beta2_power_->value()), cast(learning_rate_), cast(beta1_),
             cast(beta2_), cast(epsilon_), gradient,
             ResourceApplyAdam::UseLocking(options_.use_locking))
      .operation;
}

std::vector<Operation> AdamOptimizer::Finish(
    const Scope& scope, const std::vector<Operation>& updates) {
  const Scope after = scope.WithControlDependencies(updates).ColocateWith(
      beta1_power_->handle());
  const auto multiply = [&](const Variable& power, const Output& beta) {
    return tensorflow::ops::AssignVariableOp(
               after, power.handle(),
               tensorflow::ops::Mul(after.WithOpName("mul"), power.value(),
                                    beta))
        .operation;
  };
  return {multiply(*beta1_power_, beta1_), multiply(*beta2_power_, beta2_)};
}

}  // namespace tftrain

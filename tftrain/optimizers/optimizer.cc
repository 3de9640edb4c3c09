// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/optimizer.h"

#include <set>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/cc/framework/gradients.h"
#include "tensorflow/cc/framework/scope_internal.h"
#include "tensorflow/cc/ops/array_ops.h"
#include "tensorflow/cc/ops/const_op.h"
#include "tensorflow/cc/ops/math_ops.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/graph/node_builder.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/optimizers/gradient_path.h"

namespace tftrain {
namespace {

using tensorflow::Operation;
using tensorflow::Output;
using tensorflow::Scope;

std::string QuotedNames(const std::vector<Variable>& variables) {
  return absl::StrJoin(variables, ", ",
                       [](std::string* out, const Variable& variable) {
                         absl::StrAppend(out, "\"", variable.name(), "\"");
                       });
}

absl::Status CheckCanBeUpdated(const std::vector<Variable>& variables) {
  std::set<std::string> seen;
  for (const Variable& variable : variables) {
    if (!variable.is_resource()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "variable \"", variable.name(),
          "\" is a reference variable, which this optimizer cannot change; run "
          "the training operation that the loaded graph brings along (its "
          "collection \"train_op\")"));
    }
    if (!tensorflow::DataTypeIsFloating(variable.dtype())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "variable \"", variable.name(), "\" has the type ",
          tensorflow::DataTypeString(variable.dtype()),
          ", which has no gradient; make it not trainable, or leave it out of "
          "var_list"));
    }
    if (!seen.insert(variable.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("variable \"", variable.name(),
                       "\" is given twice; name each variable once"));
    }
  }
  return absl::OkStatus();
}

absl::Status NoVariableHasGradient(std::string_view of,
                                   const std::vector<Variable>& variables) {
  return absl::InvalidArgumentError(absl::StrCat(
      of, " has no gradient with respect to any of the variables ",
      QuotedNames(variables),
      "; compute it from their value(), without operations that stop "
      "gradients in between"));
}

// Adds what `builder` describes; its name must be free.
absl::StatusOr<Operation> Add(const Scope& scope,
                              tensorflow::NodeBuilder* builder) {
  tensorflow::Node* node = nullptr;
  scope.UpdateBuilder(builder);
  TF_RETURN_IF_ERROR(builder->Finalize(scope.graph(), &node));
  TF_RETURN_IF_ERROR(scope.DoShapeInference(node));
  return Operation(node);
}

// The scope of the training operation: what is added in it stands under the
// operation's own name. `name` is made unique, as Python does, without case.
Scope NewUniqueScope(Graph& graph, const Scope& scope,
                     const std::string& name) {
  const std::string& prefix = scope.impl()->name();
  const std::string stem = prefix.empty() ? "" : prefix + "/";
  return scope.NewSubScope(graph.UniqueName(stem + name).substr(stem.size()));
}

// The operation `name` that waits for `updates`.
absl::StatusOr<Operation> WaitFor(const Scope& scope, const std::string& name,
                                  const std::vector<Operation>& updates) {
  tensorflow::NodeBuilder builder(name, "NoOp");
  return Add(scope.WithControlDependencies(updates), &builder);
}

// The operation `name` that adds one to `step` after `updates`.
absl::StatusOr<Operation> IncrementStep(const Scope& scope,
                                        const std::string& name,
                                        const Variable& step,
                                        const Operation& updates) {
  const Scope beside = scope.ColocateWith(step.handle());
  const Scope after = beside.WithControlDependencies({updates}).WithOpName(
      step.is_resource() ? "Const" : "value");
  const Output one = step.dtype() == tensorflow::DT_INT32
                         ? tensorflow::ops::Const(after, int32_t{1})
                         : tensorflow::ops::Const(after, int64_t{1});
  TF_RETURN_IF_ERROR(scope.status());
  tensorflow::NodeBuilder builder(
      name, step.is_resource() ? "AssignAddVariableOp" : "AssignAdd");
  builder.Input(step.handle().node(), step.handle().index()).Input(one.node());
  return Add(beside, &builder);
}

}  // namespace

Output Hyperparameter::AsTensor(const Scope& scope) const {
  if (const auto* tensor = std::get_if<Output>(&value_)) return *tensor;
  return tensorflow::ops::Const(scope,
                                static_cast<float>(std::get<double>(value_)));
}

Output CastTo(const Scope& scope, const Output& value,
              tensorflow::DataType dtype) {
  if (tensorflow::BaseType(value.type()) == dtype) return value;
  return tensorflow::ops::Cast(scope, value, dtype);
}

absl::StatusOr<Operation> Optimizer::Minimize(Graph& graph, const Scope& scope,
                                              const Output& loss,
                                              const MinimizeOptions& options) {
  TF_ASSIGN_OR_RETURN(const std::vector<GradientAndVariable> gradients,
                      ComputeGradients(graph, scope, loss, options.var_list));
  std::vector<Variable> without;
  for (const auto& [gradient, variable] : gradients) {
    if (!gradient.has_value()) without.push_back(variable);
  }
  if (without.size() == gradients.size()) {
    return NoVariableHasGradient(absl::StrCat("the loss \"", loss.name(), "\""),
                                 without);
  }
  return ApplyGradients(graph, scope, gradients, options.global_step,
                        options.name);
}

absl::StatusOr<std::vector<Optimizer::GradientAndVariable>>
Optimizer::ComputeGradients(Graph& graph, const Scope& scope,
                            const Output& loss,
                            const std::vector<Variable>& var_list) {
  TF_RETURN_IF_ERROR(scope.status());
  if (!tensorflow::DataTypeIsFloating(tensorflow::BaseType(loss.type()))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the loss \"", loss.name(), "\" has the type ",
        tensorflow::DataTypeString(loss.type()), "; give a float tensor"));
  }
  std::vector<Variable> variables = var_list;
  if (variables.empty()) {
    TF_ASSIGN_OR_RETURN(
        variables,
        Variable::FromCollection(graph, collection_keys::kTrainableVariables));
  }
  if (variables.empty()) {
    return absl::InvalidArgumentError(
        "the graph has no trainable variables; make some, or give var_list");
  }
  TF_RETURN_IF_ERROR(CheckCanBeUpdated(variables));
  TF_ASSIGN_OR_RETURN(const std::vector<std::vector<Output>> reads,
                      FindReads(loss, variables));

  std::vector<Output> inputs;
  for (const auto& each : reads) {
    inputs.insert(inputs.end(), each.begin(), each.end());
  }
  const Scope gradient_scope = scope.NewSubScope("gradients");
  std::vector<Output> outputs;
  if (!inputs.empty()) {
    absl::Status added = tensorflow::AddSymbolicGradients(
        gradient_scope, {loss}, inputs, &outputs);
    if (!added.ok()) {
      return Annotate(
          added,
          absl::StrCat("while the gradients of \"", loss.name(),
                       "\" were added, of which some stay in the graph unused; "
                       "build the graph anew without that operation"));
    }
  }

  std::vector<GradientAndVariable> result;
  auto next = outputs.begin();
  for (size_t i = 0; i < variables.size(); ++i) {
    tensorflow::OutputList parts;
    for (size_t j = 0; j < reads[i].size(); ++j, ++next) {
      if (next->node() != nullptr) parts.push_back(*next);
    }
    std::optional<Output> gradient;
    if (parts.size() == 1) gradient = parts.front();
    if (parts.size() > 1) {
      gradient = Output(tensorflow::ops::AddN(gradient_scope, parts));
    }
    result.push_back({gradient, variables[i]});
  }
  TF_RETURN_IF_ERROR(scope.status());
  return result;
}

absl::StatusOr<Operation> Optimizer::ApplyGradients(
    Graph& graph, const Scope& scope,
    const std::vector<GradientAndVariable>& gradients,
    const std::optional<Variable>& global_step, std::string_view name) {
  TF_RETURN_IF_ERROR(scope.status());
  TF_RETURN_IF_ERROR(CheckBelongs(graph));
  std::vector<Variable> updated, left;
  for (const auto& [gradient, variable] : gradients) {
    (gradient.has_value() ? updated : left).push_back(variable);
  }
  if (updated.empty()) {
    return NoVariableHasGradient("nothing that is to be applied", left);
  }
  TF_RETURN_IF_ERROR(CheckCanBeUpdated(updated));
  if (!left.empty()) {
    LOG(WARNING) << "The training operation will not change the variables "
                 << QuotedNames(left) << ", as they have no gradient.";
  }
  TF_RETURN_IF_ERROR(CreateSlots(graph, updated));

  const Scope inside =
      NewUniqueScope(graph, scope, name.empty() ? name_ : std::string(name));
  Prepare(inside);
  std::vector<Operation> updates;
  for (const auto& [gradient, variable] : gradients) {
    if (!gradient.has_value()) continue;
    updates.push_back(Apply(inside.NewSubScope("update_" + variable.name())
                                .ColocateWith(variable.handle()),
                            variable, *gradient));
  }
  const std::vector<Operation> last = Finish(inside, updates);
  updates.insert(updates.end(), last.begin(), last.end());

  TF_RETURN_IF_ERROR(scope.status());

  const std::string& train_name = inside.impl()->name();
  const std::string updates_name = global_step.has_value()
                                       ? absl::StrCat(train_name, "/update")
                                       : train_name;
  TF_ASSIGN_OR_RETURN(Operation train, WaitFor(inside, updates_name, updates));
  if (global_step.has_value()) {
    TF_ASSIGN_OR_RETURN(train,
                        IncrementStep(inside, train_name, *global_step, train));
  }
  TF_RETURN_IF_ERROR(
      graph.AddToCollection(collection_keys::kTrainOp, train_name));
  return train;
}

std::optional<Variable> Optimizer::GetSlot(const Variable& variable,
                                           std::string_view slot) const {
  const auto it = slots_.find({variable.name(), std::string(slot)});
  if (it == slots_.end()) return std::nullopt;
  return it->second;
}

absl::Status Optimizer::CheckBelongs(const Graph& graph) {
  if (graph_ == nullptr) graph_ = &graph;
  if (graph_ == &graph) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the optimizer \"", name_,
                   "\" was used on another graph; make one for each graph"));
}

absl::StatusOr<Variable> Optimizer::CreateState(
    Graph& graph, const Variable& neighbour, const std::string& name,
    const std::string& initializer, const tensorflow::TensorShape& shape,
    tensorflow::DataType dtype, float initial) {
  const Scope scope = graph.scope().ColocateWith(neighbour.handle());
  const std::string parts = absl::StrCat(name, "/Initializer/", initializer);
  tensorflow::Tensor dims(tensorflow::DT_INT64,
                          tensorflow::TensorShape({shape.dims()}));
  for (int i = 0; i < shape.dims(); ++i) {
    dims.vec<int64_t>()(i) = shape.dim_size(i);
  }
  const Output one_value =
      CastTo(scope.WithOpName(parts, "/Cast"),
             tensorflow::ops::Const(scope.WithOpName(parts, "/Const"), initial),
             dtype);
  const Output value = tensorflow::ops::Fill(
      scope.WithOpName(parts),
      tensorflow::ops::Const(scope.WithOpName(parts, "/shape_as_tensor"), dims),
      one_value);
  Variable::Options options;
  options.trainable = false;
  TF_ASSIGN_OR_RETURN(Variable variable,
                      Variable::Create(graph, scope, name, value, options));
  variables_.push_back(variable);
  return variable;
}

absl::Status Optimizer::CreateZerosSlot(Graph& graph, const Variable& variable,
                                        std::string_view slot) {
  if (GetSlot(variable, slot).has_value()) return absl::OkStatus();
  tensorflow::TensorShape shape;
  if (!graph.ShapeOf(variable.value()).AsTensorShape(&shape)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shape of variable \"", variable.name(),
                     "\" is not known, but the optimizer \"", name_,
                     "\" needs it; give the variable a shape"));
  }
  TF_ASSIGN_OR_RETURN(
      const Variable created,
      CreateState(graph, variable,
                  graph.UniqueName(absl::StrCat(variable.name(), "/", name_)),
                  "zeros", shape, variable.dtype(), 0));
  slots_.insert({{variable.name(), std::string(slot)}, created});
  return absl::OkStatus();
}

absl::StatusOr<Variable> Optimizer::CreateNonSlot(Graph& graph,
                                                  const Variable& neighbour,
                                                  std::string_view name,
                                                  float initial) {
  return CreateState(graph, neighbour, graph.UniqueName(name), "initial_value",
                     tensorflow::TensorShape(), tensorflow::DT_FLOAT, initial);
}

}  // namespace tftrain

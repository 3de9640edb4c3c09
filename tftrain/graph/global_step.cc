// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/global_step.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/const_op.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {
namespace {

constexpr std::string_view kName = "global_step";

// Checks that `step` can count: its type and, where known, its shape.
absl::Status CheckIsScalarInteger(const Graph& graph, const Variable& step) {
  if (step.dtype() != tensorflow::DT_INT64 &&
      step.dtype() != tensorflow::DT_INT32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the global step \"", step.name(), "\" has the type ",
        tensorflow::DataTypeString(step.dtype()), "; make it an int64 scalar"));
  }
  const tensorflow::PartialTensorShape shape = graph.ShapeOf(step.value());
  if (shape.dims() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the global step \"", step.name(), "\" has the shape ",
                     shape.DebugString(), "; make it an int64 scalar"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Variable> CreateGlobalStep(Graph& graph) {
  TF_ASSIGN_OR_RETURN(const std::optional<Variable> existing,
                      GetGlobalStep(graph));
  if (existing.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the graph has the global step \"", existing->name(),
                     "\" already; use GetOrCreateGlobalStep"));
  }
  const tensorflow::Scope scope = graph.scope();
  Variable::Options options;
  options.trainable = false;
  TF_ASSIGN_OR_RETURN(
      Variable step,
      Variable::Create(
          graph, scope, kName,
          tensorflow::ops::Const(scope.WithOpName(kName, "/Initializer/zeros"),
                                 int64_t{0}),
          options));
  TF_ASSIGN_OR_RETURN(const std::vector<tensorflow::VariableDef> variables,
                      graph.GetProtoCollection<tensorflow::VariableDef>(
                          collection_keys::kGlobalVariables));
  TF_RETURN_IF_ERROR(
      graph.AddToCollection(collection_keys::kGlobalStep, variables.back()));
  return step;
}

absl::StatusOr<std::optional<Variable>> GetGlobalStep(const Graph& graph) {
  TF_ASSIGN_OR_RETURN(
      std::vector<Variable> found,
      Variable::FromCollection(graph, collection_keys::kGlobalStep));
  if (found.size() > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the collection \"global_step\" holds ", found.size(),
                     " variables, \"", found[0].name(), "\" and \"",
                     found[1].name(), "\" among them; keep one"));
  }
  if (found.empty()) {
    TF_ASSIGN_OR_RETURN(found, Variable::FromCollection(
                                   graph, collection_keys::kGlobalVariables));
    found.erase(
        std::remove_if(found.begin(), found.end(),
                       [](const Variable& v) { return v.name() != kName; }),
        found.end());
  }
  if (found.empty()) return std::nullopt;
  TF_RETURN_IF_ERROR(CheckIsScalarInteger(graph, found.front()));
  return found.front();
}

absl::StatusOr<Variable> RequireGlobalStep(const Graph& graph,
                                           std::string_view user) {
  TF_ASSIGN_OR_RETURN(std::optional<Variable> step, GetGlobalStep(graph));
  if (step.has_value()) return *std::move(step);
  return absl::FailedPreconditionError(absl::StrCat(
      "the graph has no global step, which ", user,
      " needs; make it with CreateGlobalStep before the session is created"));
}

absl::StatusOr<Variable> GetOrCreateGlobalStep(Graph& graph) {
  TF_ASSIGN_OR_RETURN(std::optional<Variable> existing, GetGlobalStep(graph));
  if (existing.has_value()) return *std::move(existing);
  return CreateGlobalStep(graph);
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/variable.h"

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/framework/scope_internal.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/graph/node_builder.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"

namespace tftrain {
namespace {

using tensorflow::Output;
using tensorflow::Scope;
using tensorflow::VariableDef;

// The static shape of `output`, which must be known in every dimension.
absl::StatusOr<tensorflow::TensorShape> KnownShape(const Graph& graph,
                                                   const Output& output,
                                                   std::string_view variable) {
  const tensorflow::PartialTensorShape shape = graph.ShapeOf(output);
  tensorflow::TensorShape known;
  if (!shape.AsTensorShape(&known)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the initial value of variable \"", variable, "\" has the shape ",
        shape.DebugString(), "; give one whose shape is known"));
  }
  return known;
}

// The name in `scope` that no operation of the graph has, in whatever case: a
// scope tells apart what Python does not, and knows only what it named itself.
std::string UniqueName(Graph& graph, const Scope& scope,
                       std::string_view name) {
  std::string unique;
  do {
    unique = scope.GetUniqueNameForOp(std::string(name));
  } while (graph.UniqueName(unique) != unique);
  return unique;
}

}  // namespace

absl::StatusOr<Variable> Variable::Create(Graph& graph, const Scope& scope,
                                          std::string_view name,
                                          Output initial_value) {
  return Create(graph, scope, name, initial_value, Options());
}

absl::StatusOr<Variable> Variable::Create(Graph& graph, const Scope& scope,
                                          std::string_view name,
                                          Output initial_value,
                                          const Options& options) {
  TF_RETURN_IF_ERROR(scope.status());
  TF_ASSIGN_OR_RETURN(const tensorflow::TensorShape shape,
                      KnownShape(graph, initial_value, name));

  Variable variable;
  variable.trainable_ = options.trainable;
  variable.dtype_ = tensorflow::BaseType(initial_value.type());
  const Scope base = scope.WithOpName("");
  variable.name_ = UniqueName(graph, base, name);

  // The handle's storage and the parts are named after the name that came out.
  tensorflow::Node* handle = nullptr;
  tensorflow::NodeBuilder builder(variable.name_, "VarHandleOp");
  builder.Attr("dtype", variable.dtype_)
      .Attr("shape", shape)
      .Attr("shared_name", variable.name_);
  base.UpdateBuilder(&builder);
  TF_RETURN_IF_ERROR(builder.Finalize(scope.graph(), &handle));
  TF_RETURN_IF_ERROR(base.DoShapeInference(handle));
  variable.handle_ = Output(handle, 0);

  const std::string& prefix = scope.impl()->name();
  const std::string relative = prefix.empty()
                                   ? variable.name_
                                   : variable.name_.substr(prefix.size() + 1);
  const Scope parts = scope.WithNoControlDependencies();
  tensorflow::ops::VarIsInitializedOp(
      parts.WithOpName(relative, "/IsInitialized/VarIsInitializedOp"),
      variable.handle_);
  variable.initializer_ =
      tensorflow::ops::AssignVariableOp(parts.WithOpName(relative, "/Assign"),
                                        variable.handle_, initial_value)
          .operation;
  variable.value_ = tensorflow::ops::ReadVariableOp(
      parts.WithOpName(relative, "/Read/ReadVariableOp"), variable.handle_,
      variable.dtype_);
  TF_RETURN_IF_ERROR(scope.status());

  VariableDef def;
  def.set_variable_name(absl::StrCat(variable.name_, ":0"));
  def.set_initial_value_name(initial_value.name());
  def.set_initializer_name(variable.initializer_.node()->name());
  def.set_snapshot_name(variable.value_.name());
  def.set_is_resource(true);
  def.set_trainable(options.trainable);
  TF_RETURN_IF_ERROR(graph.AddToCollection(options.collection, def));
  if (options.trainable) {
    TF_RETURN_IF_ERROR(
        graph.AddToCollection(collection_keys::kTrainableVariables, def));
  }
  return variable;
}

absl::StatusOr<Variable> Variable::FromDef(const Graph& graph,
                                           const VariableDef& def) {
  Variable variable;
  variable.is_resource_ = def.is_resource();
  variable.trainable_ = def.trainable();
  TF_ASSIGN_OR_RETURN(const TensorRef handle,
                      graph.FindTensor(def.variable_name()));
  variable.name_ = handle.node->name();
  variable.handle_ = AsOutput(handle);
  // Reference variables of old MetaGraphs have no snapshot of their own.
  TF_ASSIGN_OR_RETURN(
      const TensorRef value,
      graph.FindTensor(def.snapshot_name().empty() ? def.variable_name()
                                                   : def.snapshot_name()));
  variable.value_ = AsOutput(value);
  variable.dtype_ = value.dtype();
  TF_ASSIGN_OR_RETURN(const tensorflow::Node* initializer,
                      graph.FindOperation(def.initializer_name()));
  variable.initializer_ = AsOperation(initializer);
  return variable;
}

absl::StatusOr<std::vector<Variable>> Variable::FromCollection(
    const Graph& graph, std::string_view key) {
  return FromCollection(graph, key, "");
}

absl::StatusOr<std::vector<Variable>> Variable::FromCollection(
    const Graph& graph, std::string_view key, std::string_view scope) {
  TF_ASSIGN_OR_RETURN(const auto is_in_scope, internal::ScopeFilter(scope));
  TF_ASSIGN_OR_RETURN(const std::vector<VariableDef> defs,
                      graph.GetProtoCollection<VariableDef>(key));
  std::vector<Variable> variables;
  for (const VariableDef& def : defs) {
    if (!is_in_scope(def.variable_name())) continue;
    absl::StatusOr<Variable> variable = FromDef(graph, def);
    if (!variable.ok()) {
      return Annotate(variable.status(),
                      absl::StrCat("in collection \"", key, "\""));
    }
    variables.push_back(*std::move(variable));
  }
  return variables;
}

}  // namespace tftrain

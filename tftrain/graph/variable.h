// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Variables that training changes and checkpoints keep.

#ifndef TFTRAIN_GRAPH_VARIABLE_H_
#define TFTRAIN_GRAPH_VARIABLE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/scope.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/graph/graph.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/graph.h"

namespace tftrain {

// A variable of a graph: made in C++ (always a resource variable), or found in
// a collection of a loaded MetaGraph (resource or reference).
//
//   TF_ASSIGN_OR_RETURN(
//       Variable w, Variable::Create(*graph, scope, "w",
//                                    tensorflow::ops::Const(scope, 0.5f)));
//   auto y = tensorflow::ops::Mul(scope, x, w.value());
//
// A handle to parts of the graph, cheap to copy; valid while the graph lives.
// Thread-compatible: const calls may run together.
// Python: tf.compat.v1.Variable.
class Variable {
 public:
  struct Options {
    // Whether optimizers update the variable when they are not told which.
    bool trainable = true;
    // The collection that makes the variable part of init_op and checkpoints;
    // kLocalVariables instead makes it part of local_init_op only.
    std::string_view collection = collection_keys::kGlobalVariables;
  };

  // Adds a resource variable `name` (made unique) under the name of `scope`,
  // with the dtype and shape of `initial_value`, to its collections, so that
  // Python finds it in the exported MetaGraph as well.
  // Errors: the error of `scope` when building failed; kInvalidArgument when
  // the shape of the initial value is not known; kFailedPrecondition when the
  // graph is finalized.
  static absl::StatusOr<Variable> Create(Graph& graph,
                                         const tensorflow::Scope& scope,
                                         std::string_view name,
                                         tensorflow::Output initial_value,
                                         const Options& options);
  static absl::StatusOr<Variable> Create(Graph& graph,
                                         const tensorflow::Scope& scope,
                                         std::string_view name,
                                         tensorflow::Output initial_value);

  // The variable that `def` describes.
  // Errors: kInvalidArgument when the graph lacks one of its operations.
  static absl::StatusOr<Variable> FromDef(const Graph& graph,
                                          const tensorflow::VariableDef& def);

  // The variables of a collection, in order.
  static absl::StatusOr<std::vector<Variable>> FromCollection(
      const Graph& graph, std::string_view key);
  // Those of them whose name (with ":0") the regular expression `scope` matches
  // at its start.
  // Errors: kInvalidArgument when `scope` is no regular expression.
  static absl::StatusOr<std::vector<Variable>> FromCollection(
      const Graph& graph, std::string_view key, std::string_view scope);

  // The name of the operation that holds the variable, "w"; checkpoints keep
  // the value under it.
  const std::string& name() const { return name_; }
  bool is_resource() const { return is_resource_; }
  bool trainable() const { return trainable_; }
  tensorflow::DataType dtype() const { return dtype_; }

  // The resource handle, or the reference.
  tensorflow::Output handle() const { return handle_; }
  // The value; models read the variable here, and gradients are taken here.
  tensorflow::Output value() const { return value_; }
  // Sets the variable to its initial value.
  tensorflow::Operation initializer() const { return initializer_; }

 private:
  Variable() = default;

  std::string name_;
  bool is_resource_ = true;
  bool trainable_ = true;
  tensorflow::DataType dtype_ = tensorflow::DT_INVALID;
  tensorflow::Output handle_;
  tensorflow::Output value_;
  tensorflow::Operation initializer_;
};

}  // namespace tftrain

#endif  // TFTRAIN_GRAPH_VARIABLE_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What makes a training operation out of a loss.

#ifndef TFTRAIN_OPTIMIZERS_OPTIMIZER_H_
#define TFTRAIN_OPTIMIZERS_OPTIMIZER_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/scope.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"

namespace tftrain {

// A setting of an optimizer: a number, or a scalar tensor of the graph, such as
// a learning rate that depends on the global step.
// Thread-compatible: const calls may run together.
class Hyperparameter {
 public:
  Hyperparameter(double number)  // NOLINT: implicit by design
      : value_(number) {}
  Hyperparameter(const tensorflow::Output& tensor)  // NOLINT: the same
      : value_(tensor) {}

  // The tensor, or the number as a float constant that is named by `scope`.
  tensorflow::Output AsTensor(const tensorflow::Scope& scope) const;

 private:
  std::variant<double, tensorflow::Output> value_;
};

// Adds the operations that move variables towards a smaller loss. What it adds
// has the names, order and variables of Python's optimizer of that name, so
// that Python goes on from the checkpoint, and the other way round.
//
//   AdamOptimizer adam;
//   Optimizer::MinimizeOptions options;
//   options.global_step = global_step;
//   TF_ASSIGN_OR_RETURN(tensorflow::Operation train,
//                       adam.Minimize(*graph, graph->scope(), loss, options));
//
// An optimizer belongs to the first graph it is used on, which must outlive
// it: calls for the same variable share its slots. It is needed to build the
// graph only, not to run it.
//
// Confined: use from the thread that builds the graph.
// Python: tf.compat.v1.train.Optimizer. There is no sparse update here: the
// gradient of a lookup is dense.
class Optimizer {
 public:
  struct MinimizeOptions {
    // The variables to change. None: all trainable ones of the graph.
    std::vector<Variable> var_list;
    // Grows by one after all the updates of a step.
    std::optional<Variable> global_step;
    // Names the operation. Empty: the name of the optimizer.
    std::string name;
  };

  // A variable and the gradient of a loss with respect to it, if there is one.
  struct GradientAndVariable {
    std::optional<tensorflow::Output> gradient;
    Variable variable;
  };

  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Returns the operation that makes one step: all updates, then the global
  // step. It is ComputeGradients() and ApplyGradients().
  // Errors: those of both; kInvalidArgument when no variable has a gradient.
  absl::StatusOr<tensorflow::Operation> Minimize(
      Graph& graph, const tensorflow::Scope& scope,
      const tensorflow::Output& loss, const MinimizeOptions& options = {});

  // Returns the gradients of the sum of `loss` with respect to `var_list`, or
  // to all trainable variables when it is empty. Variables are followed
  // through Variable::value() and every other ReadVariableOp on their handle.
  //
  // Errors: kInvalidArgument when `loss` is no floating-point tensor, there is
  // no variable, one is a reference variable, or TensorFlow's C++ runtime has
  // no gradient for an operation in between (all of them are named). All this
  // is found before anything is added to the graph. When a gradient that
  // exists refuses the operation it is for, its code comes back and the graph
  // keeps operations that nothing uses; the message says so.
  absl::StatusOr<std::vector<GradientAndVariable>> ComputeGradients(
      Graph& graph, const tensorflow::Scope& scope,
      const tensorflow::Output& loss,
      const std::vector<Variable>& var_list = {});

  // Returns the operation, `name` under the name of `scope` (made unique, the
  // optimizer's name when empty), that applies `gradients` and then adds one to
  // `global_step`, and puts it into the collection "train_op". Variables
  // without a gradient are left as they are, with a warning.
  // Errors: kInvalidArgument when no variable has a gradient, one comes twice,
  // is a reference variable or has no static shape, or when the optimizer was
  // used on another graph; kFailedPrecondition when the graph is finalized.
  absl::StatusOr<tensorflow::Operation> ApplyGradients(
      Graph& graph, const tensorflow::Scope& scope,
      const std::vector<GradientAndVariable>& gradients,
      const std::optional<Variable>& global_step = std::nullopt,
      std::string_view name = "");

  const std::string& name() const { return name_; }
  // What the optimizer keeps for `variable` under `slot`, "m" say; nothing
  // before ApplyGradients().
  // Python: get_slot.
  std::optional<Variable> GetSlot(const Variable& variable,
                                  std::string_view slot) const;
  // All variables the optimizer made, in order. Like all variables of the
  // collection "variables" they are initialised and saved.
  const std::vector<Variable>& variables() const { return variables_; }

 protected:
  explicit Optimizer(std::string name) : name_(std::move(name)) {}

  // Makes what the optimizer keeps for `variables`, where it is not there yet.
  virtual absl::Status CreateSlots(Graph& graph,
                                   const std::vector<Variable>& variables) = 0;
  // Adds what all updates share, under the name of the training operation.
  virtual void Prepare(const tensorflow::Scope& scope) = 0;
  // Adds the update of one variable and returns it.
  virtual tensorflow::Operation Apply(const tensorflow::Scope& scope,
                                      const Variable& variable,
                                      const tensorflow::Output& gradient) = 0;
  // Adds what follows the updates, waiting for them, and returns it.
  virtual std::vector<tensorflow::Operation> Finish(
      const tensorflow::Scope& scope,
      const std::vector<tensorflow::Operation>& updates) = 0;

  // Makes the slot `slot` of `variable`, zeros of its shape and type, unless
  // it is there. It is named after the variable and the optimizer, "w/Adam",
  // the second one "w/Adam_1".
  absl::Status CreateZerosSlot(Graph& graph, const Variable& variable,
                               std::string_view slot);
  // Makes a variable of the optimizer's own beside `neighbour`.
  absl::StatusOr<Variable> CreateNonSlot(Graph& graph,
                                         const Variable& neighbour,
                                         std::string_view name, float initial);

 private:
  absl::Status CheckBelongs(const Graph& graph);
  absl::StatusOr<Variable> CreateState(Graph& graph, const Variable& neighbour,
                                       const std::string& name,
                                       const std::string& initializer,
                                       const tensorflow::TensorShape& shape,
                                       tensorflow::DataType dtype,
                                       float initial);

  const std::string name_;
  const Graph* graph_ = nullptr;
  std::vector<Variable> variables_;
  // By the names of the variable and of the slot.
  std::map<std::pair<std::string, std::string>, Variable> slots_;
};

// `value` as a tensor of the type `dtype`: itself, or a cast of it.
tensorflow::Output CastTo(const tensorflow::Scope& scope,
                          const tensorflow::Output& value,
                          tensorflow::DataType dtype);

}  // namespace tftrain

#endif  // TFTRAIN_OPTIMIZERS_OPTIMIZER_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Plain gradient descent.

#ifndef TFTRAIN_OPTIMIZERS_GRADIENT_DESCENT_H_
#define TFTRAIN_OPTIMIZERS_GRADIENT_DESCENT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tftrain/optimizers/optimizer.h"

namespace tftrain {

// Moves each variable against its gradient, by the learning rate times it. It
// keeps no variables of its own.
//
//   GradientDescentOptimizer optimizer(0.1);
//   TF_ASSIGN_OR_RETURN(tensorflow::Operation train,
//                       optimizer.Minimize(*graph, graph->scope(), loss));
//
// Confined: use from the thread that builds the graph.
// Python: tf.compat.v1.train.GradientDescentOptimizer.
class GradientDescentOptimizer : public Optimizer {
 public:
  struct Options {
    // Whether updates of one variable exclude each other; without it, steps
    // that run at the same time may mix.
    bool use_locking = false;
    std::string name = "GradientDescent";
  };

  explicit GradientDescentOptimizer(const Hyperparameter& learning_rate)
      : GradientDescentOptimizer(learning_rate, Options()) {}
  GradientDescentOptimizer(const Hyperparameter& learning_rate,
                           const Options& options);

 protected:
  absl::Status CreateSlots(Graph& graph,
                           const std::vector<Variable>& variables) override;
  void Prepare(const tensorflow::Scope& scope) override;
  tensorflow::Operation Apply(const tensorflow::Scope& scope,
                              const Variable& variable,
                              const tensorflow::Output& gradient) override;
  std::vector<tensorflow::Operation> Finish(
      const tensorflow::Scope& scope,
      const std::vector<tensorflow::Operation>& updates) override;

 private:
  const Hyperparameter learning_rate_;
  const bool use_locking_;
  tensorflow::Output rate_;  // in the scope that was prepared last
};

}  // namespace tftrain

#endif  // TFTRAIN_OPTIMIZERS_GRADIENT_DESCENT_H_

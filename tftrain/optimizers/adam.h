// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The Adam optimizer.

#ifndef TFTRAIN_OPTIMIZERS_ADAM_H_
#define TFTRAIN_OPTIMIZERS_ADAM_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tftrain/optimizers/optimizer.h"

namespace tftrain {

// Moves each variable by running means of its gradient (m) and of the
// gradient's square (v). In step t:
//
//   m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g g
//   w -= learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) +
//   epsilon)
//
// Variables of its own: beta1^t and beta2^t ("beta1_power", "beta2_power"), and
// for each variable the slots "m" ("w/Adam") and "v" ("w/Adam_1").
//
// Confined: use from the thread that builds the graph.
// Python: tf.compat.v1.train.AdamOptimizer.
class AdamOptimizer : public Optimizer {
 public:
  struct Options {
    Hyperparameter learning_rate = 0.001;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    // Whether updates of one variable exclude each other; without it, steps
    // that run at the same time may mix.
    bool use_locking = false;
    std::string name = "Adam";
  };

  AdamOptimizer() : AdamOptimizer(Options()) {}
  explicit AdamOptimizer(const Options& options);

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
  const Options options_;
  std::optional<Variable> beta1_power_;
  std::optional<Variable> beta2_power_;
  // The settings in the scope that was prepared last.
  tensorflow::Output learning_rate_, beta1_, beta2_, epsilon_;
};

}  // namespace tftrain

#endif  // TFTRAIN_OPTIMIZERS_ADAM_H_

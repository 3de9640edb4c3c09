// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The global step: the variable that counts training steps, that hooks read
// and that names checkpoints.
//
// Functions that take a `Graph&` change it and need it for their thread alone;
// those that take a `const Graph&` may run together.

#ifndef TFTRAIN_GRAPH_GLOBAL_STEP_H_
#define TFTRAIN_GRAPH_GLOBAL_STEP_H_

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"

namespace tftrain {

// Adds the global step to `graph`: an int64 scalar resource variable named
// "global_step", zero at first, not trainable, in the collections "variables"
// and "global_step".
// Errors: kInvalidArgument when the graph has a global step;
// kFailedPrecondition when it is finalized.
// Python: tf.compat.v1.train.create_global_step.
absl::StatusOr<Variable> CreateGlobalStep(Graph& graph);

// The graph's global step: the variable of the collection "global_step", else
// the one named "global_step" among the global variables; nothing when the
// graph has neither.
// Errors: kInvalidArgument when it is not a scalar integer;
// kFailedPrecondition when the collection holds more than one.
// Python: tf.compat.v1.train.get_global_step, which does not look among the
// global variables but takes any tensor of that name.
absl::StatusOr<std::optional<Variable>> GetGlobalStep(const Graph& graph);

// The same, with kFailedPrecondition when there is none, naming `user`, the
// thing that needs it.
absl::StatusOr<Variable> RequireGlobalStep(const Graph& graph,
                                           std::string_view user);

// The global step, made when the graph has none.
// Python: tf.compat.v1.train.get_or_create_global_step.
absl::StatusOr<Variable> GetOrCreateGlobalStep(Graph& graph);

}  // namespace tftrain

#endif  // TFTRAIN_GRAPH_GLOBAL_STEP_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which operations lie between variables and a loss, and whether all of them
// have gradients. Calls may run together while no thread changes the graph.

#ifndef TFTRAIN_OPTIMIZERS_GRADIENT_PATH_H_
#define TFTRAIN_OPTIMIZERS_GRADIENT_PATH_H_

#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/ops.h"
#include "tftrain/graph/variable.h"

namespace tftrain {

// For each variable the tensors through which `loss` reads its value, in the
// order of the graph; none when the loss does not depend on it. Adds nothing
// to the graph, so that a gradient that cannot be made leaves nothing behind.
// Errors: kInvalidArgument when an operation in between has no gradient in
// TensorFlow's C++ runtime; all of them are named.
absl::StatusOr<std::vector<std::vector<tensorflow::Output>>> FindReads(
    const tensorflow::Output& loss, const std::vector<Variable>& variables);

}  // namespace tftrain

#endif  // TFTRAIN_OPTIMIZERS_GRADIENT_PATH_H_

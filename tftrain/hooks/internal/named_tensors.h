// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The tensors that users name in a hook's options, and the numbers in them.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_HOOKS_INTERNAL_NAMED_TENSORS_H_
#define TFTRAIN_HOOKS_INTERNAL_NAMED_TENSORS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/fetch.h"

namespace tftrain::internal {

// The full name of what a user calls "loss:0", or "loss" where the operation
// has but one output.
// Errors: kInvalidArgument when the graph has no such tensor, and for an
// operation without outputs or with more than one.
absl::StatusOr<std::string> TensorName(const Graph& graph,
                                       const std::string& name);

// The same for a tensor that holds one number or bool.
// Errors: kInvalidArgument also when its type is none of those, or when its
// shape is known to hold more or fewer.
absl::StatusOr<std::string> NumberName(const Graph& graph,
                                       const std::string& name);

// The number that `tensor` holds, a bool being 0 or 1. `name` is for the error.
// Errors: kInvalidArgument when it holds something else.
absl::StatusOr<double> NumberIn(const tensorflow::Tensor& tensor,
                                std::string_view name);

// Asks for the tensors of those full names, whatever their types.
FetchTree FetchAll(const std::vector<std::string>& tensors);

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_NAMED_TENSORS_H_

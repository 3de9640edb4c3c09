// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Whether a checkpoint holds what a graph restores, before anything is read.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_MATCH_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_MATCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/save_graph.h"

namespace tftrain::internal {

// The names under which `bundle` holds the tensors of `wanted`, one for each:
// their keys, or, in a checkpoint that tf.train.Checkpoint wrote, what stands
// there for them (said at WARNING).
//
// Errors: kInvalidArgument when some are missing or have another type or
// shape; the message lists them all, up to 20 of a kind.
// Python: the errors of RestoreV2, one at a time, and none for the shape of a
// resource variable.
absl::StatusOr<std::vector<std::string>> MatchTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted);

// The values of `wanted`, which lie under `names`.
// Errors: those of Bundle::Read and Bundle::ReadSlice.
absl::StatusOr<std::vector<tensorflow::Tensor>> ReadTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const std::vector<std::string>& names);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_MATCH_H_

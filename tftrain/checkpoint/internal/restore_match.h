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
#include "tftrain/checkpoint/restore_plan.h"

namespace tftrain::internal {

// What restoring `wanted` from `bundle` as `spec` says would do; one item for
// each of `wanted`. In a checkpoint that tf.train.Checkpoint wrote, what is
// there for the variables is found as well (said at WARNING).
//
// Errors: kInvalidArgument for a pattern that is none; differences are told by
// the plan, all of them, up to 20 of a kind.
// Python: the errors of RestoreV2, one at a time, and none for the shape of a
// resource variable.
absl::StatusOr<RestorePlan> PlanRestore(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const RestoreSpec& spec);

// The values of `wanted`, which lie under `names`. Large checkpoints are read
// by up to eight threads.
// Errors: those of Bundle::Read and Bundle::ReadSlice, of the first value that
// has one.
absl::StatusOr<std::vector<tensorflow::Tensor>> ReadTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const std::vector<std::string>& names);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_MATCH_H_

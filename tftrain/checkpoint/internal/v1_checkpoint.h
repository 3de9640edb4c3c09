// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Checkpoints of TensorFlow's first format ("V1"), which are not read here.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_V1_CHECKPOINT_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_V1_CHECKPOINT_H_

#include <string>

#include "absl/status/status.h"

namespace tftrain::internal {

// Whether TensorFlow's reader may be let at the checkpoint `prefix`: one file,
// or all that a pattern stands for. Each is a table of the kind that
// index_table.h describes. The row of the empty key tells the tensors, with
// their types, shapes and parts (SavedTensorSlices.meta); each other row is a
// part (SavedTensorSlices.data). That reader believes the lengths in a table,
// and shapes, whatever they are: it ends the program, or reads beyond its
// memory, on a file made by hand. So all of that is checked here, and that
// every part is there with as many values as it has elements. Thread-safe.
//
// Reads a file at a time into memory, and each of its rows once more.
//
// Errors: kDataLoss when the checkpoint is damaged, naming file and cause;
// kResourceExhausted when a file is larger than 4 GiB, or when memory or files
// run out; kPermissionDenied.
absl::Status CheckV1Checkpoint(const std::string& prefix);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_V1_CHECKPOINT_H_

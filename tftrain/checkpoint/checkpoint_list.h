// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which checkpoints a folder holds, told from the names in it alone. The state
// file is a hint; the folder is the truth.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_CHECKPOINT_CHECKPOINT_LIST_H_
#define TFTRAIN_CHECKPOINT_CHECKPOINT_LIST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tftrain {

// One checkpoint of a folder.
//
// Thread-compatible: const calls may run together.
struct ListedCheckpoint {
  // The folder as it was given, joined with the checkpoint's name.
  std::string prefix;
  // The step at the end of the name, if there is one.
  std::optional<int64_t> step;
  // When the index was written; the infinite past without one.
  absl::Time modified = absl::InfinitePast();
  // The index is what commits a checkpoint: data without one was never
  // acknowledged.
  bool has_index = false;
  // The index and every shard of the data are there.
  bool complete = false;
};

// Whether there is a checkpoint that TensorFlow would try to restore: the file
// `P.index`, or, from TensorFlow's first format, the file P or, where P ends
// in `-?????-of-NNNNN`, all of the shards. What cannot be looked at does not
// exist. The characters `*`, `?` and `[` stand for themselves otherwise.
//
// Python: `tf.compat.v1.train.checkpoint_exists`, which expands them.
bool CheckpointExists(std::string_view prefix);

// Whether the index and every shard of the data of `prefix` are there, or the
// whole of a checkpoint of TensorFlow's first format. Does not look into them.
bool CheckpointIsComplete(std::string_view prefix);

// The checkpoints of which `folder` holds an index or data, newest first: by
// step, those without a step after those with one; then by the time of the
// index, then by name. Hidden names are left out: they belong to a save that
// is not finished. Checkpoints of TensorFlow's first format are not found.
//
// Errors: those of `ListFolder`; kNotFound if there is no such folder.
absl::StatusOr<std::vector<ListedCheckpoint>> ListCheckpoints(
    std::string_view folder);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_CHECKPOINT_LIST_H_

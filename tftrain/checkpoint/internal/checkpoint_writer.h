// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_WRITER_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_WRITER_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/retention.h"
#include "tftrain/graph/graph.h"

namespace tftrain::internal {

// A checkpoint that is to be written; owns all that this takes, so that any
// thread can do it at any time.
struct CheckpointJob {
  std::string prefix;
  // Writes the values as a bundle with the temporary prefix it is given.
  std::function<absl::Status(const std::string& prefix)> write_values;

  // What goes into the meta file; null: there is none.
  GraphPtr graph;
  tensorflow::SaverDef saver_def;

  // Become the notes on it; empty: there are none.
  std::map<std::string, double> metrics;
  // Permissions of the files.
  mode_t file_mode = WriteOptions().mode;

  // The name of the state file, and what the checkpoint changes in it; nothing:
  // the state file and older checkpoints stay as they are.
  std::string latest_filename;
  std::optional<Retention::Change> change;

  // When it was asked for, if no save of this saver has succeeded in the folder
  // yet: what killed savers left there is removed first, and the folder's own
  // name is forced to the disk, as whoever made it may have failed to.
  std::optional<absl::Time> first_as_of;
};

// Writes the checkpoint of `job`: all files under hidden names, forced to the
// disk; renamed, the index last; the state file; and only then are older
// checkpoints deleted. Returns when it would survive a power cut, with those
// that should go and are being read.
// Errors: kFailedPrecondition when another process saves into the folder; file
// errors, never kOutOfRange, kAborted or kUnavailable; on error nothing new is
// left behind, but for a checkpoint that had replaced one of the same name
// already.
absl::StatusOr<std::vector<KeptCheckpoint>> WriteCheckpoint(
    const CheckpointJob& job);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_WRITER_H_

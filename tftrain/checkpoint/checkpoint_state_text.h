// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The text of TensorFlow's checkpoint state file: protocol buffer text format
// of a `CheckpointState`, a message that the C++ wheel does not ship. Text
// only; files and paths are the matter of `checkpoint_state.h`.
//
//   model_checkpoint_path: "model.ckpt-500"
//   all_model_checkpoint_paths: "model.ckpt-400"
//   all_model_checkpoint_paths: "model.ckpt-500"

#ifndef TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_TEXT_H_
#define TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_TEXT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tftrain {

// What the state file of a folder says.
//
// Thread-compatible: const calls may run together.
//
// Python: `CheckpointState`, the protocol buffer.
struct CheckpointState {
  // The prefix of the newest checkpoint.
  std::string model_checkpoint_path;
  // The prefixes of all that are kept, oldest first; the last is the newest.
  std::vector<std::string> all_model_checkpoint_paths;
  // Seconds since 1970 at which each of these was made; empty if not known.
  // `tf.train.CheckpointManager` writes them, a `Saver` does not.
  std::vector<double> all_model_checkpoint_timestamps;
  // Seconds since 1970 at which the last checkpoint was made that is kept for
  // good.
  std::optional<double> last_preserved_timestamp;
};

bool operator==(const CheckpointState& a, const CheckpointState& b);

// What a state file may be at most; a larger one is refused before memory is
// spent on it.
struct CheckpointStateLimits {
  // Bytes of the file.
  size_t max_bytes = size_t{1} << 20;
  // Entries of each list in it.
  size_t max_entries = 10000;
};

// Reads `text`. Understands what text format allows: both kinds of quotes,
// adjacent strings, every escape, lists in brackets, separators, comments; and
// passes over fields it does not know, as later versions may have them. A text
// without `model_checkpoint_path` is well-formed and leaves it empty. Strings
// may hold any bytes.
//
// Errors: kInvalidArgument, with the line, for anything malformed and for a
// single field given twice; kResourceExhausted beyond `limits`.
absl::StatusOr<CheckpointState> ParseCheckpointState(
    std::string_view text, const CheckpointStateLimits& limits = {});

// Writes `state` as text that TensorFlow's Python reads.
std::string FormatCheckpointState(const CheckpointState& state);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_TEXT_H_

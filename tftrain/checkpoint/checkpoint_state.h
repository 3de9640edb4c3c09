// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The state file `checkpoint` of a folder, which names its newest checkpoint:
// reading, writing, and finding a checkpoint when the file is wrong.
//
// The file is a hint and may come from anybody: it was copied, moved with its
// folder, cut by a crash, or written by someone else. So a path in it that
// leads out of the folder is not followed unless the caller says so, and what
// it says about the newest checkpoint counts only if the files are there.
//
// Thread-safe: the functions share nothing but the files.

#ifndef TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_H_
#define TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state_text.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain {

// How a state file is read.
struct CheckpointStateOptions {
  // The name of the state file in its folder; no slash in it.
  std::string latest_filename = std::string(kCheckpointStateName);

  // Follow paths that lead out of the folder, as Python does. For a file whose
  // writer you trust: restoring reads what it names, and retention deletes it.
  bool allow_outside = false;

  CheckpointStateLimits limits;
};

// What the state file of `folder` says, or nothing if there is no such file or
// if it cannot be read, which is logged at WARNING. Every path in the folder
// comes as the folder joined with its shortest spelling, relative or absolute,
// so that one checkpoint has one name. An absolute path that leads out is
// taken for the file of that name in the folder, if there is one: the folder
// was moved or copied. Any other path that leads out, absolute or by `..`, is
// left out of the answer, with one warning for all; if that was the newest
// one, the last that remains takes its place.
//
// With `allow_outside` an absolute path is looked for in the folder only if
// there is no checkpoint where it points, and nothing is left out.
//
// Errors: kInvalidArgument for a bad `latest_filename`, and for a file that is
// well-formed but names no newest checkpoint.
//
// Python: `tf.train.get_checkpoint_state`, which follows every path.
absl::StatusOr<std::optional<CheckpointState>> GetCheckpointState(
    std::string_view folder, const CheckpointStateOptions& options = {});

// How a state file is written.
struct UpdateCheckpointStateOptions {
  // The name of the state file in its folder; no slash in it.
  std::string latest_filename = std::string(kCheckpointStateName);

  // Write paths in the folder relative to it, so that the folder can be moved.
  // Python: `save_relative_paths`, whose default is false.
  bool save_relative_paths = true;

  // Permissions and durability of the file.
  WriteOptions write;

  // The oldest entries are left out of a file that would exceed these, so that
  // what is written can be read.
  CheckpointStateLimits limits;
};

// Writes `state` as the state file of `folder`, atomically and durably. The
// paths in it: absolute, or, where `folder` is absolute, relative to it, or,
// where `folder` is relative as well, relative to the working directory. An
// empty `folder` is the working directory. A newest path that is not the last
// of all is appended to them, with a line in the log.
//
// Errors: kInvalidArgument for a bad `latest_filename`, an empty newest path,
// and timestamps that are not as many as the paths; kFailedPrecondition if the
// newest path is that of the state file itself; those of
// `WriteFileAtomically`.
//
// Python: `tf.compat.v1.train.update_checkpoint_state`.
absl::Status UpdateCheckpointState(
    std::string_view folder, const CheckpointState& state,
    const UpdateCheckpointStateOptions& options = {});

// The checkpoints of a folder that are there, best first: the newest one of
// `state`, what its state file says; the others it lists, the last first; those
// it does not list, in the order of `listed`, first those with the base name of
// its newest one. A run that goes on from an older checkpoint lists its own and
// no more those of the run that was given up.
std::vector<std::string> RankCheckpoints(
    const std::optional<CheckpointState>& state,
    const std::vector<ListedCheckpoint>& listed);

// The prefix of the newest checkpoint of `folder`: the one its state file
// names, if the index and every shard of the data are there; otherwise, with a
// warning that names both, the best complete one by `RankCheckpoints`. Nothing
// if there is no checkpoint and nothing says that there was one: no index, and
// no state file.
//
// Looks at names only; whether the bytes are intact is for the reader to say.
// Looks again if the state file is written meanwhile, so that another process
// may save into the folder.
//
// Errors: kDataLoss if there are indexes but no complete checkpoint;
// kFailedPrecondition if there is a state file and no checkpoint;
// kInvalidArgument for a bad `latest_filename`; those of `ListFolder`, except
// that a folder that does not exist holds no checkpoint.
//
// Python: `tf.train.latest_checkpoint`, which answers None in all these cases.
absl::StatusOr<std::optional<std::string>> LatestCheckpoint(
    std::string_view folder, const CheckpointStateOptions& options = {});

// The prefix of the checkpoint that a user means by `path`: a prefix, the path
// of its index, data or meta file, a folder (its newest checkpoint) or the
// state file in one.
//
// Errors: kNotFound for a folder without a checkpoint; kInvalidArgument for
// any other path that leads to none, naming one that exists there; those of
// `LatestCheckpoint`; those of base/file.h for what cannot be looked at.
absl::StatusOr<std::string> ResolveCheckpoint(
    std::string_view path, const CheckpointStateOptions& options = {});

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_CHECKPOINT_STATE_H_

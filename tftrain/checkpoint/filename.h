// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Every name a checkpoint has, made and read in one place; pure text, the file
// system is not asked. One checkpoint with the prefix P is
//
//   P.index                 which tensor lies where; its rename commits P
//   P.data-00000-of-00002   the values, one file per shard
//   P.data-00001-of-00002
//   P.meta                  the graph (a MetaGraphDef)
//   P.tftrain.json          what is known about it, such as its metrics
//
// where P is a path such as `run/model.ckpt-500`: folder, base name, step. No
// function here, nor any caller, expands `*`, `?` or `[`: a name is a name.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_CHECKPOINT_FILENAME_H_
#define TFTRAIN_CHECKPOINT_FILENAME_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tftrain {

// The default name of the state file beside the checkpoints.
inline constexpr std::string_view kCheckpointStateName = "checkpoint";

// `base` followed by `-` and the step, with leading zeros to eight digits if
// `pad` is set; `base` itself without a step.
//
// Python: how `tf.compat.v1.train.Saver.save` makes its prefix of `save_path`
// and `global_step`, and `pad_step_number`.
std::string CheckpointPrefix(std::string_view base,
                             std::optional<int64_t> step = std::nullopt,
                             bool pad = false);

// The step at the end of a prefix or of its last component: the digits behind
// its last `-`. Nothing if there are none, or more than an int64 holds.
std::optional<int64_t> StepOfPrefix(std::string_view prefix);

// `prefix` without the `-` and the step that `StepOfPrefix` reads; `prefix`
// itself if there is no step.
std::string_view BaseOfPrefix(std::string_view prefix);

// `P.index`.
std::string IndexFileName(std::string_view prefix);

// `P.data-SSSSS-of-NNNNN`.
// REQUIRES: 0 <= shard < num_shards.
std::string DataFileName(std::string_view prefix, int shard, int num_shards);

// `P.meta`, or another suffix in the place of `meta`. A shard suffix
// `-SSSSS-of-NNNNN` or `-?????-of-NNNNN` at the end of the prefix, as the
// checkpoints of TensorFlow's first format have it, is left out before.
//
// Python: `checkpoint_management.meta_graph_filename`.
std::string MetaFileName(std::string_view prefix,
                         std::string_view suffix = "meta");

// `P.tftrain.json`.
std::string NotesFileName(std::string_view prefix);

// What a file name says about the file.
struct CheckpointFile {
  enum class Kind { kIndex, kData, kMeta, kNotes };

  Kind kind;
  // The name or path given, without the ending.
  std::string prefix;
  // For kData only: 0 <= shard < num_shards.
  int shard = 0;
  int num_shards = 0;
};

// Reads the name or path of one file of a checkpoint: the inverse of the
// functions above. Nothing for any other name, and for a bare prefix.
std::optional<CheckpointFile> ParseCheckpointFile(std::string_view path);

// The prefix that the user of `path` means: `path` without `.index`, `.meta`,
// `.data-SSSSS-of-NNNNN` or `.tftrain.json`, or `path` itself.
std::string PrefixOfPath(std::string_view path);

// The entries of `names` that belong to the checkpoint `prefix` (a name
// without a folder, as in a listing), in the order in which they may be
// deleted: the meta file, the notes, the index, the data files. Only names that
// a saver could have written; never a pattern.
std::vector<std::string> FilesOfCheckpoint(
    std::string_view prefix, const std::vector<std::string>& names);

// The files `P-00000-of-NNNNN` ... that the text `P-?????-of-NNNNN` stands
// for: how TensorFlow names a sharded checkpoint of its first format. Nothing
// for any other prefix. Refuses more than 99,999 shards.
std::vector<std::string> ShardsOfV1Pattern(std::string_view prefix);

// A prefix in `folder` for files that are not committed yet: a hidden name
// with 128 random bits, so that nobody can foresee it and two processes do not
// meet. `IsTemporaryCheckpointName` knows it again.
std::string TemporaryPrefix(std::string_view folder);

// True for the name (without a folder) of a file written under a
// `TemporaryPrefix`, whatever follows the prefix: what a process that died
// while saving may leave behind, beside the files of `IsTemporaryName` of
// `base/file.h`. Never true for a file of anybody else.
bool IsTemporaryCheckpointName(std::string_view name);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_FILENAME_H_

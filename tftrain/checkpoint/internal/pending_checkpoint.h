// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A checkpoint on its way to the disk: hidden, then whole.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tftrain::internal {

// The files of one checkpoint between their writing and the moment at which
// they are the checkpoint `prefix`.
//
// States: written to under temporary() -> committed -> finished. At the end,
// what was not committed is deleted, and what was committed but not finished
// is taken back, unless it replaced another one.
//
// The rename of the index is what commits. Where `prefix` is new, the data and
// the meta file are in place by then. Where there is such a checkpoint already,
// the names of its data files cannot be used: two files cannot be replaced at
// once, and either one beside the other's former self is worthless. But the
// number of data files is part of their names. So the new data comes in one
// file more (an empty one), beside the former data, and the index that is
// renamed over the former index points to it: before that moment the former
// checkpoint is whole, after it the new one is. The former data is deleted
// when all is finished, or at the next save if that was interrupted.
//
// Confined: use from one thread at a time.
class PendingCheckpoint {
 public:
  // None of the files will have permissions beyond `mode`, though the graph's
  // own operations made them.
  PendingCheckpoint(std::string_view prefix, mode_t mode);
  PendingCheckpoint(const PendingCheckpoint&) = delete;
  PendingCheckpoint& operator=(const PendingCheckpoint&) = delete;
  ~PendingCheckpoint();

  // The prefix under which the files are to be written: a bundle of any number
  // of data files.
  const std::string& temporary() const { return temporary_; }
  // The paths at which the meta file and the notes are to be written, if there
  // are any.
  const std::string& temporary_meta() const { return temporary_meta_; }
  const std::string& temporary_notes() const { return temporary_notes_; }

  // Forces the files to the disk, checks their index, and renames them.
  // Errors: kFailedPrecondition when there are no files; kDataLoss when they
  // are not what was written; those of base/file.h. The checkpoint that was
  // there before, if any, stays whole then, or the new one, whole as well, has
  // replaced it, when only what comes after the commit failed.
  absl::Status Commit();

  // What was committed stays.
  // REQUIRES: Commit() returned OK.
  void Finish();

 private:
  enum class State { kWriting, kCommitted, kFinished };

  absl::Status FindFormer();
  absl::Status SyncAndCheck();
  absl::Status Sync(const std::string& path);
  absl::Status RenameAll();
  absl::Status SetNotesAside();
  absl::Status RenameExtras();
  absl::Status Rename(const std::string& from, const std::string& to);
  void TakeBack();
  void RemoveTemporaries();

  const std::string prefix_;
  const std::string folder_;
  const std::string temporary_;
  const std::string temporary_meta_;
  const std::string temporary_notes_;
  const std::string former_notes_;
  const mode_t mode_;

  State state_ = State::kWriting;
  int num_shards_ = 0;
  bool has_meta_ = false;
  bool has_notes_ = false;
  // What lies at `prefix` before the commit.
  bool replaces_ = false;
  std::vector<std::string> former_;
  // The former index, opened.
  int former_index_ = -1;
  // Whether its notes are at former_notes_.
  bool notes_aside_ = false;
  // The paths that exist because of us, and whether the index is among them.
  std::vector<std::string> renamed_;
  bool index_renamed_ = false;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A checkpoint on its way to the disk: hidden, then whole.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tftrain::internal {

// Marks a folder as one into which a checkpoint is being written, from its
// construction to its end: a shared `flock` on the folder itself, which ends
// with the process. So temporary files in a folder that nobody has marked are
// left from processes that died.
//
// Confined: use from one thread at a time.
class FolderMark {
 public:
  explicit FolderMark(std::string_view folder);
  FolderMark(const FolderMark&) = delete;
  FolderMark& operator=(const FolderMark&) = delete;
  ~FolderMark();

  // Deletes temporary files of checkpoints, unless another mark is on the
  // folder, and other temporary files of ours that are older than a minute
  // before `now`. What cannot be deleted is logged at WARNING.
  void RemoveLeftovers(absl::Time now);

 private:
  const std::string folder_;
  const int fd_;
};

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
  explicit PendingCheckpoint(std::string_view prefix);
  PendingCheckpoint(const PendingCheckpoint&) = delete;
  PendingCheckpoint& operator=(const PendingCheckpoint&) = delete;
  ~PendingCheckpoint();

  // The prefix under which the files are to be written: a bundle of any number
  // of data files.
  const std::string& temporary() const { return temporary_; }
  // The path at which the meta file is to be written, if there is one.
  const std::string& temporary_meta() const { return temporary_meta_; }

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
  absl::Status RenameAll();
  absl::Status Rename(const std::string& from, const std::string& to);
  void TakeBack();
  void RemoveTemporaries();

  const std::string prefix_;
  const std::string folder_;
  const std::string temporary_;
  const std::string temporary_meta_;

  State state_ = State::kWriting;
  int num_shards_ = 0;
  bool has_meta_ = false;
  // What lies at `prefix` before the commit.
  bool replaces_ = false;
  std::vector<std::string> former_;
  // The paths that exist because of us, and whether the index is among them.
  std::vector<std::string> renamed_;
  bool index_renamed_ = false;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_PENDING_CHECKPOINT_H_

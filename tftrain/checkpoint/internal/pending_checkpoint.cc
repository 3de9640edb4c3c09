// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/pending_checkpoint.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/bundle_writer.h"
#include "tftrain/checkpoint/internal/folder_lock.h"

namespace tftrain::internal {
namespace {

// What a file may have at most as TensorFlow makes it.
constexpr mode_t kWidestMode = 0666;

// Takes the permissions beyond `mode` off the file `path`.
absl::Status Narrow(const std::string& path, mode_t mode) {
  FileOps& files = CurrentFileOps();
  const int fd = files.Open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
  struct stat stat;
  const bool done = fd >= 0 && files.StatOpen(fd, &stat) == 0 &&
                    files.ChangeMode(fd, stat.st_mode & mode) == 0;
  const int error_number = errno;
  if (fd >= 0) files.Close(fd);
  return done ? absl::OkStatus()
              : ErrnoError(error_number, "cannot set the permissions of", path);
}

}  // namespace

PendingCheckpoint::PendingCheckpoint(std::string_view prefix, mode_t mode)
    : prefix_(prefix),
      folder_(DirName(prefix)),
      temporary_(TemporaryPrefix(folder_)),
      temporary_meta_(MetaFileName(temporary_)),
      temporary_notes_(NotesFileName(temporary_)),
      former_notes_(absl::StrCat(temporary_, ".former")),
      mode_(mode) {}

PendingCheckpoint::~PendingCheckpoint() {
  if (state_ != State::kFinished) TakeBack();
  RemoveTemporaries();
  if (former_index_ >= 0) CurrentFileOps().Close(former_index_);
}

absl::Status PendingCheckpoint::Commit() {
  TF_RETURN_IF_ERROR(FindFormer());
  TF_RETURN_IF_ERROR(SyncAndCheck());
  if (!replaces_) {
    // Parts of a save that was interrupted, or of a deletion.
    for (const std::string& path : former_) RemoveTemporary(path);
  }
  TF_RETURN_IF_ERROR(RenameAll());
  state_ = State::kCommitted;
  return absl::OkStatus();
}

void PendingCheckpoint::Finish() {
  state_ = State::kFinished;
  if (!replaces_) return;
  if (::flock(former_index_, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
    LOG(INFO) << "The data that \"" << prefix_
              << "\" had before stays: somebody is reading it";
    return;
  }
  for (const std::string& path : former_) {
    const std::optional<CheckpointFile> file = ParseCheckpointFile(path);
    if (file->kind == CheckpointFile::Kind::kData &&
        file->num_shards != num_shards_) {
      RemoveTemporary(path);
    }
  }
}

// Looks at what was written and at what lies at the place it shall take.
absl::Status PendingCheckpoint::FindFormer() {
  TF_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      ListFolder(folder_));
  const auto find_shards = [&](const std::vector<std::string>& files) {
    std::vector<int> counts;
    for (const std::string& name : files) {
      const std::optional<CheckpointFile> file = ParseCheckpointFile(name);
      if (file->kind == CheckpointFile::Kind::kData) {
        counts.push_back(file->num_shards);
      }
    }
    return counts;
  };
  const std::vector<int> written =
      find_shards(FilesOfCheckpoint(BaseName(temporary_), names));
  const auto has = [&](const std::string& path) {
    return std::binary_search(names.begin(), names.end(), BaseName(path));
  };
  if (!has(IndexFileName(temporary_)) || written.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the save operations wrote no checkpoint that this process sees in \"",
        folder_, "\"; save to a folder that the server has as well"));
  }
  has_meta_ = has(temporary_meta_);
  has_notes_ = has(temporary_notes_);
  num_shards_ = static_cast<int>(written.size());
  const std::vector<std::string> former =
      FilesOfCheckpoint(BaseName(prefix_), names);
  for (const std::string& name : former) {
    former_.push_back(JoinPath(folder_, name));
  }
  replaces_ = has(IndexFileName(prefix_));
  if (!replaces_) return absl::OkStatus();
  former_index_ = CurrentFileOps().Open(IndexFileName(prefix_).c_str(),
                                        O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  const std::vector<int> taken = find_shards(former);
  while (std::count(taken.begin(), taken.end(), num_shards_) > 0) {
    ++num_shards_;
  }
  const int shards = static_cast<int>(written.size());
  return num_shards_ == shards
             ? absl::OkStatus()
             : AddEmptyShards(temporary_, shards, num_shards_);
}

absl::Status PendingCheckpoint::SyncAndCheck() {
  for (int shard = 0; shard < num_shards_; ++shard) {
    TF_RETURN_IF_ERROR(Sync(DataFileName(temporary_, shard, num_shards_)));
  }
  TF_RETURN_IF_ERROR(Sync(IndexFileName(temporary_)));
  if (has_meta_) TF_RETURN_IF_ERROR(Sync(temporary_meta_));
  if (has_notes_) TF_RETURN_IF_ERROR(Sync(temporary_notes_));
  return Bundle::Open(temporary_).status();
}

absl::Status PendingCheckpoint::Sync(const std::string& path) {
  if ((mode_ & kWidestMode) != kWidestMode) {
    TF_RETURN_IF_ERROR(Narrow(path, mode_));
  }
  return SyncFile(path);
}

absl::Status PendingCheckpoint::RenameAll() {
  for (int shard = 0; shard < num_shards_; ++shard) {
    TF_RETURN_IF_ERROR(Rename(DataFileName(temporary_, shard, num_shards_),
                              DataFileName(prefix_, shard, num_shards_)));
  }
  TF_RETURN_IF_ERROR(replaces_ ? SetNotesAside() : RenameExtras());
  // The index must not reach the disk before the names it points to: an index
  // alone would keep a first run from starting anew.
  TF_RETURN_IF_ERROR(SyncFolder(folder_));
  TF_RETURN_IF_ERROR(Rename(IndexFileName(temporary_), IndexFileName(prefix_)));
  index_renamed_ = true;
  if (replaces_) TF_RETURN_IF_ERROR(RenameExtras());
  return SyncFolder(folder_);
}

// The notes on the former checkpoint must not be taken for those on the new
// one.
absl::Status PendingCheckpoint::SetNotesAside() {
  const std::string notes = NotesFileName(prefix_);
  notes_aside_ =
      CurrentFileOps().Rename(notes.c_str(), former_notes_.c_str()) == 0;
  if (notes_aside_ || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, "cannot set aside", notes);
}

absl::Status PendingCheckpoint::RenameExtras() {
  if (has_meta_) {
    TF_RETURN_IF_ERROR(Rename(temporary_meta_, MetaFileName(prefix_)));
  }
  if (has_notes_) {
    TF_RETURN_IF_ERROR(Rename(temporary_notes_, NotesFileName(prefix_)));
  }
  return absl::OkStatus();
}

absl::Status PendingCheckpoint::Rename(const std::string& from,
                                       const std::string& to) {
  if (CurrentFileOps().Rename(from.c_str(), to.c_str()) < 0) {
    return ErrnoError(errno, "cannot put into place", to);
  }
  renamed_.push_back(to);
  return absl::OkStatus();
}

void PendingCheckpoint::TakeBack() {
  if (replaces_ && index_renamed_) return;
  const std::string notes = NotesFileName(prefix_);
  if (notes_aside_ &&
      CurrentFileOps().Rename(former_notes_.c_str(), notes.c_str()) < 0) {
    LOG(WARNING) << "The metrics of \"" << prefix_ << "\" are lost: "
                 << ErrnoError(errno, "cannot put back", notes).message();
  }
  // The index goes first, also on the disk, so that no part is taken for the
  // whole; data alone is none.
  std::reverse(renamed_.begin(), renamed_.end());
  for (const std::string& path : renamed_) {
    if (path != IndexFileName(prefix_)) {
      RemoveTemporary(path);
      continue;
    }
    absl::Status status = RemoveFile(path);
    if (status.ok()) status = SyncFolder(folder_);
    if (!status.ok()) {
      LOG(WARNING) << "Files of a failed save stay: " << status.message();
      return;
    }
  }
}

void PendingCheckpoint::RemoveTemporaries() {
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (absl::StartsWith(name, BaseName(temporary_))) {
      RemoveTemporary(JoinPath(folder_, name));
    }
  }
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/pending_checkpoint.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"

namespace tftrain::internal {
namespace {

// TensorFlow's sharded savers collect their parts in the folder P_temp.
constexpr std::string_view kShardFolderSuffix = "_temp";

constexpr absl::Duration kLongForOneFile = absl::Minutes(1);

int OpenFolder(const std::string& folder) {
  return CurrentFileOps().Open(folder.empty() ? "." : folder.c_str(),
                               O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

// Removes a temporary file, or a folder of temporary files.
void RemoveTemporary(const std::string& path) {
  if (!absl::EndsWith(path, kShardFolderSuffix)) {
    const absl::Status status = RemoveFile(path);
    if (!status.ok() && !absl::IsNotFound(status)) {
      LOG(WARNING) << "A temporary file stays: " << status.message();
    }
    return;
  }
  int64_t files = 0;
  int64_t folders = 0;
  const absl::Status status =
      tensorflow::Env::Default()->DeleteRecursively(path, &files, &folders);
  if (!status.ok()) {
    LOG(WARNING) << "A temporary folder stays: " << status.message();
  }
}

}  // namespace

FolderMark::FolderMark(std::string_view folder)
    : folder_(folder), fd_(OpenFolder(folder_)) {
  // Without the mark, other savers may only believe that nobody is here.
  if (fd_ >= 0) ::flock(fd_, LOCK_SH | LOCK_NB);
}

FolderMark::~FolderMark() {
  if (fd_ >= 0) CurrentFileOps().Close(fd_);
}

void FolderMark::RemoveLeftovers(absl::Time now) {
  if (fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) < 0) return;
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder_);
  if (names.ok()) {
    for (const std::string& name : *names) {
      const std::string path = JoinPath(folder_, name);
      if (IsTemporaryCheckpointName(
              absl::StripSuffix(name, kShardFolderSuffix))) {
        RemoveTemporary(path);
      } else if (IsTemporaryName(name)) {
        // Other files than checkpoints are written without a mark.
        const absl::StatusOr<FileInfo> info = GetFileInfo(path);
        if (info.ok() && info->modified < now - kLongForOneFile) {
          RemoveTemporary(path);
        }
      }
    }
  }
  ::flock(fd_, LOCK_SH | LOCK_NB);
}

PendingCheckpoint::PendingCheckpoint(std::string_view prefix)
    : prefix_(prefix),
      folder_(DirName(prefix)),
      temporary_(TemporaryPrefix(folder_)),
      temporary_meta_(MetaFileName(temporary_)) {}

PendingCheckpoint::~PendingCheckpoint() {
  if (state_ != State::kFinished) TakeBack();
  RemoveTemporaries();
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
  num_shards_ = static_cast<int>(written.size());
  const std::vector<std::string> former =
      FilesOfCheckpoint(BaseName(prefix_), names);
  for (const std::string& name : former) {
    former_.push_back(JoinPath(folder_, name));
  }
  replaces_ = has(IndexFileName(prefix_));
  if (!replaces_) return absl::OkStatus();
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
    TF_RETURN_IF_ERROR(SyncFile(DataFileName(temporary_, shard, num_shards_)));
  }
  TF_RETURN_IF_ERROR(SyncFile(IndexFileName(temporary_)));
  if (has_meta_) TF_RETURN_IF_ERROR(SyncFile(temporary_meta_));
  return Bundle::Open(temporary_).status();
}

absl::Status PendingCheckpoint::RenameAll() {
  const auto rename_meta = [&]() -> absl::Status {
    if (!has_meta_) return absl::OkStatus();
    return Rename(temporary_meta_, MetaFileName(prefix_));
  };
  for (int shard = 0; shard < num_shards_; ++shard) {
    TF_RETURN_IF_ERROR(Rename(DataFileName(temporary_, shard, num_shards_),
                              DataFileName(prefix_, shard, num_shards_)));
  }
  if (replaces_) {
    // The index must not reach the disk before the names it points to.
    TF_RETURN_IF_ERROR(SyncFolder(folder_));
  } else {
    TF_RETURN_IF_ERROR(rename_meta());
  }
  TF_RETURN_IF_ERROR(Rename(IndexFileName(temporary_), IndexFileName(prefix_)));
  index_renamed_ = true;
  if (replaces_) TF_RETURN_IF_ERROR(rename_meta());
  return SyncFolder(folder_);
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
  // The index comes first, so that no part is taken for the whole.
  std::reverse(renamed_.begin(), renamed_.end());
  for (const std::string& path : renamed_) RemoveTemporary(path);
  renamed_.clear();
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

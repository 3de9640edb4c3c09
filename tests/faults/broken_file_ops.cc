// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/broken_file_ops.h"

#include <fcntl.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

bool IsData(const std::string& path) {
  return absl::StrContains(path, ".data-");
}

bool IsIndex(const std::string& path) { return absl::EndsWith(path, ".index"); }

// The paths of the folder of `path` that belong to finished checkpoints.
std::vector<std::string> FinishedBeside(const std::string& path) {
  const std::string folder = DirName(path);
  std::vector<std::string> finished;
  const auto names = ListFolder(folder);
  CHECK(names.ok()) << names.status();
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, ".") && (IsData(name) || IsIndex(name))) {
      finished.push_back(JoinPath(folder, name));
    }
  }
  return finished;
}

}  // namespace

std::vector<std::pair<std::string, BrokenPromise>> AllBrokenPromises() {
  return {{"DataNotSynced", BrokenPromise::kDataNotSynced},
          {"IndexNotSynced", BrokenPromise::kIndexNotSynced},
          {"FolderNotSynced", BrokenPromise::kFolderNotSynced},
          {"IndexBeforeData", BrokenPromise::kIndexBeforeData},
          {"IndexInPlace", BrokenPromise::kIndexInPlace},
          {"StateBeforeIndex", BrokenPromise::kStateBeforeIndex},
          {"StateNotSynced", BrokenPromise::kStateNotSynced},
          {"DeletesBeforeCommit", BrokenPromise::kDeletesBeforeCommit},
          {"SyncErrorIgnored", BrokenPromise::kSyncErrorIgnored},
          {"CloseErrorIgnored", BrokenPromise::kCloseErrorIgnored},
          {"DataOverDataInUse", BrokenPromise::kDataOverDataInUse}};
}

int BrokenFileOps::Open(const char* path, int flags, mode_t mode) {
  if (promise_ == BrokenPromise::kDeletesBeforeCommit &&
      (flags & O_CREAT) != 0 && IsData(path)) {
    for (const std::string& old : FinishedBeside(path)) Unlink(old.c_str());
  }
  const int fd = disk_.Open(path, flags, mode);
  MutexLock lock(mu_);
  open_[fd] = {path, (flags & O_DIRECTORY) != 0};
  return fd;
}

int BrokenFileOps::Sync(int fd) {
  OpenedFile open;
  {
    MutexLock lock(mu_);
    open = open_[fd];
  }
  switch (promise_) {
    case BrokenPromise::kDataNotSynced:
    case BrokenPromise::kCloseErrorIgnored:
      if (IsData(open.path)) return 0;
      break;
    case BrokenPromise::kIndexNotSynced:
      if (IsIndex(open.path)) return 0;
      break;
    case BrokenPromise::kFolderNotSynced:
      if (open.is_folder) return 0;
      break;
    case BrokenPromise::kStateNotSynced:
      if (IsTemporaryName(BaseName(open.path))) return 0;
      break;
    case BrokenPromise::kSyncErrorIgnored: {
      if (!IsData(open.path)) break;
      // As Linux does it: told once, and what was not written counts as clean.
      MutexLock lock(mu_);
      if (!failed_.insert(open.path).second || !admits_) return 0;
      errno = EIO;
      return -1;
    }
    default:
      break;
  }
  return disk_.Sync(fd);
}

int BrokenFileOps::Close(int fd) {
  bool is_data = false;
  {
    MutexLock lock(mu_);
    is_data = IsData(open_[fd].path);
    open_.erase(fd);
  }
  const int result = disk_.Close(fd);
  if (!is_data || !admits_ || promise_ != BrokenPromise::kCloseErrorIgnored) {
    return result;
  }
  errno = EIO;
  return -1;
}

int BrokenFileOps::Rename(const char* from, const char* to) {
  switch (promise_) {
    case BrokenPromise::kIndexBeforeData: {
      MutexLock lock(mu_);
      if (IsData(to)) {
        late_.emplace_back(from, to);
        return 0;
      }
      if (!IsIndex(to)) break;
      const int result = disk_.Rename(from, to);
      for (const auto& [late_from, late_to] : std::exchange(late_, {})) {
        disk_.Rename(late_from.c_str(), late_to.c_str());
      }
      return result;
    }
    case BrokenPromise::kIndexInPlace:
      if (!IsIndex(to)) break;
      Copy(from, to, O_WRONLY | O_CREAT | O_TRUNC);
      return disk_.Unlink(from);
    case BrokenPromise::kStateBeforeIndex: {
      MutexLock lock(mu_);
      if (IsIndex(to)) {
        late_.emplace_back(from, to);
        return 0;
      }
      if (BaseName(to) != kCheckpointStateName) break;
      const int result = disk_.Rename(from, to);
      SyncFolderOf(to);
      for (const auto& [late_from, late_to] : std::exchange(late_, {})) {
        disk_.Rename(late_from.c_str(), late_to.c_str());
      }
      return result;
    }
    case BrokenPromise::kDataOverDataInUse: {
      if (!IsData(to)) break;
      const std::string copy = absl::StrCat(from, "-copy");
      for (const std::string& used : FinishedBeside(to)) {
        if (!IsData(used) || PrefixOfPath(used) != PrefixOfPath(to)) continue;
        Copy(from, copy, O_WRONLY | O_CREAT | O_EXCL);
        disk_.Rename(copy.c_str(), used.c_str());
      }
      break;
    }
    default:
      break;
  }
  return disk_.Rename(from, to);
}

void BrokenFileOps::Copy(const std::string& from, const std::string& to,
                         int flags) {
  const auto bytes = ReadFile(from, int64_t{1} << 30);
  CHECK(bytes.ok()) << bytes.status();
  const int fd = disk_.Open(to.c_str(), flags, 0600);
  CHECK(fd >= 0);
  for (size_t at = 0; at < bytes->size();) {
    const ssize_t count =
        disk_.Write(fd, bytes->data() + at, bytes->size() - at);
    CHECK(count > 0);
    at += static_cast<size_t>(count);
  }
  disk_.Sync(fd);
  disk_.Close(fd);
}

void BrokenFileOps::SyncFolderOf(const std::string& path) {
  const int fd = disk_.Open(DirName(path).c_str(), O_RDONLY | O_DIRECTORY, 0);
  disk_.Sync(fd);
  disk_.Close(fd);
}

void UseSaver(const std::string& name) {
  static internal::FileOps* files = nullptr;
  CHECK(files == nullptr);
  if (name == "Sound") return;
  if (name == "Unsynced") {
    files = new UnsyncedFileOps();  // puts itself in place
    return;
  }
  for (const auto& [promised, promise] : AllBrokenPromises()) {
    if (promised != name) continue;
    files = new BrokenFileOps(*new internal::FileOps(), promise);
    internal::ExchangeFileOps(files);
    return;
  }
  LOG(FATAL) << "no saver is named \"" << name << "\"";
}

}  // namespace tftrain

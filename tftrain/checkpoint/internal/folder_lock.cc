// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/folder_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain::internal {
namespace {

// TensorFlow's sharded savers collect their parts in the folder P_temp.
constexpr std::string_view kShardFolderSuffix = "_temp";

constexpr absl::Duration kLongForOneFile = absl::Minutes(1);

// Which folder it is, whatever its path.
using FolderId = std::pair<dev_t, ino_t>;

// Removes the folder `path` and the files in it; a link that somebody put in
// its place is not followed.
absl::Status RemoveShardFolder(const std::string& path) {
  DIR* const folder = ::fdopendir(
      ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder == nullptr) return RemoveFile(path);
  while (const dirent* const entry = ::readdir(folder)) {
    ::unlinkat(::dirfd(folder), entry->d_name, 0);
  }
  ::closedir(folder);
  return ::rmdir(path.c_str()) == 0 ? absl::OkStatus()
                                    : ErrnoError(errno, "cannot remove", path);
}

void WarnOfNoLock(std::string_view folder, int error_number) {
  static std::atomic<bool> warned = false;
  if (warned.exchange(true)) return;
  LOG(WARNING) << "The folder \"" << folder
               << "\" of checkpoints cannot be locked ("
               << std::generic_category().message(error_number)
               << "): see to it that no other process saves into it";
}

}  // namespace

struct FolderLock::Entry {
  Entry(FolderId its_id, int its_fd, bool is_locked)
      : id(its_id), fd(its_fd), locked(is_locked) {}

  const FolderId id;
  int fd;
  const bool locked;  // false where the file system has no locks
  int writers = 0;
  int sessions = 0;
  const void* owner = nullptr;  // of the sessions
  Mutex turn;                   // of those who put a checkpoint into place
};

// The folders into which this process saves.
class FolderLock::Registry {
 public:
  static Registry& Get() {
    static Registry* const registry = [] {
      ::pthread_atfork(BeforeFork, AfterForkInParent, AfterForkInChild);
      return new Registry;
    }();
    return *registry;
  }

  // Null if the folder cannot be opened.
  absl::StatusOr<std::shared_ptr<Entry>> Join(const std::string& folder,
                                              Use use, const void* owner) {
    const int fd = CurrentFileOps().Open(folder.empty() ? "." : folder.c_str(),
                                         O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    struct stat stat;
    if (fd < 0 || CurrentFileOps().StatOpen(fd, &stat) < 0) {
      WarnOfNoLock(folder, errno);
      if (fd >= 0) CurrentFileOps().Close(fd);
      return nullptr;
    }
    const FolderId id = {stat.st_dev, stat.st_ino};
    MutexLock lock(mu_);
    auto it = entries_.find(id);
    if (it != entries_.end()) {
      CurrentFileOps().Close(fd);
    } else {
      const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
      if (!locked && errno == EWOULDBLOCK) {
        CurrentFileOps().Close(fd);
        return absl::FailedPreconditionError(absl::StrCat(
            "another process saves checkpoints into the folder \"", folder,
            "\"; end it first, or give each its own folder"));
      }
      if (!locked) WarnOfNoLock(folder, errno);
      it = entries_.emplace(id, std::make_shared<Entry>(id, fd, locked)).first;
    }
    Entry& entry = *it->second;
    if (use == Use::kWrite) {
      ++entry.writers;
    } else if (entry.sessions == 0 || entry.owner == owner) {
      ++entry.sessions;
      entry.owner = owner;
    } else {
      return absl::FailedPreconditionError(absl::StrCat(
          "another session of this program saves checkpoints into the folder "
          "\"",
          folder, "\"; give both the same saver, or each its own folder"));
    }
    return it->second;
  }

  void Leave(Entry& entry, Use use) {
    MutexLock lock(mu_);
    --(use == Use::kWrite ? entry.writers : entry.sessions);
    if (entry.writers + entry.sessions > 0 || entry.fd < 0) return;
    CurrentFileOps().Close(entry.fd);
    entries_.erase(entry.id);
  }

  bool HasLockAndOneWriter(const Entry& entry) {
    MutexLock lock(mu_);
    return entry.fd >= 0 && entry.locked && entry.writers == 1;
  }

 private:
  static void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS { Get().mu_.Lock(); }
  static void AfterForkInParent() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Get().mu_.Unlock();
  }
  // The child's copies of the descriptors would keep the locks.
  static void AfterForkInChild() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (auto& [id, entry] : Get().entries_) {
      ::close(std::exchange(entry->fd, -1));
    }
    Get().entries_.clear();
    Get().mu_.Unlock();
  }

  Mutex mu_;
  std::map<FolderId, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::Take(
    std::string_view folder, Use use, const void* owner) {
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Entry> entry,
                      Registry::Get().Join(std::string(folder), use, owner));
  return std::unique_ptr<FolderLock>(
      new FolderLock(folder, use, std::move(entry)));
}

FolderLock::FolderLock(std::string_view folder, Use use,
                       std::shared_ptr<Entry> entry)
    : folder_(folder), use_(use), entry_(std::move(entry)) {}

FolderLock::~FolderLock() {
  if (entry_ != nullptr) Registry::Get().Leave(*entry_, use_);
}

absl::Status FolderLock::Alone(absl::FunctionRef<absl::Status()> body) {
  if (entry_ == nullptr) return body();
  MutexLock lock(entry_->turn);
  return body();
}

void FolderLock::RemoveLeftovers(absl::Time now) {
  // Listed first: what others begin to write from now on is not in the list.
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder_);
  if (!names.ok() || entry_ == nullptr ||
      !Registry::Get().HasLockAndOneWriter(*entry_)) {
    return;
  }
  for (const std::string& name : *names) {
    const std::string path = JoinPath(folder_, name);
    if (IsTemporaryCheckpointName(
            absl::StripSuffix(name, kShardFolderSuffix))) {
      RemoveTemporary(path);
    } else if (IsTemporaryName(name)) {
      // Other files than checkpoints are written without a lock.
      const absl::StatusOr<FileInfo> info = GetFileInfo(path);
      if (info.ok() && info->modified < now - kLongForOneFile) {
        RemoveTemporary(path);
      }
    }
  }
}

void RemoveTemporary(const std::string& path) {
  const absl::Status status = absl::EndsWith(path, kShardFolderSuffix)
                                  ? RemoveShardFolder(path)
                                  : RemoveFile(path);
  if (!status.ok() && !absl::IsNotFound(status)) {
    LOG(WARNING) << "A temporary file stays: " << status.message();
  }
}

}  // namespace tftrain::internal

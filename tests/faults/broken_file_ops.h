// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Savers that are broken on purpose, to see that the crash tests notice.

#ifndef TFTRAIN_FAULTS_BROKEN_FILE_OPS_H_
#define TFTRAIN_FAULTS_BROKEN_FILE_OPS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// What a saver does that does not keep its promises.
enum class BrokenPromise {
  kDataNotSynced,
  kIndexNotSynced,
  kFolderNotSynced,
  // The index gets its name before the data does.
  kIndexBeforeData,
  // The index is written into the file that has its name.
  kIndexInPlace,
  // The state file names a checkpoint whose index comes after it.
  kStateBeforeIndex,
  kStateNotSynced,
  // Older checkpoints are deleted as soon as a save begins.
  kDeletesBeforeCommit,
  // A sync of data fails, nothing of it reaches the disk, and the save goes on.
  kSyncErrorIgnored,
  // The same, but it is told when the data is closed, as some network file
  // systems do.
  kCloseErrorIgnored,
  // The data takes the name of data that is in use.
  kDataOverDataInUse,
};

// All of them, with their names.
std::vector<std::pair<std::string, BrokenPromise>> AllBrokenPromises();

// Stands between the library and a disk, and does its calls as a saver would
// that breaks `promise`.
//
// Thread-safe.
class BrokenFileOps : public internal::FileOps {
 public:
  // `disk` must outlive it. With `admits`, an error is reported that is ignored
  // otherwise.
  BrokenFileOps(internal::FileOps& disk, BrokenPromise promise,
                bool admits = false)
      : disk_(disk), promise_(promise), admits_(admits) {}

  int Open(const char* path, int flags, mode_t mode) override;
  ssize_t Read(int fd, void* data, size_t size) override {
    return disk_.Read(fd, data, size);
  }
  ssize_t Write(int fd, const void* data, size_t size) override {
    return disk_.Write(fd, data, size);
  }
  int Sync(int fd) override;
  void StartWriteback(int fd, int64_t offset, int64_t size) override {
    disk_.StartWriteback(fd, offset, size);
  }
  int Close(int fd) override;
  int ChangeMode(int fd, mode_t mode) override {
    return disk_.ChangeMode(fd, mode);
  }
  int StatOpen(int fd, struct stat* result) override {
    return disk_.StatOpen(fd, result);
  }
  int Stat(const char* path, struct stat* result) override {
    return disk_.Stat(path, result);
  }
  int Rename(const char* from, const char* to) override;
  int Unlink(const char* path) override { return disk_.Unlink(path); }
  int MakeFolder(const char* path, mode_t mode) override {
    return disk_.MakeFolder(path, mode);
  }

 private:
  struct OpenedFile {
    std::string path;
    bool is_folder = false;
  };

  // Copies the file `from` into `to`, which `flags` open, and syncs it.
  void Copy(const std::string& from, const std::string& to, int flags);
  void SyncFolderOf(const std::string& path);

  internal::FileOps& disk_;
  const BrokenPromise promise_;
  const bool admits_;

  Mutex mu_;
  std::map<int, OpenedFile> open_ ABSL_GUARDED_BY(mu_);
  // Files whose sync failed.
  std::set<std::string> failed_ ABSL_GUARDED_BY(mu_);
  // Renames that are put off.
  std::vector<std::pair<std::string, std::string>> late_ ABSL_GUARDED_BY(mu_);
};

// Makes all savers of this process, until its end, those of that name: `Sound`,
// `Unsynced` (nothing is forced to the disk), or with a broken promise. Ends
// the program if there are none.
void UseSaver(const std::string& name);

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_BROKEN_FILE_OPS_H_

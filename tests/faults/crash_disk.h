// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A record of what is done to a folder, and what of it is left after a crash.

#ifndef TFTRAIN_FAULTS_CRASH_DISK_H_
#define TFTRAIN_FAULTS_CRASH_DISK_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// One call of the library's file code. Paths are those below the folder that is
// recorded; a file is known by a number, whatever its name.
struct DiskCall {
  enum class Kind {
    kOther,  // changes nothing: a read, a close
    kCreate,
    kWrite,
    kTruncate,
    kSyncFile,
    kSyncFolder,
    kRename,
    kUnlink,
    kMakeFolder,
  };
  Kind kind = Kind::kOther;
  std::string path;
  std::string to;     // of kRename
  std::string bytes;  // of kWrite
  int file = 0;
  size_t offset = 0;  // of kWrite
};

// The content of a folder: files by their path below it; a path that ends in a
// slash is a folder.
using FolderContent = std::map<std::string, std::string>;

// What `folder` holds now.
FolderContent ReadFolder(const std::string& folder);

// Records the file calls of this process below `folder`, from its construction
// to its end, and does them; but nothing is forced to the real disk.
//
// Thread-safe.
class CrashDisk : public internal::FileOps {
 public:
  // A write takes at most `largest_write` bytes.
  CrashDisk(std::string folder, size_t largest_write);
  CrashDisk(const CrashDisk&) = delete;
  CrashDisk& operator=(const CrashDisk&) = delete;
  ~CrashDisk() override;

  // The calls so far.
  std::vector<DiskCall> calls() const;
  size_t call_count() const;

  int Open(const char* path, int flags, mode_t mode) override;
  ssize_t Read(int fd, void* data, size_t size) override;
  ssize_t Write(int fd, const void* data, size_t size) override;
  int Sync(int fd) override;
  void StartWriteback(int fd, int64_t offset, int64_t size) override;
  int Close(int fd) override;
  int ChangeMode(int fd, mode_t mode) override;
  int StatOpen(int fd, struct stat* result) override;
  int Stat(const char* path, struct stat* result) override;
  int Rename(const char* from, const char* to) override;
  int Unlink(const char* path) override;
  int MakeFolder(const char* path, mode_t mode) override;

 private:
  struct OpenFile {
    std::string path;
    int file = 0;  // 0: a folder
    size_t offset = 0;
  };

  // Whether it lies below the folder; makes it a path below it.
  bool Below(std::string_view path, std::string* below) const;
  void Note(DiskCall::Kind kind, std::string path = "")
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteOther(int fd);

  const std::string folder_;
  const size_t largest_write_;
  internal::FileOps* const former_;

  mutable Mutex mu_;
  std::vector<DiskCall> calls_ ABSL_GUARDED_BY(mu_);
  std::map<int, OpenFile> open_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int> files_ ABSL_GUARDED_BY(mu_);
  int last_file_ ABSL_GUARDED_BY(mu_) = 0;
};

// A disk to which recorded calls are done one after the other, and what a crash
// at that moment leaves of it. Only what was forced to the disk is certain: the
// bytes of a file by a sync of the file, names by a sync of their folder.
//
// Confined: use from one thread at a time.
class DiskModel {
 public:
  void Do(const DiskCall& call);

  // After the end of the process: all that was done.
  FolderContent AfterKill() const;

  // After a power cut: what is certain, and any part of the rest. Bytes are
  // missing, zero, cut off, or there by sectors; names were created, replaced
  // and removed all, not at all, up to some moment, or each as chance has it.
  FolderContent AfterPowerCut(RandomSchedule& random) const;

  // After a power cut within `call`: a write of which any sectors are there,
  // while writes before it may be missing as a whole; a rename that left both
  // names. Names that were made before are there.
  FolderContent AfterPowerCutWithin(const DiskCall& call,
                                    RandomSchedule& random) const;

 private:
  static constexpr int kFolder = -1;
  static constexpr int kNothing = -2;
  using Names = std::map<std::string, int>;
  // What happens to names at one moment.
  using Change = std::vector<std::pair<std::string, int>>;

  struct WrittenPart {
    bool truncates = false;
    size_t offset = 0;
    std::string bytes;
  };
  struct File {
    std::string certain;
    std::vector<WrittenPart> parts;
  };

  static Change ChangeOf(const DiskCall& call);
  static void Apply(const Change& change, Names* names);
  static void Apply(const WrittenPart& part, std::string* bytes);
  // Some of the sectors of `part`.
  static void ApplyTorn(const WrittenPart& part, RandomSchedule& random,
                        std::string* bytes);
  static std::string AllOf(const File& file);
  static std::string SomeOf(const File& file, int how, RandomSchedule& random);
  Names SomeNames(RandomSchedule& random) const;

  // `content` says what is in a file.
  template <typename Content>
  FolderContent Collect(const Names& names, Content content) const;

  std::map<int, File> files_;
  Names now_;
  Names certain_;
  std::vector<Change> changes_;  // after what is certain, in order
};

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_CRASH_DISK_H_

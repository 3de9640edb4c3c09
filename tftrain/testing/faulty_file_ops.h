// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Lets the k-th system call of the library's own file code fail.

#ifndef TFTRAIN_TESTING_FAULTY_FILE_OPS_H_
#define TFTRAIN_TESTING_FAULTY_FILE_OPS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// Counts and, when told to, fails the file calls of this process from its
// construction to its end; one at a time. Only the library's own file code
// goes through it, TensorFlow's does not.
//
// Thread-safe.
//
//   FaultyFileOps faults;
//   faults.FailCall(3, ENOSPC);
//   EXPECT_THAT(WriteFileAtomically(path, "x"),
//               StatusIs(absl::StatusCode::kResourceExhausted));
class FaultyFileOps : public internal::FileOps {
 public:
  enum class Fault {
    kOnce,    // That call only.
    kSticky,  // That call and all that come later.
  };

  FaultyFileOps();
  FaultyFileOps(const FaultyFileOps&) = delete;
  FaultyFileOps& operator=(const FaultyFileOps&) = delete;
  ~FaultyFileOps() override;

  // Makes the call of index `index`, counted from 0 and from now, fail with
  // `error_number`, and forgets what was told before. A failing close closes
  // all the same.
  void FailCall(int index, int error_number, Fault fault = Fault::kOnce);

  // Lets a write take at most `size` bytes at once; 0 for no limit.
  void LimitWrites(size_t size);

  // The names of the calls made since the last FailCall, in order: "open",
  // "read", "pread", "write", "ftruncate", "fsync", "close", "fchmod", "fstat",
  // "stat", "rename", "unlink", "mkdir".
  std::vector<std::string> calls() const;

  int Open(const char* path, int flags, mode_t mode) override;
  ssize_t Read(int fd, void* data, size_t size) override;
  ssize_t Pread(int fd, void* data, size_t size, off_t offset) override;
  ssize_t Write(int fd, const void* data, size_t size) override;
  int Truncate(int fd, off_t size) override;
  int Sync(int fd) override;
  int Close(int fd) override;
  int ChangeMode(int fd, mode_t mode) override;
  int StatOpen(int fd, struct stat* result) override;
  int Stat(const char* path, struct stat* result) override;
  int Rename(const char* from, const char* to) override;
  int Unlink(const char* path) override;
  int MakeFolder(const char* path, mode_t mode) override;

 private:
  // Notes the call; true if it shall fail, with errno set.
  bool Fails(std::string_view call);

  internal::FileOps* const former_;

  mutable Mutex mu_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  int fail_index_ ABSL_GUARDED_BY(mu_) = -1;
  int error_number_ ABSL_GUARDED_BY(mu_) = 0;
  Fault fault_ ABSL_GUARDED_BY(mu_) = Fault::kOnce;
  size_t write_limit_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_FAULTY_FILE_OPS_H_

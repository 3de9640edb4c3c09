// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A disk that stands still until a test lets it go on.

#ifndef TFTRAIN_TESTING_SLOW_FILE_OPS_H_
#define TFTRAIN_TESTING_SLOW_FILE_OPS_H_

#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "tftrain/base/mutex.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {

// Counts and fails as its base does; while it is stopped, writes to files whose
// path holds a given text wait.
//
// Thread-safe.
//
//   SlowFileOps disk(".data-");
//   disk.Stop();
//   ... begin to write on another thread ...
//   disk.AwaitWriter();
//   disk.GoOn();
class SlowFileOps : public UnsyncedFileOps {
 public:
  explicit SlowFileOps(std::string slow) : slow_(std::move(slow)) {}

  // Lets writes go on, as a thread may still wait in one.
  ~SlowFileOps() override { GoOn(); }

  void Stop() {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  void GoOn() {
    MutexLock lock(mu_);
    stopped_ = false;
    changed_.NotifyAll();
  }
  // Returns when a write waits.
  void AwaitWriter() {
    MutexLock lock(mu_);
    while (waiting_ == 0) changed_.Wait(mu_);
  }

  int Open(const char* path, int flags, mode_t mode) override {
    const int fd = UnsyncedFileOps::Open(path, flags, mode);
    MutexLock lock(mu_);
    slow_files_.erase(fd);  // its number is used again
    if (absl::StrContains(path, slow_)) slow_files_.insert(fd);
    return fd;
  }

  ssize_t Write(int fd, const void* data, size_t size) override {
    {
      MutexLock lock(mu_);
      if (slow_files_.count(fd) > 0) {
        ++waiting_;
        changed_.NotifyAll();
        while (stopped_) changed_.Wait(mu_);
        --waiting_;
      }
    }
    return UnsyncedFileOps::Write(fd, data, size);
  }

 private:
  const std::string slow_;

  Mutex mu_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::set<int> slow_files_ ABSL_GUARDED_BY(mu_);
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_SLOW_FILE_OPS_H_

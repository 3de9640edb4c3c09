// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Files on which something happens at a chosen moment.

#ifndef TFTRAIN_TESTING_INTERRUPTED_FILE_OPS_H_
#define TFTRAIN_TESTING_INTERRUPTED_FILE_OPS_H_

#include <functional>
#include <utility>

#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {

// Does something before one of the looks at a file.
//
// Confined: use from the thread that created it.
//
//   InterruptedFileOps files;
//   files.Interrupt(3, [&] { DeleteTheFile(); });  // before the fourth
class InterruptedFileOps : public UnsyncedFileOps {
 public:
  // Calls `then` before the look of index `look`, counted from 0 and from now;
  // null to forget what was told before.
  void Interrupt(int look, std::function<void()> then) {
    left_ = look;
    then_ = std::move(then);
  }
  bool interrupted() const { return then_ == nullptr; }

  int Stat(const char* path, struct stat* result) override {
    if (then_ != nullptr && left_-- == 0) std::exchange(then_, nullptr)();
    return UnsyncedFileOps::Stat(path, result);
  }

 private:
  int left_ = 0;
  std::function<void()> then_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_INTERRUPTED_FILE_OPS_H_

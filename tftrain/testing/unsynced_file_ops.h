// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Files that are not forced to the disk.

#ifndef TFTRAIN_TESTING_UNSYNCED_FILE_OPS_H_
#define TFTRAIN_TESTING_UNSYNCED_FILE_OPS_H_

#include <sys/mman.h>
#include <unistd.h>

#include "tftrain/testing/faulty_file_ops.h"

namespace tftrain {

// Counts and fails as its base does, but forces nothing to the disk: no test
// can tell, and it takes most of the time.
//
// Thread-safe.
class UnsyncedFileOps : public FaultyFileOps {
 public:
  UnsyncedFileOps() : memory_(::memfd_create("unsynced", MFD_CLOEXEC)) {}
  ~UnsyncedFileOps() override { ::close(memory_); }

  int Sync(int fd) override { return FaultyFileOps::Sync(memory_); }

 private:
  const int memory_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_UNSYNCED_FILE_OPS_H_

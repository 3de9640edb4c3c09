// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The one place where the library's own file code meets the system, so that a
// test can make the k-th call fail. `testing/faulty_file_ops.h` does that.

#ifndef TFTRAIN_BASE_FILE_OPS_H_
#define TFTRAIN_BASE_FILE_OPS_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tftrain::internal {

// The system calls of the same names, with their results and `errno`.
//
// Thread-safe.
class FileOps {
 public:
  virtual ~FileOps() = default;

  virtual int Open(const char* path, int flags, mode_t mode);
  virtual ssize_t Read(int fd, void* data, size_t size);
  virtual ssize_t Pread(int fd, void* data, size_t size, off_t offset);
  virtual ssize_t Write(int fd, const void* data, size_t size);
  virtual int Truncate(int fd, off_t size);
  // Whether what is written goes past the system's cache: O_DIRECT.
  virtual int SetDirect(int fd, bool direct);
  virtual int Sync(int fd);
  // Lets the disk begin with those bytes, without waiting: sync_file_range.
  virtual void StartWriteback(int fd, int64_t offset, int64_t size);
  virtual int Close(int fd);
  virtual int ChangeMode(int fd, mode_t mode);
  virtual int StatOpen(int fd, struct stat* result);
  virtual int Stat(const char* path, struct stat* result);
  virtual int Rename(const char* from, const char* to);
  virtual int Unlink(const char* path);
  virtual int MakeFolder(const char* path, mode_t mode);
};

// The object in use: the system's own, unless a test put another in place.
FileOps& CurrentFileOps();

// Writes `bytes` by CurrentFileOps(), in one call unless the system takes less
// at once, and adds what was written to `written`. False after an error, which
// `errno` tells.
bool WriteAll(int fd, std::string_view bytes, size_t* written);

// Puts `ops` in place (null: the system's own) and returns what was there
// before. For tests; `ops` must outlive its use.
FileOps* ExchangeFileOps(FileOps* ops);

}  // namespace tftrain::internal

#endif  // TFTRAIN_BASE_FILE_OPS_H_

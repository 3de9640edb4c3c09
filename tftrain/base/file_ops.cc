// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/file_ops.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

namespace tftrain::internal {
namespace {

FileOps& SystemFileOps() {
  static FileOps* const ops = new FileOps;
  return *ops;
}

std::atomic<FileOps*> replacement{nullptr};

}  // namespace

int FileOps::Open(const char* path, int flags, mode_t mode) {
  return ::open(path, flags, mode);
}

ssize_t FileOps::Read(int fd, void* data, size_t size) {
  return ::read(fd, data, size);
}

ssize_t FileOps::Pread(int fd, void* data, size_t size, off_t offset) {
  return ::pread(fd, data, size, offset);
}

ssize_t FileOps::Write(int fd, const void* data, size_t size) {
  return ::write(fd, data, size);
}

int FileOps::Truncate(int fd, off_t size) { return ::ftruncate(fd, size); }

int FileOps::SetDirect(int fd, bool direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return flags;
  return ::fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
}

int FileOps::Sync(int fd) { return ::fsync(fd); }

void FileOps::StartWriteback(int fd, int64_t offset, int64_t size) {
  // A file system that cannot does it all in Sync.
  ::sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WRITE);
}

int FileOps::Close(int fd) { return ::close(fd); }

int FileOps::ChangeMode(int fd, mode_t mode) { return ::fchmod(fd, mode); }

int FileOps::StatOpen(int fd, struct stat* result) {
  return ::fstat(fd, result);
}

int FileOps::Stat(const char* path, struct stat* result) {
  return ::stat(path, result);
}

int FileOps::Rename(const char* from, const char* to) {
  return ::rename(from, to);
}

int FileOps::Unlink(const char* path) { return ::unlink(path); }

int FileOps::MakeFolder(const char* path, mode_t mode) {
  return ::mkdir(path, mode);
}

FileOps& CurrentFileOps() {
  FileOps* const ops = replacement.load(std::memory_order_acquire);
  return ops == nullptr ? SystemFileOps() : *ops;
}

bool WriteAll(int fd, std::string_view bytes, size_t* written) {
  while (!bytes.empty()) {
    const ssize_t count =
        CurrentFileOps().Write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) return false;
    *written += static_cast<size_t>(count);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

FileOps* ExchangeFileOps(FileOps* ops) {
  return replacement.exchange(ops, std::memory_order_acq_rel);
}

}  // namespace tftrain::internal

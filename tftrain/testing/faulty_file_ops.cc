// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/faulty_file_ops.h"

#include <algorithm>
#include <cerrno>

namespace tftrain {

FaultyFileOps::FaultyFileOps() : former_(internal::ExchangeFileOps(this)) {}

FaultyFileOps::~FaultyFileOps() { internal::ExchangeFileOps(former_); }

void FaultyFileOps::FailCall(int index, int error_number, Fault fault) {
  MutexLock lock(mu_);
  calls_.clear();
  fail_index_ = index;
  error_number_ = error_number;
  fault_ = fault;
}

void FaultyFileOps::LimitWrites(size_t size) {
  MutexLock lock(mu_);
  write_limit_ = size;
}

std::vector<std::string> FaultyFileOps::calls() const {
  MutexLock lock(mu_);
  return calls_;
}

bool FaultyFileOps::Fails(std::string_view call) {
  MutexLock lock(mu_);
  const int index = static_cast<int>(calls_.size());
  calls_.emplace_back(call);
  if (fail_index_ < 0 || index < fail_index_) return false;
  if (fault_ == Fault::kOnce && index > fail_index_) return false;
  errno = error_number_;
  return true;
}

int FaultyFileOps::Open(const char* path, int flags, mode_t mode) {
  return Fails("open") ? -1 : FileOps::Open(path, flags, mode);
}

ssize_t FaultyFileOps::Read(int fd, void* data, size_t size) {
  return Fails("read") ? -1 : FileOps::Read(fd, data, size);
}

ssize_t FaultyFileOps::Pread(int fd, void* data, size_t size, off_t offset) {
  return Fails("pread") ? -1 : FileOps::Pread(fd, data, size, offset);
}

ssize_t FaultyFileOps::Write(int fd, const void* data, size_t size) {
  if (Fails("write")) return -1;
  {
    MutexLock lock(mu_);
    if (write_limit_ > 0) size = std::min(size, write_limit_);
  }
  return FileOps::Write(fd, data, size);
}

int FaultyFileOps::Truncate(int fd, off_t size) {
  return Fails("ftruncate") ? -1 : FileOps::Truncate(fd, size);
}

int FaultyFileOps::Sync(int fd) {
  return Fails("fsync") ? -1 : FileOps::Sync(fd);
}

int FaultyFileOps::Close(int fd) {
  const int result = FileOps::Close(fd);
  return Fails("close") ? -1 : result;
}

int FaultyFileOps::ChangeMode(int fd, mode_t mode) {
  return Fails("fchmod") ? -1 : FileOps::ChangeMode(fd, mode);
}

int FaultyFileOps::StatOpen(int fd, struct stat* result) {
  return Fails("fstat") ? -1 : FileOps::StatOpen(fd, result);
}

int FaultyFileOps::Stat(const char* path, struct stat* result) {
  return Fails("stat") ? -1 : FileOps::Stat(path, result);
}

int FaultyFileOps::Rename(const char* from, const char* to) {
  return Fails("rename") ? -1 : FileOps::Rename(from, to);
}

int FaultyFileOps::Unlink(const char* path) {
  return Fails("unlink") ? -1 : FileOps::Unlink(path);
}

int FaultyFileOps::MakeFolder(const char* path, mode_t mode) {
  return Fails("mkdir") ? -1 : FileOps::MakeFolder(path, mode);
}

}  // namespace tftrain

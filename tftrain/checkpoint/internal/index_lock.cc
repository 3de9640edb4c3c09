// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/index_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain::internal {
namespace {

absl::Status InTheWay(const std::string& prefix, IndexLockKind kind) {
  if (kind == IndexLockKind::kRead) {
    return absl::NotFoundError(
        absl::StrCat("the checkpoint \"", prefix,
                     "\" is being deleted, look for the newest one again"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "the checkpoint \"", prefix, "\" is being read, delete it later"));
}

// The lock on what is at `path` now; nothing if something else came there
// meanwhile.
absl::StatusOr<std::optional<int>> TryLock(const std::string& prefix,
                                           const std::string& path,
                                           IndexLockKind kind) {
  FileOps& files = CurrentFileOps();
  const int fd =
      files.Open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
  if (fd < 0) return ErrnoError(errno, "cannot open", path);
  const int operation = kind == IndexLockKind::kRead ? LOCK_SH : LOCK_EX;
  if (::flock(fd, operation | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
    files.Close(fd);
    return InTheWay(prefix, kind);
  }
  struct stat opened, named;
  if (files.StatOpen(fd, &opened) < 0 || files.Stat(path.c_str(), &named) < 0) {
    const int error_number = errno;
    files.Close(fd);
    return ErrnoError(error_number, "cannot open", path);
  }
  if (opened.st_dev == named.st_dev && opened.st_ino == named.st_ino) return fd;
  files.Close(fd);
  return std::nullopt;
}

}  // namespace

absl::StatusOr<int> LockIndex(const std::string& prefix, IndexLockKind kind) {
  const std::string path = IndexFileName(prefix);
  while (true) {
    const absl::StatusOr<std::optional<int>> fd = TryLock(prefix, path, kind);
    if (!fd.ok()) return fd.status();
    if (fd->has_value()) return **fd;
  }
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Files on local POSIX file systems, written so that they survive a crash.
//
// TensorFlow's own file layer hands the bytes to the kernel and stops there:
// its `Sync` does not call fsync and folders are not synced at all. Here,
// durable means that the bytes and the name were forced to the disk before
// the call returned OK.
//
// Errors of every function, unless it says otherwise: the message holds the
// path in quotes and the system's own text; the code is that of
// `ErrnoToCode`, never kOutOfRange, kAborted or kUnavailable. An empty path,
// or one that holds a zero byte, is kInvalidArgument.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_BASE_FILE_H_
#define TFTRAIN_BASE_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tftrain {

// What became of the code of a failed system call:
//   kNotFound           ENOENT
//   kAlreadyExists      EEXIST
//   kPermissionDenied   EACCES EPERM EROFS
//   kResourceExhausted  ENOSPC EDQUOT EFBIG EMFILE ENFILE ENOMEM EMLINK
//   kDataLoss           EIO
//   kInvalidArgument    EINVAL ENAMETOOLONG ELOOP EBADF
//   kFailedPrecondition ENOTDIR EISDIR ENOTEMPTY EXDEV EBUSY ETXTBSY ESTALE
//   kUnimplemented      ENOSYS ENOTSUP
//   kDeadlineExceeded   ETIMEDOUT
//   kUnknown            all others
absl::StatusCode ErrnoToCode(int error_number);

// The status of the failed call that left `error_number`; `what` begins the
// message, such as `cannot read`, and `path` follows in quotes.
absl::Status ErrnoError(int error_number, std::string_view what,
                        std::string_view path);

// What the file system knows of a path.
struct FileInfo {
  bool is_regular = false;
  bool is_folder = false;
  int64_t size = 0;  // In bytes.
  absl::Time modified;
};

// How WriteFileAtomically makes its file.
struct WriteOptions {
  // Force the bytes and the name to the disk. Without it the file is still
  // whole or absent after the end of this process, but not after a power cut.
  bool durable = true;

  // Permissions of the file; the process's umask is taken off them.
  mode_t mode = 0666;

  // Write past the system's cache, where the file system offers it: a fraction
  // of the processor's time, but the disk works while the writer waits, and
  // whoever reads the file next finds it on the disk alone.
  bool direct = false;
};

// What must divide the address, and the size, of bytes that are to be written
// past the cache.
inline constexpr size_t kDirectAlignment = 4096;

// The content of a regular file of at most `limit` bytes. Never waits for a
// pipe or a device.
// Errors: kInvalidArgument if it is no regular file; kResourceExhausted if it
// is longer than `limit`.
absl::StatusOr<std::string> ReadFile(std::string_view path, int64_t limit);

// A new file, written from its beginning to its end. Only its owner may look
// into it until it is whole.
//
// States: written to -> finished (closed).
// Confined: use from one thread at a time.
class NewFile {
 public:
  // Makes the file `path`, where nothing may be; a link is not followed.
  // Messages show it as `shown_as`.
  // Errors: kAlreadyExists.
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(
      std::string_view path, const WriteOptions& options,
      std::string_view shown_as);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  // Closes the file; one that is not finished stays as it is.
  ~NewFile();

  // A durable file's bytes begin their way to the disk while more are written;
  // those of a direct file go past the cache until the first that are not
  // aligned.
  absl::Status Append(std::string_view bytes);

  // Gives the file its permissions, forces its bytes to the disk if it is
  // durable, and closes it; not its name, see SyncFolder. Once, at the end.
  absl::Status Finish();

 private:
  NewFile(int fd, std::string shown_as, bool durable);

  ssize_t Write(std::string_view bytes);

  int fd_;
  const std::string shown_as_;
  const bool durable_;
  bool direct_ = false;
  mode_t mode_ = 0;
  int64_t size_ = 0;
  int64_t started_ = 0;  // so many bytes are on their way
};

// Makes `path` a file that holds `contents`; whoever opens it sees the former
// file or the new one, never a part. Writes a temporary file beside it
// (`IsTemporaryName`; nobody else's link is followed; readable by the owner
// only until it is whole) and renames that. On an error the temporary file is
// removed, and what was at `path` stays, save for one case: when only the
// last step fails, forcing the folder to the disk, the new file is in place
// but may not survive a power cut.
absl::Status WriteFileAtomically(std::string_view path,
                                 std::string_view contents,
                                 const WriteOptions& options = {});

// True for the names of WriteFileAtomically's temporary files. One found in a
// folder that nobody writes to is left from a process that was killed.
bool IsTemporaryName(std::string_view name);

// Forces the bytes of the regular file `path` to the disk.
absl::Status SyncFile(std::string_view path);

// Forces the names in the folder `path` to the disk. OK on a file system that
// does not offer it. An empty path is the current folder.
absl::Status SyncFolder(std::string_view path);

// Renames `from` to `to`, replacing what is there, and forces the names in
// both folders to the disk; not the bytes, see SyncFile.
absl::Status RenameDurably(std::string_view from, std::string_view to);

// Makes the folder `path` and those above it that are missing, and forces
// their names to the disk. OK if it exists.
// Errors: kFailedPrecondition if something on the way is no folder.
absl::Status CreateFolders(std::string_view path);

// Removes the file or link `path`.
// Errors: kNotFound if there is none.
absl::Status RemoveFile(std::string_view path);

// The names in the folder `path`, sorted, without "." and "..". An empty path
// is the current folder.
absl::StatusOr<std::vector<std::string>> ListFolder(std::string_view path);

// What `path` is; links are followed.
// Errors: kNotFound if there is nothing.
absl::StatusOr<FileInfo> GetFileInfo(std::string_view path);

// Whether there is anything at `path`; an error if that cannot be told.
absl::StatusOr<bool> FileExists(std::string_view path);

// The size in bytes of the regular file `path`.
// Errors: kNotFound; kInvalidArgument if it is no regular file.
absl::StatusOr<int64_t> FileSize(std::string_view path);

// `name` in `folder`. An absolute name stands alone, an empty folder is none.
//
// Python: `os.path.join`.
std::string JoinPath(std::string_view folder, std::string_view name);

// All before the last slash, without the slashes at its end unless it consists
// of them; empty without a slash.
//
// Python: `os.path.dirname`.
std::string DirName(std::string_view path);

// All after the last slash.
//
// Python: `os.path.basename`.
std::string BaseName(std::string_view path);

}  // namespace tftrain

#endif  // TFTRAIN_BASE_FILE_H_

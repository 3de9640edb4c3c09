// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file_ops.h"

namespace tftrain {
namespace {

using internal::CurrentFileOps;

constexpr std::string_view kTemporaryPrefix = ".tftrain.tmp-";
constexpr size_t kRandomBytes = 16;
constexpr size_t kMaxPiece = size_t{1} << 30;
constexpr size_t kGrowth = size_t{64} << 10;
// How much is written before the disk is told to begin with it.
constexpr int64_t kWritebackBytes = int64_t{8} << 20;

// Calls `call` until it ends for another reason than a signal.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

bool IsAligned(std::string_view bytes) {
  return (reinterpret_cast<uintptr_t>(bytes.data()) | bytes.size()) %
             kDirectAlignment ==
         0;
}

std::string_view Advice(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free some space or choose another folder";
    case EACCES:
    case EPERM:
      return "; check the permissions of the file and of its folder";
    case EROFS:
      return "; choose a folder on a file system that can be written";
    case EMFILE:
    case ENFILE:
      return "; close files or raise their limit (ulimit -n)";
    case EIO:
      return "; the disk may be failing, check the system's log";
    default:
      return "";
  }
}

absl::Status CheckPath(std::string_view path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        "the path is empty, give the file's name");
  }
  if (absl::StrContains(path, '\0')) {
    return absl::InvalidArgumentError(
        absl::StrCat("the path \"", absl::CHexEscape(path),
                     "\" holds a zero byte, which no file name can"));
  }
  return absl::OkStatus();
}

// A descriptor that is closed at the end.
class OpenFile {
 public:
  OpenFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) CurrentFileOps().Close(fd_);
  }

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

  // Gives the descriptor away.
  int Release() { return std::exchange(fd_, -1); }

  absl::Status Close() {
    // Linux has closed the descriptor even when it reports EINTR.
    if (CurrentFileOps().Close(Release()) < 0 && errno != EINTR) {
      return ErrnoError(errno, "cannot close", path_);
    }
    return absl::OkStatus();
  }

 private:
  int fd_;
  const std::string path_;
};

int Open(const std::string& path, int flags, mode_t mode = 0) {
  return Retry([&] {
    return CurrentFileOps().Open(path.c_str(), flags | O_CLOEXEC, mode);
  });
}

FileInfo InfoFrom(const struct stat& stat) {
  FileInfo info;
  info.is_regular = S_ISREG(stat.st_mode);
  info.is_folder = S_ISDIR(stat.st_mode);
  info.size = static_cast<int64_t>(stat.st_size);
  info.modified = absl::TimeFromTimespec(stat.st_mtim);
  return info;
}

absl::Status NotRegular(std::string_view path) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", path, "\" is no regular file, give the path of one"));
}

absl::Status TooLong(std::string_view path, int64_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat("\"", path, "\" is longer than the limit of ", limit,
                   " bytes, check that it is the right file"));
}

// Reads to the end of the file, which may be longer or shorter by now than
// `expected`.
absl::StatusOr<std::string> ReadAll(const OpenFile& file, size_t expected,
                                    size_t limit) {
  // One byte beyond tells a file that ends here from one that goes on.
  std::string contents(expected + 1, '\0');
  size_t size = 0;
  while (true) {
    const ssize_t count = Retry([&] {
      return CurrentFileOps().Read(file.fd(), &contents[size],
                                   std::min(contents.size() - size, kMaxPiece));
    });
    if (count < 0) return ErrnoError(errno, "cannot read", file.path());
    if (count == 0) break;
    size += static_cast<size_t>(count);
    if (size > limit) return TooLong(file.path(), static_cast<int64_t>(limit));
    if (size == contents.size()) {
      contents.resize(size + std::min(kGrowth, limit - size + 1));
    }
  }
  contents.resize(size);
  return contents;
}

absl::StatusOr<std::string> TemporaryPath(const std::string& folder) {
  char bytes[kRandomBytes];
  size_t size = 0;
  while (size < sizeof(bytes)) {
    const ssize_t count = Retry(
        [&] { return ::getrandom(bytes + size, sizeof(bytes) - size, 0); });
    if (count < 0) {
      return ErrnoError(errno, "cannot name a temporary file in", folder);
    }
    size += static_cast<size_t>(count);
  }
  return JoinPath(folder, absl::StrCat(kTemporaryPrefix,
                                       absl::BytesToHexString(std::string_view(
                                           bytes, sizeof(bytes)))));
}

absl::Status SyncDescriptor(OpenFile& file) {
  if (Retry([&] { return CurrentFileOps().Sync(file.fd()); }) < 0) {
    return ErrnoError(errno, "cannot write to the disk", file.path());
  }
  return file.Close();
}

std::string WithoutFinalSlashes(std::string_view path) {
  const size_t last = path.find_last_not_of('/');
  // A path of slashes alone is the root.
  return std::string(
      path.substr(0, last == std::string_view::npos ? 1 : last + 1));
}

}  // namespace

absl::StatusCode ErrnoToCode(int error_number) {
  switch (error_number) {
    case 0:
      return absl::StatusCode::kOk;
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EMLINK:
      return absl::StatusCode::kResourceExhausted;
    case EIO:
      return absl::StatusCode::kDataLoss;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case EBADF:
      return absl::StatusCode::kInvalidArgument;
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case EXDEV:
    case EBUSY:
    case ETXTBSY:
    case ESTALE:
      return absl::StatusCode::kFailedPrecondition;
    case ENOSYS:
    case ENOTSUP:
      return absl::StatusCode::kUnimplemented;
    case ETIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    default:
      return absl::StatusCode::kUnknown;
  }
}

absl::Status ErrnoError(int error_number, std::string_view what,
                        std::string_view path) {
  return absl::Status(
      ErrnoToCode(error_number),
      absl::StrCat(what, " \"", path,
                   "\": ", std::generic_category().message(error_number),
                   Advice(error_number)));
}

absl::StatusOr<std::string> ReadFile(std::string_view path, int64_t limit) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  const std::string name(path);
  const OpenFile file(Open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY), name);
  if (file.fd() < 0) return ErrnoError(errno, "cannot open", path);
  struct stat stat;
  if (CurrentFileOps().StatOpen(file.fd(), &stat) < 0) {
    return ErrnoError(errno, "cannot read", path);
  }
  if (!S_ISREG(stat.st_mode)) return NotRegular(path);
  if (limit < 0 || stat.st_size > limit) return TooLong(path, limit);
  return ReadAll(file, static_cast<size_t>(stat.st_size),
                 static_cast<size_t>(limit));
}

NewFile::NewFile(int fd, std::string shown_as, bool durable)
    : fd_(fd), shown_as_(std::move(shown_as)), durable_(durable) {}

NewFile::~NewFile() {
  if (fd_ >= 0) CurrentFileOps().Close(fd_);
}

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Create(
    std::string_view path, const WriteOptions& options,
    std::string_view shown_as) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  const int fd =
      Open(std::string(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
           options.mode & 0777);
  if (fd < 0) return ErrnoError(errno, "cannot write", shown_as);
  std::unique_ptr<NewFile> file(
      new NewFile(fd, std::string(shown_as), options.durable));
  struct stat stat;
  if (CurrentFileOps().StatOpen(fd, &stat) < 0 ||
      CurrentFileOps().ChangeMode(fd, S_IRUSR | S_IWUSR) < 0) {
    const int error_number = errno;
    file.reset();
    Retry([&] { return CurrentFileOps().Unlink(std::string(path).c_str()); });
    return ErrnoError(error_number, "cannot set the permissions of", shown_as);
  }
  // The kernel has taken the umask off by now.
  file->mode_ = stat.st_mode & 0777;
  file->direct_ =
      options.direct && CurrentFileOps().SetDirect(fd, /*direct=*/true) == 0;
  return file;
}

// Writes some of `bytes`.
ssize_t NewFile::Write(std::string_view bytes) {
  const auto write = [&] {
    return CurrentFileOps().Write(fd_, bytes.data(),
                                  std::min(bytes.size(), kMaxPiece));
  };
  if (direct_ && IsAligned(bytes)) {
    const ssize_t count = Retry(write);
    // A disk may ask for a larger alignment.
    if (count >= 0 || errno != EINVAL) return count;
  }
  if (std::exchange(direct_, false) &&
      CurrentFileOps().SetDirect(fd_, /*direct=*/false) < 0) {
    return -1;
  }
  return Retry(write);
}

absl::Status NewFile::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = Write(bytes);
    if (count < 0) return ErrnoError(errno, "cannot write", shown_as_);
    if (count == 0) return ErrnoError(EIO, "cannot write", shown_as_);
    bytes.remove_prefix(static_cast<size_t>(count));
    size_ += count;
  }
  if (durable_ && !direct_ && size_ - started_ >= kWritebackBytes) {
    CurrentFileOps().StartWriteback(fd_, started_, size_ - started_);
    started_ = size_;
  }
  return absl::OkStatus();
}

absl::Status NewFile::Finish() {
  if (CurrentFileOps().ChangeMode(fd_, mode_) < 0) {
    return ErrnoError(errno, "cannot set the permissions of", shown_as_);
  }
  if (durable_ && Retry([&] { return CurrentFileOps().Sync(fd_); }) < 0) {
    return ErrnoError(errno, "cannot write to the disk", shown_as_);
  }
  // Linux has closed the descriptor even when it reports EINTR.
  if (CurrentFileOps().Close(std::exchange(fd_, -1)) < 0 && errno != EINTR) {
    return ErrnoError(errno, "cannot close", shown_as_);
  }
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(std::string_view path,
                                 std::string_view contents,
                                 const WriteOptions& options) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  const std::string name(path);
  const std::string folder = DirName(path);
  if (BaseName(path).empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot write \"", path, "\": it names a folder, add a file's name"));
  }
  TF_ASSIGN_OR_RETURN(const std::string temporary, TemporaryPath(folder));
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file,
                      NewFile::Create(temporary, options, path));
  absl::Status status = file->Append(contents);
  if (status.ok()) status = file->Finish();
  if (status.ok() &&
      CurrentFileOps().Rename(temporary.c_str(), name.c_str()) < 0) {
    status = ErrnoError(errno, "cannot replace", path);
  }
  if (!status.ok()) {
    Retry([&] { return CurrentFileOps().Unlink(temporary.c_str()); });
    return status;
  }
  return options.durable ? SyncFolder(folder) : absl::OkStatus();
}

bool IsTemporaryName(std::string_view name) {
  if (!absl::StartsWith(name, kTemporaryPrefix)) return false;
  name.remove_prefix(kTemporaryPrefix.size());
  return name.size() == 2 * kRandomBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  (c >= 'a' && c <= 'f');
         });
}

absl::Status SyncFile(std::string_view path) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  const std::string name(path);
  OpenFile file(Open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY), name);
  if (file.fd() < 0) return ErrnoError(errno, "cannot open", path);
  struct stat stat;
  if (CurrentFileOps().StatOpen(file.fd(), &stat) < 0) {
    return ErrnoError(errno, "cannot open", path);
  }
  if (!S_ISREG(stat.st_mode)) return NotRegular(path);
  return SyncDescriptor(file);
}

absl::Status SyncFolder(std::string_view path) {
  const std::string name(path.empty() ? "." : path);
  TF_RETURN_IF_ERROR(CheckPath(name));
  OpenFile folder(Open(name, O_RDONLY | O_DIRECTORY), name);
  if (folder.fd() < 0) return ErrnoError(errno, "cannot open folder", name);
  if (Retry([&] { return CurrentFileOps().Sync(folder.fd()); }) < 0 &&
      errno != EINVAL && errno != ENOTSUP) {
    return ErrnoError(errno, "cannot write to the disk the folder", name);
  }
  return folder.Close();
}

absl::Status RenameDurably(std::string_view from, std::string_view to) {
  TF_RETURN_IF_ERROR(CheckPath(from));
  TF_RETURN_IF_ERROR(CheckPath(to));
  if (CurrentFileOps().Rename(std::string(from).c_str(),
                              std::string(to).c_str()) < 0) {
    return ErrnoError(errno, absl::StrCat("cannot rename \"", from, "\" to"),
                      to);
  }
  // The new name first: losing the old one as well would lose the file.
  TF_RETURN_IF_ERROR(SyncFolder(DirName(to)));
  if (DirName(from) == DirName(to)) return absl::OkStatus();
  return SyncFolder(DirName(from));
}

absl::Status CreateFolders(std::string_view path) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  const std::string folder = WithoutFinalSlashes(path);
  absl::StatusOr<FileInfo> info = GetFileInfo(folder);
  if (!info.ok() && !absl::IsNotFound(info.status())) return info.status();
  if (!info.ok()) {
    const std::string parent = DirName(folder);
    if (!parent.empty()) TF_RETURN_IF_ERROR(CreateFolders(parent));
    if (CurrentFileOps().MakeFolder(folder.c_str(), 0777) == 0) {
      return SyncFolder(parent);
    }
    // Another process may have been faster.
    if (errno != EEXIST) return ErrnoError(errno, "cannot make folder", folder);
    info = GetFileInfo(folder);
    TF_RETURN_IF_ERROR(info.status());
  }
  if (!info->is_folder)
    return ErrnoError(ENOTDIR, "cannot make folder", folder);
  return absl::OkStatus();
}

absl::Status RemoveFile(std::string_view path) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  if (CurrentFileOps().Unlink(std::string(path).c_str()) < 0) {
    return ErrnoError(errno, "cannot remove", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListFolder(std::string_view path) {
  const std::string name(path.empty() ? "." : path);
  TF_RETURN_IF_ERROR(CheckPath(name));
  OpenFile folder(Open(name, O_RDONLY | O_DIRECTORY), name);
  if (folder.fd() < 0) return ErrnoError(errno, "cannot open folder", name);
  DIR* const stream = ::fdopendir(folder.fd());
  if (stream == nullptr) return ErrnoError(errno, "cannot list", name);
  folder.Release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view found = entry->d_name;
    if (found != "." && found != "..") names.emplace_back(found);
    errno = 0;
  }
  const int error_number = errno;
  ::closedir(stream);
  if (error_number != 0) return ErrnoError(error_number, "cannot list", name);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<FileInfo> GetFileInfo(std::string_view path) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  struct stat stat;
  if (CurrentFileOps().Stat(std::string(path).c_str(), &stat) < 0) {
    return ErrnoError(errno, "cannot look at", path);
  }
  return InfoFrom(stat);
}

absl::StatusOr<bool> FileExists(std::string_view path) {
  TF_RETURN_IF_ERROR(CheckPath(path));
  struct stat stat;
  if (CurrentFileOps().Stat(std::string(path).c_str(), &stat) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoError(errno, "cannot look at", path);
}

absl::StatusOr<int64_t> FileSize(std::string_view path) {
  TF_ASSIGN_OR_RETURN(const FileInfo info, GetFileInfo(path));
  if (!info.is_regular) return NotRegular(path);
  return info.size;
}

std::string JoinPath(std::string_view folder, std::string_view name) {
  if (folder.empty() || absl::StartsWith(name, "/")) return std::string(name);
  if (absl::EndsWith(folder, "/")) return absl::StrCat(folder, name);
  return absl::StrCat(folder, "/", name);
}

std::string DirName(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return "";
  const std::string_view head = path.substr(0, slash + 1);
  const size_t last = head.find_last_not_of('/');
  return std::string(last == std::string_view::npos ? head
                                                    : head.substr(0, last + 1));
}

std::string BaseName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path
                                                     : path.substr(slash + 1));
}

}  // namespace tftrain

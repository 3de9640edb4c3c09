// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/row_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/log/log.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"

namespace tftrain::internal {
namespace {

// What is read at once.
constexpr int64_t kBlockBytes = int64_t{64} << 10;

// A longer line is no row, and with more of other lines behind the last row
// it is no file of rows.
constexpr size_t kMaxLineBytes = size_t{64} << 20;
constexpr size_t kMaxOtherBytes = size_t{1} << 20;

// The files that are open in this process.
//
// Thread-safe.
class OpenFiles {
 public:
  using Identity = std::pair<uint64_t, uint64_t>;

  static OpenFiles& Get() {
    static auto* const files = new OpenFiles;
    return *files;
  }
  // False if it is there already.
  bool Add(const Identity& file) {
    MutexLock lock(mu_);
    return files_.insert(file).second;
  }
  void Remove(const Identity& file) {
    MutexLock lock(mu_);
    files_.erase(file);
  }

 private:
  Mutex mu_;
  std::set<Identity> files_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<std::string> ReadAt(int fd, int64_t offset, int64_t size,
                                   std::string_view path) {
  std::string bytes(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        CurrentFileOps().Pread(fd, bytes.data() + done, bytes.size() - done,
                               offset + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(errno, "cannot read", path);
    if (count == 0) break;  // Somebody else shortens it.
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

// The process may change its folder.
std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

absl::Status NoRows(std::string_view path) {
  return absl::FailedPreconditionError(
      absl::StrCat("the file \"", path,
                   "\" ends with lines that are no rows; move it away, or "
                   "choose another name"));
}

// The lines of a file from its end to its beginning.
//
// Confined: use from one thread at a time.
class LinesBackwards {
 public:
  LinesBackwards(int fd, int64_t size, std::string_view path)
      : fd_(fd), begin_(size), path_(path) {}

  // The line before the last one given, with its newline if it has one; empty
  // at the beginning of the file.
  absl::StatusOr<std::string> Next() {
    while (true) {
      const size_t newline = bytes_.size() < 2
                                 ? std::string::npos
                                 : bytes_.rfind('\n', bytes_.size() - 2);
      if (newline == std::string::npos && begin_ > 0) {
        if (bytes_.size() > kMaxLineBytes) return NoRows(path_);
        const int64_t size = std::min(
            begin_, std::max(kBlockBytes, static_cast<int64_t>(bytes_.size())));
        TF_ASSIGN_OR_RETURN(std::string block,
                            ReadAt(fd_, begin_ - size, size, path_));
        begin_ -= size;
        bytes_.insert(0, block);
        continue;
      }
      const size_t start = newline == std::string::npos ? 0 : newline + 1;
      std::string line = bytes_.substr(start);
      bytes_.resize(start);
      return line;
    }
  }

 private:
  const int fd_;
  int64_t begin_;  // where bytes_ begin
  const std::string_view path_;
  std::string bytes_;
};

}  // namespace

RowFile::RowFile(const std::string& path, mode_t mode, std::string header,
                 StepOf step_of)
    : path_(Absolute(path)),
      mode_(mode),
      header_(std::move(header)),
      step_of_(std::move(step_of)) {}

absl::Status RowFile::Open(int64_t step) {
  Close();
  TF_RETURN_IF_ERROR(OpenFile());
  absl::Status repaired = Repair(step);
  if (!repaired.ok()) Close();
  return repaired;
}

absl::Status RowFile::OpenFile() {
  if (const std::string folder = DirName(path_); !folder.empty()) {
    TF_RETURN_IF_ERROR(CreateFolders(folder));
  }
  constexpr int kFlags =
      O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  int fd = -1;
  do {
    fd = CurrentFileOps().Open(path_.c_str(), kFlags, mode_);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoError(errno, "cannot open", path_);
  struct stat stat;
  absl::Status status;
  if (CurrentFileOps().StatOpen(fd, &stat) != 0) {
    status = ErrnoError(errno, "cannot read", path_);
  } else if (!S_ISREG(stat.st_mode)) {
    status = absl::InvalidArgumentError(absl::StrCat(
        "\"", path_, "\" is no regular file; choose another name"));
  } else if (!OpenFiles::Get().Add({stat.st_dev, stat.st_ino})) {
    status = absl::FailedPreconditionError(
        absl::StrCat("somebody else in this process writes rows to the file \"",
                     path_, "\"; give each its own"));
  }
  if (!status.ok()) {
    CurrentFileOps().Close(fd);
    return status;
  }
  fd_ = fd;
  identity_ = {stat.st_dev, stat.st_ino};
  return absl::OkStatus();
}

absl::Status RowFile::Repair(int64_t step) {
  struct stat stat;
  if (CurrentFileOps().StatOpen(fd_, &stat) != 0) {
    return ErrnoError(errno, "cannot read", path_);
  }
  TF_RETURN_IF_ERROR(CheckHeader(stat.st_size));
  TF_ASSIGN_OR_RETURN(const int64_t left, TakeAway(step, stat.st_size));
  if (left > 0 || header_.empty()) return absl::OkStatus();
  return Write(absl::StrCat(header_, "\n"));
}

absl::Status RowFile::CheckHeader(int64_t size) const {
  if (header_.empty()) return absl::OkStatus();
  const std::string line = absl::StrCat(header_, "\n");
  const int64_t length = std::min(size, static_cast<int64_t>(line.size()));
  TF_ASSIGN_OR_RETURN(const std::string first, ReadAt(fd_, 0, length, path_));
  // One that is not whole is taken away.
  if (absl::StartsWith(line, first)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the file \"", path_, "\" has other columns than \"",
                   header_, "\"; move it away, or choose another name"));
}

absl::StatusOr<int64_t> RowFile::TakeAway(int64_t step, int64_t size) {
  last_step_.reset();
  LinesBackwards lines(fd_, size, path_);
  int64_t end = size;  // of what nobody looked at
  int64_t rows = 0;
  std::string others;  // lines behind `end` that stay
  bool only_last = true;
  while (end > 0) {
    TF_ASSIGN_OR_RETURN(const std::string line, lines.Next());
    if (line.empty()) break;
    const bool whole = absl::EndsWith(line, "\n");
    const std::optional<int64_t> of =
        whole ? step_of_(std::string_view(line).substr(0, line.size() - 1))
              : std::nullopt;
    if (of.has_value() && *of <= step) {
      last_step_ = of;
      break;
    }
    end -= static_cast<int64_t>(line.size());
    if (of.has_value()) {
      ++rows;
      only_last = only_last && others.empty();
    } else if (whole) {
      others.insert(0, line);
      if (others.size() > kMaxOtherBytes) return NoRows(path_);
    }
  }
  const int64_t kept = end + static_cast<int64_t>(others.size());
  if (kept == size) return kept;
  if (rows > 0) {
    LOG(INFO) << "Rows of steps after " << step << ", which come again, that "
              << "were taken away from \"" << path_ << "\": " << rows;
  }
  // A disk that is full has room for this, but not for a file in its place.
  TF_RETURN_IF_ERROR(Cut(only_last ? kept : end));
  if (!only_last) TF_RETURN_IF_ERROR(Write(others));
  return kept;
}

absl::Status RowFile::Cut(int64_t size) const {
  if (CurrentFileOps().Truncate(fd_, static_cast<off_t>(size)) != 0) {
    return ErrnoError(errno, "cannot shorten", path_);
  }
  return absl::OkStatus();
}

absl::Status RowFile::Write(std::string_view text) const {
  size_t written = 0;
  if (!WriteAll(fd_, text, &written)) {
    return ErrnoError(errno, "cannot write", path_);
  }
  return absl::OkStatus();
}

bool RowFile::IsGone() const {
  struct stat stat;
  if (CurrentFileOps().Stat(path_.c_str(), &stat) != 0) {
    return errno == ENOENT || errno == ENOTDIR;
  }
  return Identity(stat.st_dev, stat.st_ino) != identity_;
}

absl::Status RowFile::Append(int64_t step, std::string_view row) {
  if (fd_ < 0 || (last_step_.has_value() && *last_step_ >= step) || IsGone()) {
    TF_RETURN_IF_ERROR(Open(step - 1));
  }
  const absl::Status written = Write(absl::StrCat(row, "\n"));
  if (!written.ok()) {
    Close();
    return written;
  }
  last_step_ = step;
  return absl::OkStatus();
}

void RowFile::Close() {
  if (fd_ < 0) return;
  OpenFiles::Get().Remove(identity_);
  CurrentFileOps().Close(std::exchange(fd_, -1));
}

}  // namespace tftrain::internal

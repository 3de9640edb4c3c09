// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/row_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"

namespace tftrain::internal {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;

}  // namespace

std::string RowFile::Kept(const std::string& contents, int64_t step) {
  std::string kept;
  last_step_.reset();
  std::string_view rest = contents;
  while (true) {
    const size_t end = rest.find('\n');
    // What no newline ends is the beginning of a line that got lost.
    if (end == std::string_view::npos) break;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    const std::optional<int64_t> of = step_of_(line);
    if (of.has_value() && *of > step) continue;
    if (of.has_value()) last_step_ = of;
    absl::StrAppend(&kept, line, "\n");
  }
  return kept;
}

absl::Status RowFile::Open(int64_t step) {
  Close();
  if (const std::string folder = DirName(path_); !folder.empty()) {
    TF_RETURN_IF_ERROR(CreateFolders(folder));
  }
  absl::StatusOr<std::string> contents = ReadFile(path_, kMaxBytes);
  if (absl::IsNotFound(contents.status())) contents = "";
  TF_RETURN_IF_ERROR(contents.status());
  std::string kept = Kept(*contents, step);
  if (!header_.empty()) {
    const std::string first_line = absl::StrCat(header_, "\n");
    if (kept.empty()) kept = first_line;
    if (!absl::StartsWith(kept, first_line)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the file \"", path_, "\" has other columns than \"",
                       header_, "\"; move it away, or choose another name"));
    }
  }
  if (!absl::StartsWith(*contents, kept)) {
    WriteOptions options;
    options.durable = false;
    options.mode = mode_;
    struct stat stat;
    if (CurrentFileOps().Stat(path_.c_str(), &stat) == 0) {
      options.mode = stat.st_mode & 0777;
    }
    TF_RETURN_IF_ERROR(WriteFileAtomically(path_, kept, options));
    contents = kept;
  }
  return Reopen(kept.size() < contents->size()
                    ? std::optional<size_t>(kept.size())
                    : std::nullopt);
}

absl::Status RowFile::Reopen(std::optional<size_t> kept_bytes) {
  constexpr int kFlags =
      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  do {
    fd_ = CurrentFileOps().Open(path_.c_str(), kFlags, mode_);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) return ErrnoError(errno, "cannot open", path_);
  // A disk that is full has room for this, but not for a file in its place.
  if (kept_bytes.has_value() &&
      CurrentFileOps().Truncate(fd_, static_cast<off_t>(*kept_bytes)) != 0) {
    const int error = errno;
    Close();
    return ErrnoError(error, "cannot shorten", path_);
  }
  return absl::OkStatus();
}

absl::Status RowFile::Append(int64_t step, std::string_view row) {
  if (fd_ < 0 || (last_step_.has_value() && *last_step_ >= step)) {
    TF_RETURN_IF_ERROR(Open(step - 1));
  }
  size_t written = 0;
  if (!WriteAll(fd_, absl::StrCat(row, "\n"), &written)) {
    const int error = errno;
    Close();
    return ErrnoError(error, "cannot write", path_);
  }
  last_step_ = step;
  return absl::OkStatus();
}

void RowFile::Close() {
  if (fd_ >= 0) CurrentFileOps().Close(std::exchange(fd_, -1));
}

}  // namespace tftrain::internal

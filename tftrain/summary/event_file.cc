// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"

namespace tftrain::internal {
namespace {

using tensorflow::io::RecordWriter;

// Files of this process so far, so that two made within a second differ.
std::atomic<uint32_t> files_made{0};

constexpr std::string_view kPrefix = "events.out.tfevents.";

// The greatest number of ten digits, after which names cannot go on.
constexpr int64_t kMaxSeconds = 9'999'999'999;

// How many taken names are passed over before giving up: more than files of
// one second that a former process with our number can have left.
constexpr int kMaxTries = 10000;

// A buffer before a descriptor.
//
// Confined: use from the thread that created it.
class BufferedFile {
 public:
  BufferedFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~BufferedFile() {
    if (fd_ >= 0) CurrentFileOps().Close(fd_);
  }

  const std::string& path() const { return path_; }
  bool deleted() const {
    struct stat stat;
    return CurrentFileOps().StatOpen(fd_, &stat) != 0 || stat.st_nlink == 0;
  }
  size_t buffered() const { return buffer_.size(); }
  // Bytes that the system has, and those with what is in the buffer.
  int64_t written() const { return written_; }
  int64_t size() const {
    return written_ + static_cast<int64_t>(buffer_.size());
  }

  void Append(std::string_view data) { buffer_.append(data); }

  absl::Status NarrowMode(mode_t mode) {
    struct stat stat;
    const bool done =
        CurrentFileOps().StatOpen(fd_, &stat) == 0 &&
        ((stat.st_mode & 07777 & ~mode) == 0 ||
         CurrentFileOps().ChangeMode(fd_, stat.st_mode & 07777 & mode) == 0);
    return done ? absl::OkStatus()
                : ErrnoError(errno, "cannot set the permissions of", path_);
  }

  absl::Status Flush() {
    size_t done = 0;
    absl::Status status;
    if (!WriteAll(fd_, buffer_, &done)) {
      status = ErrnoError(errno, "cannot write", path_);
    }
    written_ += static_cast<int64_t>(done);
    buffer_.erase(0, done);
    return status;
  }

  absl::Status Close() {
    absl::Status status = Flush();
    const int fd = std::exchange(fd_, -1);
    if (fd >= 0 && CurrentFileOps().Close(fd) < 0 && errno != EINTR) {
      status.Update(ErrnoError(errno, "cannot close", path_));
    }
    return status;
  }

 private:
  int fd_;
  const std::string path_;
  std::string buffer_;
  int64_t written_ = 0;
};

std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') {
    return "localhost";
  }
  return absl::StrReplaceAll(name, {{"/", "_"}});
}

// The count has leading zeros because readers take files in the order of
// their names.
std::string NextFileName(int64_t seconds, std::string_view suffix) {
  return absl::StrFormat(
      "%s%010d.%s.%d.%05d%s", kPrefix, seconds, HostName(), ::getpid(),
      files_made.fetch_add(1, std::memory_order_relaxed), suffix);
}

// The seconds in the last name of an event file in the folder; -1 without one,
// and if nobody can be told to come after it.
int64_t LastSeconds(const std::string& folder) {
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return -1;
  int64_t last = -1;
  for (std::string_view name : *names) {
    int64_t seconds = 0;
    if (absl::ConsumePrefix(&name, kPrefix) &&
        absl::SimpleAtoi(name.substr(0, name.find('.')), &seconds) &&
        seconds < kMaxSeconds) {
      last = std::max(last, seconds);
    }
  }
  return last;
}

}  // namespace

// Confined: use from the thread that created it.
class EventFile::Impl {
 public:
  Impl(int fd, std::string path, int64_t seconds)
      : seconds_(seconds), file_(fd, std::move(path)) {}

  int64_t seconds() const { return seconds_; }

  BufferedFile& file() { return file_; }
  int64_t appended() const { return appended_; }
  int64_t written() const {
    return appended_ - static_cast<int64_t>(pending_ends_.size());
  }

  void Append(std::string_view record) {
    char header[RecordWriter::kHeaderSize];
    char footer[RecordWriter::kFooterSize];
    RecordWriter::PopulateHeader(header, record.data(), record.size());
    RecordWriter::PopulateFooter(footer, record.data(), record.size());
    file_.Append({header, sizeof(header)});
    file_.Append(record);
    file_.Append({footer, sizeof(footer)});
    ++appended_;
    pending_ends_.push_back(file_.size());
  }

  absl::Status Flush() {
    absl::Status status = file_.Flush();
    DropWritten();
    return status;
  }

  absl::Status Close() {
    absl::Status status = file_.Close();
    DropWritten();
    return status;
  }

 private:
  void DropWritten() {
    while (!pending_ends_.empty() && pending_ends_.front() <= file_.written()) {
      pending_ends_.pop_front();
    }
  }

  const int64_t seconds_;
  BufferedFile file_;
  int64_t appended_ = 0;
  // Where the records end that are not written in full, as offsets in the
  // file.
  std::deque<int64_t> pending_ends_;
};

absl::StatusOr<std::unique_ptr<EventFile>> EventFile::Create(
    const Options& options) {
  // A reader that follows the folder does not look back.
  const int64_t seconds =
      std::max(options.seconds, LastSeconds(options.folder) + 1);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    std::string path =
        JoinPath(options.folder, NextFileName(seconds, options.suffix));
    int fd = -1;
    do {
      fd = CurrentFileOps().Open(
          path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
          options.mode & 07777);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0) {
      return std::unique_ptr<EventFile>(
          new EventFile(std::make_unique<Impl>(fd, std::move(path), seconds)));
    }
    if (errno != EEXIST) {
      return ErrnoError(errno, "cannot make the event file", path);
    }
  }
  return ErrnoError(EEXIST, "cannot find a free name for an event file in",
                    options.folder);
}

EventFile::EventFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventFile::~EventFile() = default;

const std::string& EventFile::path() const { return impl_->file().path(); }
int64_t EventFile::seconds() const { return impl_->seconds(); }
absl::Status EventFile::NarrowMode(mode_t mode) {
  return impl_->file().NarrowMode(mode);
}
void EventFile::Append(std::string_view record) { impl_->Append(record); }
absl::Status EventFile::Flush() { return impl_->Flush(); }
absl::Status EventFile::Close() { return impl_->Close(); }
bool EventFile::deleted() const { return impl_->file().deleted(); }
size_t EventFile::buffered() const { return impl_->file().buffered(); }
int64_t EventFile::appended() const { return impl_->appended(); }
int64_t EventFile::written() const { return impl_->written(); }

}  // namespace tftrain::internal

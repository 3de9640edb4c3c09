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
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/file_system.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"

namespace tftrain::internal {
namespace {

// Files of this process so far, so that two made within a second differ.
std::atomic<uint32_t> files_made{0};

// How many taken names are passed over before giving up: more than files of
// one second that a former process with our number can have left.
constexpr int kMaxTries = 10000;

// A buffer before a descriptor, which `RecordWriter` can write to.
//
// Confined: use from the thread that created it.
class BufferedFile : public tensorflow::WritableFile {
 public:
  BufferedFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~BufferedFile() override {
    if (fd_ >= 0) CurrentFileOps().Close(fd_);
  }

  const std::string& path() const { return path_; }
  bool deleted() const {
    struct stat stat;
    return CurrentFileOps().StatOpen(fd_, &stat) == 0 && stat.st_nlink == 0;
  }
  size_t buffered() const { return buffer_.size(); }
  // Bytes that the system has, and those with what is in the buffer.
  int64_t written() const { return written_; }
  int64_t size() const {
    return written_ + static_cast<int64_t>(buffer_.size());
  }

  absl::Status Append(absl::string_view data) override {
    buffer_.append(data.data(), data.size());
    return absl::OkStatus();
  }

  absl::Status Flush() override {
    size_t done = 0;
    absl::Status status;
    while (done < buffer_.size()) {
      const ssize_t count = CurrentFileOps().Write(fd_, buffer_.data() + done,
                                                   buffer_.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        status = ErrnoError(count < 0 ? errno : EIO, "cannot write", path_);
        break;
      }
      done += static_cast<size_t>(count);
    }
    written_ += static_cast<int64_t>(done);
    buffer_.erase(0, done);
    return status;
  }

  absl::Status Sync() override { return Flush(); }

  absl::Status Close() override {
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
std::string NextFileName(const EventFile::Options& options) {
  return absl::StrFormat("events.out.tfevents.%010d.%s.%d.%05d%s",
                         options.seconds, HostName(), ::getpid(),
                         files_made.fetch_add(1, std::memory_order_relaxed),
                         options.suffix);
}

}  // namespace

// Confined: use from the thread that created it.
class EventFile::Impl {
 public:
  Impl(int fd, std::string path)
      : file_(fd, std::move(path)), writer_(&file_) {}

  const BufferedFile& file() const { return file_; }
  int64_t appended() const { return appended_; }
  int64_t written() const {
    return appended_ - static_cast<int64_t>(pending_ends_.size());
  }

  void Append(std::string_view record) {
    // The buffer takes everything, so that only a flush can fail.
    writer_.WriteRecord(record).IgnoreError();
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

  BufferedFile file_;
  tensorflow::io::RecordWriter writer_;
  int64_t appended_ = 0;
  // Where the records end that are not written in full, as offsets in the
  // file.
  std::deque<int64_t> pending_ends_;
};

absl::StatusOr<std::unique_ptr<EventFile>> EventFile::Create(
    const Options& options) {
  for (int tries = 0; tries < kMaxTries; ++tries) {
    std::string path = JoinPath(options.folder, NextFileName(options));
    int fd = -1;
    do {
      fd = CurrentFileOps().Open(
          path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
          options.mode & 07777);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0) {
      return std::unique_ptr<EventFile>(
          new EventFile(std::make_unique<Impl>(fd, std::move(path))));
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
void EventFile::Append(std::string_view record) { impl_->Append(record); }
absl::Status EventFile::Flush() { return impl_->Flush(); }
absl::Status EventFile::Close() { return impl_->Close(); }
bool EventFile::deleted() const { return impl_->file().deleted(); }
size_t EventFile::buffered() const { return impl_->file().buffered(); }
int64_t EventFile::appended() const { return impl_->appended(); }
int64_t EventFile::written() const { return impl_->written(); }

}  // namespace tftrain::internal

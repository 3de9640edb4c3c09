// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_logger.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/platform/errors.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/base/utf8.h"
#include "tftrain/summary/scalar_event.h"
#include "tftrain/summary/utf8_message.h"

namespace tftrain::internal {
namespace {

using tensorflow::Event;

constexpr char kFileVersion[] = "brain.Event:2";
constexpr char kWriterName[] = "tftrain.summary.event_file_writer";

}  // namespace

EventLogger::EventLogger(const EventFileWriter::Options& options, Clock* clock)
    : logdir_(options.logdir),
      suffix_(options.filename_suffix),
      clock_(clock),
      file_mode_(options.file_mode) {}

void EventLogger::Run(EventQueue* queue) {
  EventQueue::Batch batch;
  while (!batch.last) {
    queue->Take(&batch);
    WriteAll(&batch.events);
    if (batch.last) {
      CloseFile();
      TellLost(queue->stats());
    }
    queue->Done(&batch);
  }
}

absl::Status EventLogger::TakeError() {
  MutexLock lock(mu_);
  return std::exchange(error_, absl::OkStatus());
}

void EventLogger::NarrowFileMode(mode_t mode) {
  MutexLock lock(mu_);
  file_mode_ &= mode;
}

std::string EventLogger::path() const {
  MutexLock lock(mu_);
  return path_;
}

EventLogger::Stats EventLogger::stats() const {
  MutexLock lock(mu_);
  return stats_;
}

mode_t EventLogger::file_mode() const {
  MutexLock lock(mu_);
  return file_mode_;
}

void EventLogger::WriteAll(std::vector<QueuedEvent>* events) {
  if (!events->empty()) {
    LeaveDeletedFile();
    NarrowFile();
  }
  for (size_t i = 0; i < events->size(); ++i) {
    if (file_ == nullptr && !BeginFile()) {
      // The disk gets one try for each batch, not one for each event.
      return CountLost(static_cast<int64_t>(events->size() - i));
    }
    Write(&(*events)[i]);
  }
  FlushFile();
}

void EventLogger::Write(QueuedEvent* event) {
  if (!Encode(event)) return;
  file_->Append(record_);
  if (file_->buffered() >= kEventBatchBytes) FlushFile();
}

bool EventLogger::Encode(QueuedEvent* queued) {
  switch (queued->kind) {
    case QueuedEvent::Kind::kScalar:
      MakeUtf8(&queued->text);
      EncodeScalarEvent(queued->wall_time, queued->step, queued->text,
                        queued->value, &record_);
      return true;
    case QueuedEvent::Kind::kScalars:
      EncodeEvent(queued->wall_time, queued->step, queued->text, &record_);
      return true;
    case QueuedEvent::Kind::kDrawing: {
      // There may be too little memory for the drawing.
      const absl::Status drawn = CallCatching([&] {
        return queued->large->drawing->AddTo(
            queued->text, queued->large->event.mutable_summary());
      });
      if (!drawn.ok()) {
        NoteUndrawable(drawn);
        return false;
      }
      break;
    }
    case QueuedEvent::Kind::kEvent:
      break;
  }
  Event* const event = &queued->large->event;
  MakeTextsUtf8(event);
  StripMetadata(event);
  event->SerializeToString(&record_);
  return true;
}

void EventLogger::NoteUndrawable(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    ++stats_.dropped_invalid;
  }
  if (std::exchange(told_undrawable_, true)) return;
  LOG(WARNING) << "An event for \"" << logdir_
               << "\" was dropped: " << status.message()
               << "; this is not said again";
}

void EventLogger::StripMetadata(Event* event) {
  if (!event->has_summary()) return;
  for (auto& value : *event->mutable_summary()->mutable_value()) {
    if (!value.has_metadata()) continue;
    if (!tags_with_metadata_.insert(value.tag()).second) {
      value.clear_metadata();
    }
  }
}

absl::StatusOr<std::unique_ptr<EventFile>> EventLogger::MakeFile() const {
  // Somebody may have removed the folder.
  TF_RETURN_IF_ERROR(CreateFolders(logdir_));
  return EventFile::Create({logdir_, name_seconds_, suffix_, begun_with_});
}

bool EventLogger::BeginFile() {
  begun_with_ = file_mode();
  const double now = EventTime(*clock_);
  // The names must not go back when the clock does.
  name_seconds_ = std::max(name_seconds_, static_cast<int64_t>(now));
  absl::StatusOr<std::unique_ptr<EventFile>> file = MakeFile();
  if (!file.ok()) {
    NoteError(file.status());
    return false;
  }
  file_ = *std::move(file);
  name_seconds_ = file_->seconds();
  tags_with_metadata_.clear();
  Event version;
  version.set_wall_time(now);
  version.set_file_version(kFileVersion);
  version.mutable_source_metadata()->set_writer(kWriterName);
  version.SerializeToString(&record_);
  file_->Append(record_);
  MutexLock lock(mu_);
  path_ = file_->path();
  ++stats_.files;
  return true;
}

void EventLogger::FlushFile() {
  if (file_ == nullptr) return;
  const int64_t before = file_->written();
  const absl::Status status = file_->Flush();
  CountWritten(before);
  if (!status.ok()) return GiveUpFile(status);
  failing_ = false;
}

void EventLogger::LeaveDeletedFile() {
  if (file_ == nullptr || !file_->deleted()) return;
  LOG(WARNING) << "The event file \"" << file_->path()
               << "\" is gone; a new one is begun";
  file_.reset();
}

void EventLogger::NarrowFile() {
  const mode_t mode = file_mode();
  if (file_ == nullptr || mode == begun_with_) return;
  begun_with_ = mode;
  const absl::Status status = file_->NarrowMode(mode);
  if (!status.ok()) GiveUpFile(status);
}

void EventLogger::GiveUpFile(const absl::Status& status) {
  NoteError(status);
  CountLost(file_->appended() - std::max<int64_t>(file_->written(), 1));
  const bool nothing_in_it = file_->written() <= 1;
  const std::string path = file_->path();
  file_.reset();
  // A disk that stays full must not be littered with empty files.
  if (nothing_in_it) RemoveFile(path).IgnoreError();
}

void EventLogger::CloseFile() {
  if (file_ == nullptr) return;
  const absl::Status status = file_->Close();
  if (!status.ok()) NoteError(status);
  file_.reset();
}

void EventLogger::CountWritten(int64_t before) {
  // The first record is the version.
  const int64_t gained =
      file_->written() - before - (before == 0 && file_->written() > 0 ? 1 : 0);
  MutexLock lock(mu_);
  stats_.written += gained;
}

void EventLogger::CountLost(int64_t events) {
  MutexLock lock(mu_);
  stats_.dropped_error += events;
}

void EventLogger::NoteError(const absl::Status& status) {
  if (!std::exchange(failing_, true)) {
    LOG(WARNING) << "Events for \"" << logdir_
                 << "\" are lost, training goes on: " << status.message();
  }
  MutexLock lock(mu_);
  error_.Update(status);
}

void EventLogger::TellLost(const EventQueue::Stats& refused) const {
  const Stats now = stats();
  std::vector<std::string> reasons;
  int64_t lost = 0;
  const auto add = [&](int64_t count, const char* reason) {
    lost += count;
    if (count > 0) reasons.push_back(absl::StrCat(count, " ", reason));
  };
  add(refused.dropped_full, "as too many waited for the disk");
  add(now.dropped_error, "by errors of the disk");
  add(refused.dropped_large, "larger than 2 GiB");
  add(now.dropped_invalid, "that cannot be drawn");
  if (lost == 0) return;
  LOG(WARNING) << "Events for \"" << logdir_ << "\" that were lost: " << lost
               << " of " << now.written + lost << " ("
               << absl::StrJoin(reasons, ", ") << ")";
}

}  // namespace tftrain::internal

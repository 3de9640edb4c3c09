// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The thread that writes events to files. Used by EventFileWriter.

#ifndef TFTRAIN_SUMMARY_EVENT_LOGGER_H_
#define TFTRAIN_SUMMARY_EVENT_LOGGER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/mutex.h"
#include "tftrain/summary/event_file.h"
#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/event_queue.h"

namespace tftrain::internal {

// Encodes what comes out of an EventQueue and writes it to an event file: a new
// one after an error, and after somebody removed the one there was. Errors are
// logged once each time that the disk fails, counted, and kept to be told.
//
// Thread-safe, but for Run(), which is the thread.
class EventLogger {
 public:
  // What became of the events that were taken out of the queue; see
  // EventFileWriter::Stats.
  struct Stats {
    int64_t written = 0;
    int64_t dropped_error = 0;
    int64_t dropped_invalid = 0;
    int64_t files = 0;
  };

  EventLogger(const EventFileWriter::Options& options, Clock* clock);
  EventLogger(const EventLogger&) = delete;
  EventLogger& operator=(const EventLogger&) = delete;

  // Writes what is added to the queue until that is closed.
  void Run(EventQueue* queue);

  // The first error since the last call.
  absl::Status TakeError();

  // As EventFileWriter's.
  void NarrowFileMode(mode_t mode);
  std::string path() const;

  Stats stats() const;

 private:
  // The methods below belong to the thread.
  void WriteAll(std::vector<QueuedEvent>* events);
  void Write(QueuedEvent* event);
  // Makes `record_` of it; false if that cannot be done.
  bool Encode(QueuedEvent* event);
  void NoteUndrawable(const absl::Status& status);
  // Leaves out the metadata of tags that the file has it for.
  void StripMetadata(tensorflow::Event* event);

  absl::StatusOr<std::unique_ptr<EventFile>> MakeFile() const;
  bool BeginFile();
  void FlushFile();
  // Leaves a file that nobody can find any more.
  void LeaveDeletedFile();
  // Gives the file up where its permissions cannot be taken away, once.
  void NarrowFile();
  // Leaves the file, whose end may be torn, to its readers.
  void GiveUpFile(const absl::Status& status);
  void CloseFile();
  // Adds what the file gained since it had `before` records.
  void CountWritten(int64_t before);
  void CountLost(int64_t events);
  void NoteError(const absl::Status& status);
  void TellLost(const EventQueue::Stats& refused) const;

  mode_t file_mode() const;

  const std::string logdir_;
  const std::string suffix_;
  Clock* const clock_;

  // Of the thread alone.
  std::unique_ptr<EventFile> file_;
  std::set<std::string> tags_with_metadata_;
  std::string record_;
  int64_t name_seconds_ = 0;
  mode_t begun_with_ = 0;  // the permissions of the file
  bool failing_ = false;
  bool told_undrawable_ = false;

  mutable Mutex mu_;
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  std::string path_ ABSL_GUARDED_BY(mu_);
  mode_t file_mode_ ABSL_GUARDED_BY(mu_);
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_EVENT_LOGGER_H_

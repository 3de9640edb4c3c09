// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Events on their way from those who add them to the thread that writes them.
// Used by EventFileWriter.

#ifndef TFTRAIN_SUMMARY_EVENT_QUEUE_H_
#define TFTRAIN_SUMMARY_EVENT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/mutex.h"
#include "tftrain/summary/drawing.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain::internal {

// Bytes that are worth being written at once.
inline constexpr size_t kEventBatchBytes = size_t{1} << 20;

// The largest message that can be written or read.
inline constexpr size_t kMaxEventBytes = std::numeric_limits<int32_t>::max();

// The time of an event that is made now: seconds since 1970, to the
// microsecond, as exactly as a double can.
double EventTime(const Clock& clock);

// An event that costs more than a scalar, and what is to be drawn in it.
struct LargeEvent {
  tensorflow::Event event;
  std::unique_ptr<Drawing> drawing;
};

// One event that waits. Small: as many as fit into the queue go from one
// processor's memory to another's.
struct QueuedEvent {
  enum class Kind {
    kScalar,   // of the tag `text`
    kScalars,  // in `text`, the bytes of their Summary
    kEvent,    // in `large`
    kDrawing,  // in `large`, under the tag `text`
  };

  double wall_time = 0;
  int64_t step = 0;
  std::string text;
  std::unique_ptr<LargeEvent> large;
  float value = 0;
  Kind kind = Kind::kScalar;
};

// A bounded queue from many threads to one: what finds no place is refused and
// counted, with one warning for each reason.
//
// States: open -> closed.
//
// Thread-safe, but for Take() and Done(), which belong to the one thread that
// writes.
class EventQueue {
 public:
  // What became of the events here; see EventFileWriter::Stats.
  struct Stats {
    int64_t accepted = 0;
    int64_t dropped_full = 0;
    int64_t dropped_large = 0;
    int64_t dropped_closed = 0;
  };

  // What that thread writes in one go.
  struct Batch {
    std::vector<QueuedEvent> events;
    bool last = false;       // Nothing will follow.
    uint64_t requested = 0;  // How many flushes it answers.
  };

  EventQueue(const EventFileWriter::Options& options, Clock* clock);

  // Adds an event of about `bytes` that `fill` makes in its place, unless it
  // must be refused. One that is not `droppable` has a place in a full queue.
  template <typename Fill>
  void Add(size_t bytes, bool droppable, Fill fill) {
    bool wake = false;
    const char* warning = nullptr;
    {
      MutexLock lock(mu_);
      warning = Refuse(bytes, droppable);
      if (warning == nullptr) {
        // The thread knows of what was there before.
        const bool first = queue_.empty();
        const bool had_batch = IsBatch();
        queued_bytes_ += bytes;
        fill(&queue_.emplace_back());
        ++stats_.accepted;
        wake = first || (!had_batch && IsBatch());
      } else if (!warned_.insert(warning).second) {
        warning = nullptr;
      }
    }
    if (wake) wake_.NotifyOne();
    if (warning != nullptr) Warn(warning);
  }

  // Counts an event that is too large to be made.
  void RefuseTooLarge();

  // Waits until all that was added before is written, or the disk stands still.
  // OK on a queue that is closed.
  //
  // Errors: kDeadlineExceeded, as EventFileWriter::Flush.
  absl::Status AwaitFlush();

  // Refuses all that is added from now on; the next batch is the last.
  void Close();

  // The most that a caller waits for the thread: nothing while what a former
  // one waited for in vain is still to be written.
  absl::Duration patience() const;

  // Says once what keeps the disk from the last batch, for which `waited` was
  // too short.
  absl::Status NoteStalledClose(absl::Duration waited);

  bool closed() const;

  Stats stats() const;

  // Waits until there is something to be done, and puts it into `batch`.
  void Take(Batch* batch);

  // Tells those who wait that `batch` is written, and empties it.
  void Done(Batch* batch);

 private:
  // Why an event is not taken into the queue, or null; counts it.
  const char* Refuse(size_t bytes, bool droppable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void Warn(const char* reason) const;

  // Whether enough waits to be written at once.
  bool IsBatch() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return queue_.size() >= batch_events_ || queued_bytes_ >= batch_bytes_;
  }

  void AwaitWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // The error of a disk that stands still, until it goes on.
  absl::Status Stall() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Says once what keeps the disk from the flush `wanted`.
  absl::Status NoteStall(uint64_t wanted, absl::Duration waited);

  const std::string logdir_;
  Clock* const clock_;
  const size_t max_events_;
  const size_t max_bytes_;
  const size_t batch_events_;
  const size_t batch_bytes_;
  const absl::Duration flush_every_;
  const absl::Duration longest_wait_;

  mutable Mutex mu_;
  CondVar wake_;     // For the thread: there is work.
  CondVar flushed_;  // For callers: flush_done_ has changed.
  std::vector<QueuedEvent> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // What the thread has taken out of the queue and not written yet.
  size_t writing_events_ ABSL_GUARDED_BY(mu_) = 0;
  size_t writing_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // On the clock's monotonic time; the first event is due at once.
  absl::Duration next_flush_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  uint64_t flush_requested_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t flush_done_ ABSL_GUARDED_BY(mu_) = 0;
  // The last one that was waited for in vain, and what was said then.
  uint64_t stalled_flush_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status stall_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Stats stats_ ABSL_GUARDED_BY(mu_);
  std::set<std::string_view> warned_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_EVENT_QUEUE_H_

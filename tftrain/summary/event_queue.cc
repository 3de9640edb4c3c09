// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_queue.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_format.h"
#include "tftrain/summary/disk_patience.h"

namespace tftrain::internal {
namespace {

// The flush that the last batch answers.
constexpr uint64_t kLastFlush = std::numeric_limits<uint64_t>::max();

}  // namespace

double EventTime(const Clock& clock) {
  return static_cast<double>(absl::ToUnixMicros(clock.Now())) / 1e6;
}

EventQueue::EventQueue(const EventFileWriter::Options& options, Clock* clock)
    : logdir_(options.logdir),
      clock_(clock),
      max_events_(options.max_queue),
      max_bytes_(options.max_queue_bytes),
      batch_events_(std::min(options.flush_events, options.max_queue)),
      batch_bytes_(std::min(kEventBatchBytes, options.max_queue_bytes)),
      flush_every_(absl::Seconds(options.flush_secs)),
      longest_wait_(absl::Seconds(options.wait_secs)) {}

void EventQueue::RefuseTooLarge() {
  Add(std::numeric_limits<size_t>::max(), /*droppable=*/true,
      [](QueuedEvent*) {});
}

const char* EventQueue::Refuse(size_t bytes, bool droppable) {
  if (closed_) {
    ++stats_.dropped_closed;
    return "the writer is closed";
  }
  if (bytes > kMaxEventBytes) {
    ++stats_.dropped_large;
    return "it is larger than 2 GiB";
  }
  if (droppable && (queue_.size() + writing_events_ >= max_events_ ||
                    queued_bytes_ + writing_bytes_ >= max_bytes_)) {
    ++stats_.dropped_full;
    return "too many wait for the disk";
  }
  return nullptr;
}

void EventQueue::Warn(const char* reason) const {
  LOG(WARNING) << "An event for \"" << logdir_ << "\" was dropped because "
               << reason << "; this is not said again";
}

absl::Status EventQueue::AwaitFlush() {
  const DiskPatience::Wait wait(patience());
  uint64_t wanted = 0;
  {
    MutexLock lock(mu_);
    if (closed_ || !Stall().ok()) return Stall();
    wanted = ++flush_requested_;
    wake_.NotifyOne();
    while (flush_done_ < wanted && flushed_.WaitFor(mu_, wait.left())) {
    }
    if (flush_done_ >= wanted) return absl::OkStatus();
  }
  return NoteStall(wanted, wait.limit());
}

void EventQueue::Close() {
  MutexLock lock(mu_);
  closed_ = true;
  wake_.NotifyOne();
}

absl::Duration EventQueue::patience() const {
  MutexLock lock(mu_);
  return Stall().ok() ? longest_wait_ : absl::ZeroDuration();
}

absl::Status EventQueue::NoteStalledClose(absl::Duration waited) {
  return NoteStall(kLastFlush, waited);
}

absl::Status EventQueue::NoteStall(uint64_t wanted, absl::Duration waited) {
  absl::Status stall;
  {
    MutexLock lock(mu_);
    if (!Stall().ok()) return Stall();
    stalled_flush_ = wanted;
    stall = stall_ = absl::DeadlineExceededError(absl::StrFormat(
        "the events for \"%s\" were not written within %g s, check the disk",
        logdir_, absl::ToDoubleSeconds(waited)));
  }
  LOG(WARNING) << "Nobody waits any longer: " << stall.message();
  return stall;
}

absl::Status EventQueue::Stall() const {
  return flush_done_ < stalled_flush_ ? stall_ : absl::OkStatus();
}

bool EventQueue::closed() const {
  MutexLock lock(mu_);
  return closed_;
}

EventQueue::Stats EventQueue::stats() const {
  MutexLock lock(mu_);
  return stats_;
}

void EventQueue::AwaitWork() {
  while (!closed_ && flush_requested_ == flush_done_ && !IsBatch()) {
    absl::Duration left = absl::InfiniteDuration();
    if (!queue_.empty()) left = next_flush_ - clock_->Monotonic();
    if (left <= absl::ZeroDuration()) return;
    clock_->WaitFor(mu_, wake_, left);
  }
}

void EventQueue::Take(Batch* batch) {
  MutexLock lock(mu_);
  AwaitWork();
  batch->last = closed_;
  batch->requested = flush_requested_;
  batch->events.swap(queue_);
  writing_events_ = batch->events.size();
  writing_bytes_ = std::exchange(queued_bytes_, 0);
}

void EventQueue::Done(Batch* batch) {
  batch->events.clear();
  MutexLock lock(mu_);
  writing_events_ = 0;
  writing_bytes_ = 0;
  next_flush_ = clock_->Monotonic() + flush_every_;
  flush_done_ = batch->last ? kLastFlush : batch->requested;
  flushed_.NotifyAll();
}

}  // namespace tftrain::internal

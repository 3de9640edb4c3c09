// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_TRAINING_PAUSE_H_
#define TFTRAIN_HOOKS_INTERNAL_TRAINING_PAUSE_H_

#include "absl/time/time.h"
#include "tftrain/base/clock.h"

namespace tftrain::internal {

// A time in which the thread that trains does something else, such as a save
// or an evaluation. A hook that does so says it by such an object, and one that
// measures how fast training goes leaves that time out. A pause within a pause
// does not count twice.
//
// Confined: each thread has pauses of its own, and a total of them.
class TrainingPause {
 public:
  explicit TrainingPause(const Clock* clock)
      : clock_(clock), start_(clock->Monotonic()), outer_(is_running_) {
    is_running_ = true;
  }
  TrainingPause(const TrainingPause&) = delete;
  TrainingPause& operator=(const TrainingPause&) = delete;
  ~TrainingPause() {
    is_running_ = outer_;
    if (!outer_) total_ += clock_->Monotonic() - start_;
  }

  // All pauses of this thread that have ended.
  static absl::Duration Total() { return total_; }

 private:
  inline static thread_local bool is_running_ = false;
  inline static thread_local absl::Duration total_;

  const Clock* const clock_;
  const absl::Duration start_;
  const bool outer_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_TRAINING_PAUSE_H_

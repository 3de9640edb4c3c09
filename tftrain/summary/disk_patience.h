// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SUMMARY_DISK_PATIENCE_H_
#define TFTRAIN_SUMMARY_DISK_PATIENCE_H_

#include <algorithm>

#include "absl/time/time.h"
#include "tftrain/base/clock.h"

namespace tftrain::internal {

// How long this thread waits for event files in all, however many there are,
// while such an object lives. A session that closes makes one, so that a disk
// that stands still does not hold it up once for each hook.
//
// Confined: use from the thread that created it; each thread has its own.
class DiskPatience {
 public:
  explicit DiskPatience(absl::Duration total) : total_(total) {
    current_ = this;
  }
  DiskPatience(const DiskPatience&) = delete;
  DiskPatience& operator=(const DiskPatience&) = delete;
  ~DiskPatience() { current_ = outer_; }

  // What was waited so far.
  absl::Duration spent() const { return spent_; }

  // One wait, from its construction on: of `most`, if there is patience for it,
  // or of the little that a disk in order needs.
  //
  // Confined: as DiskPatience.
  class Wait {
   public:
    explicit Wait(absl::Duration most)
        : limit_(
              current_ == nullptr
                  ? most
                  : std::min(most, std::max(current_->total_ - current_->spent_,
                                            kLeast))),
          start_(Clock::Real()->Monotonic()) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (current_ != nullptr) current_->spent_ += passed();
    }

    absl::Duration limit() const { return limit_; }
    absl::Duration left() const { return limit_ - passed(); }

   private:
    absl::Duration passed() const {
      return Clock::Real()->Monotonic() - start_;
    }

    const absl::Duration limit_;
    const absl::Duration start_;
  };

 private:
  static constexpr absl::Duration kLeast = absl::Milliseconds(50);

  inline static thread_local DiskPatience* current_ = nullptr;

  DiskPatience* const outer_ = current_;
  const absl::Duration total_;
  absl::Duration spent_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_DISK_PATIENCE_H_

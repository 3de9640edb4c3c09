// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A clock that a test drives by hand.

#ifndef TFTRAIN_TESTING_FAKE_CLOCK_H_
#define TFTRAIN_TESTING_FAKE_CLOCK_H_

#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// Stands still until somebody advances it; a wait on it then ends as if that
// time had passed. No test needs to sleep.
//
// Thread-safe.
//
//   FakeClock clock;
//   std::thread waiter([&] { WaitTenSecondsOn(&clock); });
//   clock.AwaitWaiters(1);
//   clock.Advance(absl::Seconds(10));
//   waiter.join();
class FakeClock : public Clock {
 public:
  enum class Mode {
    kByHand,    // A wait lasts until Advance or a notification.
    kAutomatic  // A wait with a limit advances the clock by it at once.
  };

  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1'000'000'000),
                     Mode mode = Mode::kByHand);

  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  bool WaitFor(Mutex& mu, CondVar& cv, absl::Duration timeout) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  // Moves both times on and wakes those whose limit is reached.
  // REQUIRES: the caller holds no mutex that somebody waits with.
  void Advance(absl::Duration duration);

  // Moves the time of day alone, also back, as when somebody sets the clock.
  void SetNow(absl::Time now);

  // Blocks until `count` threads or more wait on this clock with a limit that
  // is finite and not yet reached.
  void AwaitWaiters(int count);

 private:
  struct Waiter {
    Mutex* mu;
    CondVar* cv;
    absl::Duration deadline;
    bool being_woken = false;
  };

  int CountPending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Mode mode_;

  mutable Mutex mu_;
  CondVar changed_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
  absl::Duration monotonic_ ABSL_GUARDED_BY(mu_);
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_FAKE_CLOCK_H_

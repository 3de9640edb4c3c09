// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/fake_clock.h"

#include <algorithm>
#include <vector>

namespace tftrain {

FakeClock::FakeClock(absl::Time start, Mode mode)
    : mode_(mode), now_(start), monotonic_(absl::ZeroDuration()) {}

absl::Time FakeClock::Now() const {
  MutexLock lock(mu_);
  return now_;
}

absl::Duration FakeClock::Monotonic() const {
  MutexLock lock(mu_);
  return monotonic_;
}

// The analysis cannot follow that `mu` is given back for a moment.
bool FakeClock::WaitFor(Mutex& mu, CondVar& cv,
                        absl::Duration timeout) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (timeout <= absl::ZeroDuration()) return false;
  if (mode_ == Mode::kAutomatic && timeout < absl::InfiniteDuration()) {
    mu.Unlock();
    Advance(timeout);
    mu.Lock();
    return false;
  }

  std::list<Waiter>::iterator self;
  {
    MutexLock lock(mu_);
    self =
        waiters_.insert(waiters_.end(), Waiter{&mu, &cv, monotonic_ + timeout});
    changed_.NotifyAll();
  }
  // Whoever advances the clock takes `mu` before it notifies, so that it
  // cannot come between the lines above and the wait.
  cv.Wait(mu);

  mu.Unlock();
  bool in_time = false;
  {
    MutexLock lock(mu_);
    while (self->being_woken) changed_.Wait(mu_);
    in_time = monotonic_ < self->deadline;
    waiters_.erase(self);
  }
  mu.Lock();
  return in_time;
}

void FakeClock::Advance(absl::Duration duration) {
  std::vector<std::list<Waiter>::iterator> due;
  {
    MutexLock lock(mu_);
    now_ += duration;
    monotonic_ += duration;
    for (auto it = waiters_.begin(); it != waiters_.end(); ++it) {
      if (it->deadline > monotonic_ || it->being_woken) continue;
      it->being_woken = true;
      due.push_back(it);
    }
  }
  for (const auto& waiter : due) {
    // `being_woken` keeps the waiter, and with it these two, alive.
    MutexLock lock(*waiter->mu);
    waiter->cv->NotifyAll();
  }
  MutexLock lock(mu_);
  for (const auto& waiter : due) waiter->being_woken = false;
  changed_.NotifyAll();
}

void FakeClock::SetNow(absl::Time now) {
  MutexLock lock(mu_);
  now_ = now;
}

void FakeClock::AwaitWaiters(int count) {
  MutexLock lock(mu_);
  while (CountPending() < count) changed_.Wait(mu_);
}

int FakeClock::CountPending() const {
  return static_cast<int>(
      std::count_if(waiters_.begin(), waiters_.end(), [this](const Waiter& w) {
        mu_.AssertHeld();
        return w.deadline > monotonic_ && w.deadline < absl::InfiniteDuration();
      }));
}

}  // namespace tftrain

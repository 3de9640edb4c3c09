// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/fake_clock.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace tftrain {
namespace {

constexpr absl::Duration kTenSecs = absl::Seconds(10);

// Somebody who waits for a flag on a clock.
class Waiter {
 public:
  explicit Waiter(Clock* clock) : clock_(clock) {}

  // Returns whether the flag was set before `timeout` had passed.
  bool Wait(absl::Duration timeout) {
    const absl::Duration deadline = clock_->Monotonic() + timeout;
    MutexLock lock(mu_);
    while (!set_) {
      const absl::Duration left = deadline - clock_->Monotonic();
      if (left <= absl::ZeroDuration()) return false;
      clock_->WaitFor(mu_, cv_, left);
    }
    return true;
  }

  void Set() {
    MutexLock lock(mu_);
    set_ = true;
    cv_.NotifyAll();
  }

 private:
  Clock* const clock_;
  Mutex mu_;
  CondVar cv_;
  bool set_ ABSL_GUARDED_BY(mu_) = false;
};

TEST(FakeClockTest, StandsStillUntilAdvanced) {
  FakeClock clock(absl::FromUnixSeconds(100));
  const absl::Duration start = clock.Monotonic();
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));

  clock.Advance(kTenSecs);

  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(110));
  EXPECT_EQ(clock.Monotonic() - start, kTenSecs);
}

TEST(FakeClockTest, SettingTheTimeOfDayLeavesIntervalsAlone) {
  FakeClock clock;
  const absl::Duration start = clock.Monotonic();

  clock.SetNow(absl::FromUnixSeconds(5));

  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(5));
  EXPECT_EQ(clock.Monotonic(), start);
}

TEST(FakeClockTest, AWaitEndsWhenItsTimeHasPassed) {
  FakeClock clock;
  Waiter waiter(&clock);
  bool in_time = true;
  std::thread thread([&] { in_time = waiter.Wait(kTenSecs); });

  clock.AwaitWaiters(1);
  clock.Advance(kTenSecs / 2);
  clock.AwaitWaiters(1);
  clock.Advance(kTenSecs / 2);
  thread.join();

  EXPECT_FALSE(in_time);
}

TEST(FakeClockTest, AWaitEndsWhenNotified) {
  FakeClock clock;
  Waiter waiter(&clock);
  bool in_time = false;
  std::thread thread([&] { in_time = waiter.Wait(absl::InfiniteDuration()); });

  waiter.Set();
  thread.join();

  EXPECT_TRUE(in_time);
}

TEST(FakeClockTest, WakesAllThatAreDueAndNoOther) {
  FakeClock clock;
  Waiter waiter(&clock);
  std::vector<std::thread> due;
  for (int i = 0; i < 4; ++i) {
    due.emplace_back([&] { EXPECT_FALSE(waiter.Wait(kTenSecs)); });
  }
  std::thread later([&] { EXPECT_TRUE(waiter.Wait(2 * kTenSecs)); });
  clock.AwaitWaiters(5);

  clock.Advance(kTenSecs);
  for (std::thread& thread : due) thread.join();
  clock.AwaitWaiters(1);
  waiter.Set();
  later.join();
}

TEST(FakeClockTest, AdvancesByItselfWhenAutomatic) {
  FakeClock clock(absl::UnixEpoch(), FakeClock::Mode::kAutomatic);
  Waiter waiter(&clock);

  EXPECT_FALSE(waiter.Wait(kTenSecs));

  EXPECT_EQ(clock.Now(), absl::UnixEpoch() + kTenSecs);
}

}  // namespace
}  // namespace tftrain

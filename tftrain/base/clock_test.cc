// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace tftrain {
namespace {

TEST(RealClockTest, ShowsTheTimeOfDay) {
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::Real()->Now();

  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

TEST(RealClockTest, ItsIntervalsNeverGoBack) {
  absl::Duration last = Clock::Real()->Monotonic();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration now = Clock::Real()->Monotonic();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(RealClockTest, AWaitEndsAtItsLimit) {
  Clock* const clock = Clock::Real();
  Mutex mu;
  CondVar cv;
  const absl::Duration start = clock->Monotonic();

  MutexLock lock(mu);
  EXPECT_FALSE(clock->WaitFor(mu, cv, absl::ZeroDuration()));
  while (clock->WaitFor(mu, cv, absl::Milliseconds(2))) {
  }

  EXPECT_GE(clock->Monotonic() - start, absl::Milliseconds(2));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/training_pause.h"

#include <gtest/gtest.h>

#include <thread>

#include "tftrain/testing/fake_clock.h"

namespace tftrain::internal {
namespace {

TEST(TrainingPauseTest, APauseWithinAPauseCountsOnce) {
  FakeClock clock;
  const absl::Duration before = TrainingPause::Total();
  {
    const TrainingPause save(&clock);
    clock.Advance(absl::Seconds(1));
    {
      const TrainingPause evaluation(&clock);
      clock.Advance(absl::Seconds(2));
    }
    clock.Advance(absl::Seconds(4));
    EXPECT_EQ(TrainingPause::Total(), before);
  }
  clock.Advance(absl::Seconds(8));
  EXPECT_EQ(TrainingPause::Total() - before, absl::Seconds(7));
}

TEST(TrainingPauseTest, EachThreadHasItsOwn) {
  FakeClock clock;
  const absl::Duration before = TrainingPause::Total();
  std::thread([&clock] {
    {
      const TrainingPause pause(&clock);
      clock.Advance(absl::Seconds(1));
    }
    EXPECT_EQ(TrainingPause::Total(), absl::Seconds(1));
  }).join();
  EXPECT_EQ(TrainingPause::Total(), before);
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Random numbers for schedules that can be played again.

#ifndef TFTRAIN_FAULTS_RANDOM_SCHEDULE_H_
#define TFTRAIN_FAULTS_RANDOM_SCHEDULE_H_

#include <sched.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/faults/process_state.h"

namespace tftrain {

// Confined: use from the thread that created it.
class RandomSchedule {
 public:
  explicit RandomSchedule(uint32_t seed) : random_(seed) {}

  // One of 0, 1, … n - 1.
  int Below(int n) {
    return std::uniform_int_distribution<>(0, n - 1)(random_);
  }
  bool Maybe() { return Below(2) == 0; }

  // 1 to 64, small numbers as often as large ones.
  int Threads() {
    return static_cast<int>(std::lround(
        std::exp2(std::uniform_real_distribution<>(0, 6)(random_))));
  }

 private:
  std::mt19937 random_;
};

// Lets other threads run so many times.
inline void Yield(int times) {
  for (int i = 0; i < times; ++i) sched_yield();
}

// Calls `play` with one seed after the other, until it made a test fail.
// $TFTRAIN_FAULTS_SCHEDULES is how often, instead of `count`;
// $TFTRAIN_FAULTS_SEED is the first seed; without it the ordinary run plays the
// same schedules each time. Prints both.
inline void PlaySchedules(int64_t count,
                          const std::function<void(uint32_t seed)>& play) {
  count = FromEnvironment("TFTRAIN_FAULTS_SCHEDULES", count);
  const auto first =
      static_cast<uint32_t>(FromEnvironment("TFTRAIN_FAULTS_SEED", 1));
  std::cout << count << " schedules from TFTRAIN_FAULTS_SEED=" << first
            << std::endl;
  for (int64_t i = 0; i < count && !::testing::Test::HasFailure(); ++i) {
    const uint32_t seed = first + static_cast<uint32_t>(i);
    SCOPED_TRACE("TFTRAIN_FAULTS_SCHEDULES=1 TFTRAIN_FAULTS_SEED=" +
                 std::to_string(seed));
    play(seed);
  }
}

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_RANDOM_SCHEDULE_H_

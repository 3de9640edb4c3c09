// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/step_gate.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tftrain::internal {
namespace {

constexpr absl::Duration kLong = absl::Minutes(5);

TEST(StepGateTest, TheHolderIsAlone) {
  StepGate gate;
  std::atomic<bool> done = false;
  // Torn if two threads are inside while one holds the gate.
  std::atomic<int> a = 0, b = 0;
  std::vector<std::thread> steppers;
  for (int i = 0; i < 4; ++i) {
    steppers.emplace_back([&] {
      while (!done) {
        GatePass pass(&gate);
        a.fetch_add(1, std::memory_order_relaxed);
        b.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }

  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(gate.Close(kLong));
    const int first = a.load(std::memory_order_relaxed);
    ASSERT_EQ(b.load(std::memory_order_relaxed), first);
    ASSERT_EQ(a.load(std::memory_order_relaxed), first);
    gate.Open();
  }
  done = true;
  for (std::thread& stepper : steppers) stepper.join();
}

TEST(StepGateTest, TheHolderMayStepItself) {
  StepGate gate;
  ASSERT_TRUE(gate.Close(kLong));
  ASSERT_TRUE(gate.Close(kLong));
  { GatePass pass(&gate); }
  gate.Open();
  { GatePass pass(&gate); }
  gate.Open();

  std::thread([&] { GatePass pass(&gate); }).join();
}

TEST(StepGateTest, WaitsForThoseInsideNoLongerThanItsPatience) {
  StepGate gate;
  gate.Enter();
  std::thread other([&] {
    EXPECT_FALSE(gate.Close(absl::Milliseconds(1)));
    gate.Open();
    EXPECT_FALSE(gate.Close(absl::ZeroDuration()));
    gate.Open();
  });
  other.join();
  gate.Leave();

  EXPECT_TRUE(gate.Close(absl::ZeroDuration()));
  gate.Open();
}

TEST(StepGateTest, TwoThatCloseItTakeTurns) {
  StepGate gate;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 500; ++n) {
        EXPECT_TRUE(gate.Close(kLong));
        ++count;
        gate.Open();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 2000);
}

TEST(StepGateTest, NoGateIsAlwaysOpen) { GatePass pass(nullptr); }

}  // namespace
}  // namespace tftrain::internal

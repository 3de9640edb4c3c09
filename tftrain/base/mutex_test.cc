// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/mutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tftrain/testing/holds_in_child.h"

namespace tftrain {
namespace {

class Counter {
 public:
  void Add() {
    MutexLock lock(mu_);
    ++count_;
    changed_.NotifyAll();
  }

  void AwaitAtLeast(int count) {
    MutexLock lock(mu_);
    while (count_ < count) changed_.Wait(mu_);
  }

  bool TryAdd() {
    if (!mu_.TryLock()) return false;
    ++count_;
    mu_.Unlock();
    return true;
  }

  // Returns false once a wait ran out of time.
  bool AwaitChange(absl::Duration timeout) {
    MutexLock lock(mu_);
    return changed_.WaitFor(mu_, timeout);
  }

  bool AwaitChangeUntil(absl::Time deadline) {
    MutexLock lock(mu_);
    return changed_.WaitUntil(mu_, deadline);
  }

  template <typename Fn>
  void WhileLocked(Fn fn) {
    MutexLock lock(mu_);
    fn();
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
};

TEST(MutexTest, LetsOneThreadInAtATime) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int k = 0; k < 1000; ++k) counter.Add();
    });
  }

  counter.AwaitAtLeast(4000);

  for (std::thread& thread : threads) thread.join();
}

TEST(MutexTest, TryLockFailsWhileAnotherThreadHoldsIt) {
  Counter counter;
  bool added = true;
  counter.WhileLocked(
      [&] { std::thread([&] { added = counter.TryAdd(); }).join(); });

  EXPECT_FALSE(added);
  EXPECT_TRUE(counter.TryAdd());
}

TEST(CondVarTest, AWaitWithoutTimeReturnsAtOnce) {
  Counter counter;

  EXPECT_FALSE(counter.AwaitChange(absl::ZeroDuration()));
  EXPECT_FALSE(counter.AwaitChange(-absl::InfiniteDuration()));
  EXPECT_FALSE(counter.AwaitChangeUntil(absl::InfinitePast()));
}

TEST(CondVarTest, AWaitEndsAtItsLimit) {
  Counter counter;
  const absl::Time start = absl::Now();

  while (counter.AwaitChange(absl::Milliseconds(2))) {
  }
  while (counter.AwaitChangeUntil(start + absl::Milliseconds(4))) {
  }

  EXPECT_GE(absl::Now() - start, absl::Milliseconds(2));
}

TEST(CondVarTest, AWaitOfAnyLengthEndsWhenNotified) {
  for (const absl::Duration timeout :
       {absl::Hours(1), absl::Hours(24 * 365 * 1000),
        absl::InfiniteDuration()}) {
    Counter counter;
    std::atomic<bool> ended{false};
    std::thread waiter([&] {
      EXPECT_TRUE(counter.AwaitChange(timeout));
      ended = true;
    });
    // It may not wait yet, so one notification may not reach it.
    while (!ended) counter.Add();
    waiter.join();
  }
}

TEST(CondVarTest, AForkedChildMayDropWhatAThreadOfItsParentWaitsFor) {
  Mutex mu;
  auto changed = std::make_unique<CondVar>();
  bool waiting = false;
  bool over = false;
  std::thread waiter([&] {
    MutexLock lock(mu);
    waiting = true;
    changed->NotifyAll();
    while (!over) changed->Wait(mu);
  });
  {
    MutexLock lock(mu);
    while (!waiting) changed->Wait(mu);
  }

  EXPECT_TRUE(HoldsInChild([&changed] {
    changed.reset();
    return true;
  }));

  {
    MutexLock lock(mu);
    over = true;
    changed->NotifyAll();
  }
  waiter.join();
}

}  // namespace
}  // namespace tftrain

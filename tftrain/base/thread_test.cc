// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <utility>
#include <vector>

#include "tftrain/base/mutex.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;

using ::testing::IsEmpty;

// A door that stays open once opened.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    cv_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(mu_);
    while (!open_) cv_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar cv_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

std::shared_ptr<Thread> Start(std::string name, std::function<void()> fn) {
  absl::StatusOr<std::shared_ptr<Thread>> thread =
      Thread::Start(std::move(name), std::move(fn));
  EXPECT_THAT(thread, IsOk());
  return *std::move(thread);
}

TEST(ThreadTest, CallsItsFunctionOnceUnderItsName) {
  std::vector<std::string> names;
  const auto thread = Start("a name too long for Linux", [&names] {
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof(name));
    names.emplace_back(name);
  });

  thread->Join();

  EXPECT_THAT(names, ElementsAre("a name too long"));
  EXPECT_EQ(thread->name(), "a name too long for Linux");
  EXPECT_TRUE(thread->done());
}

TEST(ThreadTest, IsDoneOnlyWhenTheFunctionIsDestroyed) {
  auto held = std::make_shared<int>(3);
  const std::weak_ptr<int> weak = held;
  const auto thread = Start("t", [held = std::move(held)] {});

  thread->Join();

  EXPECT_TRUE(weak.expired());
}

TEST(ThreadTest, LetsOthersFinishWhenItIsTold) {
  int before = -1;
  int after = -1;
  const auto thread = Thread::Start("polite", [&] {
    before = ::sched_getscheduler(0);
    Thread::LetOthersFinish();
    after = ::sched_getscheduler(0);
  });
  ASSERT_THAT(thread, IsOk());
  (*thread)->Join();
  EXPECT_EQ(before, ::sched_getscheduler(0));
  EXPECT_EQ(after, SCHED_BATCH);
}

TEST(ThreadTest, JoinForEndsAtItsLimit) {
  Gate gate;
  const auto thread = Start("t", [&] { gate.Pass(); });

  EXPECT_FALSE(thread->JoinFor(absl::ZeroDuration()));
  EXPECT_FALSE(thread->JoinFor(absl::Milliseconds(2)));
  EXPECT_FALSE(thread->done());

  gate.Open();
  EXPECT_TRUE(thread->JoinFor(absl::InfiniteDuration()));
  EXPECT_TRUE(thread->JoinFor(absl::ZeroDuration()));
}

TEST(ThreadTest, ManyMayJoin) {
  Gate gate;
  const auto thread = Start("t", [&] { gate.Pass(); });
  std::vector<std::shared_ptr<Thread>> joiners;
  for (int i = 0; i < 4; ++i) {
    joiners.push_back(Start("joiner", [thread] {
      thread->Join();
      EXPECT_TRUE(thread->done());
    }));
  }

  gate.Open();
  for (const auto& joiner : joiners) joiner->Join();
}

// Reliability R9: nothing a straggler uses is freed.
TEST(ThreadTest, AStragglerOutlivesItsObjectWithAWarning) {
  const auto gate = std::make_shared<Gate>();
  const auto ended = std::make_shared<Gate>();
  LogCapture log;
  Gate waiting;
  auto thread = Start("reader", [&waiting, gate, ended] {
    Thread::SetActivity("queue_dequeue");
    waiting.Open();
    gate->Pass();
    ended->Open();
  });
  waiting.Pass();

  thread.reset();
  gate->Open();
  ended->Pass();

  EXPECT_THAT(log.lines(),
              ElementsAre("WARNING: a thread still runs and is left to itself: "
                          "\"reader\" in \"queue_dequeue\""));
}

TEST(ThreadTest, AForkedChildLeavesTheThreadsOfItsParentAlone) {
  Gate gate;
  auto running = Start("runs", [&] { gate.Pass(); });
  auto ended = Start("ended", [] {});
  ended->Join();
  auto unjoined = Start("unjoined", [] {});
  while (!unjoined->done()) sched_yield();

  EXPECT_TRUE(HoldsInChild([&] {
    const bool waited = running->JoinFor(absl::InfiniteDuration());
    const bool done = running->done();
    running.reset();
    ended.reset();
    unjoined.reset();
    return done && !waited;
  }));

  gate.Open();
  EXPECT_TRUE(running->JoinFor(absl::InfiniteDuration()));
}

TEST(ThreadTest, ADetachedThreadIsNotMentioned) {
  const auto gate = std::make_shared<Gate>();
  LogCapture log;
  auto thread = Start("reader", [gate] { gate->Pass(); });

  thread->Detach();
  EXPECT_FALSE(thread->JoinFor(absl::ZeroDuration()));
  gate->Open();
  thread->Join();
  thread.reset();

  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST(ThreadTest, MayDropTheLastReferenceToItself) {
  const auto slot = std::make_shared<std::shared_ptr<Thread>>();
  Gate stored;
  Gate ended;
  *slot = Start("self", [slot, &stored, &ended] {
    stored.Pass();
    slot->reset();
    ended.Open();
  });

  stored.Open();
  ended.Pass();
}

TEST(ThreadTest, CallbacksRunAfterTheFunction) {
  Gate gate;
  std::atomic<int> calls{0};
  const auto thread = Start("t", [&] { gate.Pass(); });
  thread->OnDone([&] { calls += thread->done() ? 1 : 100; });

  EXPECT_EQ(calls, 0);
  gate.Open();
  thread->Join();
  EXPECT_EQ(calls, 1);

  thread->OnDone([&] { calls += 10; });
  EXPECT_EQ(calls, 11);
}

TEST(ThreadTest, TellsWhatItWaitsIn) {
  Gate noted;
  Gate first;
  Gate second;
  Gate gate;
  const auto thread = Start("reader", [&] {
    noted.Pass();
    Thread::SetActivity("queue_enqueue");
    first.Open();
    gate.Pass();
    Thread::SetActivity("");
    second.Open();
  });
  EXPECT_EQ(thread->Describe(), "\"reader\"");

  noted.Open();
  first.Pass();
  EXPECT_EQ(thread->activity(), "queue_enqueue");
  EXPECT_EQ(thread->Describe(), "\"reader\" in \"queue_enqueue\"");

  gate.Open();
  second.Pass();
  EXPECT_EQ(thread->Describe(), "\"reader\"");
  thread->Join();
}

TEST(ThreadTest, WhatItWaitsInMayBeAskedAnew) {
  std::atomic<int> size{3};
  Gate noted;
  Gate gate;
  const auto thread = Start("reader", [&] {
    Thread::SetActivity([&size] { return absl::StrCat("size ", size.load()); });
    noted.Open();
    gate.Pass();
  });

  noted.Pass();
  EXPECT_EQ(thread->activity(), "size 3");
  size = 4;
  EXPECT_EQ(thread->Describe(), "\"reader\" in \"size 4\"");

  gate.Open();
  thread->Join();
  EXPECT_EQ(thread->activity(), "");
}

TEST(ThreadTest, AForeignThreadHasNoActivityToSet) {
  Thread::SetActivity("nothing happens");
}

TEST(ThreadDeathTest, CannotWaitForItself) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto slot = std::make_shared<std::shared_ptr<Thread>>();
        Gate stored;
        *slot = Start("self", [slot, &stored] {
          stored.Pass();
          (*slot)->Join();
        });
        stored.Open();
        (*slot)->Join();
      },
      "a thread cannot wait for its own end: self");
}

}  // namespace
}  // namespace tftrain

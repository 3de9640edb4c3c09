// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_queue.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

int64_t Count(const LogCapture& log, std::string_view text) {
  int64_t count = 0;
  for (const std::string& line : log.lines()) {
    if (absl::StrContains(line, text)) ++count;
  }
  return count;
}

class EventQueueTest : public ::testing::Test {
 protected:
  EventQueueTest() { options_.logdir = "run"; }

  EventQueue& queue() {
    if (queue_ == nullptr) {
      queue_ = std::make_unique<EventQueue>(options_, &clock_);
    }
    return *queue_;
  }

  void Add(int64_t step, size_t bytes = 1, bool droppable = true) {
    queue().Add(bytes, droppable,
                [&](QueuedEvent* event) { event->step = step; });
  }

  // The steps of the next batch, which stays in the hands of the writer.
  std::vector<int64_t> Take() {
    queue().Take(&batch_);
    std::vector<int64_t> steps;
    for (const QueuedEvent& event : batch_.events) steps.push_back(event.step);
    return steps;
  }

  FakeClock clock_;
  EventFileWriter::Options options_;
  std::unique_ptr<EventQueue> queue_;
  EventQueue::Batch batch_;
};

TEST_F(EventQueueTest, TheFirstEventIsDueAtOnce) {
  Add(1);

  EXPECT_THAT(Take(), ElementsAre(1));
  EXPECT_FALSE(batch_.last);
}

TEST_F(EventQueueTest, FurtherOnesAreDueInTime) {
  options_.flush_secs = 10;
  Add(1);
  Take();
  queue().Done(&batch_);

  Add(2);
  std::thread writer([&] { EXPECT_THAT(Take(), ElementsAre(2, 3)); });
  clock_.AwaitWaiters(1);
  Add(3);
  clock_.Advance(absl::Seconds(10));
  writer.join();
}

TEST_F(EventQueueTest, ManyAreDueAtOnce) {
  options_.flush_events = 3;
  Add(1);
  Take();
  queue().Done(&batch_);

  Add(2);
  Add(3);
  Add(4);

  EXPECT_THAT(Take(), ElementsAre(2, 3, 4));
}

TEST_F(EventQueueTest, WhatTheWriterHoldsTakesPlacesToo) {
  options_.max_queue = 3;
  Add(1);
  Add(2);
  Take();

  LogCapture log;
  Add(3);
  Add(4);
  Add(5);
  Add(6, 1, /*droppable=*/false);

  EXPECT_EQ(queue().stats().accepted, 4);
  EXPECT_EQ(queue().stats().dropped_full, 2);
  EXPECT_EQ(Count(log, "too many wait for the disk"), 1);
  queue().Done(&batch_);
  Add(7);
  EXPECT_THAT(Take(), ElementsAre(3, 6, 7));
}

TEST_F(EventQueueTest, BytesAreCounted) {
  options_.max_queue_bytes = 100;
  Add(1, 99);
  Add(2, 1000);
  Add(3, 1);

  EXPECT_THAT(Take(), ElementsAre(1, 2));
  EXPECT_EQ(queue().stats().dropped_full, 1);
}

TEST_F(EventQueueTest, EachReasonIsSaidOnce) {
  LogCapture log;
  queue().RefuseTooLarge();
  queue().RefuseTooLarge();
  queue().Close();
  Add(1);
  Add(2);

  EXPECT_EQ(Count(log, "larger than 2 GiB"), 1);
  EXPECT_EQ(Count(log, "the writer is closed"), 1);
  EXPECT_EQ(queue().stats().dropped_large, 2);
  EXPECT_EQ(queue().stats().dropped_closed, 2);
}

TEST_F(EventQueueTest, ClosingHandsOutWhatIsLeft) {
  options_.flush_secs = 1000;
  Add(1);
  Take();
  queue().Done(&batch_);
  Add(2);

  queue().Close();

  EXPECT_THAT(Take(), ElementsAre(2));
  EXPECT_TRUE(batch_.last);
  queue().Done(&batch_);
  EXPECT_THAT(queue().AwaitFlush(), IsOk());
}

// A writer that the disk holds up is waited for once, until it goes on.
TEST_F(EventQueueTest, NobodyWaitsTwiceForTheSameDisk) {
  options_.wait_secs = 0.01;
  Add(1);
  Take();

  LogCapture log;
  EXPECT_THAT(queue().AwaitFlush(),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("\"run\" were not written within 0.01 s")));
  EXPECT_EQ(queue().patience(), absl::ZeroDuration());
  EXPECT_THAT(queue().AwaitFlush(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(Count(log, "Nobody waits any longer"), 1);

  queue().Done(&batch_);  // what was taken before anybody asked
  EXPECT_EQ(queue().patience(), absl::ZeroDuration());
  Take();
  queue().Done(&batch_);
  EXPECT_EQ(queue().patience(), absl::Milliseconds(10));
}

}  // namespace
}  // namespace tftrain::internal

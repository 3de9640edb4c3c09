// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_logger.h"

#include <cerrno>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/clock.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

EventFileWriter::Options OptionsFor(const std::string& folder) {
  EventFileWriter::Options options;
  options.logdir = folder;
  return options;
}

class EventLoggerTest : public ::testing::Test {
 protected:
  // Adds a scalar and lets the logger end after what was added.
  void RunWithOneScalar() {
    queue_.Add(/*bytes=*/100, /*droppable=*/true, [](QueuedEvent* event) {
      event->text = "a";
      event->value = 0.5f;
      event->step = 3;
    });
    queue_.Close();
    logger_.Run(&queue_);
  }

  const TempDir dir_;
  const EventFileWriter::Options options_ = OptionsFor(dir_.path());
  EventQueue queue_{options_, Clock::Real()};
  EventLogger logger_{options_, Clock::Real()};
};

TEST_F(EventLoggerTest, WritesWhatTheQueueHoldsUntilItIsClosed) {
  EXPECT_THAT(logger_.path(), IsEmpty());

  RunWithOneScalar();

  EXPECT_THAT(Describe(logger_.path()), ElementsAre("a=0.5@3"));
  EXPECT_THAT(logger_.TakeError(), IsOk());
  EXPECT_EQ(logger_.stats().written, 1);
  EXPECT_EQ(logger_.stats().files, 1);
}

// WRT-10
TEST_F(EventLoggerTest, KeepsTheErrorOfTheDiskAndTellsWhatWasLost) {
  FaultyFileOps faults;
  LogCapture log;
  faults.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);

  RunWithOneScalar();

  EXPECT_THAT(logger_.TakeError(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(logger_.TakeError(), IsOk());
  EXPECT_EQ(logger_.stats().dropped_error, 1);
  EXPECT_THAT(log.lines(),
              ElementsAre(HasSubstr("are lost, training goes on"),
                          HasSubstr("1 of 1 (1 by errors of the disk)")));
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// How hooks end whose events go to writers that others hold as well.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/mutex.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/resource_usage_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/summary/event_file_writer_cache.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr Every kEvery1 = Every::Steps(1);

// A disk that is full for event files alone.
//
// Thread-safe.
class NoRoomForEvents : public FaultyFileOps {
 public:
  int Open(const char* path, int flags, mode_t mode) override {
    const int fd = FaultyFileOps::Open(path, flags, mode);
    MutexLock lock(mu_);
    events_.erase(fd);  // its number is used again
    if (absl::StrContains(path, "tfevents")) events_.insert(fd);
    return fd;
  }
  ssize_t Write(int fd, const void* data, size_t size) override {
    {
      MutexLock lock(mu_);
      if (events_.count(fd) > 0) {
        errno = ENOSPC;
        return -1;
      }
    }
    return FaultyFileOps::Write(fd, data, size);
  }

 private:
  Mutex mu_;
  std::set<int> events_ ABSL_GUARDED_BY(mu_);
};

// A hook that writes events into a folder.
struct Case {
  std::string name;
  HookPtr (*make)(const std::string& folder);
};

class HookAndWriterTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto writer = EventFileWriterCache::Get(dir_.path());
    ASSERT_THAT(writer, IsOk());
    writer_ = *writer;
  }

  const TempDir dir_;
  std::shared_ptr<EventFileWriter> writer_;
};

TEST_P(HookAndWriterTest, WhatItWroteIsInTheFileHoweverTrainingEnds) {
  for (const absl::Status& end :
       {absl::OkStatus(), absl::InternalError("injected")}) {
    HookDriver run({GetParam().make(dir_.path())});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(3), IsOk());

    EXPECT_EQ(run.Close(end), end);

    EXPECT_GT(writer_->stats().accepted, 0);
    EXPECT_EQ(writer_->stats().written, writer_->stats().accepted);
  }
}

// WRT-10; reliability R14
TEST_P(HookAndWriterTest, AnErrorOfTheDiskIsLeftToTheWritersUser) {
  const NoRoomForEvents disk;
  HookDriver run({GetParam().make(dir_.path())});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());

  // It spoils no training.
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(writer_->Close(), StatusIs(absl::StatusCode::kResourceExhausted));
}

INSTANTIATE_TEST_SUITE_P(
    Hooks, HookAndWriterTest,
    ::testing::Values(Case{"Summaries",
                           [](const std::string& folder) -> HookPtr {
                             return SaveSummaries(folder, kEvery1,
                                                  "w_summary:0");
                           }},
                      Case{"Steps",
                           [](const std::string& folder) -> HookPtr {
                             return CountSteps(folder, kEvery1);
                           }},
                      Case{"Resources",
                           [](const std::string& folder) -> HookPtr {
                             return TellResourceUsage(folder, kEvery1);
                           }},
                      Case{"Timelines",
                           [](const std::string& folder) -> HookPtr {
                             return SaveTimelines(folder, kEvery1);
                           }},
                      Case{"Checkpoints",
                           [](const std::string& folder) -> HookPtr {
                             return SaveCheckpoints(folder, kEvery1);
                           }}),
    [](const auto& test) { return test.param.name; });

// Reliability R9: without a common limit each of the six waits would take a
// minute.
TEST(HooksAndWritersTest, ADiskThatStandsStillHoldsUpTheEndOnce) {
  for (const absl::Status& end :
       {absl::OkStatus(), absl::InternalError("injected")}) {
    const TempDir dir;
    LogCapture log;
    SlowFileOps disk("tfevents");
    std::vector<std::shared_ptr<EventFileWriter>> writers;
    for (const char* folder : {"a", "b", "c"}) {
      const auto writer = EventFileWriterCache::Get(dir / folder);
      ASSERT_THAT(writer, IsOk());
      writers.push_back(*writer);
    }
    HookDriver run({SaveSummaries(dir / "a", kEvery1, "w_summary:0"),
                    CountSteps(dir / "b", kEvery1),
                    TellResourceUsage(dir / "c", kEvery1)});
    run.options().stop_grace_period_secs = 1;
    ASSERT_THAT(run.Open(), IsOk());
    disk.Stop();
    EXPECT_THAT(run.Train(3), IsOk());

    const absl::Duration start = Clock::Real()->Monotonic();
    EXPECT_EQ(run.Close(end), end);

    EXPECT_LT(Clock::Real()->Monotonic() - start, absl::Seconds(10));
    for (const auto& writer : writers) {
      EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr(writer->logdir()),
                                              HasSubstr("not written"))));
      EXPECT_THAT(writer->Flush(),
                  StatusIs(absl::StatusCode::kDeadlineExceeded));
    }

    // Nothing is lost once the disk goes on.
    disk.GoOn();
    for (const auto& writer : writers) {
      while (!writer->Close().ok()) {
      }
      EXPECT_EQ(writer->stats().written, writer->stats().accepted);
    }
  }
}

}  // namespace
}  // namespace tftrain

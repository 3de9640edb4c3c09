// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"
#include "tftrain/summary/disk_patience.h"
#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/event_file_writer_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

// File calls of which a test can hold back the opening of files, let writes
// fail, and wait for the others.
//
// Thread-safe.
class GatedFileOps : public internal::FileOps {
 public:
  GatedFileOps() : former_(internal::ExchangeFileOps(this)) {}
  ~GatedFileOps() override { internal::ExchangeFileOps(former_); }

  void Hold() {
    MutexLock lock(mu_);
    held_ = true;
  }
  void Release() {
    MutexLock lock(mu_);
    held_ = false;
    changed_.NotifyAll();
  }
  // Makes each write fail as on a full disk.
  void SetFull(bool full) {
    MutexLock lock(mu_);
    full_ = full;
  }
  // Waits until somebody waits to open a file, ...
  void AwaitOpen() { Await(&GatedFileOps::waiting_, 1); }
  // ... or until so many writes or closes have ended.
  void AwaitWrites(int count) { Await(&GatedFileOps::writes_, count); }
  void AwaitCloses(int count) { Await(&GatedFileOps::closes_, count); }
  int writes() {
    MutexLock lock(mu_);
    return writes_;
  }

  int Open(const char* path, int flags, mode_t mode) override {
    {
      MutexLock lock(mu_);
      ++waiting_;
      changed_.NotifyAll();
      while (held_) changed_.Wait(mu_);
      --waiting_;
    }
    return FileOps::Open(path, flags, mode);
  }
  ssize_t Write(int fd, const void* data, size_t size) override {
    {
      MutexLock lock(mu_);
      if (full_) {
        errno = ENOSPC;
        return -1;
      }
    }
    const ssize_t result = FileOps::Write(fd, data, size);
    Count(&GatedFileOps::writes_);
    return result;
  }
  int Close(int fd) override {
    const int result = FileOps::Close(fd);
    Count(&GatedFileOps::closes_);
    return result;
  }

 private:
  void Await(int GatedFileOps::*value, int count) {
    MutexLock lock(mu_);
    while (this->*value < count) changed_.Wait(mu_);
  }
  void Count(int GatedFileOps::*value) {
    MutexLock lock(mu_);
    ++(this->*value);
    changed_.NotifyAll();
  }

  internal::FileOps* const former_;
  Mutex mu_;
  CondVar changed_;
  bool held_ = false;
  bool full_ = false;
  int waiting_ = 0;
  int writes_ = 0;
  int closes_ = 0;
};

class EventFileWriterDiskTest : public EventFileWriterTest {};

// What is drawn is drawn on the writer's thread, from the tensor itself.
TEST_F(EventFileWriterDiskTest, TensorsWaitUncopiedAndCountTheirBytes) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.max_queue_bytes = 10000;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();

  tensorflow::Tensor image(tensorflow::DT_UINT8, {1, 64, 64, 1});
  image.flat<uint8_t>().setZero();
  for (int i = 0; i < 5; ++i) {
    ASSERT_THAT(writer->AddImage("i", image), IsOk());
  }
  EXPECT_FALSE(image.RefCountIsOne());
  EXPECT_EQ(writer->stats().dropped_full, 2);

  files.Release();
  EXPECT_THAT(writer->Close(), IsOk());
  EXPECT_TRUE(image.RefCountIsOne());
}

// WRT-08
TEST_F(EventFileWriterDiskTest, FirstEventIsWrittenAtOnceAndLaterOnesInTime) {
  GatedFileOps files;
  FakeClock clock;
  EventFileWriter::Options options;
  options.clock = &clock;
  const auto writer = Open(options);
  writer->AddScalar("a", 1);
  files.AwaitWrites(1);

  writer->AddScalar("a", 2);
  writer->AddScalar("a", 3);
  clock.AwaitWaiters(1);
  clock.Advance(absl::Seconds(119));
  clock.AwaitWaiters(1);
  EXPECT_EQ(files.writes(), 1);

  clock.Advance(absl::Seconds(1));
  files.AwaitWrites(2);
  EXPECT_THAT(Events(), ElementsAre("a=1", "a=2", "a=3"));
}

TEST_F(EventFileWriterDiskTest, EventsAreWrittenByCount) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.flush_events = 3;
  const auto writer = Open(options);
  writer->AddScalar("a", 1);
  files.AwaitWrites(1);
  for (int i = 2; i <= 4; ++i) writer->AddScalar("a", static_cast<float>(i));
  files.AwaitWrites(2);

  EXPECT_THAT(Events(), ElementsAre("a=1", "a=2", "a=3", "a=4"));
}

// WRT-08: adding never waits; what does not fit is dropped and counted.
TEST_F(EventFileWriterDiskTest, FullQueueDropsEventsAndNeverBlocks) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.max_queue = 3;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();

  for (int i = 2; i <= 6; ++i) writer->AddScalar("a", static_cast<float>(i));
  writer->AddGraph(std::string("graph"));
  writer->AddSessionLog(EventFileWriter::SessionStatus::kStop);
  EXPECT_EQ(writer->stats().dropped_full, 3);

  files.Release();
  ASSERT_THAT(writer->Close(), IsOk());
  EXPECT_THAT(Events(), ElementsAre("a=1", "a=2", "a=3", "graph", "STOP()"));
  EXPECT_EQ(writer->stats().accepted, 5);
  EXPECT_EQ(writer->stats().written, 5);
}

TEST_F(EventFileWriterDiskTest, QueueIsBoundedInBytesToo) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.max_queue_bytes = 1000;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();

  for (int i = 0; i < 5; ++i) writer->AddScalar(std::string(600, 'x'), 1);
  EXPECT_EQ(writer->stats().dropped_full, 3);
  files.Release();
}

// WRT-09
TEST_F(EventFileWriterDiskTest, FlushWaitsForAllThatWasAddedBefore) {
  const auto writer = Open();
  for (int i = 1; i <= 5000; ++i) writer->AddScalar("a", 1, i);
  ASSERT_THAT(writer->Flush(), IsOk());

  EXPECT_THAT(Events(), SizeIs(5000));
  EXPECT_EQ(writer->stats().written, 5000);
}

// WRT-10, reliability R14
TEST_F(EventFileWriterDiskTest, TornRecordHidesNothingBehindIt) {
  FaultyFileOps faults;
  const auto writer = Open();
  writer->AddScalar("a", 1);
  ASSERT_THAT(writer->Flush(), IsOk());

  faults.LimitWrites(10);
  faults.FailCall(1, ENOSPC);
  writer->AddScalar("a", 2);
  EXPECT_THAT(writer->Flush(), StatusIs(absl::StatusCode::kResourceExhausted,
                                        HasSubstr(writer->path())));
  EXPECT_THAT(writer->Flush(), IsOk());
  writer->AddScalar("a", 3);
  EXPECT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(dir_.List(), SizeIs(2));
  EXPECT_THAT(Events(), ElementsAre("a=1", "a=3"));
  EXPECT_EQ(writer->stats().written, 2);
  EXPECT_EQ(writer->stats().dropped_error, 1);
  EXPECT_EQ(writer->stats().files, 2);
}

// WRT-10: a folder may hold many files, and is looked through for each try.
TEST_F(EventFileWriterDiskTest, ADiskThatTakesNoFileIsAskedOnceForEachBatch) {
  FaultyFileOps faults;
  const auto writer = Open();
  faults.FailCall(0, EROFS, FaultyFileOps::Fault::kSticky);

  for (int i = 0; i < 1000; ++i) writer->AddScalar("a", 1);
  EXPECT_FALSE(writer->Close().ok());

  // The first event may be a batch of its own.
  EXPECT_THAT(faults.calls(), SizeIs(Le(2)));
  EXPECT_EQ(writer->stats().dropped_error, 1000);
}

// WRT-10: a disk that stays full costs the events, nothing else.
TEST_F(EventFileWriterDiskTest, FullDiskIsNotLitteredAndNotFatal) {
  GatedFileOps files;
  const auto writer = Open();
  files.SetFull(true);
  for (int i = 0; i < 4; ++i) {
    writer->AddScalar("a", 1);
    EXPECT_THAT(writer->Flush(),
                StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(dir_.List(), IsEmpty());

  files.SetFull(false);
  writer->AddScalar("a", 2);
  EXPECT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("a=2"));
  EXPECT_EQ(writer->stats().dropped_error, 4);
  EXPECT_EQ(writer->stats().written, 1);
}

// Reliability row 20: whichever call fails, what was flushed before is read,
// and what comes later too.
TEST_F(EventFileWriterDiskTest, AnyFailingCallLosesOneBatchAtMost) {
  for (int call = 0; call < 12; ++call) {
    const TempDir dir;
    EventFileWriter::Options options;
    options.logdir = dir.path();
    FaultyFileOps faults;
    const auto writer = Open(options);
    faults.FailCall(call, EIO);
    for (int i = 1; i <= 5; ++i) {
      writer->AddScalar("a", 1, i);
      writer->Flush().IgnoreError();
    }
    writer->Close().IgnoreError();

    std::vector<std::string> events;
    for (const std::string& name : dir.List()) {
      for (const std::string& line : Describe(dir / name)) {
        events.push_back(line);
      }
    }
    EXPECT_GE(events.size(), 4) << call;
    EXPECT_EQ(writer->stats().written, static_cast<int64_t>(events.size()));
    EXPECT_EQ(writer->stats().written + writer->stats().dropped_error, 5);
    EXPECT_TRUE(std::is_sorted(events.begin(), events.end()));
  }
}

TEST_F(EventFileWriterDiskTest, MetadataIsWrittenAgainInANewFile) {
  tensorflow::Summary summary;
  summary.add_value()->mutable_metadata()->set_display_name("shown");
  const auto writer = Open();
  writer->AddSummary(summary);
  ASSERT_THAT(writer->Flush(), IsOk());
  ASSERT_THAT(RemoveFile(writer->path()), IsOk());
  writer->AddSummary(summary);
  ASSERT_THAT(writer->Flush(), IsOk());
  writer->AddSummary(summary);
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("=0+m", "=0"));
}

// Reliability row 20: what is added after the folder is gone is found.
TEST_F(EventFileWriterDiskTest, DeletedFolderIsMadeAnew) {
  EventFileWriter::Options options;
  options.logdir = dir_ / "run";
  const auto writer = Open(options);
  writer->AddScalar("a", 1);
  ASSERT_THAT(writer->Flush(), IsOk());
  std::filesystem::remove_all(options.logdir);
  writer->AddScalar("a", 2);
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Describe(writer->path()), ElementsAre("a=2"));
}

// Reliability R9: a disk that does not answer does not hold up the program.
TEST_F(EventFileWriterDiskTest, FlushAndCloseDoNotWaitForeverForTheDisk) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.wait_secs = 0;
  auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();

  EXPECT_THAT(writer->Flush(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        HasSubstr(dir_.path())));
  EXPECT_THAT(writer->Close(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  writer.reset();

  files.Release();
  files.AwaitCloses(1);
  EXPECT_THAT(Events(), ElementsAre("a=1"));
}

// WRT-09: what was waited for in vain once is not waited for again.
TEST_F(EventFileWriterDiskTest, ADiskThatStandsStillIsWaitedForOnce) {
  LogCapture log;
  GatedFileOps files;
  EventFileWriter::Options options;
  options.wait_secs = 0.01;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();
  const absl::Status stall = writer->Flush();
  EXPECT_THAT(stall, StatusIs(absl::StatusCode::kDeadlineExceeded,
                              HasSubstr("within 0.01 s")));

  EXPECT_EQ(writer->Flush(), stall);
  writer->AwaitFlush();
  EXPECT_EQ(writer->Close(), stall);
  EXPECT_EQ(writer->Close(), stall);
  EXPECT_EQ(writer->Flush(), stall);
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("were not written within")));

  files.Release();
  while (!writer->Close().ok()) {
  }
  EXPECT_THAT(Events(), ElementsAre("a=1"));
}

TEST_F(EventFileWriterDiskTest, ADiskThatGoesOnIsWaitedForAgain) {
  GatedFileOps files;
  EventFileWriter::Options options;
  options.wait_secs = 0.05;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();
  EXPECT_THAT(writer->Flush(), StatusIs(absl::StatusCode::kDeadlineExceeded));

  files.Release();
  while (!writer->Flush().ok()) {
  }

  EXPECT_THAT(Events(), ElementsAre("a=1"));
}

TEST_F(EventFileWriterDiskTest, WritersOfOneSessionShareItsPatience) {
  GatedFileOps files;
  std::vector<std::shared_ptr<EventFileWriter>> writers;
  for (int i = 0; i < 3; ++i) writers.push_back(Open());  // 60 s for each
  files.Hold();
  for (const auto& writer : writers) writer->AddScalar("a", 1);
  const internal::DiskPatience patience(absl::Milliseconds(20));

  for (const auto& writer : writers) {
    EXPECT_THAT(writer->Flush(), StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(writer->Close(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  }

  EXPECT_GE(patience.spent(), absl::Milliseconds(20));
  EXPECT_LT(patience.spent(), absl::Seconds(30));
  files.Release();
  for (const auto& writer : writers) {
    while (!writer->Close().ok()) {
    }
  }
}

// WRT-10
TEST_F(EventFileWriterDiskTest, AwaitFlushLeavesTheErrorToTheNextCall) {
  GatedFileOps files;
  const auto writer = Open();
  files.SetFull(true);
  writer->AddScalar("a", 1);

  writer->AwaitFlush();

  EXPECT_EQ(writer->stats().dropped_error, 1);
  EXPECT_THAT(writer->Close(), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(EventFileWriterDiskTest, TellsAtTheEndWhatWasLost) {
  LogCapture log;
  GatedFileOps files;
  EventFileWriter::Options options;
  options.max_queue = 2;
  const auto writer = Open(options);
  files.Hold();
  writer->AddScalar("a", 1);
  files.AwaitOpen();
  for (int i = 2; i <= 6; ++i) writer->AddScalar("a", static_cast<float>(i));
  files.SetFull(true);
  files.Release();
  writer->Flush().IgnoreError();
  files.SetFull(false);
  writer->AddScalar("a", 7);

  EXPECT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr(dir_.path()),
                             HasSubstr("were lost: 6 of 7 (4 as too many waited"
                                       " for the disk, 2 by errors of the "
                                       "disk)"))));
}

TEST_F(EventFileWriterDiskTest, ThreadsMayAddTogether) {
  const auto writer = Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&writer, t] {
      for (int i = 1; i <= 1000; ++i) {
        writer->AddScalar(absl::StrCat("t", t), 1, i);
        if (i % 300 == 0) {
          EXPECT_THAT(writer->Flush(), IsOk());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_THAT(writer->Close(), IsOk());

  std::map<std::string, int64_t> last;
  for (const auto& event : ReadEvents(writer->path())) {
    if (!event.has_summary()) continue;
    EXPECT_EQ(event.step(), ++last[event.summary().value(0).tag()]);
  }
  EXPECT_THAT(last, SizeIs(4));
  EXPECT_EQ(writer->stats().written, 4000);
}

TEST_F(EventFileWriterDiskTest, ForkedChildLeavesTheWriterAlone) {
  auto writer = Open();
  writer->AddScalar("a", 1);
  ASSERT_THAT(writer->Flush(), IsOk());

  const pid_t child = ::fork();
  if (child == 0) {
    writer->AddScalar("a", 2);
    writer->AddGraph(tensorflow::GraphDef());
    const bool quiet = writer->closed() && writer->Flush().ok() &&
                       writer->Close().ok() && writer->stats().accepted == 0;
    writer.reset();
    ::_exit(quiet ? 0 : 1);
  }
  int result = -1;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_EQ(result, 0);

  writer->AddScalar("a", 3);
  ASSERT_THAT(writer->Close(), IsOk());
  EXPECT_THAT(Events(), ElementsAre("a=1", "a=3"));
}

}  // namespace
}  // namespace tftrain

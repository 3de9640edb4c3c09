// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Event files when things go wrong (R14, row 20 of the table of faults): a
// reader gets every event that was flushed, in order, however the program or
// the disk fails, and all events of the files begun later.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/logging.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::SizeIs;
using ::testing::StartsWith;
using Fault = FaultyFileOps::Fault;

// Events are numbered: the n-th one added has the step n.
using Numbers = std::vector<int64_t>;

// The numbers in the files `names` of `folder`, as far as each can be read, of
// the events with that tag.
Numbers ReadNumbers(const std::string& folder, std::vector<std::string> names,
                    const std::string& tag = "n") {
  std::sort(names.begin(), names.end());
  Numbers numbers;
  for (const std::string& name : names) {
    for (const tensorflow::Event& event : ReadEvents(JoinPath(folder, name))) {
      if (!event.has_summary() || event.summary().value(0).tag() != tag) {
        continue;
      }
      numbers.push_back(event.step());
    }
  }
  return numbers;
}

// What a reader must find in a folder.
struct Promise {
  int64_t added = 0;
  Numbers flushed;

  // What is wrong with what it found; empty if nothing is.
  std::string Broken(const Numbers& found) const {
    if (std::adjacent_find(found.begin(), found.end(),
                           std::greater_equal<>()) != found.end()) {
      return absl::StrCat("not in order: ", absl::StrJoin(found, " "));
    }
    Numbers missing;
    std::set_difference(flushed.begin(), flushed.end(), found.begin(),
                        found.end(), std::back_inserter(missing));
    if (!missing.empty()) {
      return absl::StrCat("missing: ", absl::StrJoin(missing, " "));
    }
    if (!found.empty() && (found.front() < 1 || found.back() > added)) {
      return absl::StrCat("never added: ", absl::StrJoin(found, " "));
    }
    return "";
  }
};

// A program that adds numbers to event files.
//
// Confined: use from the thread that created it.
class Program {
 public:
  explicit Program(std::string folder, Clock* clock = nullptr,
                   int64_t added = 0)
      : folder_(std::move(folder)), clock_(clock) {
    promise_.added = added;
    Restart();
  }

  // Ends its writer, if the former one can, and begins with another.
  void Restart() {
    Close();
    EventFileWriter::Options options;
    options.logdir = folder_;
    options.clock = clock_;
    auto writer = EventFileWriter::Create(options);
    CHECK(writer.ok()) << writer.status();
    writer_ = *std::move(writer);
  }

  // Adds so many, and flushes.
  absl::Status AddAndFlush(int count) {
    Numbers pending;
    for (int i = 0; i < count; ++i) {
      writer_->AddScalar("n", 1, ++promise_.added);
      pending.push_back(promise_.added);
    }
    const absl::Status status = writer_->Flush();
    if (status.ok()) {
      promise_.flushed.insert(promise_.flushed.end(), pending.begin(),
                              pending.end());
    }
    return status;
  }

  void Close() {
    if (writer_ != nullptr) writer_->Close().IgnoreError();
  }

  std::string Broken() const {
    const auto names = ListFolder(folder_);
    CHECK(names.ok()) << names.status();
    return promise_.Broken(ReadNumbers(folder_, *names));
  }

  // Says that what was flushed so far was deleted.
  void ForgetFlushed() { promise_.flushed.clear(); }

  EventFileWriter& writer() { return *writer_; }

 private:
  const std::string folder_;
  Clock* const clock_;
  std::shared_ptr<EventFileWriter> writer_;
  Promise promise_;
};

// How a disk fails.
struct DiskFault {
  int call = -1;  // of the library's file calls; none below 0
  int error = 0;
  Fault fault = Fault::kOnce;
  size_t write_limit = 0;  // of FaultyFileOps

  std::string Name() const {
    return absl::StrCat("call ", call, " fails ",
                        fault == Fault::kOnce ? "once" : "for good", " with ",
                        strerrorname_np(error), ", writes of ", write_limit);
  }
};

struct Outcome {
  int calls = 0;           // while the disk was faulty
  int failed_flushes = 0;  // while it was, ...
  int failed_later = 0;    // ... and when it was well again
  std::string broken;
};

// Five flushes of three events on a faulty disk; within the same second a new
// writer and two flushes more when the disk is well again.
Outcome Play(const DiskFault& disk, FaultyFileOps* faults) {
  const TempDir dir;
  FakeClock clock;
  Program program(dir.path(), &clock);
  Outcome outcome;
  faults->LimitWrites(disk.write_limit);
  faults->FailCall(disk.call, disk.error, disk.fault);
  for (int i = 0; i < 5; ++i) {
    if (!program.AddAndFlush(3).ok()) ++outcome.failed_flushes;
  }
  program.Close();
  outcome.calls = static_cast<int>(faults->calls().size());
  faults->FailCall(-1, 0);
  program.Restart();
  for (int i = 0; i < 2; ++i) {
    if (!program.AddAndFlush(3).ok()) ++outcome.failed_later;
  }
  program.Close();
  outcome.broken = program.Broken();
  return outcome;
}

// Calls `check` with each way in which one of the calls can fail, until it
// answers false. Returns how many there were.
int64_t ForEachFault(FaultyFileOps* faults,
                     const std::function<bool(const DiskFault&)>& check) {
  int64_t played = 0;
  for (const size_t write_limit : {0, 10, 100}) {
    DiskFault disk;
    disk.write_limit = write_limit;
    const int calls = Play(disk, faults).calls;
    for (disk.call = 0; disk.call < calls; ++disk.call) {
      for (const int error : {ENOSPC, EIO, EINTR}) {
        for (const Fault fault : {Fault::kOnce, Fault::kSticky}) {
          // Nothing goes on being interrupted.
          if (error == EINTR && fault == Fault::kSticky) continue;
          disk.error = error;
          disk.fault = fault;
          ++played;
          if (!check(disk)) return played;
        }
      }
    }
  }
  return played;
}

// WRT-09, WRT-10
TEST(EventFaultsTest, AnyFailingCallCostsOneFlushAtMost) {
  FaultyFileOps faults;
  const int64_t played = ForEachFault(&faults, [&](const DiskFault& disk) {
    SCOPED_TRACE(disk.Name());
    const Outcome outcome = Play(disk, &faults);
    EXPECT_EQ(outcome.broken, "");
    EXPECT_LE(outcome.failed_flushes, disk.fault == Fault::kOnce ? 1 : 5);
    EXPECT_EQ(outcome.failed_later, 0);
    return !testing::Test::HasFailure();
  });
  std::cout << played << " faults" << std::endl;
  EXPECT_GT(played, 200);
}

// What a writer does that does not keep its promises.
enum class BrokenPromise {
  // What comes after an error goes behind the torn record.
  kGoesOnInTornFile,
  // Files of one second have one name, and the later one is emptied.
  kOverwrites,
  // A failed write counts as done.
  kWriteErrorIgnored,
};

// Does the calls of a writer as one would that breaks `promise`.
//
// Thread-safe, for one writer at a time.
class BrokenFileOps : public internal::FileOps {
 public:
  explicit BrokenFileOps(BrokenPromise promise)
      : promise_(promise), former_(internal::ExchangeFileOps(this)) {}
  ~BrokenFileOps() override { internal::ExchangeFileOps(former_); }

  int Open(const char* path, int flags, mode_t mode) override {
    if ((flags & O_CREAT) == 0) return former_->Open(path, flags, mode);
    if (promise_ == BrokenPromise::kOverwrites) {
      const std::string name = DirName(path) + "/events.out.tfevents.1.host";
      return former_->Open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC, mode);
    }
    if (promise_ == BrokenPromise::kGoesOnInTornFile && failed_) {
      failed_ = false;
      return former_->Open(path_.c_str(), O_WRONLY | O_APPEND, mode);
    }
    path_ = path;
    return former_->Open(path, flags, mode);
  }
  ssize_t Write(int fd, const void* data, size_t size) override {
    const ssize_t count = former_->Write(fd, data, size);
    if (count >= 0) return count;
    failed_ = true;
    const bool ignored = promise_ == BrokenPromise::kWriteErrorIgnored;
    return ignored ? static_cast<ssize_t>(size) : count;
  }

 private:
  const BrokenPromise promise_;
  internal::FileOps* const former_;
  std::string path_;
  bool failed_ = false;
};

TEST(EventFaultsTest, BrokenWritersAreCaught) {
  for (const BrokenPromise promise :
       {BrokenPromise::kGoesOnInTornFile, BrokenPromise::kOverwrites,
        BrokenPromise::kWriteErrorIgnored}) {
    SCOPED_TRACE(static_cast<int>(promise));
    FaultyFileOps faults;
    BrokenFileOps broken(promise);
    std::string seen;
    ForEachFault(&faults, [&](const DiskFault& disk) {
      seen = Play(disk, &faults).broken;
      return seen.empty();
    });
    EXPECT_THAT(seen, StartsWith("missing: "));
  }
}

// The disk fails now and then, files and folders are deleted, the clock is set,
// the program is started again: what was flushed since the last deletion is
// found, in order.
// WRT-11, WRT-12
TEST(EventFaultsTest, FlushedEventsSurviveAnyLife) {
  PlaySchedules(100, [](uint32_t seed) {
    RandomSchedule random(seed);
    const TempDir dir;
    const std::string folder = dir / "run";
    FakeClock clock(absl::FromUnixSeconds(1'000'000));
    Program program(folder, &clock);
    FaultyFileOps faults;
    // A folder that cannot be listed does not tell what a name must follow, so
    // that a clock that is set back counts.
    const bool clock_is_set = random.Maybe();
    for (int act = 0; act < 40; ++act) {
      if (!clock_is_set) clock.Advance(absl::Seconds(10));
      switch (random.Below(8)) {
        case 0:
          program.Restart();
          break;
        case 1:
          if (!clock_is_set) break;
          clock.SetNow(absl::FromUnixSeconds(random.Below(2'000'000)));
          break;
        case 2:
          if (!program.writer().path().empty()) {
            RemoveFile(program.writer().path()).IgnoreError();
            program.ForgetFlushed();
          }
          break;
        case 3:
          std::filesystem::remove_all(folder);
          program.ForgetFlushed();
          break;
        case 4:
          if (clock_is_set) break;
          faults.LimitWrites(static_cast<size_t>(random.Below(50)));
          faults.FailCall(random.Below(8), random.Maybe() ? EIO : ENOSPC,
                          random.Maybe() ? Fault::kOnce : Fault::kSticky);
          for (int i = 0; i < 3; ++i) {
            program.AddAndFlush(1 + random.Below(5)).IgnoreError();
          }
          faults.FailCall(-1, 0);
          program.writer().Flush().IgnoreError();
          break;
        default:
          ASSERT_THAT(program.AddAndFlush(1 + random.Below(20)), IsOk());
      }
    }
    ASSERT_THAT(program.AddAndFlush(1), IsOk());
    program.Close();
    ASSERT_EQ(program.Broken(), "");
  });
}

// A forked copy of this process, in which only the present thread runs.
//
// Confined: use from the thread that created it.
class Child {
 public:
  // Runs `work` there with the end of a pipe to write numbers to.
  explicit Child(const std::function<void(int pipe)>& work) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      work(ends[1]);
      ::_exit(testing::Test::HasFailure() ? 1 : 0);
    }
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { ::close(pipe_); }

  // Lets it run for so long.
  void Run(absl::Duration time) {
    const absl::Time end = absl::Now() + time;
    while (absl::Now() < end) ::sched_yield();
  }
  void Kill() {
    CHECK(::kill(pid_, SIGKILL) == 0);
    CHECK(::waitpid(pid_, nullptr, 0) == pid_);
  }
  // Waits until it has ended by itself, and returns its exit code.
  int Join() {
    int state = 0;
    CHECK(::waitpid(pid_, &state, 0) == pid_);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
  }
  // The last number that it wrote, or `otherwise`.
  int64_t LastNumber(int64_t otherwise) {
    int64_t number = otherwise;
    while (::read(pipe_, &number, sizeof(number)) > 0) {
    }
    return number;
  }

 private:
  pid_t pid_ = 0;
  int pipe_ = -1;
};

// Adds the numbers from `first` on, and tells which of them are flushed.
void WriteUntilKilled(const std::string& folder, int64_t first, uint32_t seed,
                      int pipe) {
  RandomSchedule random(seed);
  EventFileWriter::Options options;
  options.logdir = folder;
  options.flush_events = static_cast<size_t>(1 + random.Below(100));
  const auto writer = EventFileWriter::Create(options);
  CHECK(writer.ok()) << writer.status();
  for (int64_t number = first;;) {
    for (int i = random.Below(200); i >= 0; --i) {
      (*writer)->AddScalar("n", 1, number++);
    }
    CHECK((*writer)->Flush().ok());
    const int64_t last = number - 1;
    // A full pipe has told enough.
    if (::write(pipe, &last, sizeof(last)) < 0) CHECK(errno == EAGAIN);
  }
}

// WRT-09
TEST(EventFaultsTest, KillLosesNothingThatWasFlushed) {
  const int64_t kills = FromEnvironment("TFTRAIN_FAULTS_KILLS", 200);
  PlaySchedules(1, [&](uint32_t seed) {
    RandomSchedule random(seed);
    const TempDir dir;
    std::set<std::string> read;
    int64_t first = 1;
    for (int64_t kill = 0; kill < kills; ++kill) {
      SCOPED_TRACE(kill);
      Child child([&](int pipe) {
        WriteUntilKilled(dir.path(), first, seed + static_cast<uint32_t>(kill),
                         pipe);
      });
      child.Run(absl::Microseconds(random.Below(20'000)));
      child.Kill();
      const int64_t flushed = child.LastNumber(first - 1);

      std::vector<std::string> names;
      for (const std::string& name : dir.List()) {
        if (read.insert(name).second) names.push_back(name);
      }
      const Numbers found = ReadNumbers(dir.path(), names);
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(found[i], first + static_cast<int64_t>(i));
      }
      first += static_cast<int64_t>(found.size());
      ASSERT_GE(first - 1, flushed);
    }
    EXPECT_GT(first, kills);
    std::cout << kills << " kills, " << first - 1 << " events" << std::endl;
  });
}

// The numbers 1, 2, ... `count`.
Numbers UpTo(int64_t count) {
  Numbers numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 1);
  return numbers;
}

// Adds UpTo(`count`) under a tag, with a flush now and then.
void WriteAll(const std::string& folder, const std::string& tag,
              int64_t count) {
  EventFileWriter::Options options;
  options.logdir = folder;
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  for (const int64_t number : UpTo(count)) {
    (*writer)->AddScalar(tag, 1, number);
    if (number % 100 == 0) {
      EXPECT_THAT((*writer)->Flush(), IsOk());
    }
  }
  EXPECT_THAT((*writer)->Close(), IsOk());
}

// WRT-12
TEST(EventFaultsTest, TwoProcessesOfOneFolderLoseNothing) {
  for (int i = 0; i < 10; ++i) {
    const TempDir dir;
    const auto writing = [&](const std::string& tag) {
      return [&dir, tag](int) { WriteAll(dir.path(), tag, 1000); };
    };
    Child a(writing("a"));
    Child b(writing("b"));
    EXPECT_EQ(a.Join(), 0);
    EXPECT_EQ(b.Join(), 0);

    EXPECT_THAT(dir.List(), SizeIs(2));
    EXPECT_EQ(ReadNumbers(dir.path(), dir.List(), "a"), UpTo(1000));
    EXPECT_EQ(ReadNumbers(dir.path(), dir.List(), "b"), UpTo(1000));
  }
}

// WRT-12
TEST(EventFaultsTest, TwoWritersOfOneProcessLoseNothing) {
  for (int i = 0; i < 10; ++i) {
    const TempDir dir;
    std::thread other([&] { WriteAll(dir.path(), "a", 1000); });
    WriteAll(dir.path(), "b", 1000);
    other.join();

    EXPECT_THAT(dir.List(), SizeIs(2));
    EXPECT_EQ(ReadNumbers(dir.path(), dir.List(), "a"), UpTo(1000));
    EXPECT_EQ(ReadNumbers(dir.path(), dir.List(), "b"), UpTo(1000));
  }
}

// A file of twenty events, to be damaged.
class DamagedEventFileTest : public ::testing::Test {
 protected:
  DamagedEventFileTest() {
    WriteAll(dir_.path(), "n", 20);
    name_ = dir_.List().front();
    content_ = ReadFile(dir_ / name_, 1 << 20).value();
    size_t end = 0;
    while (end < content_.size()) {
      uint64_t size = 0;
      std::memcpy(&size, content_.data() + end, sizeof(size));
      end += sizeof(uint64_t) + sizeof(uint32_t) + size + sizeof(uint32_t);
      ends_.push_back(end);
    }
  }

  // What is read when the file holds `content`, and a program that was started
  // again after that added 21.
  Numbers Damaged(const std::string& content) {
    CHECK(WriteFileAtomically(damaged_ / name_, content).ok());
    if (damaged_.List().size() == 1) {
      Program program(damaged_.path(), nullptr, /*added=*/20);
      EXPECT_THAT(program.AddAndFlush(1), IsOk());
      program.Close();
    }
    return ReadNumbers(damaged_.path(), damaged_.List());
  }

  // The events before `offset`, and the one that was added.
  Numbers Expected(size_t offset) const {
    const auto whole =
        std::upper_bound(ends_.begin(), ends_.end(), offset) - ends_.begin();
    // The first record is the version.
    Numbers numbers = UpTo(std::max<int64_t>(whole - 1, 0));
    numbers.push_back(21);
    return numbers;
  }

  const UnsyncedFileOps fast_;
  const TempDir dir_;
  const TempDir damaged_;
  std::string name_;
  std::string content_;
  std::vector<size_t> ends_;
};

TEST_F(DamagedEventFileTest, ATornTailHidesNothingBeforeOrAfterIt) {
  ASSERT_THAT(ends_, SizeIs(21));
  for (size_t size = 0; size <= content_.size(); ++size) {
    ASSERT_EQ(Damaged(content_.substr(0, size)), Expected(size)) << size;
  }
}

TEST_F(DamagedEventFileTest, AFlippedBitHidesNothingBeforeIt) {
  RandomSchedule random(1);
  for (size_t i = 0; i < content_.size(); ++i) {
    std::string content = content_;
    content[i] = static_cast<char>(content[i] ^ (1 << random.Below(8)));
    ASSERT_EQ(Damaged(content), Expected(i)) << i;
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves in the background on a slow disk that fails now and then, among saves
// in the foreground, restarts and savers that are dropped; and crashes at any
// moment.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/base/mutex.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;

// Lets other threads run before a call, and fails what writes now and then.
//
// Thread-safe.
class MoodyDisk : public internal::FileOps {
 public:
  MoodyDisk(CrashDisk& disk, uint32_t seed, bool fails)
      : disk_(disk), random_(seed), fails_(fails) {}

  int Open(const char* path, int flags, mode_t mode) override {
    if ((flags & O_CREAT) != 0 && Fails()) return -1;
    return disk_.Open(path, flags, mode);
  }
  ssize_t Read(int fd, void* data, size_t size) override {
    return disk_.Read(fd, data, size);
  }
  ssize_t Write(int fd, const void* data, size_t size) override {
    return Fails() ? -1 : disk_.Write(fd, data, size);
  }
  int Sync(int fd) override { return Fails() ? -1 : disk_.Sync(fd); }
  void StartWriteback(int fd, int64_t offset, int64_t size) override {
    disk_.StartWriteback(fd, offset, size);
  }
  int Close(int fd) override { return disk_.Close(fd); }
  int ChangeMode(int fd, mode_t mode) override {
    return Fails() ? -1 : disk_.ChangeMode(fd, mode);
  }
  int StatOpen(int fd, struct stat* result) override {
    return disk_.StatOpen(fd, result);
  }
  int Stat(const char* path, struct stat* result) override {
    return disk_.Stat(path, result);
  }
  int Rename(const char* from, const char* to) override {
    return Fails() ? -1 : disk_.Rename(from, to);
  }
  int Unlink(const char* path) override {
    return Fails() ? -1 : disk_.Unlink(path);
  }
  int MakeFolder(const char* path, mode_t mode) override {
    return Fails() ? -1 : disk_.MakeFolder(path, mode);
  }

 private:
  bool Fails() {
    int yields = 0;
    bool fails = false;
    {
      MutexLock lock(mu_);
      if (random_.Below(8) == 0) yields = random_.Below(100);
      fails = fails_ && random_.Below(300) == 0;
      errno = random_.Maybe() ? EIO : ENOSPC;
    }
    const int error = errno;
    Yield(yields);
    errno = error;
    return fails;
  }

  CrashDisk& disk_;
  Mutex mu_;
  RandomSchedule random_ ABSL_GUARDED_BY(mu_);
  const bool fails_;
};

struct Prepared {
  explicit Prepared(const SaveHabits& habits)
      : program(habits), check(program) {}

  SavingProgram program;
  RestartCheck check;
};

std::vector<std::unique_ptr<Prepared>> PrepareAll() {
  std::vector<std::unique_ptr<Prepared>> all;
  for (const SaveHabits::Names names :
       {SaveHabits::Names::kGrowing, SaveHabits::Names::kOne}) {
    for (const SnapshotMode snapshot :
         {SnapshotMode::kShare, SnapshotMode::kCopy}) {
      for (const int max_to_keep : {1, 2, 5}) {
        SaveHabits habits;
        habits.max_to_keep = max_to_keep;
        habits.names = names;
        habits.snapshot = snapshot;
        all.push_back(std::make_unique<Prepared>(habits));
      }
    }
  }
  return all;
}

// SVR-10
TEST(CheckpointAsyncFaultsTest, NothingThatWasAcknowledgedIsLost) {
  constexpr int kCrashes = 6;
  const std::vector<std::unique_ptr<Prepared>> all = PrepareAll();
  PlaySchedules(500, [&](uint32_t seed) {
    RandomSchedule random(seed);
    Prepared& prepared = *all[random.Below(static_cast<int>(all.size()))];
    std::string script = "a";
    for (int i = random.Below(5); i >= 0; --i) {
      script += "aaaasrdh"[random.Below(8)];
    }
    SCOPED_TRACE(script);
    prepared.program.set_script(script);
    const bool fails = random.Maybe();
    const RecordedRun run(
        prepared.program, /*largest_write=*/4096, [&](CrashDisk& disk) {
          return std::make_unique<MoodyDisk>(disk, seed, fails);
        });

    const int calls = static_cast<int>(run.calls().size());
    std::vector<int> points = {calls};
    while (points.size() < kCrashes) points.push_back(random.Below(calls + 1));
    std::sort(points.begin(), points.end());
    DiskModel disk;
    int done = 0;
    for (const int point : points) {
      for (; done < point; ++done) disk.Do(run.calls()[done]);
      const FolderContent content =
          random.Maybe() ? disk.AfterKill() : disk.AfterPowerCut(random);
      ASSERT_THAT(prepared.check.Check(content, run.ExpectedAt(point),
                                       /*thorough=*/random.Below(8) == 0),
                  IsEmpty())
          << "after " << point << " of " << calls << " calls";
    }
    // A disk that does not fail keeps all, but for what nobody waited for.
    if (!fails && script.find('d') == std::string::npos) {
      const ExpectedState end = run.ExpectedAt(calls);
      EXPECT_EQ(end.acknowledged, end.begun);
    }
  });
}

}  // namespace
}  // namespace tftrain

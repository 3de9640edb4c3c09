// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Crashes at every file call of programs that save: whatever is left of the
// disk, the newest checkpoint that was acknowledged, or a newer one, is found,
// whole, and training goes on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/faults/broken_file_ops.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/random_schedule.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;

enum class Crash { kKill, kPowerCut, kPowerCutWithin };

constexpr int64_t kEveryPointOnce = 0;

// Crashes of runs with the same habits.
//
// Confined: use from the thread that created it.
class Crashes {
 public:
  Crashes(const SaveHabits& habits, RandomSchedule* random)
      : program_(habits), check_(program_), random_(*random) {}

  int64_t points() const { return points_; }
  int64_t states() const { return check_.states(); }

  // Plays a run and crashes at each of its calls, or at `count` of them as
  // chance has it. What is wrong, or nothing.
  std::string Play(Crash crash, int64_t count,
                   const RecordedRun::Breaker& breaker = nullptr) {
    // Files of some kilobytes are written at once, or in many writes.
    const size_t largest_write = size_t{128} << random_.Below(8);
    const RecordedRun run(program_, largest_write, breaker);
    const int calls = static_cast<int>(run.calls().size());
    DiskModel disk;
    for (int i = 0; i <= calls; ++i) {
      if (i > 0) disk.Do(run.calls()[i - 1]);
      if (count != kEveryPointOnce && random_.Below(calls + 1) >= count) {
        continue;
      }
      FolderContent content;
      if (crash == Crash::kKill) {
        content = disk.AfterKill();
      } else if (crash == Crash::kPowerCut) {
        content = disk.AfterPowerCut(random_);
      } else if (i < calls && run.calls()[i].kind != DiskCall::Kind::kOther) {
        content = disk.AfterPowerCutWithin(run.calls()[i], random_);
      } else {
        continue;
      }
      ++points_;
      const bool thorough = random_.Below(16) == 0;
      std::string wrong = check_.Check(content, run.ExpectedAt(i), thorough);
      if (!wrong.empty()) {
        return absl::StrCat("after ", i, " of ", calls, " calls: ", wrong);
      }
    }
    return "";
  }

 private:
  SavingProgram program_;
  RestartCheck check_;
  RandomSchedule& random_;
  int64_t points_ = 0;
};

class CheckpointCrashTest : public ::testing::Test {
 protected:
  // So many crashes, spread over all habits.
  static void CrashOften(Crash crash, int64_t count) {
    int64_t points = 0;
    int64_t states = 0;
    PlaySchedules(1, [&](uint32_t seed) {
      RandomSchedule random(seed);
      const std::vector<SaveHabits> all = AllSaveHabits();
      const int64_t share = count / static_cast<int64_t>(all.size()) + 1;
      for (const SaveHabits& habits : all) {
        Crashes crashes(habits, &random);
        while (crashes.points() < share) {
          ASSERT_THAT(crashes.Play(crash, crash == Crash::kKill
                                              ? kEveryPointOnce
                                              : share - crashes.points()),
                      IsEmpty())
              << habits.name;
        }
        points += crashes.points();
        states += crashes.states();
      }
    });
    std::cout << points << " crashes, " << states << " different states"
              << std::endl;
  }
};

// SVR-10
TEST_F(CheckpointCrashTest, AKillAtAnyCallHarmsNothing) {
  CrashOften(Crash::kKill, 10'000);
}

// SVR-10
TEST_F(CheckpointCrashTest, APowerCutAtAnyCallHarmsNothing) {
  CrashOften(Crash::kPowerCut, 10'000);
}

// SVR-10
TEST_F(CheckpointCrashTest, TornAndReorderedWritesHarmNothing) {
  CrashOften(Crash::kPowerCutWithin, 5'000);
}

// What the last call leaves after a kill is what is really there.
TEST_F(CheckpointCrashTest, TheModelOfTheDiskIsTrue) {
  for (const SaveHabits& habits : AllSaveHabits()) {
    SavingProgram program(habits);
    const RecordedRun run(program, /*largest_write=*/1000);
    DiskModel disk;
    for (const DiskCall& call : run.calls()) disk.Do(call);
    EXPECT_EQ(disk.AfterKill(), run.end()) << habits.name;
  }
}

class BrokenSaverTest
    : public ::testing::TestWithParam<std::pair<std::string, BrokenPromise>> {
 protected:
  // Whether crashes find something, in at most `plays` runs of all habits.
  static bool IsNoticed(const RecordedRun::Breaker& breaker, int plays) {
    RandomSchedule random(1);
    for (int play = 0; play < plays; ++play) {
      for (const SaveHabits& habits : AllSaveHabits()) {
        Crashes crashes(habits, &random);
        for (const Crash crash : {Crash::kKill, Crash::kPowerCut}) {
          if (!crashes.Play(crash, /*count=*/100, breaker).empty()) return true;
        }
      }
    }
    return false;
  }
};

INSTANTIATE_TEST_SUITE_P(Promises, BrokenSaverTest,
                         testing::ValuesIn(AllBrokenPromises()),
                         [](const auto& promise) {
                           return promise.param.first;
                         });

TEST_P(BrokenSaverTest, IsNoticed) {
  const BrokenPromise promise = GetParam().second;
  EXPECT_TRUE(IsNoticed(
      [&](CrashDisk& disk) {
        return std::make_unique<BrokenFileOps>(disk, promise);
      },
      /*plays=*/10));
}

// A sync that fails once is no sync, whatever the next one says; nor is one
// whose file cannot be closed.
TEST_F(CheckpointCrashTest, WhatTheDiskRefusedIsNeverAcknowledged) {
  for (const BrokenPromise promise :
       {BrokenPromise::kSyncErrorIgnored, BrokenPromise::kCloseErrorIgnored}) {
    RandomSchedule random(1);
    SavingProgram program(AllSaveHabits().front());
    Crashes crashes(AllSaveHabits().front(), &random);
    const RecordedRun::Breaker breaker = [&](CrashDisk& disk) {
      return std::make_unique<BrokenFileOps>(disk, promise, /*admits=*/true);
    };
    const RecordedRun run(program, /*largest_write=*/1000, breaker);
    EXPECT_EQ(run.ExpectedAt(run.calls().size()).acknowledged, 0);
    EXPECT_EQ(run.end(), FolderContent({{"run/", ""}}));
    EXPECT_THAT(crashes.Play(Crash::kPowerCut, kEveryPointOnce, breaker),
                IsEmpty());
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// File calls that fail while a checkpoint is saved or restored: the error says
// what failed where, and harms nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/process_state.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Fault = FaultyFileOps::Fault;

constexpr int kErrors[] = {ENOSPC, EIO,   EDQUOT, EFBIG,
                           EACCES, EROFS, EINTR,  EMFILE};

// The habits whose last save differs from that of all others.
std::vector<SaveHabits> HabitsOfErrors() {
  std::vector<SaveHabits> chosen;
  for (const SaveHabits& habits : AllSaveHabits()) {
    if (habits.name == "First" || habits.name == "KeepOne" ||
        habits.name == "OneNameThrice" || habits.name == "InBackground") {
      chosen.push_back(habits);
    }
  }
  return chosen;
}

// Calls `play` with each way in which one of `calls` can fail, up to the first
// that fails the test.
template <typename Play>
void ForEachFault(const std::vector<std::string>& calls, Play play) {
  for (int call = 0; call < static_cast<int>(calls.size()); ++call) {
    for (const int error : kErrors) {
      for (const Fault fault : {Fault::kOnce, Fault::kSticky}) {
        // Nothing goes on being interrupted.
        if (error == EINTR && fault == Fault::kSticky) continue;
        SCOPED_TRACE(absl::StrCat("call ", call, ", ", calls[call], ", fails ",
                                  fault == Fault::kOnce ? "once" : "for good",
                                  " with ", strerrorname_np(error)));
        play(call, error, fault);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// A program before its last save.
class CheckpointErrorsTest : public ::testing::TestWithParam<SaveHabits> {
 protected:
  CheckpointErrorsTest() : program_(GetParam()), check_(program_) {
    SaveHabits habits = GetParam();
    mode_ = habits.script.back();
    habits.script.pop_back();
    former_ = static_cast<int64_t>(habits.script.size());
    SavingProgram before(habits);
    const RecordedRun run(before, /*largest_write=*/1 << 20);
    before_ = run.end();
    expected_ = run.ExpectedAt(run.calls().size());
    expected_.begun = former_ + 1;
    EXPECT_THAT(program_.Start(folder_.path()), IsOk());
  }

  // Saves once more, with a new saver.
  absl::Status Save(FaultyFileOps* faults, int call, int error, Fault fault) {
    folder_.Read();
    folder_.Put(before_);
    EXPECT_THAT(program_.NewSaver(), IsOk());
    std::vector<std::string> kept;
    for (const auto& [number, prefix] : expected_.kept) {
      kept.push_back(JoinPath(folder_.path(), prefix));
    }
    program_.saver().RecoverLastCheckpoints(kept);
    faults->FailCall(call, error, fault);
    absl::Status status = program_.Save(folder_.path(), former_ + 1, mode_);
    if (status.ok()) status = program_.saver().WaitForSave();
    calls_ = faults->calls();
    faults->FailCall(-1, 0);
    return status;
  }

  // What is left after a save that came to `status`.
  void CheckWhatIsLeft(const absl::Status& status) {
    FolderContent now = folder_.Read();
    // The first save leaves the folder it made.
    if (before_.empty() && now.size() == 1) now.clear();
    if (!status.ok() && now == before_) return;
    ExpectedState expected = expected_;
    if (status.ok()) {
      expected.acknowledged = expected.begun;
      expected.kept.clear();
    } else if (replaces()) {
      expected.kept.clear();
    }
    EXPECT_THAT(check_.Check(now, expected, /*thorough=*/!status.ok()),
                IsEmpty());
  }

  bool replaces() const {
    return GetParam().names == SaveHabits::Names::kOne && former_ > 0;
  }

  SavingProgram program_;
  RestartCheck check_;
  StagedFolder folder_;
  char mode_ = 's';
  FolderContent before_;
  int64_t former_ = 0;
  ExpectedState expected_;
  std::vector<std::string> calls_;
};

INSTANTIATE_TEST_SUITE_P(Habits, CheckpointErrorsTest,
                         testing::ValuesIn(HabitsOfErrors()),
                         [](const auto& habits) { return habits.param.name; });

// SVR-10
TEST_P(CheckpointErrorsTest, AFailedCallHarmsNothing) {
  UnsyncedFileOps faults;
  ASSERT_THAT(Save(&faults, -1, 0, Fault::kOnce), IsOk());
  const std::vector<std::string> calls = calls_;
  ASSERT_GT(calls.size(), 40);
  ForEachFault(calls, [&](int call, int error, Fault fault) {
    const absl::Status status = Save(&faults, call, error, fault);
    if (!status.ok()) {
      EXPECT_THAT(
          status,
          // What was written and cannot be looked at counts as damaged.
          StatusIs(AnyOf(ErrnoToCode(error), absl::StatusCode::kDataLoss),
                   AllOf(HasSubstr(absl::StrCat("\"", folder_.path())),
                         HasSubstr(std::generic_category().message(error)))));
    }
    const bool must_fail = calls[call] == "write" || calls[call] == "fsync" ||
                           calls[call] == "rename";
    const bool is_retried = error == EINTR && calls[call] != "rename";
    EXPECT_TRUE(!must_fail || status.ok() == is_retried) << status;
    CheckWhatIsLeft(status);
    if (fault == Fault::kOnce) {
      EXPECT_THAT(TemporaryFilesIn(folder_.Read()), IsEmpty());
    }
  });
}

// A sync that fails and then succeeds has lost the bytes all the same, and the
// next save writes them anew.
// SVR-10
TEST_P(CheckpointErrorsTest, AfterAFailedSyncTheNextSaveWritesAllAnew) {
  UnsyncedFileOps faults;
  ASSERT_THAT(Save(&faults, -1, 0, Fault::kOnce), IsOk());
  const std::vector<std::string> calls = calls_;
  for (int call = 0; call < static_cast<int>(calls.size()); ++call) {
    if (calls[call] != "fsync") continue;
    SCOPED_TRACE(call);
    ASSERT_THAT(Save(&faults, call, EIO, Fault::kOnce),
                StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(program_.Save(folder_.path(), former_ + 1, mode_), IsOk());
    EXPECT_THAT(program_.saver().WaitForSave(), IsOk());
    ExpectedState expected = expected_;
    expected.acknowledged = expected.begun;
    EXPECT_THAT(check_.Check(folder_.Read(), expected, /*thorough=*/false),
                IsEmpty());
  }
}

// A disk with room for so many bytes: a write takes what fits.
//
// Thread-safe.
class SmallDisk : public UnsyncedFileOps {
 public:
  explicit SmallDisk(int64_t room) : room_(room) {}

  ssize_t Write(int fd, const void* data, size_t size) override {
    const size_t fits = static_cast<size_t>(std::max<int64_t>(room_, 0));
    if (fits == 0) {
      errno = ENOSPC;
      return -1;
    }
    const ssize_t count =
        UnsyncedFileOps::Write(fd, data, std::min(size, fits));
    room_ -= count;
    return count;
  }
  int64_t room() const { return room_; }
  void Grow(int64_t bytes) { room_ += bytes; }

 private:
  std::atomic<int64_t> room_;
};

// SVR-10
TEST_P(CheckpointErrorsTest, AFullDiskHarmsNothingAndSpaceHelps) {
  constexpr int64_t kMuch = 1 << 30;
  int64_t size = 0;
  {
    SmallDisk disk(kMuch);
    ASSERT_THAT(Save(&disk, -1, 0, Fault::kOnce), IsOk());
    size = kMuch - disk.room();
  }
  const int64_t levels = FromEnvironment("TFTRAIN_FAULTS_LEVELS", 50);
  for (int64_t level = 0; level < levels; ++level) {
    const int64_t room = 2 * size * level / levels;
    SCOPED_TRACE(absl::StrCat(room, " bytes of ", size));
    SmallDisk disk(room);
    const absl::Status status = Save(&disk, -1, 0, Fault::kOnce);
    if (room < size) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    } else {
      EXPECT_THAT(status, IsOk());
    }
    EXPECT_THAT(TemporaryFilesIn(folder_.Read()), IsEmpty());

    disk.Grow(kMuch);
    CheckWhatIsLeft(status);
    EXPECT_THAT(program_.Start(folder_.path()), IsOk());
    EXPECT_THAT(program_.Save(folder_.path(), former_ + 2, 's'), IsOk());
  }
}

// A folder with checkpoints, read by a program that starts.
class RestoreErrorsTest : public ::testing::Test {
 protected:
  RestoreErrorsTest() : program_(SaveHabits{"Two", "ss"}) {
    folder_.Put(RecordedRun(program_, /*largest_write=*/1 << 20).end());
  }

  SavingProgram program_;
  StagedFolder folder_;
};

// SM-23
TEST_F(RestoreErrorsTest, AFailedCallNeverMeansAFreshStart) {
  UnsyncedFileOps faults;
  faults.FailCall(-1, 0);
  ASSERT_THAT(program_.Start(folder_.path()), IsOk());
  const std::vector<std::string> calls = faults.calls();
  ASSERT_GT(calls.size(), 8);
  ForEachFault(calls, [&](int call, int error, Fault fault) {
    faults.FailCall(call, error, fault);
    const absl::Status status = program_.Start(folder_.path());
    faults.FailCall(-1, 0);
    if (status.ok()) {
      // What cannot be read counts as damaged: an older one is taken.
      const bool is_damage = error == EIO || error == EINTR;
      EXPECT_THAT(program_.Number(), AnyOf(2, is_damage ? 1 : 2));
    } else {
      // What cannot be looked at counts as no checkpoint.
      EXPECT_THAT(status, StatusIs(AnyOf(ErrnoToCode(error),
                                         absl::StatusCode::kInvalidArgument),
                                   HasSubstr(folder_.path())));
    }
  });
}

TEST_F(RestoreErrorsTest, AllVariablesAreRestoredOrNone) {
  UnsyncedFileOps faults;
  ASSERT_THAT(program_.Start(folder_.path()), IsOk());
  const std::string prefix = program_.PrefixBelow(folder_.path(), 1);
  faults.FailCall(-1, 0);
  ASSERT_THAT(program_.saver().Restore(program_.session(), prefix), IsOk());
  ASSERT_EQ(program_.Number(), 1);
  const std::vector<std::string> calls = faults.calls();
  for (int call = 0; call < static_cast<int>(calls.size()); ++call) {
    for (const int error : kErrors) {
      SCOPED_TRACE(absl::StrCat("call ", call, ", ", calls[call]));
      program_.Set(7);
      faults.FailCall(call, error);
      const absl::Status status =
          program_.saver().Restore(program_.session(), prefix);
      faults.FailCall(-1, 0);
      EXPECT_EQ(program_.Number(), status.ok() ? 1 : 7);
      EXPECT_THAT(status.code(),
                  AnyOf(absl::StatusCode::kOk, ErrnoToCode(error),
                        absl::StatusCode::kDataLoss,
                        absl::StatusCode::kInvalidArgument));
    }
  }
}

}  // namespace
}  // namespace tftrain

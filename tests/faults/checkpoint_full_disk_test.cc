// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves on a real file system that is full, or nearly so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/mounts.h"
#include "tests/faults/process_state.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;

constexpr int64_t kPageBytes = 4096;
constexpr char kMuch[] = "size=256m";

// The last save of a program, on a disk with some room.
class CheckpointFullDiskTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (::sysconf(_SC_PAGESIZE) != kPageBytes) {
      GTEST_SKIP() << "the levels are meant for pages of 4 KiB";
    }
    const auto mount = PrivateMount::Create("none", "tmpfs", kMuch);
    if (!mount.ok()) GTEST_SKIP() << mount.status();
  }

  // So many levels of room, a page apart.
  static int64_t Levels() {
    return FromEnvironment("TFTRAIN_FAULTS_LEVELS", 50);
  }

  // With so many variables that the levels reach from no checkpoint to about
  // two: a variable takes a third of a page, most of it in the MetaGraph.
  static SaveHabits Habits() {
    SaveHabits habits = HabitsNamed(GetParam());
    habits.variables.clear();
    for (int64_t i = 0; i < Levels(); ++i) {
      habits.variables.push_back(absl::StrCat("layer_", i, "/weights"));
    }
    return habits;
  }

  // Makes a disk that holds what is there before the last save, with so much
  // room, and starts on it.
  absl::Status Start(int64_t room) {
    mount_.reset();
    TF_ASSIGN_OR_RETURN(mount_, PrivateMount::Create("none", "tmpfs", kMuch));
    root_ = JoinPath(mount_->path(), "disk");
    WriteFolder(root_, before_.content);
    // No room at all on an empty disk would be a size of 0: no limit.
    WriteFolder(mount_->path(), {{"page", "taken"}});
    EXPECT_THAT(program_.Start(root_), IsOk());
    return mount_->Change(absl::StrCat("size=", mount_->UsedBytes() + room));
  }

  absl::Status Save(int64_t number) {
    const absl::Status status =
        program_.Save(root_, number, program_.habits().script.back());
    return status.ok() ? program_.saver().WaitForSave() : status;
  }

  std::string Check(bool saved) {
    ExpectedState expected = before_.expected;
    if (saved) expected.acknowledged = expected.begun;
    return check_.Check(ReadFolder(root_), expected, /*thorough=*/!saved);
  }

  const UnsyncedFileOps files_;
  SavingProgram program_{Habits()};
  SavingProgram restarted_{Habits()};
  RestartCheck check_{restarted_};
  const BeforeLastSave before_ = PlayUntilLastSave(program_.habits());
  std::unique_ptr<PrivateMount> mount_;
  std::string root_;
};

INSTANTIATE_TEST_SUITE_P(Habits, CheckpointFullDiskTest,
                         testing::Values("First", "KeepOne", "OneNameThrice",
                                         "InBackground"),
                         [](const auto& habits) { return habits.param; });

// SVR-10
TEST_P(CheckpointFullDiskTest, HarmsNothingAndSpaceHelps) {
  const int64_t number = before_.expected.begun;
  int64_t failed = 0;
  for (int64_t level = 0; level < Levels(); ++level) {
    SCOPED_TRACE(absl::StrCat("room for ", level, " pages"));
    ASSERT_THAT(Start(level * kPageBytes), IsOk());
    const absl::Status status = Save(number);
    if (!status.ok()) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
      // More room is never worse.
      EXPECT_EQ(failed, level);
      ++failed;
      EXPECT_THAT(TemporaryFilesIn(ReadFolder(root_)), IsEmpty());
    }
    EXPECT_THAT(Check(status.ok()), IsEmpty());
    EXPECT_THAT(mount_->Change(kMuch), IsOk());
    EXPECT_THAT(Save(number + 1), IsOk());
    EXPECT_THAT(program_.Start(root_), IsOk());
    EXPECT_EQ(program_.Number(), number + 1);
    if (HasFailure()) return;
  }
  EXPECT_GT(failed, Levels() / 4);
  EXPECT_LT(failed, Levels() * 3 / 4);
}

}  // namespace
}  // namespace tftrain

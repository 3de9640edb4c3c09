// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Power cuts on real file systems while a program saves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/child_program.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/mounts.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;

struct FileSystem {
  std::string name;
  std::string make;  // the command, before the device
  std::string options;
};

const FileSystem kFileSystems[] = {
    {"ext4", "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0", ""},
    {"xfs", "mkfs.xfs -q -f", "nouuid"},
    {"btrfs", "mkfs.btrfs -q -f", ""}};

// The least that all of them take; most of it is never written.
constexpr int64_t kDiskBytes = int64_t{320} << 20;

// A machine with one disk, on which a program saves until the power is cut;
// then it starts again.
//
// Confined: use from the thread that created it.
class Machine {
 public:
  explicit Machine(FileSystem file_system)
      : file_system_(std::move(file_system)), program_(Habits()) {}

  // Makes and mounts the disk.
  absl::Status SetUp() {
    TF_ASSIGN_OR_RETURN(disk_, MemoryDisk::Create(kDiskBytes));
    const std::string command =
        absl::StrCat("PATH=$PATH:/usr/sbin:/sbin ", file_system_.make, " ",
                     disk_->device(), " >/dev/null 2>&1");
    if (std::system(command.c_str()) != 0) {
      return absl::NotFoundError(
          absl::StrCat("mkfs.", file_system_.name, " is not installed"));
    }
    return Mount();
  }

  // Lets `saver` save, cuts the power, and starts again. What is wrong then;
  // empty for nothing.
  absl::StatusOr<std::string> CutPower(const std::string& saver,
                                       RandomSchedule& random) {
    SavingChild child(mount_->path(), random.Maybe() ? 's' : 'a', saver);
    child.Listen(1, absl::Minutes(2));
    child.Listen(1'000'000, absl::Microseconds(random.Below(50'000)));
    disk_->CutPower();
    // What it acknowledges now was on the disk before.
    child.Kill();
    acknowledged_ = child.LastSaid('a', acknowledged_);
    begun_ = std::max(child.LastSaid('b', begun_), acknowledged_);

    TF_ASSIGN_OR_RETURN(std::unique_ptr<MemoryDisk> left, disk_->Copy());
    mount_.reset();
    disk_ = std::move(left);
    TF_RETURN_IF_ERROR(Mount());
    return Check();
  }

  int64_t acknowledged() const { return acknowledged_; }

 private:
  static SaveHabits Habits() {
    SaveHabits habits;
    habits.max_to_keep = 2;
    return habits;
  }

  absl::Status Mount() {
    TF_ASSIGN_OR_RETURN(mount_,
                        PrivateMount::Create(disk_->device(), file_system_.name,
                                             file_system_.options));
    return absl::OkStatus();
  }

  std::string Check() {
    // On a copy, so that the disk stays as the cut left it.
    FolderContent content = ReadFolder(mount_->path());
    content.erase("lost+found/");
    ExpectedState expected = {acknowledged_, begun_, {}};
    // A later save may have begun to delete it.
    if (begun_ <= acknowledged_ + 1) {
      expected.kept[acknowledged_] = program_.PrefixBelow("", acknowledged_);
    }
    // The next child starts anew on the disk; here nothing need be synced.
    const UnsyncedFileOps files;
    return RestartCheck(program_).Check(content, expected, /*thorough=*/true);
  }

  const FileSystem file_system_;
  SavingProgram program_;
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<PrivateMount> mount_;
  int64_t acknowledged_ = 0;
  int64_t begun_ = 0;
};

class CheckpointPowerCutTest : public ::testing::TestWithParam<FileSystem> {};

INSTANTIATE_TEST_SUITE_P(FileSystems, CheckpointPowerCutTest,
                         testing::ValuesIn(kFileSystems),
                         [](const auto& system) { return system.param.name; });

// SVR-10
TEST_P(CheckpointPowerCutTest, WhatWasAcknowledgedIsKept) {
  Machine machine(GetParam());
  if (const absl::Status status = machine.SetUp(); !status.ok()) {
    GTEST_SKIP() << status;
  }
  const int64_t cuts = FromEnvironment("TFTRAIN_FAULTS_CUTS", 20);
  PlaySchedules(1, [&](uint32_t seed) {
    RandomSchedule random(seed);
    for (int64_t cut = 0; cut < cuts; ++cut) {
      SCOPED_TRACE(cut);
      ASSERT_THAT(machine.CutPower("Sound", random), IsOkAndHolds(IsEmpty()));
    }
  });
  EXPECT_GE(machine.acknowledged(), cuts);
  std::cout << cuts << " power cuts, " << machine.acknowledged() << " saves"
            << std::endl;
}

// The cuts take what was not forced to the disk.
TEST_P(CheckpointPowerCutTest, ASaverThatDoesNotSyncIsNoticed) {
  for (const std::string saver : {"Unsynced", "DataNotSynced"}) {
    Machine machine(GetParam());
    if (const absl::Status status = machine.SetUp(); !status.ok()) {
      GTEST_SKIP() << status;
    }
    RandomSchedule random(1);
    absl::StatusOr<std::string> wrong = "";
    for (int cut = 0; cut < 20 && wrong.ok() && wrong->empty(); ++cut) {
      wrong = machine.CutPower(saver, random);
    }
    EXPECT_THAT(wrong, IsOkAndHolds(testing::Not(IsEmpty()))) << saver;
  }
}

}  // namespace
}  // namespace tftrain

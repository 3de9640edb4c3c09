// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What crashes and errors leave behind, read by Python TensorFlow.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/crash_disk.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::SizeIs;

// The number that all values have of the checkpoint that each folder's state
// file names; one line each.
constexpr char kReadAll[] = R"(
import os
root = sys.argv[1]
for folder in sorted(os.listdir(root), key=int):
  (path,) = [path for path, _, files in os.walk(os.path.join(root, folder))
             if 'checkpoint' in files]
  state = tf.train.get_checkpoint_state(path)
  latest = tf.train.latest_checkpoint(path)
  assert state.model_checkpoint_path == latest, state
  assert latest == state.all_model_checkpoint_paths[-1], state
  reader = tf.train.load_checkpoint(latest)
  names = reader.get_variable_to_shape_map()
  numbers = {int(value) for name in names
             for value in reader.get_tensor(name).ravel()}
  assert names and len(numbers) == 1, (latest, numbers)
  print(numbers.pop())
)";

// Folders and what is expected in them, for one Python to read.
//
// Confined: use from the thread that created it.
class FoldersForPython {
 public:
  void Add(const FolderContent& content, const ExpectedState& expected) {
    WriteFolder(dir_ / absl::StrCat(expected_.size()), content);
    expected_.push_back(expected);
  }

  size_t size() const { return expected_.size(); }

  void Check() {
    const absl::StatusOr<std::string> output =
        RunPython(kReadAll, {dir_.path()});
    ASSERT_THAT(output, IsOk());
    const std::vector<std::string> lines =
        absl::StrSplit(*output, '\n', absl::SkipEmpty());
    ASSERT_THAT(lines, SizeIs(expected_.size()));
    for (size_t i = 0; i < lines.size(); ++i) {
      int64_t number = 0;
      ASSERT_TRUE(absl::SimpleAtoi(lines[i], &number)) << lines[i];
      EXPECT_GE(number, expected_[i].acknowledged) << i;
      EXPECT_LE(number, expected_[i].begun) << i;
    }
  }

 private:
  const TempDir dir_;
  std::vector<ExpectedState> expected_;
};

class CheckpointFaultsParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }
};

// SVR-10, CKS-01
TEST_F(CheckpointFaultsParityTest, PythonRestoresWhatACrashLeft) {
  const int64_t count = FromEnvironment("TFTRAIN_FAULTS_STATES", 50);
  PlaySchedules(1, [&](uint32_t seed) {
    RandomSchedule random(seed);
    FoldersForPython folders;
    while (static_cast<int64_t>(folders.size()) < count) {
      for (const SaveHabits& habits : AllSaveHabits()) {
        SavingProgram program(habits);
        const RecordedRun run(program, /*largest_write=*/512);
        const int calls = static_cast<int>(run.calls().size());
        const int point = random.Below(calls + 1);
        const ExpectedState expected = run.ExpectedAt(point);
        // There is no state file before the first save has written it.
        if (expected.acknowledged == 0 || absl::StrContains(habits.script, 'n'))
          continue;
        DiskModel disk;
        for (int i = 0; i < point; ++i) disk.Do(run.calls()[i]);
        folders.Add(
            random.Maybe() ? disk.AfterKill() : disk.AfterPowerCut(random),
            expected);
      }
    }
    folders.Check();
  });
}

// SVR-10, CKS-01
TEST_F(CheckpointFaultsParityTest, PythonRestoresWhatAnErrorLeft) {
  FoldersForPython folders;
  SaveHabits habits;
  habits.max_to_keep = 2;
  SavingProgram program(habits);
  UnsyncedFileOps faults;
  for (int call = 0; call < 100; call += 5) {
    const TempDir dir;
    ASSERT_THAT(program.Start(dir.path()), IsOk());
    ASSERT_THAT(program.Save(dir.path(), 1, 's'), IsOk());
    faults.FailCall(call, ENOSPC, FaultyFileOps::Fault::kSticky);
    const absl::Status status = program.Save(dir.path(), 2, 's');
    faults.FailCall(-1, 0);
    folders.Add(ReadFolder(dir.path()), {status.ok() ? 2 : 1, 2, {}});
  }
  folders.Check();
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that are killed before each system call of a save, or when half of a
// write is done, and start again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/child_program.h"
#include "tests/faults/process_state.h"
#include "tests/faults/syscall_tracer.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::AnyOf;
using ::testing::IsEmpty;

// The last save of a program, in children that are traced.
//
// Confined: use from the thread that created it.
class TracedSave {
 public:
  // What a child did.
  struct Answer {
    std::string how;  // `killed`, `ended` or `skip`
    std::vector<std::string> calls;
  };

  TracedSave(ChildProgram* children, const std::string& habits,
             const std::string& saver)
      : children_(*children),
        habits_(habits),
        saver_(saver),
        program_(HabitsNamed(habits)),
        check_(program_),
        before_(PlayUntilLastSave(program_.habits())) {}

  // Saves, and is killed there. The answer is empty when the program that
  // traces ended.
  Answer Save(std::optional<KillPoint> kill = std::nullopt) {
    folder_.Read();
    folder_.Put(before_.content);
    std::string where = "nowhere";
    if (kill.has_value()) {
      where =
          absl::StrCat(kill->half_written ? "within " : "before ", kill->call);
    }
    const size_t heard = children_.said().size();
    children_.Tell(absl::StrCat(folder_.path(), " ", habits_, " ", saver_, " ",
                                before_.expected.begun, " ", where));
    while (children_.ReadSome(absl::InfiniteDuration()) &&
           !absl::EndsWith(children_.said(), "\n")) {
    }
    Answer answer;
    answer.calls = absl::StrSplit(
        absl::StripSuffix(children_.said().substr(heard), "\n"), '\t');
    answer.how = answer.calls.front();
    answer.calls.erase(answer.calls.begin());
    return answer;
  }

  // What is wrong with what a save left; empty for nothing.
  std::string Check(const Answer& answer) {
    ExpectedState expected = before_.expected;
    if (answer.how == "ended") expected.acknowledged = expected.begun;
    return check_.Check(folder_.Read(), expected, /*thorough=*/true);
  }

 private:
  ChildProgram& children_;
  const std::string habits_;
  const std::string saver_;
  // What a process wrote outlives it, synced or not.
  const UnsyncedFileOps files_;
  SavingProgram program_;
  RestartCheck check_;
  const BeforeLastSave before_;
  StagedFolder folder_;
};

class CheckpointSyscallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TracedSave save(&children_, "First", "Unsynced");
    const TracedSave::Answer answer = save.Save();
    if (answer.how == "skip") GTEST_SKIP() << answer.calls.front();
    ASSERT_EQ(answer.how, "ended");
    ASSERT_THAT(save.Check(answer), IsEmpty());
  }

  ChildProgram children_{{TFTRAIN_TRACED_CHILD}};
};

// Those that the ordinary run plays come first.
std::vector<std::string> HabitsInTurn() {
  std::vector<std::string> names = {"KeepTwo", "OneNameInBackground"};
  for (const SaveHabits& habits : AllSaveHabits()) {
    if (std::count(names.begin(), names.end(), habits.name) == 0) {
      names.push_back(habits.name);
    }
  }
  return names;
}

// Syncs are left out: what a process wrote outlives it, synced or not.
// SVR-10
TEST_F(CheckpointSyscallsTest, AKillAtAnySystemCallHarmsNothing) {
  std::vector<std::string> habits = HabitsInTurn();
  habits.resize(std::min<size_t>(
      habits.size(),
      static_cast<size_t>(FromEnvironment("TFTRAIN_FAULTS_HABITS", 2))));
  int before = 0;
  int within = 0;
  for (const std::string& name : habits) {
    SCOPED_TRACE(name);
    TracedSave save(&children_, name, "Unsynced");
    for (int call = 0;; ++call) {
      TracedSave::Answer answer = save.Save(KillPoint{call});
      ASSERT_THAT(answer.how, AnyOf("killed", "ended"));
      ASSERT_THAT(save.Check(answer), IsEmpty())
          << answer.how << " before " << answer.calls.back();
      if (answer.how == "ended") break;
      ++before;
      if (!absl::StartsWith(answer.calls.back(), "write ")) continue;
      answer = save.Save(KillPoint{call, /*half_written=*/true});
      ASSERT_EQ(answer.how, "killed");
      ASSERT_THAT(save.Check(answer), IsEmpty())
          << "killed within " << answer.calls.back();
      ++within;
    }
  }
  std::cout << before << " kills before a call, " << within << " within a write"
            << std::endl;
  EXPECT_GE(before + within, 150);
}

// A saver that writes the index into the file that has its name is noticed
// where that file is half written.
TEST_F(CheckpointSyscallsTest, ABrokenSaverIsNoticed) {
  TracedSave save(&children_, "OneName", "IndexInPlace");
  const std::vector<std::string> calls = save.Save().calls;
  int noticed = 0;
  for (int call = 0; call < static_cast<int>(calls.size()); ++call) {
    if (calls[call] != "write run/model.index") continue;
    const TracedSave::Answer answer =
        save.Save(KillPoint{call, /*half_written=*/true});
    ASSERT_EQ(answer.how, "killed");
    if (!save.Check(answer).empty()) ++noticed;
  }
  EXPECT_GT(noticed, 0) << absl::StrJoin(calls, ", ");
}

}  // namespace
}  // namespace tftrain

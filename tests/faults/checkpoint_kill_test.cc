// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that are killed while they start or save, and start again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/child_program.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

class CheckpointKillTest : public ::testing::Test {
 protected:
  // How long a child takes until it has saved once.
  static absl::Duration StartUpTime() {
    const TempDir dir;
    const absl::Time begin = absl::Now();
    SavingChild child(dir.path(), 's', "Unsynced");
    child.Listen(1, absl::Minutes(2));
    child.Kill();
    EXPECT_GT(child.LastSaid('a', 0), 0);
    return absl::Now() - begin;
  }
};

// What a process wrote outlives it, synced or not.
// SVR-10
TEST_F(CheckpointKillTest, NoAcknowledgedCheckpointIsLost) {
  const absl::Duration start_up = StartUpTime();
  const int64_t kills = FromEnvironment("TFTRAIN_FAULTS_KILLS", 200);
  PlaySchedules(1, [&](uint32_t seed) {
    RandomSchedule random(seed);
    const TempDir dir;
    SaveHabits habits;
    habits.max_to_keep = 2;
    SavingProgram program(habits);
    int64_t saved = 0;
    for (int64_t kill = 0; kill < kills; ++kill) {
      SCOPED_TRACE(kill);
      SavingChild child(dir.path(), random.Maybe() ? 's' : 'a', "Unsynced");
      if (random.Maybe()) {
        child.Listen(1'000'000, start_up * random.Below(1000) / 1000);
      } else {
        child.Listen(1, absl::Minutes(2));
        child.Listen(1'000'000, absl::Microseconds(random.Below(50'000)));
      }
      child.Kill();

      const int64_t acknowledged = child.LastSaid('a', saved);
      const int64_t begun = std::max(child.LastSaid('b', saved), acknowledged);
      ASSERT_THAT(program.Start(dir.path()), IsOk());
      ASSERT_TRUE(program.Number().has_value());
      ASSERT_GE(*program.Number(), acknowledged);
      ASSERT_LE(*program.Number(), begun);
      saved = *program.Number();
      // No more than one save has: data, index, and two of the meta file or of
      // the state file.
      EXPECT_THAT(TemporaryFilesIn(ReadFolder(dir.path())), SizeIs(Le(4)));
    }
    EXPECT_THAT(program.Save(dir.path(), saved + 1, 's'), IsOk());
    EXPECT_THAT(TemporaryFilesIn(ReadFolder(dir.path())), IsEmpty());
    std::cout << kills << " kills, " << saved << " saves" << std::endl;
  });
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that are killed while they start or save, and start again.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/logging.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

// A process that saves until it is killed; `dir` outlives it.
//
// Confined: use from the thread that created it.
class Child {
 public:
  Child(const std::string& dir, char mode) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
    std::vector<std::string> words = {TFTRAIN_KILL_CHILD, dir,
                                      std::string(1, mode)};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    CHECK(::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(),
                        environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    output_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { ::close(output_); }

  // Listens until it has acknowledged `count` saves, or for so long.
  void Listen(size_t count, absl::Duration time) {
    const absl::Time end = absl::Now() + time;
    while (CountAcknowledged() < count && absl::Now() < end) {
      pollfd wait = {output_, POLLIN, 0};
      const absl::Duration left =
          std::max(end - absl::Now(), absl::ZeroDuration());
      const timespec timeout = absl::ToTimespec(left);
      if (::ppoll(&wait, 1, &timeout, nullptr) > 0 && !ReadSome()) return;
    }
  }

  void Kill() {
    ::kill(pid_, SIGKILL);
    int state = 0;
    CHECK(::waitpid(pid_, &state, 0) == pid_);
    EXPECT_TRUE(WIFSIGNALED(state)) << "it ended by itself: " << said_;
    while (ReadSome()) {
    }
  }

  // The last number that it began to save, or acknowledged; `otherwise` if it
  // did not come to that.
  int64_t LastSaid(char what, int64_t otherwise) const {
    int64_t last = otherwise;
    for (const std::string_view line : absl::StrSplit(said_, '\n')) {
      if (line.empty() || line[0] != what) continue;
      CHECK(absl::SimpleAtoi(line.substr(2), &last)) << line;
    }
    return last;
  }

 private:
  size_t CountAcknowledged() const {
    return static_cast<size_t>(std::count(said_.begin(), said_.end(), 'a'));
  }

  bool ReadSome() {
    char buffer[4096];
    const ssize_t count = ::read(output_, buffer, sizeof(buffer));
    if (count <= 0) return false;
    said_.append(buffer, static_cast<size_t>(count));
    return true;
  }

  pid_t pid_ = 0;
  int output_ = -1;
  std::string said_;
};

class CheckpointKillTest : public ::testing::Test {
 protected:
  // How long a child takes until it has saved once.
  static absl::Duration StartUpTime() {
    const TempDir dir;
    const absl::Time begin = absl::Now();
    Child child(dir.path(), 's');
    child.Listen(1, absl::Minutes(2));
    child.Kill();
    EXPECT_GT(child.LastSaid('a', 0), 0);
    return absl::Now() - begin;
  }
};

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
      Child child(dir.path(), random.Maybe() ? 's' : 'a');
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

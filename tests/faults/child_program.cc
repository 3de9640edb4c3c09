// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/child_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tensorflow/core/platform/logging.h"

namespace tftrain {

ChildProgram::ChildProgram(std::vector<std::string> words) {
  int in[2];
  int out[2];
  CHECK(::pipe2(in, O_CLOEXEC) == 0 && ::pipe2(out, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                   O_WRONLY, 0);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  CHECK(::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(),
                      environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

ChildProgram::~ChildProgram() {
  Kill();
  ::close(input_);
  ::close(output_);
}

void ChildProgram::Tell(const std::string& line) {
  const std::string text = absl::StrCat(line, "\n");
  CHECK(::write(input_, text.data(), text.size()) ==
        static_cast<ssize_t>(text.size()));
}

bool ChildProgram::ReadSome(absl::Duration time) {
  pollfd wait = {output_, POLLIN, 0};
  const timespec timeout =
      absl::ToTimespec(std::max(time, absl::ZeroDuration()));
  if (::ppoll(&wait, 1, &timeout, nullptr) <= 0) return true;
  char buffer[4096];
  const ssize_t count = ::read(output_, buffer, sizeof(buffer));
  if (count <= 0) return false;
  said_.append(buffer, static_cast<size_t>(count));
  return true;
}

int ChildProgram::Kill() {
  if (pid_ == 0) return state_;
  ::kill(pid_, SIGKILL);
  CHECK(::waitpid(pid_, &state_, 0) == pid_);
  pid_ = 0;
  while (ReadSome(absl::InfiniteDuration())) {
  }
  return state_;
}

SavingChild::SavingChild(const std::string& dir, char mode,
                         const std::string& saver)
    : program_({TFTRAIN_KILL_CHILD, dir, std::string(1, mode), saver}) {}

void SavingChild::Listen(size_t count, absl::Duration time) {
  const absl::Time end = absl::Now() + time;
  const auto acknowledged = [this] {
    const std::string& said = program_.said();
    return static_cast<size_t>(std::count(said.begin(), said.end(), 'a'));
  };
  while (acknowledged() < count && absl::Now() < end) {
    if (!program_.ReadSome(end - absl::Now())) return;
  }
}

void SavingChild::Kill() {
  EXPECT_TRUE(WIFSIGNALED(program_.Kill()))
      << "it ended by itself: " << program_.said();
}

int64_t SavingChild::LastSaid(char what, int64_t otherwise) const {
  int64_t last = otherwise;
  for (const std::string_view line : absl::StrSplit(program_.said(), '\n')) {
    if (line.empty() || line[0] != what) continue;
    CHECK(absl::SimpleAtoi(line.substr(2), &last)) << line;
  }
  return last;
}

}  // namespace tftrain

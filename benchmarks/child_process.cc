// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

extern char** environ;

namespace tftrain::benchmarks {

ChildResult RunChild(const std::vector<std::string>& command) {
  ChildResult result;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return result;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                   O_WRONLY, 0);
  std::vector<char*> argv;
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);

  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int spawned =
      posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  char buffer[4096];
  ssize_t n = 0;
  while (spawned == 0 && (n = read(ends[0], buffer, sizeof(buffer))) > 0) {
    if (result.output.empty()) {
      result.seconds_to_output = std::chrono::duration<double>(
                                     std::chrono::steady_clock::now() - start)
                                     .count();
    }
    result.output.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  if (spawned == 0 && waitpid(child, &status, 0) == child &&
      WIFEXITED(status)) {
    result.exit_code = WEXITSTATUS(status);
  }
  return result;
}

}  // namespace tftrain::benchmarks

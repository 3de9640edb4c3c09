// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a forked child makes of the objects it inherits.

#ifndef TFTRAIN_TESTING_HOLDS_IN_CHILD_H_
#define TFTRAIN_TESTING_HOLDS_IN_CHILD_H_

#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace tftrain {

// Runs `body` in a forked child, which has some seconds for it, and returns
// whether it was true.
inline bool HoldsInChild(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(body() ? 0 : 1);
  }
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child &&
         WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_HOLDS_IN_CHILD_H_

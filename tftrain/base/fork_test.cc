// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tftrain {
namespace {

// Runs `fn` in a child process and returns whether it answered true there.
template <typename Fn>
bool TrueInChild(Fn fn) {
  const pid_t child = fork();
  if (child == 0) _exit(fn() ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

TEST(ForkTest, TheNumberStaysWithinAProcess) {
  const int before = ForkGeneration();
  EXPECT_TRUE(TrueInChild([] { return true; }));

  EXPECT_EQ(ForkGeneration(), before);
}

TEST(ForkTest, AChildHasAnotherNumberAndItsChildYetAnother) {
  const int here = ForkGeneration();

  EXPECT_TRUE(TrueInChild([here] {
    const int child = ForkGeneration();
    return child != here && TrueInChild([here, child] {
             return ForkGeneration() != child && ForkGeneration() != here;
           });
  }));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/folder_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Use = FolderLock::Use;

class FolderLockTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<FolderLock>> Take(
      Use use = Use::kWrite, const void* owner = nullptr) {
    return FolderLock::Take(dir_.path(), use, owner);
  }

  // The code that another process gets, a child of this one.
  absl::StatusCode CodeElsewhere() {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(static_cast<int>(Take().status().code()));
    int result = -1;
    EXPECT_EQ(::waitpid(child, &result, 0), child);
    EXPECT_TRUE(WIFEXITED(result));
    return static_cast<absl::StatusCode>(WEXITSTATUS(result));
  }

  // A child that has the lock if `takes` is set, and lives until it is killed.
  pid_t StartChild(bool takes) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const auto lock = takes ? Take() : nullptr;
      const char ready = lock.ok() ? 'y' : 'n';
      (void)!::write(ends[1], &ready, 1);
      while (true) ::pause();
    }
    char ready = 'n';
    EXPECT_EQ(::read(ends[0], &ready, 1), 1);
    EXPECT_EQ(ready, 'y');
    ::close(ends[0]);
    ::close(ends[1]);
    return child;
  }

  static void Kill(pid_t child) {
    EXPECT_EQ(::kill(child, SIGKILL), 0);
    EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  }

  const TempDir dir_;
};

TEST_F(FolderLockTest, OneProcessHasTheFolderAsLongAsItHasAShare) {
  auto first = Take();
  auto second = Take(Use::kSession);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  first->reset();
  EXPECT_EQ(CodeElsewhere(), absl::StatusCode::kFailedPrecondition);
  second->reset();
  EXPECT_EQ(CodeElsewhere(), absl::StatusCode::kOk);
}

TEST_F(FolderLockTest, TheErrorNamesTheFolderAndSaysWhatToDo) {
  const pid_t other = StartChild(/*takes=*/true);
  EXPECT_THAT(Take(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               testing::AllOf(HasSubstr(dir_.path()),
                                              HasSubstr("end it first"))));
  Kill(other);
  EXPECT_THAT(Take(), IsOk());
}

TEST_F(FolderLockTest, AChildThatLivesOnDoesNotKeepTheLock) {
  auto lock = Take();
  const pid_t child = StartChild(/*takes=*/false);
  EXPECT_EQ(CodeElsewhere(), absl::StatusCode::kFailedPrecondition);
  lock->reset();
  EXPECT_EQ(CodeElsewhere(), absl::StatusCode::kOk);
  Kill(child);
}

TEST_F(FolderLockTest, TheFolderCountsAndNotItsPath) {
  const auto lock = Take(Use::kSession, this);
  ASSERT_EQ(::symlink(".", (dir_ / "same").c_str()), 0);
  EXPECT_THAT(FolderLock::Take(dir_ / "same", Use::kSession, &dir_),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(FolderLockTest, SessionsOfOneOwnerShareAndOthersAreRefused) {
  auto first = Take(Use::kSession, this);
  EXPECT_THAT(Take(Use::kSession, this), IsOk());
  EXPECT_THAT(Take(Use::kWrite), IsOk());
  EXPECT_THAT(Take(Use::kSession, &dir_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("the same saver")));
  first->reset();
  EXPECT_THAT(Take(Use::kSession, &dir_), IsOk());
}

TEST_F(FolderLockTest, OnlyOneIsAloneAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 200;
  std::atomic<int> inside = 0;
  int turns = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const auto lock = Take();
      ASSERT_THAT(lock, IsOk());
      for (int turn = 0; turn < kTurns; ++turn) {
        EXPECT_THAT((*lock)->Alone([&] {
          EXPECT_EQ(++inside, 1);
          std::this_thread::yield();
          ++turns;
          --inside;
          return absl::OkStatus();
        }),
                    IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(turns, kThreads * kTurns);
}

TEST_F(FolderLockTest, ErrorsOfWhoIsAloneAreHisOwn) {
  const auto lock = Take();
  ASSERT_THAT(lock, IsOk());
  EXPECT_THAT((*lock)->Alone([] { return absl::DataLossError("x"); }),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT((*lock)->Alone([] { return absl::OkStatus(); }), IsOk());
}

TEST_F(FolderLockTest, RemovesLeftoversUnlessAnotherOneWrites) {
  const std::string left = TemporaryPrefix(dir_.path()) + ".index";
  ASSERT_THAT(WriteFileAtomically(left, "x"), IsOk());
  const auto session = Take(Use::kSession);
  const auto writer = Take();
  {
    const auto other = Take();
    (*writer)->RemoveLeftovers(absl::Now());
    EXPECT_THAT(dir_.List(), ElementsAre(BaseName(left)));
  }
  (*writer)->RemoveLeftovers(absl::Now());
  EXPECT_THAT(dir_.List(), IsEmpty());
}

TEST_F(FolderLockTest, RemovesNoFolderThroughALink) {
  const TempDir victim;
  ASSERT_THAT(WriteFileAtomically(victim / "file", "x"), IsOk());
  const std::string link = TemporaryPrefix(dir_.path()) + "_temp";
  ASSERT_EQ(::symlink(victim.path().c_str(), link.c_str()), 0);
  (*Take())->RemoveLeftovers(absl::Now());
  EXPECT_THAT(dir_.List(), IsEmpty());
  EXPECT_THAT(victim.List(), ElementsAre("file"));
}

TEST_F(FolderLockTest, AFolderThatCannotBeLockedIsToldOnce) {
  LogCapture log;
  const std::string left = TemporaryPrefix(dir_.path()) + ".index";
  ASSERT_THAT(WriteFileAtomically(left, "x"), IsOk());
  FaultyFileOps faults;
  for (int i = 0; i < 2; ++i) {
    faults.FailCall(0, EACCES);
    const auto lock = Take();
    ASSERT_THAT(lock, IsOk());
    (*lock)->RemoveLeftovers(absl::Now());
  }
  EXPECT_THAT(dir_.List(), ElementsAre(BaseName(left)));
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("cannot be locked")));
}

}  // namespace
}  // namespace tftrain::internal

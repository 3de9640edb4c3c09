// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A server of TensorFlow's distributed runtime that a test may kill.

#ifndef TFTRAIN_TESTING_CHILD_SERVER_H_
#define TFTRAIN_TESTING_CHILD_SERVER_H_

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/testing/local_server.h"

namespace tftrain {

// A server in a process of its own: the test program, started again to run
// nothing but the test "ChildServer.DISABLED_Serves", which the program must
// have, with ServeUntilKilled() as its body. It ends with this object or with
// this process. Ends the program if it cannot be started.
//
// Confined: use from the thread that created it, which must outlive it.
class ChildServer {
 public:
  ChildServer() {
    int ends[2];
    CHECK(::pipe(ends) == 0);
    const std::string pipe = absl::StrCat(ends[1]);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ends[0]);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::setenv(kPipe, pipe.c_str(), /*overwrite=*/1);
      ::execl("/proc/self/exe", "server",
              "--gtest_filter=ChildServer.DISABLED_Serves",
              "--gtest_also_run_disabled_tests", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    char c;
    while (::read(ends[0], &c, 1) == 1 && c != '\n') address_ += c;
    ::close(ends[0]);
    CHECK(!address_.empty()) << "the server did not start";
  }
  ~ChildServer() { Kill(); }
  ChildServer(const ChildServer&) = delete;
  ChildServer& operator=(const ChildServer&) = delete;

  // "grpc://...".
  const std::string& address() const { return address_; }

  // Stops it without a trace: it answers no more, and its connections stay.
  void Freeze() { CHECK(::kill(pid_, SIGSTOP) == 0); }

  // Ends it at once; further calls do nothing.
  void Kill() {
    if (pid_ <= 0) return;
    CHECK(::kill(pid_, SIGKILL) == 0);
    CHECK(::waitpid(pid_, nullptr, 0) == pid_);
    pid_ = 0;
  }

  // What the child does. Does nothing in a program that was started otherwise.
  static void ServeUntilKilled() {
    const char* const pipe = std::getenv(kPipe);
    if (pipe == nullptr) return;
    int fd = -1;
    CHECK(absl::SimpleAtoi(pipe, &fd));
    const std::string line = absl::StrCat(LocalServerAddress(), "\n");
    CHECK(::write(fd, line.data(), line.size()) ==
          static_cast<ssize_t>(line.size()));
    while (true) ::pause();
  }

 private:
  static constexpr char kPipe[] = "TFTRAIN_TEST_SERVER_PIPE";

  pid_t pid_ = 0;
  std::string address_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_CHILD_SERVER_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A session whose server stops answering or is killed: no call waits for ever.
// The server is this test program, started again to run one test that serves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tensorflow/cc/ops/data_flow_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using absl::StatusCode;
using ::testing::AnyOf;
using ::testing::Lt;

namespace ops = ::tensorflow::ops;

constexpr char kPipe[] = "TFTRAIN_TEST_SERVER_PIPE";
// Far more than any call may take, far less than for ever.
constexpr absl::Duration kBound = absl::Seconds(20);

// A server in a process of its own.
class Server {
 public:
  Server() {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const std::string pipe = absl::StrCat(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::setenv(kPipe, pipe.c_str(), /*overwrite=*/1);
      ::execl("/proc/self/exe", "server",
              "--gtest_filter=KilledServer.DISABLED_Serves",
              "--gtest_also_run_disabled_tests", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    char c;
    while (::read(ends[0], &c, 1) == 1 && c != '\n') address_ += c;
    ::close(ends[0]);
  }
  ~Server() { Kill(); }

  const std::string& address() const { return address_; }
  void Freeze() { EXPECT_EQ(::kill(pid_, SIGSTOP), 0); }
  void Kill() {
    if (pid_ <= 0) return;
    EXPECT_EQ(::kill(pid_, SIGKILL), 0);
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  std::string address_;
};

TEST(KilledServer, DISABLED_Serves) {
  const char* pipe = std::getenv(kPipe);
  int fd = -1;
  ASSERT_TRUE(pipe != nullptr && absl::SimpleAtoi(pipe, &fd));
  const std::string line = absl::StrCat(LocalServerAddress(), "\n");
  ASSERT_EQ(::write(fd, line.data(), line.size()),
            static_cast<ssize_t>(line.size()));
  while (true) ::pause();
}

class KilledServerTest : public testing::Test {
 protected:
  KilledServerTest() {
    ops::Const(graph_->scope().WithOpName("x"), 1.5f);
    Session::Options options;
    options.target = server_.address();
    session_ = Session::Create(graph_, options).value();
    EXPECT_THAT(session_->Run(x_), IsOkAndHolds(1.5f));
    start_ = absl::Now();
  }

  void TearDown() override {
    if (session_ != nullptr) {
      session_->Close(absl::Milliseconds(100)).IgnoreError();
    }
  }

  // A step that may take `timeout_ms`.
  absl::StatusOr<float> RunWithin(int timeout_ms) {
    tensorflow::RunOptions options;
    options.set_timeout_in_ms(timeout_ms);
    return session_->Run(x_, {}, &options);
  }

  absl::Duration Elapsed() const { return absl::Now() - start_; }

  const Fetch<float> x_{"x:0"};
  Server server_;
  const GraphPtr graph_ = Graph::Create();
  std::shared_ptr<Session> session_;
  absl::Time start_;
};

TEST_F(KilledServerTest, AStepOnAFrozenServerEndsWithTheTimeout) {
  server_.Freeze();

  EXPECT_THAT(RunWithin(200), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(RunWithin(200), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Elapsed(), Lt(kBound));
}

TEST_F(KilledServerTest, AStepOnAKilledServerEnds) {
  server_.Kill();

  EXPECT_THAT(RunWithin(200), StatusIs(AnyOf(StatusCode::kDeadlineExceeded,
                                             StatusCode::kUnavailable)));
  EXPECT_THAT(Elapsed(), Lt(kBound));
}

TEST_F(KilledServerTest, ClosingDoesNotWaitForTheDead) {
  server_.Freeze();

  EXPECT_THAT(session_->Close(absl::Milliseconds(100)),
              StatusIs(StatusCode::kDeadlineExceeded));

  EXPECT_THAT(Elapsed(), Lt(kBound));
  EXPECT_TRUE(session_->closed());
  EXPECT_FALSE(graph_->finalized());
  session_.reset();
  EXPECT_THAT(Elapsed(), Lt(kBound));
}

TEST_F(KilledServerTest, TheTimeoutOfTheConfigHoldsForEveryStep) {
  Session::Options options;
  options.target = server_.address();
  options.config.set_operation_timeout_in_ms(2000);
  const auto session = Session::Create(graph_, options);
  ASSERT_THAT(session, IsOk());
  server_.Freeze();

  EXPECT_THAT((*session)->Run(x_), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Elapsed(), Lt(kBound));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A session whose server stops answering or is killed: no call waits for ever.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "absl/time/clock.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/child_server.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using absl::StatusCode;
using ::testing::AnyOf;
using ::testing::Lt;

namespace ops = ::tensorflow::ops;

// Far more than any call may take, far less than for ever.
constexpr absl::Duration kBound = absl::Seconds(20);

TEST(ChildServer, DISABLED_Serves) { ChildServer::ServeUntilKilled(); }

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
  ChildServer server_;
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

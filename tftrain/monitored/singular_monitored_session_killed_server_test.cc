// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A training run whose server is killed, or stops answering: steps end with
// their timeout, and closing is bounded.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/data_flow_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/child_server.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Lt;

namespace ops = ::tensorflow::ops;

constexpr int kGraceSecs = 1;
// Closing takes the grace period and a second for the server's answers; the
// rest is for a busy machine.
constexpr absl::Duration kClosing = absl::Seconds(kGraceSecs + 1 + 4);
// Far more than a step with a timeout may take, far less than for ever.
constexpr absl::Duration kBound = absl::Seconds(20);

TEST(ChildServer, DISABLED_Serves) { ChildServer::ServeUntilKilled(); }

// Asks the server for the global step before each step.
class AskingHook : public SessionRunHook {
 public:
  absl::StatusOr<SessionRunArgs> BeforeRun(
      SessionRunContext& context) override {
    TF_RETURN_IF_ERROR(context.GlobalStep().status());
    return SessionRunArgs();
  }
};

class MonitoredKilledServerTest : public testing::Test {
 protected:
  // Trains for one step.
  void Open() {
    SingularMonitoredSession::Options options;
    options.master = server_.address();
    options.stop_grace_period_secs = kGraceSecs;
    options.hooks = {hook_, std::make_shared<AskingHook>()};
    session_ = SingularMonitoredSession::Create(graph_, options).value();
    ASSERT_THAT(session_->Run(train_), IsOk());
    calls_.clear();
    start_ = absl::Now();
  }

  // A step that may take 200 ms.
  absl::Status Step() {
    tensorflow::RunOptions options;
    options.set_timeout_in_ms(200);
    return session_->Run(train_, {}, &options);
  }

  // Closes after `body`, in time.
  absl::Status Close(const absl::Status& body) {
    start_ = absl::Now();
    absl::Status closed = session_->Close(body);
    EXPECT_THAT(Elapsed(), Lt(kClosing));
    EXPECT_FALSE(graph_->finalized());
    return closed;
  }

  absl::Duration Elapsed() const { return absl::Now() - start_; }

  const Target train_{"train"};
  ChildServer server_;
  const GraphPtr graph_ = CountingGraph();
  std::vector<std::string> calls_;
  const std::shared_ptr<RecordingHook> hook_ =
      std::make_shared<RecordingHook>("A", &calls_);
  std::unique_ptr<SingularMonitoredSession> session_;
  absl::Time start_;
};

TEST_F(MonitoredKilledServerTest, AStepOnAFrozenServerEndsAndHooksHearOfIt) {
  Open();
  server_.Freeze();

  const absl::Status failed = Step();

  EXPECT_THAT(failed, StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Elapsed(), Lt(kBound));
  EXPECT_THAT(Close(failed), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(calls_, ElementsAre("A.BeforeRun", "A.OnAbort"));
}

TEST_F(MonitoredKilledServerTest, AStepOnAKilledServerEndsAndHooksHearOfIt) {
  Open();
  server_.Kill();

  const absl::Status failed = Step();

  EXPECT_THAT(failed, StatusIs(AnyOf(StatusCode::kDeadlineExceeded,
                                     StatusCode::kUnavailable)));
  EXPECT_THAT(Elapsed(), Lt(kBound));
  EXPECT_THAT(Close(failed), StatusIs(failed.code()));
  EXPECT_THAT(calls_, ElementsAre("A.BeforeRun", "A.OnAbort"));
}

TEST_F(MonitoredKilledServerTest, ACleanEndIsBoundedAndHooksGetTheirEnd) {
  Open();
  server_.Freeze();

  EXPECT_THAT(Close(absl::OkStatus()), IsOk());

  EXPECT_THAT(calls_, ElementsAre("A.End"));
  EXPECT_EQ(session_->summary().last_step, std::nullopt) << "nobody can tell";
}

TEST_F(MonitoredKilledServerTest, DroppingTheSessionIsBounded) {
  Open();
  server_.Freeze();

  session_.reset();

  EXPECT_THAT(Elapsed(), Lt(kClosing));
  EXPECT_THAT(calls_, ElementsAre("A.OnAbort"));
  EXPECT_FALSE(graph_->finalized());
}

TEST_F(MonitoredKilledServerTest, ThreadsThatWaitForTheServerAreNamedAndLeft) {
  const ops::FIFOQueue queue(graph_->scope().WithOpName("numbers"),
                             {tensorflow::DT_FLOAT});
  const ops::QueueEnqueue enqueue(graph_->scope().WithOpName("enqueue"),
                                  queue.handle,
                                  {ops::Const(graph_->scope(), 1.0f)});
  const auto runner =
      QueueRunner::Create(*graph_, queue.handle, {enqueue.operation});
  ASSERT_THAT(runner, IsOk());
  ASSERT_THAT(AddQueueRunner(*graph_, **runner), IsOk());
  Open();
  server_.Freeze();
  LogCapture log;

  EXPECT_THAT(Close(absl::OkStatus()), IsOk());

  EXPECT_THAT(Elapsed(), Gt(absl::Seconds(kGraceSecs)));
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("numbers/enqueue"),
                                            HasSubstr("still run"))));
  }
  EXPECT_THAT(calls_, ElementsAre("A.End"));
}

}  // namespace
}  // namespace tftrain

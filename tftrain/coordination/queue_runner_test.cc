// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/queue_runner.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using absl::StatusCode;
using tensorflow::Output;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A queue of int64, fed with 1, 2, 3, … by the op "enqueue".
class QueueRunnerTest : public ::testing::Test {
 protected:
  // The numbers end after `limit`; 0 means never.
  void BuildQueue(int capacity, int64_t limit = 0,
                  const std::string& shared_name = "") {
    const tensorflow::Scope scope = graph_->scope();
    queue_ = ops::FIFOQueue(
        scope.WithOpName("queue"), {tensorflow::DT_INT64},
        ops::FIFOQueue::Capacity(capacity).SharedName(shared_name));
    Output next;
    if (limit > 0) {
      const Output counter =
          ops::Variable(scope.WithOpName("counter"), {}, tensorflow::DT_INT64);
      ops::Assign(scope.WithOpName("init"), counter,
                  ops::Const(scope, int64_t{0}));
      next = ops::CountUpTo(scope.WithOpName("next"), counter, limit);
    } else {
      ops::NoOp(scope.WithOpName("init"));
      next = ops::Const(scope, int64_t{1});
    }
    Add("enqueue", next);
    ops::QueueDequeue(scope.WithOpName("dequeue"), queue_,
                      {tensorflow::DT_INT64});
    ops::QueueSize(scope.WithOpName("size"), queue_);
  }

  void Add(const std::string& name, const Output& value) {
    enqueues_.push_back(
        ops::QueueEnqueue(graph_->scope().WithOpName(name), queue_,
                          std::initializer_list<tensorflow::Input>{value})
            .operation);
  }

  // In place of the others, an op "bad" that fails.
  void AddFailing() {
    const tensorflow::Scope scope = graph_->scope();
    enqueues_.clear();
    Add("bad",
        ops::Cast(scope,
                  ops::CheckNumerics(scope, ops::Log(scope, -1.0f), "bad"),
                  tensorflow::DT_INT64));
  }

  void StartRunner(const std::shared_ptr<Coordinator>& coordinator,
                   const QueueRunner::Options& options = {}) {
    runner_ = QueueRunner::Create(*graph_, queue_, enqueues_, options).value();
    session_ = Session::Create(graph_).value();
    ASSERT_THAT(session_->Run(Target("init")), IsOk());
    threads_ = runner_->Start(session_, coordinator).value();
  }

  absl::StatusOr<int64_t> Dequeue() {
    return session_->Run(Fetch<int64_t>("dequeue:0"));
  }

  GraphPtr graph_ = Graph::Create();
  Output queue_;
  std::vector<tensorflow::Operation> enqueues_;
  std::shared_ptr<QueueRunner> runner_;
  std::shared_ptr<Session> session_;
  std::vector<std::shared_ptr<Thread>> threads_;
  std::shared_ptr<Coordinator> coordinator_ = std::make_shared<Coordinator>();
};

TEST_F(QueueRunnerTest, NeedsAQueueAndAnEnqueueOp) {  // QRN-01
  BuildQueue(2);
  EXPECT_THAT(QueueRunner::Create(*graph_, queue_, {}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"queue\"")));

  tensorflow::QueueRunnerDef def =
      QueueRunner::Create(*graph_, queue_, enqueues_).value()->ToProto();
  EXPECT_EQ(def.queue_name(), "queue");
  EXPECT_EQ(def.close_op_name(), "queue_Close");
  EXPECT_EQ(def.cancel_op_name(), "queue_Close_1");

  def.set_cancel_op_name("queue_close");
  EXPECT_THAT(
      QueueRunner::FromDef(*graph_, def),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"queue_Close\"")));
}

TEST_F(QueueRunnerTest, TakesTheClosingOperationsItIsGiven) {  // QRN-01
  BuildQueue(2);
  const tensorflow::Scope scope = graph_->scope();
  QueueRunner::Options options;
  options.close_op = ops::NoOp(scope.WithOpName("mine")).operation;
  options.cancel_op = ops::NoOp(scope.WithOpName("mine_too")).operation;

  const auto runner = QueueRunner::Create(*graph_, queue_, enqueues_, options);

  ASSERT_THAT(runner, IsOk());
  EXPECT_EQ((*runner)->ToProto().close_op_name(), "mine");
  EXPECT_EQ((*runner)->ToProto().cancel_op_name(), "mine_too");
  EXPECT_THAT(graph_->FindOperation("queue_Close"),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(QueueRunnerTest, AnotherErrorMayMeanTheEndOfTheInput) {  // QRN-02
  BuildQueue(10);
  AddFailing();
  QueueRunner::Options options;
  for (const auto& types :
       {std::vector<StatusCode>{}, std::vector<StatusCode>{StatusCode::kOk}}) {
    options.queue_closed_exception_types = types;
    EXPECT_THAT(
        QueueRunner::Create(*graph_, queue_, enqueues_, options),
        StatusIs(StatusCode::kInvalidArgument, HasSubstr("kOutOfRange")));
  }
  options.queue_closed_exception_types = {StatusCode::kNotFound,
                                          StatusCode::kInvalidArgument};

  StartRunner(coordinator_, options);

  EXPECT_TRUE(IsEndOfInput(Dequeue().status()));
  EXPECT_FALSE(coordinator_->ShouldStop());
  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, TheLastThreadClosesTheQueueBehindTheInput) {
  // QRN-05
  BuildQueue(10, 3);
  enqueues_.push_back(enqueues_[0]);  // two threads

  StartRunner(coordinator_);

  EXPECT_THAT(threads_, SizeIs(3));
  EXPECT_THAT(Dequeue(), IsOk());
  EXPECT_THAT(Dequeue(), IsOk());
  EXPECT_THAT(Dequeue(), IsOk());
  EXPECT_TRUE(IsEndOfInput(Dequeue().status()));
  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, AnErrorStopsTheCoordinatorWithIt) {  // QRN-06
  BuildQueue(10);
  AddFailing();

  StartRunner(coordinator_);

  EXPECT_TRUE(coordinator_->WaitForStop());
  EXPECT_THAT(coordinator_->Join(),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("bad"), HasSubstr("\"queue\""))));
  EXPECT_THAT(runner_->exceptions_raised(), IsEmpty());
}

TEST_F(QueueRunnerTest, WithoutACoordinatorErrorsAreKept) {  // QRN-06
  BuildQueue(10);
  AddFailing();

  StartRunner(nullptr);
  for (const auto& thread : threads_) thread->Join();

  ASSERT_THAT(runner_->exceptions_raised(), SizeIs(1));
  EXPECT_THAT(runner_->exceptions_raised().front(),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(QueueRunnerTest, OnlyTheEndOfTheInputRunsTheCloseOp) {  // QRN-07
  // Closing writes it down in a variable that has no value before.
  const auto closed_after = [this](bool input_ends, bool fails) {
    graph_ = Graph::Create();
    enqueues_.clear();
    BuildQueue(1, input_ends ? 1 : 0);
    if (fails) AddFailing();
    const tensorflow::Scope scope = graph_->scope();
    const Output closed =
        ops::Variable(scope.WithOpName("closed"), {}, tensorflow::DT_BOOL);
    QueueRunner::Options options;
    options.close_op =
        ops::Assign(scope, closed, ops::Const(scope, true)).operation;
    StartRunner(coordinator_, options);
    // A thread that neither the input nor an error ends is stopped.
    if (!input_ends && !fails) coordinator_->RequestStop();
    threads_.front()->Join();
    coordinator_->RequestStop();
    coordinator_->Join().IgnoreError();
    coordinator_->ClearStop();
    return session_->Run(Fetch<bool>("closed:0")).ok();
  };

  EXPECT_TRUE(closed_after(true, false));
  EXPECT_FALSE(closed_after(false, true));
  EXPECT_FALSE(closed_after(false, false));
}

TEST_F(QueueRunnerTest, AStopCancelsABlockedEnqueue) {  // QRN-08
  BuildQueue(1);
  StartRunner(coordinator_);
  EXPECT_THAT(Dequeue(), IsOk());  // the thread runs

  coordinator_->RequestStop();

  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, IsStartedOncePerSession) {  // QRN-09, QRN-10
  BuildQueue(1);
  StartRunner(coordinator_);
  EXPECT_THAT(runner_->Start(session_, coordinator_), IsOkAndHolds(IsEmpty()));

  auto other = Session::Create(graph_).value();
  ASSERT_THAT(other->Run(Target("init")), IsOk());
  EXPECT_THAT(runner_->Start(other, coordinator_), IsOkAndHolds(SizeIs(2)));

  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
  // The stop has closed the queue, so these find nothing to do but end.
  EXPECT_THAT(runner_->Start(session_, coordinator_), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, StartQueueRunnersStartsThoseOfTheCollection) {
  // QRN-11, QRN-12
  BuildQueue(4);
  const auto runner = QueueRunner::Create(*graph_, queue_, enqueues_).value();
  ASSERT_THAT(AddQueueRunner(*graph_, *runner), IsOk());
  session_ = Session::Create(graph_).value();

  EXPECT_THAT(StartQueueRunners(session_, coordinator_),
              IsOkAndHolds(SizeIs(2)));

  EXPECT_THAT(Dequeue(), IsOkAndHolds(1));
  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, ADefKeepsWhatARunnerIs) {  // QRN-14
  BuildQueue(10, 2);
  QueueRunner::Options options;
  options.queue_closed_exception_types = {StatusCode::kCancelled,
                                          StatusCode::kOutOfRange};
  tensorflow::QueueRunnerDef def =
      QueueRunner::Create(*graph_, queue_, enqueues_, options)
          .value()
          ->ToProto();

  EXPECT_THAT(def.enqueue_op_name(), ElementsAre("enqueue"));
  EXPECT_THAT(def.queue_closed_exception_types(),
              ElementsAre(tensorflow::error::CANCELLED,
                          tensorflow::error::OUT_OF_RANGE));
  EXPECT_EQ(
      QueueRunner::FromDef(*graph_, def).value()->ToProto().SerializeAsString(),
      def.SerializeAsString());

  def.clear_queue_closed_exception_types();
  runner_ = QueueRunner::FromDef(*graph_, def).value();
  session_ = Session::Create(graph_).value();
  ASSERT_THAT(session_->Run(Target("init")), IsOk());
  ASSERT_THAT(runner_->Start(session_, coordinator_), IsOk());
  EXPECT_THAT(Dequeue(), IsOkAndHolds(0));
  EXPECT_THAT(Dequeue(), IsOkAndHolds(1));
  EXPECT_TRUE(IsEndOfInput(Dequeue().status()));
  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(QueueRunnerTest, StartingNeedsASessionAndWarnsWithoutRunners) {
  // QRN-13
  BuildQueue(4);
  session_ = Session::Create(graph_).value();
  const LogCapture log;

  EXPECT_THAT(StartQueueRunners(nullptr, coordinator_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("session")));
  EXPECT_THAT(StartQueueRunners(session_, coordinator_, "no_runners"),
              IsOkAndHolds(IsEmpty()));

  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING"),
                                          HasSubstr("\"no_runners\""))));
}

TEST_F(QueueRunnerTest, AStragglerIsNamedWithItsOperationAndQueueSize) {
  // CRD-12, R9
  BuildQueue(/*capacity=*/3, /*limit=*/0, "numbers");
  // An enqueue that says that it runs, and then waits for what never comes.
  const tensorflow::Scope scope = graph_->scope();
  const ops::FIFOQueue started(scope, {tensorflow::DT_INT64});
  const ops::FIFOQueue never(scope, {tensorflow::DT_INT64});
  const ops::QueueEnqueue says(
      scope, started,
      std::initializer_list<tensorflow::Input>{ops::Const(scope, int64_t{1})});
  const ops::QueueDequeue waits(
      scope.WithControlDependencies(
          std::vector<tensorflow::Operation>{says.operation}),
      never, {tensorflow::DT_INT64});
  ops::QueueDequeue(scope.WithOpName("started"), started,
                    {tensorflow::DT_INT64});
  enqueues_.clear();
  Add("stuck", waits[0]);
  StartRunner(coordinator_);
  ASSERT_THAT(session_->Run(Fetch<int64_t>("started:0")), IsOk());
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(session_->Run(Target("enqueue")), IsOk());
  }

  coordinator_->RequestStop();
  Coordinator::JoinOptions join;
  join.stop_grace_period_secs = 0.05;
  EXPECT_THAT(
      coordinator_->Join(join),
      StatusIs(StatusCode::kDeadlineExceeded,
               HasSubstr("\"queue/stuck\" in \"stuck, queue size 2\"")));

  EXPECT_THAT(session_->Close(), IsOk());  // frees it
  for (const auto& thread : threads_) thread->Join();
}

}  // namespace
}  // namespace tftrain

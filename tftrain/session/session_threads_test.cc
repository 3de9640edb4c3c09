// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Sessions that are closed, dropped, forked and shared while steps run. Each
// test is named after a trap of the runtime.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::Output;
using ::tensorflow::Scope;
using ::testing::AnyOf;
using ::testing::HasSubstr;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kCancelled = absl::StatusCode::kCancelled;
constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

// Three ways to make a thread wait for another without a clock: "blocked:0"
// tells "wait" that it runs and waits for "free"; "slow:0" tells "wait" that it
// runs and computes for some 0.2 s without any point at which it could be
// stopped; "add" adds 1 to the variable "w"; "blocked_add" does so when "free"
// was run, after it has taken what "ready" put there ("waiting:0" is how much).
class SessionThreadsTest : public testing::Test {
 protected:
  SessionThreadsTest() {
    const Scope scope = graph_->scope();
    const Output one = ops::Const(scope.WithOpName("one"), 1.0f);
    const auto started = Queue("started");
    const auto tell =
        ops::QueueEnqueue(scope.WithOpName("tell"), started, {one});
    ops::QueueDequeue(scope.WithOpName("wait"), started,
                      {tensorflow::DT_FLOAT});

    const auto gate = Queue("gate");
    ops::QueueEnqueue(scope.WithOpName("free"), gate, {one});
    ops::QueueDequeue(
        scope.WithOpName("blocked").WithControlDependencies({tell.operation}),
        gate, {tensorflow::DT_FLOAT});

    Output product =
        ops::RandomUniform(scope.WithControlDependencies({tell.operation}),
                           ops::Const(scope, {400, 400}), tensorflow::DT_FLOAT);
    for (int i = 0; i < 60; ++i) product = ops::MatMul(scope, product, product);
    ops::Max(scope.WithOpName("slow"), product, ops::Const(scope, {0, 1}));

    const auto w =
        Variable::Create(*graph_, scope, "w", ops::Const(scope, int64_t{0}));
    EXPECT_THAT(w, IsOk());
    ops::AssignAddVariableOp(scope.WithOpName("add"), w->handle(),
                             ops::Const(scope, int64_t{1}));
    const auto go = Queue("go");
    ops::QueueEnqueue(scope.WithOpName("ready"), go, {one});
    ops::QueueSize(scope.WithOpName("waiting"), go);
    const ops::QueueDequeue went(scope, go, {tensorflow::DT_FLOAT});
    const ops::QueueDequeue held(
        scope.WithControlDependencies(
            std::vector<tensorflow::Operation>{went.operation}),
        gate, {tensorflow::DT_FLOAT});
    ops::AssignAddVariableOp(
        scope.WithOpName("blocked_add")
            .WithControlDependencies(
                std::vector<tensorflow::Operation>{held.operation}),
        w->handle(), ops::Const(scope, int64_t{1}));
    for (int i = 0; i < 8; ++i) {
      ops::AddV2(scope.WithOpName(absl::StrCat("sum_", i)), one,
                 ops::Const(scope, static_cast<float>(i)));
    }
    EXPECT_THAT(graph_->status(), IsOk());
  }

  Output Queue(const std::string& name) {
    return ops::FIFOQueue(
        graph_->scope().WithOpName(name), {tensorflow::DT_FLOAT},
        ops::FIFOQueue::Shapes({tensorflow::TensorShape({})}));
  }

  std::shared_ptr<Session> Open(ThreadMode mode = ThreadMode::kPool,
                                size_t max_plans = 64) {
    Session::Options options;
    options.thread_mode = mode;
    options.max_plans = max_plans;
    auto session = Session::Create(graph_, options);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }

  const GraphPtr graph_ = Graph::Create();
  const Fetch<float> blocked_{"blocked:0"};
  const Fetch<float> slow_{"slow:0"};
  const Target wait_{"wait"};
};

// A step that runs in a thread of its own.
class Step {
 public:
  Step(Session* session, const Fetch<float>& fetch)
      : thread_([this, session, fetch] {
          status_ = session->Run(fetch).status();
        }) {}

  // The step's status, once it is over.
  absl::Status Join() {
    thread_.join();
    return status_;
  }

 private:
  absl::Status status_;
  std::thread thread_;
};

TEST_F(SessionThreadsTest, CloseFreesABlockedDequeue) {
  for (const ThreadMode mode :
       {ThreadMode::kPool, ThreadMode::kCallingThread}) {
    const auto session = Open(mode);
    Step step(session.get(), blocked_);
    ASSERT_THAT(session->Run(wait_), IsOk());

    EXPECT_THAT(session->Close(), IsOk());

    EXPECT_THAT(step.Join(), StatusIs(kCancelled));
  }
}

TEST_F(SessionThreadsTest, SessionMayBeDroppedWhileAStepIsBlocked) {
  auto session = Open();
  Step step(session.get(), blocked_);
  ASSERT_THAT(session->Run(wait_), IsOk());

  session.reset();

  EXPECT_THAT(step.Join(), StatusIs(kCancelled));
  EXPECT_FALSE(graph_->finalized());
}

TEST_F(SessionThreadsTest, SessionMayBeDroppedWhileAStepChangesVariables) {
  auto session = Open();
  ASSERT_THAT(session->Run(Target("ready")), IsOk());
  absl::Status status;
  std::thread thread([&, running = session.get()] {
    status = running->Run(Target("blocked_add"));
  });
  while (session->Run(Fetch<int>("waiting:0")).value() > 0) {
    std::this_thread::yield();
  }

  session.reset();

  thread.join();
  EXPECT_THAT(status, StatusIs(kCancelled));
}

TEST_F(SessionThreadsTest, SessionMayBeDroppedWhileAStepComputes) {
  auto session = Open();
  Step step(session.get(), slow_);
  ASSERT_THAT(session->Run(wait_), IsOk());

  session.reset();

  EXPECT_THAT(step.Join(), AnyOf(IsOk(), StatusIs(kCancelled)));
}

TEST_F(SessionThreadsTest, SessionMayBeDroppedWhileAPreparedStepComputes) {
  for (const ThreadMode mode :
       {ThreadMode::kPool, ThreadMode::kCallingThread}) {
    auto session = Open(mode);
    auto prepared = session->Prepare(slow_);
    ASSERT_THAT(prepared, IsOk());
    absl::Status status;
    std::thread thread([&] { status = (*prepared)().status(); });
    ASSERT_THAT(session->Run(wait_), IsOk());

    session.reset();
    thread.join();

    EXPECT_THAT(status, AnyOf(IsOk(), StatusIs(kCancelled)));
  }
}

TEST_F(SessionThreadsTest, CloseWhileAStepComputes) {
  const auto session = Open();
  Step step(session.get(), slow_);
  ASSERT_THAT(session->Run(wait_), IsOk());

  EXPECT_THAT(session->Close(), IsOk());

  EXPECT_THAT(step.Join(), AnyOf(IsOk(), StatusIs(kCancelled)));
}

TEST_F(SessionThreadsTest, PlanMayBeReleasedWhileItRuns) {
  const auto session = Open(ThreadMode::kPool, /*max_plans=*/1);
  std::atomic<bool> done{false};
  Step step(session.get(), slow_);
  ASSERT_THAT(session->Run(wait_), IsOk());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (!done) {
        for (const int k : {i, i + 4}) {
          EXPECT_THAT(session->Run(Fetch<float>(absl::StrCat("sum_", k, ":0"))),
                      IsOkAndHolds(static_cast<float>(1 + k)));
        }
      }
    });
  }

  EXPECT_THAT(step.Join(), IsOk());
  done = true;
  for (std::thread& thread : threads) thread.join();

  EXPECT_GT(session->plans_made(), 8);
}

TEST_F(SessionThreadsTest, PlanMayBeReleasedWhileItIsBlocked) {
  const auto session = Open(ThreadMode::kPool, /*max_plans=*/1);
  Step step(session.get(), blocked_);
  ASSERT_THAT(session->Run(wait_), IsOk());
  ASSERT_THAT(session->Run(Fetch<float>("sum_1:0")), IsOkAndHolds(2.0f));

  ASSERT_THAT(session->Run(Target("free")), IsOk());

  EXPECT_THAT(step.Join(), IsOk());
}

// RUN-25
TEST_F(SessionThreadsTest, ParallelCallsOfManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kSteps = 50;
  for (const ThreadMode mode :
       {ThreadMode::kPool, ThreadMode::kCallingThread}) {
    const auto session = Open(mode);
    ASSERT_THAT(session->Run(Target("w/Assign")), IsOk());
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const Fetch<float> sum(absl::StrCat("sum_", i, ":0"));
        for (int j = 0; j < kSteps; ++j) {
          EXPECT_THAT(session->Run(std::tuple{sum, Target("add")}),
                      IsOkAndHolds(static_cast<float>(1 + i)));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();

    EXPECT_THAT(session->Run(Fetch<int64_t>("w/Read/ReadVariableOp:0")),
                IsOkAndHolds(kThreads * kSteps));
  }
}

// RUN-22
TEST_F(SessionThreadsTest, CloseWhileManyThreadsRun) {
  const auto session = Open();
  std::atomic<int> running{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      absl::Status status;
      for (bool first = true; status.ok(); first = false) {
        status = session->Run(Target(absl::StrCat("sum_", i)));
        if (first) ++running;
      }
      EXPECT_THAT(status, AnyOf(StatusIs(kCancelled),
                                StatusIs(absl::StatusCode::kFailedPrecondition,
                                         HasSubstr("closed"))));
    });
  }
  while (running < 4) std::this_thread::yield();

  EXPECT_THAT(session->Close(), IsOk());

  for (std::thread& thread : threads) thread.join();
}

TEST_F(SessionThreadsTest, SessionsOfOneGraphComeAndGoTogether) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 3; ++j) {
        EXPECT_THAT(Open()->Run(Fetch<float>("sum_1:0")), IsOkAndHolds(2.0f));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_FALSE(graph_->finalized());
}

tensorflow::RunOptions TimeoutOf(int64_t milliseconds) {
  tensorflow::RunOptions options;
  options.set_timeout_in_ms(milliseconds);
  return options;
}

TEST_F(SessionThreadsTest, PoolHonoursATimeout) {
  const auto session = Open();
  const tensorflow::RunOptions options = TimeoutOf(20);

  EXPECT_THAT(session->Run(blocked_, {}, &options),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  // The session goes on, and the step that was given up took nothing.
  ASSERT_THAT(session->Run(Target("free")), IsOk());
  EXPECT_THAT(session->Run(blocked_), IsOkAndHolds(1.0f));
}

TEST_F(SessionThreadsTest, PoolHonoursTheTimeoutOfTheConfig) {
  Session::Options options;
  options.config.set_operation_timeout_in_ms(20);
  const auto session = Session::Create(graph_, options);
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->Run(blocked_),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(SessionThreadsTest, CallingThreadRefusesATimeout) {
  const tensorflow::RunOptions timeout = TimeoutOf(20);
  EXPECT_THAT(Open(ThreadMode::kCallingThread)->Run(blocked_, {}, &timeout),
              StatusIs(kInvalid, HasSubstr("timeout")));

  tensorflow::RunOptions both = timeout;
  both.set_inter_op_thread_pool(-1);
  EXPECT_THAT(Open()->Run(blocked_, {}, &both),
              StatusIs(kInvalid, HasSubstr("timeout")));

  Session::Options options;
  options.thread_mode = ThreadMode::kCallingThread;
  options.config.set_operation_timeout_in_ms(20);
  EXPECT_THAT(Session::Create(graph_, options),
              StatusIs(kInvalid, HasSubstr("operation_timeout_in_ms")));
}

TEST_F(SessionThreadsTest, ForkedChildIsRefused) {
  const auto session = Open();
  const Fetch<float> sum("sum_1:0");
  ASSERT_THAT(session->Run(sum), IsOk());

  EXPECT_TRUE(HoldsInChild([&] {
    return absl::IsFailedPrecondition(session->Run(sum).status()) &&
           absl::IsFailedPrecondition(session->GlobalStep().status());
  }));

  EXPECT_THAT(session->Run(sum), IsOkAndHolds(2.0f));
}

TEST_F(SessionThreadsTest, ForkedChildMayCloseAndDropWhatItInherited) {
  Session::Options options;
  options.config.set_use_per_session_threads(true);
  auto session = *Session::Create(graph_, options);
  ASSERT_THAT(session->Run(Fetch<float>("sum_1:0")), IsOk());
  const auto close_and_drop = [&] {
    const bool closed = session->Close().ok();
    session.reset();
    return closed;
  };

  EXPECT_TRUE(HoldsInChild(close_and_drop));
  Step step(session.get(), blocked_);
  ASSERT_THAT(session->Run(wait_), IsOk());
  EXPECT_TRUE(HoldsInChild(close_and_drop));

  ASSERT_THAT(session->Run(Target("free")), IsOk());
  EXPECT_THAT(step.Join(), IsOk());
}

}  // namespace
}  // namespace tftrain

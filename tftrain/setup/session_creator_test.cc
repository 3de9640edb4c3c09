// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/session_creator.h"

#include <memory>
#include <string>
#include <type_traits>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/thread.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {
namespace {

namespace keys = collection_keys;
namespace ops = tensorflow::ops;
using absl::StatusCode;
using ::testing::HasSubstr;

TEST(ChiefSessionCreatorTest, HasPythonsDefaults) {  // SC-01
  const ChiefSessionCreator::Options options;
  const ChiefSessionCreator chief(CountingGraph(), options);

  EXPECT_EQ(options.scaffold, nullptr);
  EXPECT_EQ(options.master, "");
  EXPECT_EQ(options.checkpoint_dir, "");
  EXPECT_EQ(options.checkpoint_filename_with_path, "");
  ASSERT_NE(chief.scaffold(), nullptr);
  EXPECT_EQ(chief.scaffold()->init_op(), std::nullopt);
}

TEST(ChiefSessionCreatorTest, MakesItsManagerAndPiecesOnce) {  // SC-04
  const GraphPtr graph = CountingGraph();
  ChiefSessionCreator chief(graph, {});
  const auto first = chief.CreateSession();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT((*first)->Run(Target("train")), IsOk());
  ASSERT_THAT((*first)->Close(), IsOk());
  const int nodes = graph->engine_graph().num_op_nodes();
  const std::string init_op = *chief.scaffold()->init_op();

  const auto second = chief.CreateSession();

  ASSERT_THAT(second, IsOk());
  EXPECT_THAT((*second)->GlobalStep(), IsOkAndHolds(0));
  EXPECT_EQ(graph->engine_graph().num_op_nodes(), nodes);
  EXPECT_EQ(chief.scaffold()->init_op(), init_op);
}

TEST(SessionCreatorTest, AnyoneMayWriteOne) {  // SC-07
  struct Mine : SessionCreator {
    explicit Mine(const GraphPtr& graph) : chief(graph, {}) {}
    absl::StatusOr<std::shared_ptr<Session>> CreateSession() override {
      ++created;
      return chief.CreateSession();
    }
    ChiefSessionCreator chief;
    int created = 0;
  };
  static_assert(std::is_abstract_v<SessionCreator>);
  Mine mine(CountingGraph());
  SessionCreator& creator = mine;

  const auto session = creator.CreateSession();

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(0));
  EXPECT_EQ(mine.created, 1);
}

// A model on a server, whose variables all sessions share.
class WorkerSessionCreatorTest : public ::testing::Test {
 protected:
  // A graph as each process builds it: the variable "TEST/v", 1 at first, and
  // the local one "TEST/l", v + 1 at first.
  static GraphPtr Build() {
    GraphPtr graph = Graph::Create();
    const tensorflow::Scope scope = graph->scope().NewSubScope(
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    const Variable v =
        Variable::Create(*graph, scope, "v", ops::Const(scope, 1.0f)).value();
    ops::AssignVariableOp(scope.WithOpName("v_is_5"), v.handle(),
                          ops::Const(scope, 5.0f));
    Variable::Options local;
    local.trainable = false;
    local.collection = keys::kLocalVariables;
    EXPECT_THAT(Variable::Create(
                    *graph, scope, "l",
                    ops::Add(scope, v.value(), ops::Const(scope, 1.0f)), local),
                IsOk());
    return graph;
  }

  static std::string Name(const std::string& name) {
    return ::testing::UnitTest::GetInstance()->current_test_info()->name() +
           ("/" + name);
  }

  static absl::StatusOr<std::shared_ptr<Session>> Chief() {
    ChiefSessionCreator::Options options;
    options.master = LocalServerAddress();
    return ChiefSessionCreator(Build(), options).CreateSession();
  }

  WorkerSessionCreator::Options WorkerOptions() {
    WorkerSessionCreator::Options options;
    options.master = LocalServerAddress();
    options.clock = &clock_;
    return options;
  }

  static absl::StatusOr<float> Read(Session& session, const std::string& name) {
    return session.Run(Fetch<float>(Name(name) + "/Read/ReadVariableOp:0"));
  }

  FakeClock clock_;
};

TEST_F(WorkerSessionCreatorTest,
       WaitsUntilTheChiefHasInitialised) {  // SM-29, SC-03
  WorkerSessionCreator worker(Build(), WorkerOptions());
  absl::StatusOr<std::shared_ptr<Session>> session;
  const auto waiter =
      Thread::Start("worker", [&] { session = worker.CreateSession(); });
  ASSERT_THAT(waiter, IsOk());

  clock_.AwaitWaiters(1);
  const auto chief = Chief();
  ASSERT_THAT(chief, IsOk());
  clock_.Advance(absl::Seconds(30));
  (*waiter)->Join();

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(Read(**session, "v"), IsOkAndHolds(1.0f));
}

TEST_F(WorkerSessionCreatorTest, NeverInitialisesWhatTheChiefTrains) {  // SC-03
  const auto chief = Chief();
  ASSERT_THAT(chief, IsOk());
  ASSERT_THAT((*chief)->Run(Target(Name("v_is_5"))), IsOk());
  const GraphPtr graph = Build();
  WorkerSessionCreator worker(graph, WorkerOptions());

  const auto session = worker.CreateSession();

  ASSERT_THAT(session, IsOk());
  EXPECT_TRUE(graph->finalized());
  EXPECT_THAT(Read(**session, "v"), IsOkAndHolds(5.0f));
  EXPECT_THAT(Read(**session, "l"), IsOkAndHolds(6.0f));
}

TEST_F(WorkerSessionCreatorTest, GivesUpWhenTheTimeIsOver) {  // SM-29
  FakeClock clock(absl::UnixEpoch(), FakeClock::Mode::kAutomatic);
  const absl::Duration start = clock.Monotonic();
  WorkerSessionCreator::Options options = WorkerOptions();
  options.clock = &clock;
  options.max_wait_secs = 45;
  WorkerSessionCreator worker(Build(), options);

  EXPECT_THAT(worker.CreateSession(),
              StatusIs(StatusCode::kDeadlineExceeded,
                       AllOf(HasSubstr("45 seconds"), HasSubstr(Name("v")))));
  EXPECT_EQ(clock.Monotonic() - start, absl::Seconds(45));
}

TEST_F(WorkerSessionCreatorTest, AnErrorIsNotWaitedFor) {
  const GraphPtr graph = Build();
  const tensorflow::Scope scope = graph->scope();
  ops::CheckNumerics(scope.WithOpName("check"), ops::Log(scope, -1.0f),
                     "no number");
  Scaffold::Options pieces;
  pieces.ready_for_local_init_op = "check:0";
  WorkerSessionCreator::Options options = WorkerOptions();
  options.scaffold = std::make_shared<Scaffold>(pieces);
  WorkerSessionCreator worker(graph, options);

  EXPECT_THAT(worker.CreateSession(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no number")));
}

}  // namespace
}  // namespace tftrain

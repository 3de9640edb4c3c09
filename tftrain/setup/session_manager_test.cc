// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/session_manager.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/variable.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/setup/session_creator.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace keys = collection_keys;
namespace ops = tensorflow::ops;
using absl::StatusCode;
using ::testing::Contains;
using ::testing::HasSubstr;

// A model of the variables "v" (1 at first) and, local, "l" (v + 1 at first).
GraphPtr Model() {
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const Variable v =
      Variable::Create(*graph, scope, "v", ops::Const(scope, 1.0f)).value();
  Variable::Options local;
  local.trainable = false;
  local.collection = keys::kLocalVariables;
  EXPECT_THAT(Variable::Create(
                  *graph, scope, "l",
                  ops::Add(scope, v.value(), ops::Const(scope, 1.0f)), local),
              IsOk());
  ops::AssignVariableOp(scope.WithOpName("v_is_5"), v.handle(),
                        ops::Const(scope, 5.0f));
  return graph;
}

class SessionManagerTest : public ::testing::Test {
 protected:
  // A session made as the chief makes it, from a fresh graph.
  absl::StatusOr<std::shared_ptr<Session>> Prepare(
      ChiefSessionCreator::Options options = {}) {
    if (options.scaffold == nullptr) {
      options.scaffold = std::make_shared<Scaffold>();
    }
    scaffold_ = options.scaffold;
    return ChiefSessionCreator(graph_, options).CreateSession();
  }

  // Writes a checkpoint with v = 5 at `step`.
  std::string WriteCheckpoint(int64_t step) {
    const auto session = Prepare().value();
    EXPECT_THAT(session->Run(Target("v_is_5")), IsOk());
    Saver::SaveOptions save;
    save.global_step = step;
    return scaffold_->saver()
        ->Save(*session, run_ / "model.ckpt", save)
        .value();
  }

  ChiefSessionCreator::Options FromFolder() {
    ChiefSessionCreator::Options options;
    options.checkpoint_dir = run_.path();
    return options;
  }

  static absl::StatusOr<float> V(Session& session) {
    return session.Run(Fetch<float>("v/Read/ReadVariableOp:0"));
  }
  static absl::StatusOr<float> L(Session& session) {
    return session.Run(Fetch<float>("l/Read/ReadVariableOp:0"));
  }

  const TempDir run_;
  const GraphPtr graph_ = Model();
  std::shared_ptr<Scaffold> scaffold_;
};

TEST_F(SessionManagerTest, InitialisesWhatThereIsNoCheckpointOf) {
  // SM-08, SM-14, SM-18, SC-01, SC-02
  const auto session = Prepare(FromFolder());

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(V(**session), IsOkAndHolds(1.0f));
  EXPECT_THAT(L(**session), IsOkAndHolds(2.0f));
}

TEST_F(SessionManagerTest, RestoresAndRunsTheLocalInitAfterThat) {
  // SM-09, SM-20
  WriteCheckpoint(10);
  int init_fns = 0;
  ChiefSessionCreator::Options options = FromFolder();
  Scaffold::Options pieces;
  pieces.init_fn = [&](Scaffold&, Session&) {
    ++init_fns;
    return absl::OkStatus();
  };
  options.scaffold = std::make_shared<Scaffold>(pieces);

  const auto session = Prepare(options);

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(V(**session), IsOkAndHolds(5.0f));
  EXPECT_THAT(L(**session), IsOkAndHolds(6.0f));
  EXPECT_EQ(init_fns, 0);
  EXPECT_THAT(scaffold_->saver()->last_checkpoints(),
              Contains(HasSubstr("model.ckpt-10")));
}

TEST_F(SessionManagerTest, TheInitFnComesAfterTheInitOp) {  // SM-08
  absl::StatusOr<float> seen;
  Scaffold::Options pieces;
  pieces.init_fn = [&](Scaffold&, Session& session) {
    seen = V(session);
    return session.Run(Target("v_is_5"));
  };
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  const auto session = Prepare(options);

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(seen, IsOkAndHolds(1.0f));
  EXPECT_THAT(V(**session), IsOkAndHolds(5.0f));
}

TEST_F(SessionManagerTest, FailsWhenNothingCanInitialise) {  // SM-07
  const auto manager = SessionManager::Create(graph_, {}).value();

  EXPECT_THAT(manager->PrepareSession({}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("init_op")));
}

TEST_F(SessionManagerTest, AReadyForLocalInitOpNeedsALocalInitOp) {  // SM-02
  SessionManager::Options options;
  options.ready_for_local_init_op = "ready:0";

  EXPECT_THAT(SessionManager::Create(graph_, options),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(SessionManagerTest, NamesTheVariablesWithoutAValue) {  // SM-10, SM-15
  Scaffold::Options pieces;
  ops::NoOp(graph_->scope().WithOpName("nothing"));
  pieces.init_op = "nothing";
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  EXPECT_THAT(Prepare(options),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("local_init_op"), HasSubstr(": v"))));
}

TEST_F(SessionManagerTest, AnInt32ReadyOpIsTheOldStyleOfReady) {  // SM-15
  ops::Const(graph_->scope().WithOpName("old_ready"), 7);
  Scaffold::Options pieces;
  pieces.ready_op = "old_ready:0";
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  EXPECT_THAT(Prepare(options), IsOk());
}

TEST_F(SessionManagerTest, LocalInitTakesFeeds) {  // SM-06
  const tensorflow::Scope scope = graph_->scope();
  const Variable l =
      Variable::FromCollection(*graph_, keys::kLocalVariables).value().front();
  ops::AssignVariableOp(
      scope.WithOpName("set_l"), l.handle(),
      ops::Placeholder(scope.WithOpName("fed"), tensorflow::DT_FLOAT));
  Scaffold::Options pieces;
  pieces.local_init_op = "set_l";
  pieces.local_init_feed_dict = {{"fed:0", 9.0f}};
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  const auto session = Prepare(options);

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(L(**session), IsOkAndHolds(9.0f));
}

TEST_F(SessionManagerTest, ADamagedCheckpointIsPassedOverWithAWarning) {  // R4
  WriteCheckpoint(10);
  WriteCheckpoint(20);
  ASSERT_THAT(
      WriteFileAtomically(run_ / "model.ckpt-20.data-00000-of-00001", "torn"),
      IsOk());
  const LogCapture log;

  const auto session = Prepare(FromFolder());

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(V(**session), IsOkAndHolds(5.0f));
  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("WARNING"), HasSubstr("model.ckpt-10"),
                             HasSubstr("model.ckpt-20"))));
}

TEST_F(SessionManagerTest, NeverStartsAnewWhereCheckpointsAreAllDamaged) {
  // R4
  WriteCheckpoint(10);
  ASSERT_THAT(
      WriteFileAtomically(run_ / "model.ckpt-10.data-00000-of-00001", "torn"),
      IsOk());

  EXPECT_THAT(Prepare(FromFolder()),
              StatusIs(StatusCode::kDataLoss, HasSubstr("no checkpoint in")));
}

TEST_F(SessionManagerTest, ACheckpointOfAnotherModelIsToldNotPassedOver) {
  WriteCheckpoint(10);
  const GraphPtr other = Graph::Create();
  const tensorflow::Scope scope = other->scope();
  ASSERT_THAT(Variable::Create(*other, scope, "w", ops::Const(scope, 1.0f)),
              IsOk());

  EXPECT_THAT(ChiefSessionCreator(other, FromFolder()).CreateSession(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"w\"")));
}

TEST_F(SessionManagerTest, ACheckpointGivenByPathMustExist) {  // SMS-29
  ChiefSessionCreator::Options options;
  options.checkpoint_filename_with_path = run_ / "model.ckpt-3";

  EXPECT_THAT(Prepare(options), StatusIs(StatusCode::kInvalidArgument,
                                         HasSubstr("model.ckpt-3")));
}

TEST_F(SessionManagerTest, AnEmptyModelIsInitialisedNotRestored) {  // SM-26
  WriteCheckpoint(10);
  const GraphPtr empty = Graph::Create();
  int init_fns = 0;
  Scaffold::Options pieces;
  pieces.init_fn = [&](Scaffold&, Session&) {
    ++init_fns;
    return absl::OkStatus();
  };
  ChiefSessionCreator::Options options = FromFolder();
  options.scaffold = std::make_shared<Scaffold>(pieces);

  EXPECT_THAT(ChiefSessionCreator(empty, options).CreateSession(), IsOk());

  EXPECT_EQ(init_fns, 1);
}

}  // namespace
}  // namespace tftrain

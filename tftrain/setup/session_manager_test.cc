// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/session_manager.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/cc/ops/while_loop.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/base/thread.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/variable.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/setup/session_creator.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace keys = collection_keys;
namespace ops = tensorflow::ops;
using absl::StatusCode;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Manager = std::unique_ptr<SessionManager>;

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

  // A scaffold whose saver keeps two checkpoints; the graph was trained before.
  std::shared_ptr<Scaffold> KeepsTwo() {
    tensorflow::SaverDef def = scaffold_->saver()->saver_def();
    def.set_max_to_keep(2);
    Scaffold::Options pieces;
    pieces.saver = Saver::FromSaverDef(*graph_, def).value();
    return std::make_shared<Scaffold>(pieces);
  }

  // What a program that starts in the folder restores; it then saves `steps`,
  // and keeps two.
  std::string RestoreAndSave(const std::vector<int64_t>& steps) {
    ChiefSessionCreator::Options options = FromFolder();
    options.scaffold = KeepsTwo();
    ChiefSessionCreator creator(graph_, options);
    const auto session = creator.CreateSession();
    if (!session.ok()) return std::string(session.status().message());
    Saver::SaveOptions save;
    for (const int64_t step : steps) {
      save.global_step = step;
      EXPECT_THAT(
          options.scaffold->saver()->Save(**session, run_ / "model.ckpt", save),
          IsOk());
    }
    return BaseName(creator.restore_report().restored);
  }

  // Writes a state file that lists these, the last as the newest.
  void WriteState(const std::vector<std::string>& names) {
    CheckpointState state;
    for (const std::string& name : names) {
      state.all_model_checkpoint_paths.push_back(run_ / name);
    }
    state.model_checkpoint_path = run_ / names.back();
    EXPECT_THAT(UpdateCheckpointState(run_.path(), state), IsOk());
  }

  void Damage(const std::string& name) {
    EXPECT_THAT(
        WriteFileAtomically(run_ / (name + ".data-00000-of-00001"), "torn"),
        IsOk());
  }

  // The names of the checkpoints in the folder, newest first.
  std::vector<std::string> Checkpoints() {
    std::vector<std::string> names;
    const auto listed = ListCheckpoints(run_.path());
    EXPECT_THAT(listed, IsOk());
    for (const ListedCheckpoint& each : *listed) {
      names.push_back(BaseName(each.prefix));
    }
    return names;
  }

  // Adds a variable "w" that the checkpoint lacks; returns the saver for the
  // rest.
  Scaffold::Options WriteCheckpointWithoutW() {
    const tensorflow::Scope scope = graph_->scope();
    EXPECT_THAT(Variable::Create(*graph_, scope, "w", ops::Const(scope, 3.0f)),
                IsOk());
    Saver::Options only_v;
    only_v.var_list = {{"v", "v"}};
    Scaffold::Options pieces;
    pieces.saver = Saver::Create(*graph_, only_v).value();
    ChiefSessionCreator::Options chief;
    chief.scaffold = std::make_shared<Scaffold>(pieces);
    const auto session = Prepare(chief).value();
    EXPECT_THAT(pieces.saver->Save(*session, run_ / "model.ckpt"), IsOk());
    return pieces;
  }

  ChiefSessionCreator::Options FromFolder() {
    ChiefSessionCreator::Options options;
    options.checkpoint_dir = run_.path();
    return options;
  }

  // What a SessionManager takes from a finalized scaffold.
  SessionManager::Options ManagerOptions(const Scaffold::Options& pieces = {}) {
    scaffold_ = std::make_shared<Scaffold>(pieces);
    EXPECT_THAT(scaffold_->Finalize(*graph_), IsOk());
    SessionManager::Options options;
    options.local_init_op = scaffold_->local_init_op();
    options.ready_op = scaffold_->ready_op();
    options.ready_for_local_init_op = scaffold_->ready_for_local_init_op();
    options.clock = &clock_;
    return options;
  }

  SessionManager::RecoverOptions RecoverFromFolder() {
    SessionManager::RecoverOptions options;
    options.checkpoint_dir = run_.path();
    options.saver = scaffold_->saver();
    return options;
  }

  static absl::StatusOr<float> V(Session& session) {
    return session.Run(Fetch<float>("v/Read/ReadVariableOp:0"));
  }
  static absl::StatusOr<float> L(Session& session) {
    return session.Run(Fetch<float>("l/Read/ReadVariableOp:0"));
  }

  const TempDir run_;
  FakeClock clock_;
  const GraphPtr graph_ = Model();
  std::shared_ptr<Scaffold> scaffold_;
};

TEST_F(SessionManagerTest, HasPythonsDefaults) {  // SM-01, SC-05
  const SessionManager::Options options;
  const SessionManager::RecoverOptions recover;
  const WorkerSessionCreator::Options worker;

  EXPECT_EQ(options.local_init_op, std::nullopt);
  EXPECT_EQ(options.ready_op, std::nullopt);
  EXPECT_EQ(options.ready_for_local_init_op, std::nullopt);
  EXPECT_FALSE(options.local_init_run_options.has_value());
  EXPECT_EQ(options.recovery_wait_secs, 30);
  EXPECT_FALSE(recover.wait_for_checkpoint);
  EXPECT_EQ(recover.max_wait_secs, 7200);
  EXPECT_EQ(worker.max_wait_secs, 1800);
  EXPECT_EQ(worker.recovery_wait_secs, 30);
}

TEST_F(SessionManagerTest, InitialisesWhatThereIsNoCheckpointOf) {
  // SM-08, SM-14, SC-02
  const auto session = Prepare(FromFolder());

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(V(**session), IsOkAndHolds(1.0f));
  EXPECT_THAT(L(**session), IsOkAndHolds(2.0f));
}

TEST_F(SessionManagerTest, AFolderThatIsNotThereYetHoldsNoCheckpoint) {
  ChiefSessionCreator::Options options = FromFolder();
  options.checkpoint_dir = run_ / "not/yet";

  EXPECT_THAT(Prepare(options), IsOk());
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

TEST_F(SessionManagerTest, RestoresNothingWithoutAPathOrASaver) {  // SM-18
  WriteCheckpoint(10);
  const auto no_path = Prepare();
  const Manager manager =
      SessionManager::Create(graph_, ManagerOptions()).value();
  SessionManager::RecoverOptions no_saver = RecoverFromFolder();
  no_saver.saver = nullptr;

  ASSERT_THAT(no_path, IsOk());
  EXPECT_THAT(V(**no_path), IsOkAndHolds(1.0f));
  const auto recovered = manager->RecoverSession(no_saver);
  ASSERT_THAT(recovered, IsOk());
  EXPECT_FALSE(recovered->initialized);
}

TEST_F(SessionManagerTest, TakesAFolderOrACheckpointNotBoth) {
  ChiefSessionCreator::Options options = FromFolder();
  options.checkpoint_filename_with_path = run_ / "model.ckpt-10";

  EXPECT_THAT(Prepare(options),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(run_.path()), HasSubstr("ckpt-10"))));
}

TEST_F(SessionManagerTest, ALoadedSavedModelIsRestoredOver) {  // SM-25
  // Its initializer sets a variable of the checkpoint and one beside it.
  const tensorflow::Scope scope = graph_->scope();
  Variable::Options beside;
  beside.collection = keys::kModelVariables;
  const Variable loaded = Variable::Create(*graph_, scope, "loaded",
                                           ops::Const(scope, 0.0f), beside)
                              .value();
  const Variable v =
      Variable::FromCollection(*graph_, keys::kGlobalVariables).value().front();
  const auto set = [&](const Variable& variable) {
    return ops::AssignVariableOp(scope, variable.handle(),
                                 ops::Const(scope, 7.0f))
        .operation;
  };
  Group(scope.WithOpName("load"), {set(v), set(loaded)});
  ASSERT_THAT(graph_->AddToCollection(keys::kSavedModelInitializers, "load"),
              IsOk());
  WriteCheckpoint(10);

  const auto session = Prepare(FromFolder());

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(V(**session), IsOkAndHolds(5.0f));
  EXPECT_THAT((*session)->Run(Fetch<float>("loaded/Read/ReadVariableOp:0")),
              IsOkAndHolds(7.0f));
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

TEST_F(SessionManagerTest, AWarmStartComesBetweenInitOpAndInitFn) {
  const std::string other = WriteCheckpoint(3);  // v = 5
  absl::StatusOr<float> seen;
  Scaffold::Options pieces;
  pieces.warm_start = WarmStart{other, {}};
  pieces.warm_start->spec.include = {"v"};
  pieces.init_fn = [&](Scaffold&, Session& session) {
    seen = V(session);
    return absl::OkStatus();
  };
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  const auto session = Prepare(options);

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(seen, IsOkAndHolds(5.0f));
  // The local variables come last.
  EXPECT_THAT(L(**session), IsOkAndHolds(6.0f));
}

TEST_F(SessionManagerTest, ACheckpointOfTheModelComesBeforeAWarmStart) {
  const std::string other = WriteCheckpoint(3);
  Scaffold::Options pieces;
  pieces.warm_start = WarmStart{run_ / "there-is-none", {}};
  ChiefSessionCreator::Options options = FromFolder();
  options.scaffold = std::make_shared<Scaffold>(pieces);
  EXPECT_THAT(Prepare(options), IsOk());

  options.checkpoint_dir.clear();
  EXPECT_THAT(Prepare(options), StatusIs(StatusCode::kInvalidArgument,
                                         HasSubstr("there-is-none")));
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

TEST_F(SessionManagerTest, NamesTheVariablesWithoutAValue) {  // SM-15
  Scaffold::Options pieces;
  ops::NoOp(graph_->scope().WithOpName("nothing"));
  pieces.init_op = "nothing";
  ChiefSessionCreator::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);

  EXPECT_THAT(Prepare(options),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("local_init_op"), HasSubstr(": v"))));
}

TEST_F(SessionManagerTest, AReadyOpMayFailInsteadOfNaming) {  // SM-16
  // A read fails while the variable has no value; that is "not ready". Any
  // other failure is one.
  const tensorflow::Scope scope = graph_->scope();
  ops::NoOp(scope.WithOpName("nothing"));
  const ops::HashTable table(scope, tensorflow::DT_STRING,
                             tensorflow::DT_INT64);
  ops::LookupTableFind(scope.WithOpName("find"), table.table_handle,
                       ops::Const(scope, "key"), ops::Const(scope, int64_t{0}));
  ASSERT_THAT(graph_->status(), IsOk());
  const auto prepare = [&](const std::string& ready_op) {
    SessionManager::Options options;
    options.ready_op = ready_op;
    SessionManager::PrepareOptions nothing;
    nothing.init_op = "nothing";
    return SessionManager::Create(graph_, options)
        .value()
        ->PrepareSession(nothing)
        .status();
  };

  EXPECT_THAT(prepare("v/Read/ReadVariableOp:0"),
              StatusIs(StatusCode::kFailedPrecondition,
                       HasSubstr("not ready after its initialisation")));
  EXPECT_THAT(prepare("v/Read/ReadVariableOp"),
              StatusIs(StatusCode::kFailedPrecondition,
                       HasSubstr("not ready after its initialisation")));
  EXPECT_THAT(
      prepare("find:0"),
      StatusIs(StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("Table not initialized"),
                     Not(HasSubstr("not ready after its initialisation")))));
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

TEST_F(SessionManagerTest, LocalInitTakesRunOptions) {  // SM-06
  SessionManager::Options options = ManagerOptions();
  options.ready_for_local_init_op.reset();
  options.local_init_op = "wait";
  options.local_init_run_options.emplace().set_timeout_in_ms(1);
  scaffold_->Unfinalize();
  const tensorflow::Scope scope = graph_->scope();
  const ops::FIFOQueue never(scope, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope.WithOpName("wait"), never, {tensorflow::DT_FLOAT});

  EXPECT_THAT(
      SessionManager::Create(graph_, options).value()->PrepareSession({}),
      StatusIs(StatusCode::kDeadlineExceeded));
}

TEST_F(SessionManagerTest, TellsOfTheLocalInit) {  // SM-31
  if (!LogCapture::HoldsInfo()) GTEST_SKIP() << "INFO is not logged";
  const LogCapture log;

  ASSERT_THAT(Prepare(), IsOk());

  EXPECT_THAT(log.lines(), Contains("INFO: Running the local_init_op"));
  EXPECT_THAT(log.lines(), Contains("INFO: The local_init_op is done"));
}

TEST_F(SessionManagerTest, AnInitialValueMayComeOutOfALoop) {  // SM-33
  const tensorflow::Scope scope = graph_->scope();
  std::vector<tensorflow::Output> doubled;
  ASSERT_THAT(ops::BuildWhileLoop(
                  scope, {ops::Const(scope, 1.0f)},
                  [](const tensorflow::Scope& body,
                     const std::vector<tensorflow::Output>& in,
                     tensorflow::Output* goes_on) {
                    *goes_on = ops::Less(body, in[0], 100.0f);
                    return body.status();
                  },
                  [](const tensorflow::Scope& body,
                     const std::vector<tensorflow::Output>& in,
                     std::vector<tensorflow::Output>* out) {
                    out->push_back(ops::Mul(body, in[0], 2.0f));
                    return body.status();
                  },
                  "loop", &doubled),
              IsOk());
  const auto scalar = ops::EnsureShape(
      scope, doubled[0],
      tensorflow::PartialTensorShape(absl::Span<const int64_t>()));
  ASSERT_THAT(Variable::Create(*graph_, scope, "d", scalar), IsOk());

  const auto session = Prepare();

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*session)->Run(Fetch<float>("d/Read/ReadVariableOp:0")),
              IsOkAndHolds(128.0f));
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

TEST_F(SessionManagerTest, TheReportTellsWhatWasPassedOverAndWhy) {  // R4
  WriteCheckpoint(10);
  WriteCheckpoint(20);
  WriteCheckpoint(30);
  ASSERT_THAT(
      WriteFileAtomically(run_ / "model.ckpt-20.data-00000-of-00001", "torn"),
      IsOk());
  ASSERT_THAT(RemoveFile(run_ / "model.ckpt-30.index"), IsOk());
  ChiefSessionCreator creator(graph_, FromFolder());

  ASSERT_THAT(creator.CreateSession(), IsOk());
  const RestoreReport report = creator.restore_report();

  EXPECT_EQ(report.restored, run_ / "model.ckpt-10");
  ASSERT_EQ(report.skipped.size(), 2u);
  EXPECT_EQ(report.skipped[0].path, run_ / "model.ckpt-30");
  EXPECT_EQ(report.skipped[1].path, run_ / "model.ckpt-20");
  for (const RestoreReport::Skipped& skipped : report.skipped) {
    EXPECT_THAT(skipped.status,
                StatusIs(StatusCode::kDataLoss, HasSubstr(skipped.path)));
  }
}

TEST_F(SessionManagerTest, TheStrictModeFallsBackOnNothing) {  // R4
  ChiefSessionCreator::Options strict = FromFolder();
  strict.fall_back = false;
  EXPECT_THAT(Prepare(strict), IsOk());
  WriteCheckpoint(10);
  WriteCheckpoint(20);
  EXPECT_THAT(Prepare(strict), IsOk());
  const auto fails = [&] {
    return Prepare(strict).status().code() == StatusCode::kDataLoss;
  };

  const std::string state = run_ / "checkpoint";
  const std::string text = ReadFile(state, 1000).value();
  ASSERT_THAT(WriteFileAtomically(state, "garbage"), IsOk());
  EXPECT_TRUE(fails());
  ASSERT_THAT(WriteFileAtomically(state, text), IsOk());
  EXPECT_FALSE(fails());
  ASSERT_THAT(
      WriteFileAtomically(run_ / "model.ckpt-20.data-00000-of-00001", "torn"),
      IsOk());
  EXPECT_TRUE(fails());
  ASSERT_THAT(RemoveFile(run_ / "model.ckpt-20.index"), IsOk());
  EXPECT_TRUE(fails());
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

TEST_F(SessionManagerTest, OnlyWhatTheStateFileListsIsDeleted) {
  // R3, SVR-29, SM-20: other savers, and the user, keep checkpoints there too.
  const auto session = Prepare().value();
  const std::shared_ptr<Saver> other = scaffold_->saver();
  Saver::SaveOptions beside;
  beside.write_state = false;
  ASSERT_THAT(other->Save(*session, run_ / "best", beside), IsOk());
  beside.write_state = true;
  beside.latest_filename = "emb-state";
  beside.global_step = 900;
  ASSERT_THAT(other->Save(*session, run_ / "emb", beside), IsOk());
  for (const int64_t step : {10, 20, 30, 40}) WriteCheckpoint(step);
  WriteState({"model.ckpt-30", "model.ckpt-40"});

  EXPECT_EQ(RestoreAndSave({50, 60, 70}), "model.ckpt-40");

  EXPECT_THAT(Checkpoints(),
              ElementsAre("emb-900", "model.ckpt-70", "model.ckpt-60",
                          "model.ckpt-20", "model.ckpt-10", "best"));
}

TEST_F(SessionManagerTest, WhatACrashKeptFromTheStateFileIsDeletedInItsTurn) {
  // Row 1: killed between the checkpoint and the state file.
  for (const int64_t step : {10, 20}) WriteCheckpoint(step);
  const std::string former = ReadFile(run_ / "checkpoint", 1000).value();
  WriteCheckpoint(30);
  ASSERT_THAT(RemoveFile(run_ / "checkpoint"), IsOk());
  ASSERT_THAT(WriteFileAtomically(run_ / "checkpoint", former), IsOk());
  std::filesystem::last_write_time(
      run_ / "checkpoint",
      std::filesystem::last_write_time(run_ / "model.ckpt-20.index"));

  EXPECT_EQ(RestoreAndSave({25, 35}), "model.ckpt-20");

  EXPECT_THAT(Checkpoints(),
              ElementsAre("model.ckpt-35", "model.ckpt-25", "model.ckpt-10"));
}

TEST_F(SessionManagerTest, ACheckpointWithTwoSpellingsIsNotDeletedByOne) {
  // R3: a state file as Python writes it, and a folder given relatively.
  for (const int64_t step : {10, 20}) WriteCheckpoint(step);
  ASSERT_THAT(
      WriteFileAtomically(
          run_ / "checkpoint",
          absl::StrCat("model_checkpoint_path: '", run_ / "model.ckpt-20",
                       "' all_model_checkpoint_paths: './model.ckpt-10'"
                       " all_model_checkpoint_paths: '",
                       run_ / "model.ckpt-20", "'")),
      IsOk());
  ChiefSessionCreator::Options options;
  options.scaffold = KeepsTwo();
  const std::shared_ptr<Saver> saver = options.scaffold->saver();
  options.checkpoint_dir = std::filesystem::relative(run_.path());
  const auto session = Prepare(options);
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT(saver->last_checkpoints(),
              ElementsAre(JoinPath(options.checkpoint_dir, "model.ckpt-10"),
                          JoinPath(options.checkpoint_dir, "model.ckpt-20")));
  Saver::SaveOptions save;
  save.global_step = 30;
  ASSERT_THAT(saver->Save(**session,
                          JoinPath(options.checkpoint_dir, "model.ckpt"), save),
              IsOk());

  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-30", "model.ckpt-20"));
}

TEST_F(SessionManagerTest, NeverStartsAnewBesideAStateFile) {
  // R4: SM-23, SM-24
  for (const char* const text :
       {"", "garbage", "model_checkpoint_path: '/elsewhere/model-500'",
        "model_checkpoint_path: '../x/model-500'",
        "model_checkpoint_path: 'model-500'"}) {
    ASSERT_THAT(WriteFileAtomically(run_ / "checkpoint", text), IsOk());
    EXPECT_THAT(
        Prepare(FromFolder()),
        StatusIs(StatusCode::kFailedPrecondition,
                 AllOf(HasSubstr(run_ / "checkpoint"), HasSubstr("anew"))))
        << text;
  }
}

TEST_F(SessionManagerTest, FallsBackPastTheCheckpointsOfOtherModels) {
  // R4: "emb" has the highest step, and does not fit.
  for (const int64_t step : {10, 20}) WriteCheckpoint(step);
  const GraphPtr other = Graph::Create();
  const tensorflow::Scope scope = other->scope();
  ASSERT_THAT(Variable::Create(*other, scope, "e", ops::Const(scope, 1.0f)),
              IsOk());
  ChiefSessionCreator::Options chief;
  chief.scaffold = std::make_shared<Scaffold>();
  const auto session = ChiefSessionCreator(other, chief).CreateSession();
  ASSERT_THAT(session, IsOk());
  Saver::SaveOptions save;
  save.global_step = 900;
  save.write_state = false;
  ASSERT_THAT(chief.scaffold->saver()->Save(**session, run_ / "emb", save),
              IsOk());

  Damage("model.ckpt-20");
  EXPECT_EQ(RestoreAndSave({}), "model.ckpt-10");

  // Nor do they matter when nothing tells whose the folder is.
  ASSERT_THAT(RemoveFile(run_ / "checkpoint"), IsOk());
  EXPECT_EQ(RestoreAndSave({}), "model.ckpt-10");
}

TEST_F(SessionManagerTest, FallsBackWithinTheRunNotOnOneThatWasGivenUp) {
  // R4: taken back from 100 to 50, the run then came to 70.
  for (const int64_t step : {10, 50, 60, 70, 100}) WriteCheckpoint(step);
  WriteState(
      {"model.ckpt-10", "model.ckpt-50", "model.ckpt-60", "model.ckpt-70"});
  Damage("model.ckpt-70");

  EXPECT_EQ(RestoreAndSave({65}), "model.ckpt-60");

  // It goes on from 60, so that 70 is older, and goes first.
  EXPECT_THAT(Checkpoints(),
              ElementsAre("model.ckpt-100", "model.ckpt-65", "model.ckpt-60"));
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

TEST_F(SessionManagerTest, RecoversWhatTheCheckpointHolds) {  // SM-27
  WriteCheckpoint(10);
  const Manager manager =
      SessionManager::Create(graph_, ManagerOptions()).value();

  const auto recovered = manager->RecoverSession(RecoverFromFolder());

  ASSERT_THAT(recovered, IsOk());
  EXPECT_TRUE(recovered->initialized) << recovered->reason;
  EXPECT_EQ(recovered->reason, "");
  EXPECT_THAT(V(*recovered->session), IsOkAndHolds(5.0f));
  EXPECT_THAT(L(*recovered->session), IsOkAndHolds(6.0f));
}

TEST_F(SessionManagerTest, WithoutACheckpointOnlyTheLocalInitRuns) {  // SM-27
  const tensorflow::Scope scope = graph_->scope();
  const Variable l =
      Variable::FromCollection(*graph_, keys::kLocalVariables).value().front();
  ops::AssignVariableOp(scope.WithOpName("l_is_9"), l.handle(),
                        ops::Const(scope, 9.0f));
  SessionManager::Options options = ManagerOptions();
  options.local_init_op = "l_is_9";
  options.ready_for_local_init_op.reset();
  const Manager manager = SessionManager::Create(graph_, options).value();

  const auto recovered = manager->RecoverSession(RecoverFromFolder());

  ASSERT_THAT(recovered, IsOk());
  EXPECT_FALSE(recovered->initialized);
  EXPECT_THAT(recovered->reason, HasSubstr("no checkpoint"));
  EXPECT_THAT(L(*recovered->session), IsOkAndHolds(9.0f));
  EXPECT_THAT(V(*recovered->session),
              StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(SessionManagerTest, ACheckpointOfAPartLeavesTheRestToTheCaller) {
  // SM-27
  const Scaffold::Options pieces = WriteCheckpointWithoutW();
  const Manager manager =
      SessionManager::Create(graph_, ManagerOptions(pieces)).value();

  const auto recovered = manager->RecoverSession(RecoverFromFolder());

  ASSERT_THAT(recovered, IsOk());
  EXPECT_FALSE(recovered->initialized);
  EXPECT_THAT(recovered->reason, HasSubstr(": w"));
  EXPECT_THAT(V(*recovered->session), IsOkAndHolds(1.0f));
}

TEST_F(SessionManagerTest, ACheckpointOfAPartDoesNotMakeTheModelReady) {
  // SM-10
  ChiefSessionCreator::Options options = FromFolder();
  options.scaffold = std::make_shared<Scaffold>(WriteCheckpointWithoutW());

  EXPECT_THAT(
      Prepare(options),
      StatusIs(StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(": w;"), HasSubstr("init_op was not run"))));
}

TEST_F(SessionManagerTest, WaitsForTheFirstCheckpoint) {  // SM-21
  const Manager manager =
      SessionManager::Create(graph_, ManagerOptions()).value();
  SessionManager::RecoverOptions options = RecoverFromFolder();
  options.wait_for_checkpoint = true;
  absl::StatusOr<SessionManager::Recovered> recovered;
  const auto waiter = Thread::Start(
      "waiter", [&] { recovered = manager->RecoverSession(options); });
  ASSERT_THAT(waiter, IsOk());

  clock_.AwaitWaiters(1);
  WriteCheckpoint(10);
  clock_.Advance(absl::Seconds(30));
  (*waiter)->Join();

  ASSERT_THAT(recovered, IsOk());
  EXPECT_TRUE(recovered->initialized) << recovered->reason;
  EXPECT_THAT(V(*recovered->session), IsOkAndHolds(5.0f));
}

TEST_F(SessionManagerTest, WaitsForACheckpointAsLongAsItWasTold) {
  // SM-21, SM-22
  FakeClock clock(absl::UnixEpoch(), FakeClock::Mode::kAutomatic);
  SessionManager::Options manager_options = ManagerOptions();
  manager_options.clock = &clock;
  const Manager manager =
      SessionManager::Create(graph_, manager_options).value();
  SessionManager::RecoverOptions options = RecoverFromFolder();
  options.max_wait_secs = 70;
  const absl::Duration start = clock.Monotonic();

  EXPECT_FALSE(manager->RecoverSession(options)->initialized);
  EXPECT_EQ(clock.Monotonic() - start, absl::ZeroDuration());

  options.wait_for_checkpoint = true;
  EXPECT_FALSE(manager->RecoverSession(options)->initialized);
  EXPECT_EQ(clock.Monotonic() - start, absl::Seconds(70));
}

TEST_F(SessionManagerTest, RefusesTimesThatAreNone) {
  for (const double secs : {0.0f, -1.0f, kNan, kInfinity}) {
    SessionManager::Options options;
    options.recovery_wait_secs = secs;
    EXPECT_THAT(SessionManager::Create(graph_, options),
                StatusIs(StatusCode::kInvalidArgument,
                         HasSubstr("recovery_wait_secs")));
  }
  const Manager manager = SessionManager::Create(graph_, {}).value();
  SessionManager::RecoverOptions options;
  options.max_wait_secs = kNan;

  EXPECT_THAT(manager->RecoverSession(options),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(manager->WaitForSession(kNan),
              StatusIs(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tftrain

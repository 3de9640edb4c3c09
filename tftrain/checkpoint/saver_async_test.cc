// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves in the background: what is written is the state of the step in which
// the save was asked for, whatever training does meanwhile.

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/state_ops.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

class SaverAsyncTest : public testing::TestWithParam<SnapshotMode> {
 protected:
  Saver::SaveOptions AtStep(int64_t step) {
    Saver::SaveOptions options;
    options.global_step = step;
    options.snapshot = GetParam();
    return options;
  }

  Session& SetTo(int64_t number) {
    trainer_.Set(number);
    return trainer_.session();
  }

  // Gives all variables the value `number` and begins to save them.
  std::string SetAndBegin(int64_t number) {
    trainer_.Set(number);
    const auto prefix = trainer_.saver().SaveAsync(
        trainer_.session(), dir_ / "model.ckpt", AtStep(number));
    EXPECT_THAT(prefix, IsOk());
    return *prefix;
  }

  const TempDir dir_;
  SlowFileOps disk_{".data-"};
  Program trainer_;
};

INSTANTIATE_TEST_SUITE_P(Modes, SaverAsyncTest,
                         testing::Values(SnapshotMode::kShare,
                                         SnapshotMode::kCopy),
                         [](const auto& mode) {
                           return mode.param == SnapshotMode::kShare ? "Share"
                                                                     : "Copy";
                         });

TEST_P(SaverAsyncTest, WritesTheStateInWhichItBegan) {
  disk_.Stop();
  const std::string prefix = SetAndBegin(1);
  disk_.AwaitWriter();

  trainer_.Set(2);

  EXPECT_TRUE(trainer_.saver().saving());
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(std::nullopt));
  EXPECT_THAT(trainer_.saver().last_checkpoints(), IsEmpty());
  disk_.GoOn();
  ASSERT_THAT(trainer_.saver().WaitForSave(), IsOk());
  EXPECT_FALSE(trainer_.saver().saving());
  EXPECT_EQ(trainer_.State(), "2");
  EXPECT_THAT(trainer_.saver().last_checkpoints(), ElementsAre(prefix));
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(prefix));
  EXPECT_EQ(Program().StateOf(prefix), "1");
}

TEST_P(SaverAsyncTest, OneAfterTheOther) {
  disk_.Stop();
  SetAndBegin(1);
  disk_.AwaitWriter();
  disk_.GoOn();
  const std::string second = SetAndBegin(2);  // waits for the first
  trainer_.Set(3);
  const auto third =
      trainer_.saver().Save(trainer_.session(), dir_ / "model.ckpt", AtStep(3));

  ASSERT_THAT(third, IsOk());
  EXPECT_EQ(trainer_.saver().last_checkpoints().size(), 3u);
  EXPECT_EQ(Program().StateOf(second), "2");
  EXPECT_EQ(Program().StateOf(*third), "3");
}

TEST_P(SaverAsyncTest, RotatesAsInTheForeground) {
  Saver::Options options;
  options.max_to_keep = 1;
  Program trainer(options);
  for (int step = 1; step <= 3; ++step) {
    trainer.Set(step);
    ASSERT_THAT(trainer.saver().SaveAsync(trainer.session(),
                                          dir_ / "model.ckpt", AtStep(step)),
                IsOk());
  }
  ASSERT_THAT(trainer.saver().WaitForSave(), IsOk());

  EXPECT_THAT(trainer.saver().last_checkpoints(),
              ElementsAre(dir_ / "model.ckpt-3"));
  EXPECT_THAT(dir_.List(), UnorderedElementsAre(
                               "checkpoint", "model.ckpt-3.data-00000-of-00001",
                               "model.ckpt-3.index", "model.ckpt-3.meta"));
}

TEST_P(SaverAsyncTest, ASaveInBetweenTakesNobodysErrorAway) {
  // The hook that began the save asks, though another hook saved meanwhile.
  disk_.FailCall(4, ENOSPC);
  SetAndBegin(1);

  EXPECT_THAT(
      trainer_.saver().Save(trainer_.session(), dir_ / "model.ckpt", AtStep(2)),
      IsOkAndHolds(dir_ / "model.ckpt-2"));

  EXPECT_THAT(trainer_.saver().WaitForSave(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("model.ckpt-1")));
  EXPECT_THAT(trainer_.saver().WaitForSave(), IsOk());
}

TEST_P(SaverAsyncTest, AnErrorIsToldOnceAndHarmsNothing) {
  const std::string good = SetAndBegin(1);
  ASSERT_THAT(trainer_.saver().WaitForSave(), IsOk());
  const auto files = dir_.List();
  // The files are opened after the folder.
  disk_.FailCall(4, ENOSPC, FaultyFileOps::Fault::kSticky);
  SetAndBegin(2);

  EXPECT_THAT(trainer_.saver().WaitForSave(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("model.ckpt-2")));

  EXPECT_THAT(trainer_.saver().WaitForSave(), IsOk());
  disk_.FailCall(-1, 0);
  EXPECT_THAT(trainer_.saver().last_checkpoints(), ElementsAre(good));
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(good));
  EXPECT_EQ(Program().StateOf(good), "1");
  const std::string next = SetAndBegin(3);
  ASSERT_THAT(trainer_.saver().WaitForSave(), IsOk());
  EXPECT_EQ(Program().StateOf(next), "3");
}

TEST_P(SaverAsyncTest, AnErrorNobodyAskedForFailsTheNextSave) {
  disk_.FailCall(0, EIO, FaultyFileOps::Fault::kSticky);
  SetAndBegin(1);

  EXPECT_THAT(
      trainer_.saver().SaveAsync(trainer_.session(), dir_ / "model", AtStep(2)),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("-1")));
}

TEST_P(SaverAsyncTest, WhoeverBeganASaveHearsOfThatOne) {
  Saver& saver = trainer_.saver();
  const auto begin = [&](int64_t step) {
    trainer_.Set(step);
    const auto save =
        saver.BeginSave(trainer_.session(), dir_ / "model.ckpt", AtStep(step));
    EXPECT_THAT(save, IsOk());
    return *save;
  };
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  const Saver::PendingSave bad = begin(1);
  while (!bad.done()) std::this_thread::yield();
  disk_.FailCall(-1, 0);
  const Saver::PendingSave good = begin(2);
  const std::string another = SetAndBegin(3);

  // Who holds nothing hears of what nobody knows yet.
  EXPECT_THAT(saver.WaitForSave(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(saver.WaitForSave(), IsOk());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(saver.WaitForSave(good), IsOk());
    EXPECT_THAT(saver.WaitForSave(bad),
                StatusIs(absl::StatusCode::kResourceExhausted,
                         HasSubstr(bad.prefix())));
  }
  EXPECT_THAT(saver.last_checkpoints(), ElementsAre(good.prefix(), another));
}

TEST_P(SaverAsyncTest, AnErrorThatItsHolderKnowsIsNotToldToOthers) {
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  const auto save =
      trainer_.saver().BeginSave(SetTo(1), dir_ / "model", AtStep(1));
  ASSERT_THAT(save, IsOk());
  EXPECT_THAT(trainer_.saver().WaitForSave(*save),
              StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_THAT(trainer_.saver().WaitForSave(), IsOk());
}

TEST_P(SaverAsyncTest, AnErrorWhoseHolderIsGoneIsTold) {
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  ASSERT_THAT(trainer_.saver().BeginSave(SetTo(1), dir_ / "model", AtStep(1)),
              IsOk());

  EXPECT_THAT(trainer_.saver().WaitForSave(),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_P(SaverAsyncTest, WaitingForOneSaveCanBeBounded) {
  disk_.Stop();
  const auto save =
      trainer_.saver().BeginSave(SetTo(1), dir_ / "model", AtStep(1));
  ASSERT_THAT(save, IsOk());

  EXPECT_THAT(
      trainer_.saver().AwaitSave(absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("model-1")));
  EXPECT_FALSE(save->done());
  std::thread disk([this] { disk_.GoOn(); });
  // Who waits longer does, all the same.
  EXPECT_THAT(trainer_.saver().Save(SetTo(2), dir_ / "model", AtStep(2)),
              IsOk());
  disk.join();
}

TEST_P(SaverAsyncTest, WhatIsGivenUpIsNotWaitedFor) {
  disk_.Stop();
  const auto save =
      trainer_.saver().BeginSave(SetTo(1), dir_ / "model", AtStep(1));
  ASSERT_THAT(save, IsOk());

  EXPECT_THAT(
      trainer_.saver().WaitForSave(*save, absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("model-1")));
  EXPECT_THAT(trainer_.saver().WaitForSave(Saver::PendingSave()), IsOk());
  EXPECT_THAT(trainer_.saver().AwaitSave(),
              StatusIs(absl::StatusCode::kFailedPrecondition));

  disk_.GoOn();
  EXPECT_THAT(trainer_.saver().WaitForSave(*save), IsOk());
  EXPECT_TRUE(save->done());
}

TEST_P(SaverAsyncTest, WaitingCanBeBounded) {
  disk_.Stop();
  const std::string prefix = SetAndBegin(1);

  EXPECT_THAT(trainer_.saver().WaitForSave(absl::Milliseconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr(prefix)));

  disk_.GoOn();
  EXPECT_THAT(trainer_.saver().WaitForSave(), IsOk());
  EXPECT_EQ(Program().StateOf(prefix), "1");
}

// R9
TEST_P(SaverAsyncTest, ASaveThatWasGivenUpHoldsNobodyUp) {
  disk_.Stop();
  const std::string prefix = SetAndBegin(1);
  EXPECT_FALSE(trainer_.saver().WaitForSave(absl::ZeroDuration()).ok());

  const auto is_refused =
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(prefix));
  Saver& saver = trainer_.saver();
  EXPECT_THAT(saver.Save(trainer_.session(), dir_ / "model"), is_refused);
  EXPECT_THAT(saver.SaveAsync(trainer_.session(), dir_ / "model", AtStep(2)),
              is_refused);
  EXPECT_THAT(saver.Restore(trainer_.session(), prefix), is_refused);

  disk_.GoOn();
  EXPECT_THAT(saver.WaitForSave(), IsOk());
  EXPECT_THAT(saver.Save(trainer_.session(), dir_ / "model"), IsOk());
}

TEST_P(SaverAsyncTest, ASaverAndItsSessionMayGoFirst) {
  std::string prefix;
  {
    Program trainer;
    trainer.Set(7);
    prefix = *trainer.saver().SaveAsync(trainer.session(), dir_ / "model.ckpt",
                                        AtStep(7));
  }
  EXPECT_EQ(Program().StateOf(prefix), "7");
}

TEST_P(SaverAsyncTest, ASaverThatWasGivenUpIsLeft) {
  std::string prefix;
  disk_.Stop();
  {
    Program trainer;
    trainer.Set(7);
    prefix = *trainer.saver().SaveAsync(trainer.session(), dir_ / "model.ckpt",
                                        AtStep(7));
    ASSERT_THAT(trainer.saver().WaitForSave(absl::ZeroDuration()),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
  }  // does not hang
  disk_.GoOn();
  while (!LatestCheckpoint(dir_.path()).value().has_value()) {
    std::this_thread::yield();
  }
  EXPECT_EQ(Program().StateOf(prefix), "7");
}

TEST_P(SaverAsyncTest, AForkedChildLeavesTheSaveToItsParent) {
  disk_.Stop();
  auto trainer = std::make_unique<Program>();
  trainer->Set(7);
  const auto prefix = trainer->saver().SaveAsync(
      trainer->session(), dir_ / "model.ckpt", AtStep(7));
  ASSERT_THAT(prefix, IsOk());
  disk_.AwaitWriter();

  EXPECT_TRUE(HoldsInChild([&] {
    trainer.reset();
    return true;
  }));
  EXPECT_TRUE(HoldsInChild([&] {
    const absl::Status status = trainer->saver().WaitForSave();
    return absl::IsFailedPrecondition(status) &&
           absl::IsFailedPrecondition(trainer->saver().AwaitSave()) &&
           !trainer->saver().saving();
  }));

  disk_.GoOn();
  EXPECT_THAT(trainer->saver().WaitForSave(), IsOk());
  EXPECT_EQ(Program().StateOf(*prefix), "7");
}

// The model of embeddings: a variable of which a step changes a few rows.
class SparseModel {
 public:
  SparseModel() {
    const tensorflow::Scope scope = graph_->scope();
    const auto variable = Variable::Create(
        *graph_, scope, "rows", ops::Const(scope, {0.0f, 0.0f, 0.0f, 0.0f}));
    CHECK(variable.ok()) << variable.status();
    ops::ResourceScatterAdd(scope.WithOpName("add"), variable->handle(),
                            ops::Const(scope, {1, 3}),
                            ops::Const(scope, {1.0f, 1.0f}));
    saver_ = Saver::Create(*graph_).value();
    session_ = Session::Create(graph_).value();
    Run(variable->initializer().node()->name());
  }

  void Run(const std::string& target) {
    CHECK(session_->Run(Target(target)).ok());
  }
  std::vector<float> Rows() {
    return session_
        ->Run(Fetch<std::vector<float>>("rows/Read/ReadVariableOp:0"))
        .value();
  }
  std::vector<float> RowsOf(const std::string& prefix) {
    CHECK(saver_->Restore(*session_, prefix).ok());
    return Rows();
  }
  Saver& saver() { return *saver_; }
  Session& session() { return *session_; }

 private:
  const GraphPtr graph_ = Graph::Create();
  std::shared_ptr<Saver> saver_;
  std::shared_ptr<Session> session_;
};

TEST_P(SaverAsyncTest, IsExactUnderSparseUpdates) {
  SparseModel model;
  // Before and after the variable has become one that cannot be shared.
  for (int round = 0; round < 3; ++round) {
    const std::vector<float> before = model.Rows();
    disk_.Stop();
    const auto prefix = model.saver().SaveAsync(
        model.session(), dir_ / "sparse.ckpt", AtStep(round));
    ASSERT_THAT(prefix, IsOk());
    disk_.AwaitWriter();
    model.Run("add");
    const std::vector<float> after = model.Rows();
    ASSERT_NE(before, after);
    disk_.GoOn();
    ASSERT_THAT(model.saver().WaitForSave(), IsOk());

    EXPECT_EQ(model.RowsOf(*prefix), before) << "round " << round;
    model.Run("add");
  }
}

TEST_P(SaverAsyncTest, IsExactForReferenceVariables) {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const ops::Variable variable(scope.WithOpName("old"), {2},
                               tensorflow::DT_FLOAT);
  ops::Assign(scope.WithOpName("init"), variable.ref,
              ops::Const(scope, {1.0f, 2.0f}));
  ops::AssignAdd(scope.WithOpName("add"), variable.ref,
                 ops::Const(scope, {1.0f, 1.0f}));
  tensorflow::VariableDef def;
  def.set_variable_name("old:0");
  def.set_initializer_name("init");
  def.set_snapshot_name("old:0");
  ASSERT_THAT(graph->AddToCollection(collection_keys::kGlobalVariables, def),
              IsOk());
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  const std::shared_ptr<Session> session = Session::Create(graph).value();
  ASSERT_THAT(session->Run(Target("init")), IsOk());
  EXPECT_THAT((*saver)->HowSaved(*session),
              ElementsAre(Pair("old", ValueAccess::kFetched)));

  disk_.Stop();
  const auto prefix =
      (*saver)->SaveAsync(*session, dir_ / "old.ckpt", AtStep(1));
  ASSERT_THAT(prefix, IsOk());
  disk_.AwaitWriter();
  ASSERT_THAT(session->Run(Target("add")), IsOk());
  disk_.GoOn();
  ASSERT_THAT((*saver)->WaitForSave(), IsOk());

  ASSERT_THAT((*saver)->Restore(*session, *prefix), IsOk());
  EXPECT_THAT(session->Run(Fetch<std::vector<float>>("old:0")),
              IsOkAndHolds(ElementsAre(1.0f, 2.0f)));
}

TEST(SaverSnapshotTest, AVariableIsReadWhereItIs) {
  Program trainer;
  EXPECT_THAT(
      trainer.saver().HowSaved(trainer.session()),
      UnorderedElementsAre(Pair("w", ValueAccess::kVariable),
                           Pair("b", ValueAccess::kVariable),
                           Pair("global_step", ValueAccess::kVariable)));
}

TEST(SaverSnapshotTest, AVariableWithoutValueIsNamed) {
  const TempDir dir;
  Program trainer;
  const auto saved = trainer.saver().SaveAsync(
      trainer.session(), dir / "model.ckpt", Saver::SaveOptions());
  EXPECT_THAT(saved, StatusIs(absl::StatusCode::kFailedPrecondition,
                              HasSubstr("has no value yet")));
  EXPECT_FALSE(trainer.saver().saving());
}

TEST(SaverSnapshotTest, StreamsInTheForegroundOnly) {
  const TempDir dir;
  UnsyncedFileOps unsynced;
  Program trainer;
  trainer.Set(4);
  Saver::SaveOptions options;
  options.snapshot = SnapshotMode::kStream;
  EXPECT_THAT(
      trainer.saver().SaveAsync(trainer.session(), dir / "model", options),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("background")));

  const auto prefix =
      trainer.saver().Save(trainer.session(), dir / "model", options);

  ASSERT_THAT(prefix, IsOk());
  EXPECT_EQ(Program().StateOf(*prefix), "4");
}

TEST(SaverSnapshotTest, AServersValuesAreSavedInTheForeground) {
  const TempDir dir;
  UnsyncedFileOps unsynced;
  const GraphPtr graph = MakeModel({"w_of_saver_async_test"});
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  Session::Options options;
  options.target = LocalServerAddress();
  const auto session = Session::Create(graph, options);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());

  const auto prefix =
      (*saver)->SaveAsync(**session, dir / "model", Saver::SaveOptions());

  ASSERT_THAT(prefix, IsOk());
  EXPECT_FALSE((*saver)->saving());
  EXPECT_THAT((*saver)->HowSaved(**session), IsEmpty());
  EXPECT_THAT(LatestCheckpoint(dir.path()), IsOkAndHolds(*prefix));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saver::SaveOptions::check_finite: what holds a NaN does not become the newest
// checkpoint.

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The diverging model in a session with a saver.
//
// Confined: use from the thread that created it.
class Trainer {
 public:
  explicit Trainer(const std::string& target = "") {
    GraphPtr graph = DivergingGraph();
    std::vector<tensorflow::Operation> inits;
    for (const char* name : {"w/Assign", "global_step/Assign"}) {
      const auto node = graph->FindOperation(name);
      CHECK(node.ok()) << node.status();
      inits.push_back(AsOperation(*node));
    }
    Group(graph->scope().WithOpName("init"), inits);
    saver = *Saver::Create(*graph);
    Session::Options options;
    options.target = target;
    session = *Session::Create(graph, options);
    CHECK(session->Run(Target("init")).ok());
  }

  // Trains one step that adds `gradient` to w.
  void Train(float gradient) {
    CHECK(session->Run(Target("train"), {{"gradient:0", gradient}}).ok());
  }

  std::shared_ptr<Saver> saver;
  std::shared_ptr<Session> session;
};

class SaverFiniteTest : public testing::TestWithParam<SnapshotMode> {
 protected:
  absl::StatusOr<std::string> Save(int64_t step) {
    return trainer_.saver->Save(*trainer_.session, dir_ / "model.ckpt",
                                AtStep(step));
  }
  Saver::SaveOptions AtStep(int64_t step) {
    Saver::SaveOptions options;
    options.global_step = step;
    options.snapshot = GetParam();
    options.check_finite = true;
    return options;
  }

  const TempDir dir_;
  UnsyncedFileOps unsynced_;
  Trainer trainer_;
};

INSTANTIATE_TEST_SUITE_P(Modes, SaverFiniteTest,
                         testing::Values(SnapshotMode::kShare,
                                         SnapshotMode::kCopy,
                                         SnapshotMode::kStream),
                         [](const auto& mode) {
                           return mode.param == SnapshotMode::kShare ? "Share"
                                  : mode.param == SnapshotMode::kCopy
                                      ? "Copy"
                                      : "Stream";
                         });

TEST_P(SaverFiniteTest, NamesTheVariableAndLeavesTheNewestTheNewest) {
  trainer_.Train(1.0f);
  const auto good = Save(1);
  ASSERT_THAT(good, IsOk());
  trainer_.Train(kNan);

  const auto bad = Save(2);

  EXPECT_TRUE(IsNanLoss(bad.status()));
  EXPECT_THAT(bad, StatusIs(absl::StatusCode::kFailedPrecondition,
                            AllOf(HasSubstr("\"w\" holds a NaN"),
                                  HasSubstr("model.ckpt-2"))));
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(*good));
  EXPECT_THAT(trainer_.saver->Restore(*trainer_.session, *good), IsOk());
  EXPECT_THAT(trainer_.session->Run(Fetch<float>("w_value:0")),
              IsOkAndHolds(1.0f));
  EXPECT_THAT(Save(3), IsOk());
}

TEST_P(SaverFiniteTest, AnInfinityIsNoBetter) {
  trainer_.Train(-kInfinity);

  EXPECT_THAT(Save(1), StatusIs(absl::StatusCode::kFailedPrecondition,
                                HasSubstr("\"w\" holds an infinity")));
}

TEST_P(SaverFiniteTest, NobodyLooksUnlessAsked) {
  trainer_.Train(kNan);
  Saver::SaveOptions options = AtStep(1);
  options.check_finite = false;

  EXPECT_THAT(
      trainer_.saver->Save(*trainer_.session, dir_ / "model.ckpt", options),
      IsOk());
}

TEST_P(SaverFiniteTest, ANanAloneIsToldWhereAskedFor) {
  Saver::SaveOptions options = AtStep(1);
  options.check_finite = false;
  options.check_nan = true;
  EXPECT_TRUE(trainer_.saver->CanCheckFinite(*trainer_.session));

  trainer_.Train(kInfinity);
  EXPECT_THAT(
      trainer_.saver->Save(*trainer_.session, dir_ / "infinite", options),
      IsOk());
  trainer_.Train(kNan);
  EXPECT_TRUE(IsNanLoss(
      trainer_.saver->Save(*trainer_.session, dir_ / "nan", options).status()));
}

TEST(SaverFiniteInBackgroundTest, ItIsFoundByTheThreadThatWrites) {
  const TempDir dir;
  UnsyncedFileOps unsynced;
  Trainer trainer;
  Saver::SaveOptions options;
  options.check_finite = true;
  trainer.Train(kNan);

  ASSERT_THAT(trainer.saver->SaveAsync(*trainer.session, dir / "bad", options),
              IsOk());
  // Who only waits, or restores, leaves the outcome to be told.
  EXPECT_THAT(trainer.saver->AwaitSave(), IsOk());
  EXPECT_FALSE(trainer.saver->saving());
  EXPECT_THAT(trainer.saver->Restore(*trainer.session, dir.path()),
              StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_TRUE(IsNanLoss(trainer.saver->WaitForSave()));
  EXPECT_THAT(LatestCheckpoint(dir.path()), IsOkAndHolds(std::nullopt));
}

TEST(SaverFiniteInBackgroundTest, AServersValuesAreNotLookedAt) {
  const TempDir dir;
  Trainer trainer(LocalServerAddress());
  Saver::SaveOptions finite;
  finite.check_finite = true;
  Saver::SaveOptions no_nan;
  no_nan.check_nan = true;

  EXPECT_FALSE(trainer.saver->CanCheckFinite(*trainer.session));
  for (const Saver::SaveOptions& options : {finite, no_nan}) {
    EXPECT_THAT(
        trainer.saver->Save(*trainer.session, dir / "model", options),
        StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("check_finite")));
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/nan_tensor_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

HookDriver Training(std::vector<HookPtr> hooks) {
  return HookDriver(std::move(hooks), /*checkpoint_dir=*/"", DivergingGraph());
}

std::shared_ptr<NanTensorHook> Asking(const std::string& loss) {
  NanTensorHook::Options options;
  options.loss_tensor = loss;
  options.fail_on_nan_loss = false;
  return std::make_shared<NanTensorHook>(options);
}

// The step of the newest checkpoint, and that it holds no NaN.
std::optional<int64_t> NewestGoodStep(const std::string& dir) {
  const auto newest = LatestCheckpoint(dir);
  if (!newest.ok() || !newest->has_value()) return std::nullopt;
  const auto spoiled = ScanForNonFinite(**newest);
  if (!spoiled.ok() || !spoiled->empty()) return std::nullopt;
  return StepOfPrefix(**newest);
}

TEST(NanTensorHookTest, FailsTheStepInWhichTheLossIsNan) {
  // NAN-01
  HookDriver run = Training({StopAtNan("loss:0")});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOkAndHolds(ElementsAre(1, 2)));

  const absl::Status status = run.Train(1, {{"x:0", kNan}}).status();

  EXPECT_TRUE(IsNanLoss(status));
  EXPECT_THAT(status,
              StatusIs(kPrecondition, AllOf(HasSubstr("\"loss:0\" holds a NaN"),
                                            HasSubstr("global step 3"),
                                            HasSubstr("NanTensorHook"))));
  EXPECT_EQ(run.Close(status), status);
}

TEST(NanTensorHookTest, AsksForAStopWhereItMustNotFail) {
  // NAN-02: the step's result is returned, and later hooks see it.
  LogCapture log;
  std::vector<std::string> calls;
  auto later = std::make_shared<RecordingHook>("Later", &calls);
  HookDriver run = Training({Asking("loss:0"), later});
  ASSERT_THAT(run.Open(), IsOk());
  calls.clear();

  EXPECT_THAT(run.session().Run(Target("train"), {{"x:0", kNan}}), IsOk());

  EXPECT_TRUE(run.session().ShouldStop());
  EXPECT_THAT(calls, ElementsAre("Later.BeforeRun", "Later.AfterRun"));
  EXPECT_THAT(log.lines(), Contains(HasSubstr("WARNING: Training ends")));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(run.session().summary().reason, StopReason::kStopRequested);
  EXPECT_THAT(run.session().summary().detail,
              AllOf(HasSubstr("loss:0"), HasSubstr("global step 1")));
}

TEST(NanTensorHookTest, AnInfinityCountsOnRequestOnly) {
  // NAN-03
  HookDriver run = Training({StopAtNan("loss:0")});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", kInfinity}}), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  NanTensorHook::Options options;
  options.loss_tensor = "loss:0";
  options.also_infinite = true;
  HookDriver strict = Training({std::make_shared<NanTensorHook>(options)});
  ASSERT_THAT(strict.Open(), IsOk());
  EXPECT_THAT(strict.Train(1, {{"x:0", -kInfinity}}),
              StatusIs(kPrecondition, HasSubstr("holds an infinity")));
}

TEST(NanTensorHookTest, OneNanAmongSeveralElementsIsEnough) {
  // NAN-04
  HookDriver run = Training({StopAtNan("losses:0")});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());

  EXPECT_THAT(run.Train(1, {{"x:0", kNan}}),
              StatusIs(kPrecondition, HasSubstr("(element 1 of 2)")));
}

TEST(NanTensorHookTest, OnFailureNoHookSeesTheStep) {
  // NAN-05, and hooks before it in the list neither.
  std::vector<std::string> calls;
  HookDriver run = Training({std::make_shared<RecordingHook>("A", &calls),
                             StopAtNan("loss:0"),
                             std::make_shared<RecordingHook>("B", &calls)});
  ASSERT_THAT(run.Open(), IsOk());
  calls.clear();

  const absl::Status status = run.Train(1, {{"x:0", kNan}}).status();
  EXPECT_EQ(run.Close(status), status);

  EXPECT_THAT(calls, ElementsAre("A.BeforeRun", "B.BeforeRun", "A.OnAbort",
                                 "B.OnAbort"));
}

TEST(NanTensorHookTest, NeedsNoGlobalStep) {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  tensorflow::ops::PlaceholderWithDefault(
      scope.WithOpName("loss"), tensorflow::ops::Const(scope, 1.0f), {});
  HookDriver run({StopAtNan("loss:0")}, "", graph);
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.session().Run(Fetch<float>("loss:0")), IsOkAndHolds(1.0f));
  EXPECT_THAT(run.session().Run(Fetch<float>("loss:0"), {{"loss:0", kNan}}),
              StatusIs(kPrecondition, HasSubstr("holds a NaN; ")));
}

TEST(NanTensorHookTest, RefusesWhatCannotBeNan) {
  const auto open = [](const NanTensorHook::Options& options) {
    return Training({std::make_shared<NanTensorHook>(options)}).Open();
  };
  NanTensorHook::Options options;
  options.loss_tensor = "lost:0";
  EXPECT_THAT(open(options), StatusIs(kInvalid, HasSubstr("\"lost")));
  options.loss_tensor = "global_step/Read/ReadVariableOp:0";
  EXPECT_THAT(open(options), StatusIs(kInvalid, HasSubstr("int64")));
  options.loss_tensor = "loss:0";
  options.max_rollbacks = -1;
  EXPECT_THAT(open(options), StatusIs(kInvalid, HasSubstr("max_rollbacks")));
  options.max_rollbacks = 1;
  EXPECT_THAT(open(options), StatusIs(kInvalid, HasSubstr("checkpoint_dir")));
}

// A hook for NaN beside one that saves every second step, in either order.
struct Beside {
  bool nan_first;
  bool async;
};

class NanAndSaverTest : public testing::TestWithParam<Beside> {
 protected:
  std::unique_ptr<HookDriver> Open(std::shared_ptr<NanTensorHook> nan) {
    CheckpointSaverHook::Options options;
    options.checkpoint_dir = dir_.path();
    options.save_steps = 2;
    options.async = GetParam().async;
    options.non_finite = non_finite_;
    std::vector<HookPtr> hooks = {
        std::make_shared<CheckpointSaverHook>(options)};
    hooks.insert(GetParam().nan_first ? hooks.begin() : hooks.end(),
                 std::move(nan));
    auto run = std::make_unique<HookDriver>(std::move(hooks), dir_.path(),
                                            DivergingGraph());
    run->options().scaffold = scaffold_;
    EXPECT_THAT(run->Open(), IsOk());
    return run;
  }

  std::shared_ptr<NanTensorHook> RollingBack(int times) {
    return RollBackAtNan("loss:0", dir_.path(), times);
  }

  const TempDir dir_;
  const std::shared_ptr<Scaffold> scaffold_ = std::make_shared<Scaffold>();
  std::optional<CheckpointSaverHook::NonFinite> non_finite_;
};

INSTANTIATE_TEST_SUITE_P(
    Hooks, NanAndSaverTest,
    testing::Values(Beside{true, false}, Beside{false, false},
                    Beside{true, true}, Beside{false, true}),
    [](const auto& one) {
      return std::string(one.param.nan_first ? "NanFirst" : "SaverFirst") +
             (one.param.async ? "InBackground" : "");
    });

const Feeds& Spoiled() {
  static const auto* const feeds = new Feeds{{"x:0", kNan}};
  return *feeds;
}

// A save is due in the fourth step, and that is the bad one.

TEST_P(NanAndSaverTest, TheStateOfTheNanIsNotSaved) {
  auto run = Open(StopAtNan("loss:0"));
  EXPECT_THAT(run->Train(3), IsOk());

  const absl::Status status = run->Train(1, Spoiled()).status();
  EXPECT_EQ(run->Close(status), status);

  EXPECT_EQ(NewestGoodStep(dir_.path()), 2);
}

TEST_P(NanAndSaverTest, NorAtTheCleanEndAfterAStop) {
  LogCapture log;
  auto run = Open(Asking("loss:0"));
  EXPECT_THAT(run->Train(3), IsOk());
  ASSERT_THAT(run->Train(9, Spoiled()), IsOkAndHolds(ElementsAre(4)));

  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_EQ(NewestGoodStep(dir_.path()), 2);
  EXPECT_THAT(log.lines(), Contains(HasSubstr("The end is not saved")));
}

TEST_P(NanAndSaverTest, NorWhenTheErrorIsSwallowed) {
  auto run = Open(StopAtNan("loss:0"));
  EXPECT_THAT(run->Train(3), IsOk());
  ASSERT_TRUE(IsNanLoss(run->Train(1, Spoiled()).status()));

  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_EQ(NewestGoodStep(dir_.path()), 2);
}

TEST_P(NanAndSaverTest, ASaveThatWasDueIsMadeInTheNextGoodStep) {
  auto run = Open(StopAtNan("loss:0"));
  EXPECT_THAT(run->Train(3), IsOk());
  EXPECT_THAT(scaffold_->saver()->AwaitSave(), IsOk());
  // An odd input that does not reach the variables.
  ASSERT_TRUE(
      IsNanLoss(run->Train(1, {{"x:0", kNan}, {"gradient:0", 1.0f}}).status()));

  EXPECT_THAT(run->Train(1), IsOkAndHolds(ElementsAre(5)));

  EXPECT_EQ(run->Close(absl::UnknownError("the machine goes")).code(),
            absl::StatusCode::kUnknown);
  EXPECT_EQ(NewestGoodStep(dir_.path()), 5);
}

TEST_P(NanAndSaverTest, GoesOnFromTheLastGoodCheckpoint) {
  auto nan = RollingBack(1);
  auto run = Open(nan);
  EXPECT_THAT(run->Train(3), IsOk());

  EXPECT_THAT(run->Train(1, Spoiled()), IsOkAndHolds(ElementsAre(2)));
  EXPECT_THAT(run->Train(3), IsOkAndHolds(ElementsAre(3, 4, 5)));

  EXPECT_EQ(nan->rollbacks(), 1);
  EXPECT_THAT(run->session().raw_session().Run(Fetch<float>("w_value:0")),
              IsOkAndHolds(5.0f));
  EXPECT_THAT(run->Close(), IsOk());
  EXPECT_EQ(NewestGoodStep(dir_.path()), 5);
}

TEST_P(NanAndSaverTest, GoesOnSoManyTimesOnly) {
  auto run = Open(RollingBack(2));
  EXPECT_THAT(run->Train(2), IsOk());
  EXPECT_THAT(run->Train(2, Spoiled()), IsOkAndHolds(ElementsAre(2, 2)));

  const absl::Status status = run->Train(1, Spoiled()).status();

  EXPECT_TRUE(IsNanLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("taken back 2 times already"));
  EXPECT_EQ(run->Close(status), status);
  EXPECT_EQ(NewestGoodStep(dir_.path()), 2);
}

TEST_P(NanAndSaverTest, PassesOverACheckpointThatHoldsANan) {
  // The loss of the second step is good, what it makes of w is not, and is
  // saved.
  non_finite_ = CheckpointSaverHook::NonFinite::kSave;
  LogCapture log;
  auto run = Open(RollingBack(1));
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_THAT(run->Train(1, {{"gradient:0", kNan}}),
              IsOkAndHolds(ElementsAre(2)));

  EXPECT_THAT(run->Train(1), IsOkAndHolds(ElementsAre(0)));

  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("Passed over"), HasSubstr("-2\""),
                             HasSubstr("\"w\" holds a NaN"))));
  // The next good step takes the place of the newest.
  EXPECT_THAT(run->Train(1), IsOkAndHolds(ElementsAre(1)));
  EXPECT_EQ(run->Close(absl::UnknownError("the machine goes")).code(),
            absl::StatusCode::kUnknown);
  EXPECT_EQ(NewestGoodStep(dir_.path()), 1);
}

TEST(NanTensorHookTest, OtherHooksHearOfAStepOnlyThatItIsUndone) {
  const TempDir dir;
  std::vector<std::string> calls;
  HookDriver run({std::make_shared<RecordingHook>("A", &calls),
                  RollBackAtNan("loss:0", dir.path(), 1),
                  std::make_shared<RecordingHook>("B", &calls),
                  SaveCheckpoints(dir.path(), Every::Steps(9))},
                 dir.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  calls.clear();

  EXPECT_THAT(run.Train(1, Spoiled()), IsOkAndHolds(ElementsAre(0)));

  EXPECT_THAT(calls, ElementsAre("A.BeforeRun", "B.BeforeRun", "A.OnUndone",
                                 "B.OnUndone"));
  EXPECT_THAT(run.Close(), IsOk());
}

TEST(NanTensorHookTest, WaitsForTheCheckpointThatIsBeingWritten) {
  const TempDir dir;
  SlowFileOps disk(".data-");
  CheckpointSaverHook::Options options;
  options.checkpoint_dir = dir.path();
  options.save_steps = 2;
  options.async = true;
  HookDriver run({std::make_shared<CheckpointSaverHook>(options),
                  RollBackAtNan("loss:0", dir.path(), 1)},
                 dir.path(), DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());
  disk.Stop();
  EXPECT_THAT(run.Train(3), IsOk());
  disk.AwaitWriter();

  std::thread training([&] {
    EXPECT_THAT(run.Train(1, Spoiled()), IsOkAndHolds(ElementsAre(2)));
  });
  disk.GoOn();
  training.join();

  // The hook that saves still hears how its save went.
  EXPECT_THAT(run.Train(1), IsOkAndHolds(ElementsAre(3)));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(NewestGoodStep(dir.path()), 3);
}

TEST(NanTensorHookTest, FindsTheGoodCheckpointWithoutAStateFile) {
  for (const std::string state : {"", "garbled", "all_model_checkpoint"}) {
    const TempDir dir;
    UnsyncedFileOps unsynced;
    HookDriver run({RollBackAtNan("loss:0", dir.path(), 1),
                    SaveCheckpoints(dir.path(), Every::Steps(2))},
                   dir.path(), DivergingGraph());
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(5), IsOk());
    if (state.empty()) {
      ASSERT_THAT(RemoveFile(dir / "checkpoint"), IsOk());
    } else {
      ASSERT_THAT(WriteFileAtomically(dir / "checkpoint", state), IsOk());
    }
    // The newest one is not intact.
    ASSERT_THAT(RemoveFile(dir / "model.ckpt-4.data-00000-of-00001"), IsOk());

    EXPECT_THAT(run.Train(1, Spoiled()), IsOkAndHolds(ElementsAre(2))) << state;
  }
}

TEST(NanTensorHookTest, RestoresByTheSaverItIsGiven) {
  const TempDir dir;
  const GraphPtr graph = DivergingGraph();
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  NanTensorHook::Options options;
  options.loss_tensor = "loss:0";
  options.also_infinite = true;
  options.checkpoint_dir = dir.path();
  options.max_rollbacks = 1;
  options.saver = *saver;
  // The checkpoints are by another saver.
  HookDriver run({SaveCheckpoints(dir.path(), Every::Steps(2)),
                  std::make_shared<NanTensorHook>(options)},
                 "", graph);
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(run.Train(1, {{"x:0", kInfinity}}), IsOkAndHolds(ElementsAre(2)));

  EXPECT_EQ((*saver)->CheckpointOf(run.session().raw_session(),
                                   dir / "model.ckpt", /*step=*/2),
            dir / "model.ckpt-2");
}

TEST(NanTensorHookTest, AnInfinityInAllCheckpointsBelongsToTheModel) {
  const TempDir dir;
  HookDriver run({RollBackAtNan("x:0", dir.path(), /*max_rollbacks=*/1),
                  SaveCheckpoints(dir.path(), Every::Steps(1))},
                 dir.path(), DivergingGraph());
  LogCapture log;
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2, {{"gradient:0", -kInfinity}}),
              IsOkAndHolds(ElementsAre(1, 2)));
  ASSERT_THAT(RemoveFile(dir / "model.ckpt-0.index"), IsOk());

  EXPECT_THAT(run.Train(1, Spoiled()), IsOkAndHolds(ElementsAre(2)));

  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("Passed over"),
                                          HasSubstr("holds an infinity"))));
}

TEST(NanTensorHookTest, TellsWhenThereIsNothingToGoBackTo) {
  const TempDir dir;
  HookDriver run =
      Training({RollBackAtNan("loss:0", dir / "nothing", /*max_rollbacks=*/1)});
  ASSERT_THAT(run.Open(), IsOk());

  const absl::Status status = run.Train(1, Spoiled()).status();

  EXPECT_TRUE(IsNanLoss(status));
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("loss:0"), HasSubstr("no good checkpoint in")));
}

}  // namespace
}  // namespace tftrain

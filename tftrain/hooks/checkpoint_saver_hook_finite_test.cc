// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// CheckpointSaverHook where variables become NaN.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/nan_tensor_hook.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using NonFinite = CheckpointSaverHook::NonFinite;

// Saves every step; the parameter is whether in the background.
class CheckpointSaverHookFiniteTest : public testing::TestWithParam<bool> {
 protected:
  void Open(std::optional<NonFinite> non_finite,
            const std::vector<HookPtr>& others = {}) {
    CheckpointSaverHook::Options options;
    options.checkpoint_dir = dir_.path();
    options.save_steps = 1;
    options.async = GetParam();
    options.non_finite = non_finite;
    options.listeners = {std::make_shared<RecordingListener>("L", &calls_)};
    options.tolerated_failures = 9;
    std::vector<HookPtr> hooks = {
        std::make_shared<CheckpointSaverHook>(options)};
    hooks.insert(hooks.end(), others.begin(), others.end());
    run_ = std::make_unique<HookDriver>(std::move(hooks), "", DivergingGraph());
    run_->options().scaffold = scaffold_;
    ASSERT_THAT(run_->Open(), IsOk());
  }

  // One step, and its save.
  absl::Status Train(float gradient) {
    absl::Status status = run_->Train(1, {{"gradient:0", gradient}}).status();
    EXPECT_THAT(scaffold_->saver()->AwaitSave(), IsOk());
    return status;
  }

  std::optional<int64_t> NewestStep() {
    const auto newest = LatestCheckpoint(dir_.path());
    if (!newest.ok() || !newest->has_value()) return std::nullopt;
    return StepOfPrefix(**newest);
  }

  const TempDir dir_;
  UnsyncedFileOps unsynced_;
  std::vector<std::string> calls_;
  const std::shared_ptr<Scaffold> scaffold_ = std::make_shared<Scaffold>();
  std::unique_ptr<HookDriver> run_;
};

INSTANTIATE_TEST_SUITE_P(Saves, CheckpointSaverHookFiniteTest, testing::Bool(),
                         [](const auto& async) {
                           return async.param ? "InBackground" : "InStep";
                         });

TEST_P(CheckpointSaverHookFiniteTest, SkipsWhatIsNotFinite) {
  LogCapture log;
  Open(NonFinite::kSkip);
  EXPECT_THAT(Train(1.0f), IsOk());
  EXPECT_THAT(Train(kInfinity), IsOk());
  EXPECT_EQ(NewestStep(), 1);
  EXPECT_THAT(Train(1.0f), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 1);
  EXPECT_THAT(calls_,
              AllOf(Contains("L.AfterSave 1"), Not(Contains("L.AfterSave 2")),
                    Not(Contains("L.AfterSave 3")), Contains("L.End 3")));
  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("WARNING: No checkpoint"),
                             HasSubstr("\"w\" holds an infinity"))));
}

TEST_P(CheckpointSaverHookFiniteTest, SavesAgainWhatIsFiniteAgain) {
  Open(NonFinite::kSkip);
  EXPECT_THAT(Train(kNan), IsOk());
  EXPECT_EQ(NewestStep(), 0);
  ASSERT_THAT(run_->session().raw_session().Run(Target("w/Assign")), IsOk());

  EXPECT_THAT(Train(1.0f), IsOk());
  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 2);
}

TEST_P(CheckpointSaverHookFiniteTest, FailsAndIsNotTolerated) {
  Open(NonFinite::kFail);
  EXPECT_THAT(Train(1.0f), IsOk());

  absl::Status status = Train(kNan);
  // In the background it is the next step that tells.
  if (status.ok()) status = Train(1.0f);

  EXPECT_TRUE(IsNanLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("\"w\" holds a NaN"));
  EXPECT_EQ(run_->Close(status), status);
  EXPECT_EQ(NewestStep(), 1);
}

TEST_P(CheckpointSaverHookFiniteTest, FailsAtTheEnd) {
  Open(NonFinite::kFail);
  ASSERT_THAT(
      run_->session().raw_session().Run(Target("train"), {{"x:0", kNan}}),
      IsOk());

  EXPECT_TRUE(IsNanLoss(run_->Close()));

  EXPECT_EQ(NewestStep(), 0);
}

TEST_P(CheckpointSaverHookFiniteTest, SavesItWhereNobodyLooks) {
  Open(std::nullopt);
  EXPECT_THAT(Train(kNan), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 1);
}

TEST_P(CheckpointSaverHookFiniteTest, BesideAHookThatJudgesANanIsNeverNewest) {
  LogCapture log;
  Open(std::nullopt, {StopAtNan("loss:0")});
  EXPECT_THAT(Train(1.0f), IsOk());
  // The loss of the last step is from before its update.
  EXPECT_THAT(Train(kNan), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 1);
  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING: No checkpoint"),
                                          HasSubstr("\"w\" holds a NaN"))));
}

TEST_P(CheckpointSaverHookFiniteTest, AnInfinityMayBelongToTheModel) {
  Open(std::nullopt, {StopAtNan("loss:0")});
  EXPECT_THAT(Train(kInfinity), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 1);
}

TEST_P(CheckpointSaverHookFiniteTest, WhatIsSaidCountsBesideAHookThatJudges) {
  Open(NonFinite::kSave, {StopAtNan("loss:0")});
  EXPECT_THAT(Train(kNan), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_EQ(NewestStep(), 1);
}

TEST(CheckpointSaverHookOnServerTest, SavesAsEverBesideAHookThatJudges) {
  const TempDir dir;
  HookDriver run(
      {StopAtNan("loss:0"), SaveCheckpoints(dir.path(), Every::Steps(1))}, "",
      DivergingGraph());
  run.options().master = LocalServerAddress();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(LatestCheckpoint(dir.path()), IsOkAndHolds(dir / "model.ckpt-1"));
}

}  // namespace
}  // namespace tftrain

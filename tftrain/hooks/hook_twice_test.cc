// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Every hook of the library, listed twice.

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/hooks/best_checkpoint_hook.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/early_stopping_hook.h"
#include "tftrain/hooks/eval_hook.h"
#include "tftrain/hooks/feed_fn_hook.h"
#include "tftrain/hooks/final_ops_hook.h"
#include "tftrain/hooks/global_step_waiter_hook.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/hooks/logging_tensor_hook.h"
#include "tftrain/hooks/metrics_hook.h"
#include "tftrain/hooks/nan_tensor_hook.h"
#include "tftrain/hooks/profile_window_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/progress_hook.h"
#include "tftrain/hooks/resource_usage_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/hooks/stop_at_step_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/hooks/time_limit_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;

class HookTwiceTest : public ::testing::Test {
 protected:
  std::shared_ptr<CheckpointSaverHook> Saves() {
    CheckpointSaverHook::Options options;
    options.checkpoint_dir = dir_.path();
    options.save_steps = 1;
    options.listeners = {std::make_shared<RecordingListener>("L", &calls_)};
    return std::make_shared<CheckpointSaverHook>(options);
  }

  std::shared_ptr<EvalHook> Evaluates() {
    EvalHook::Options options;
    options.checkpoint_dir = dir_.path();
    options.every = Every::Steps(1);
    options.metrics = {{"w", "w_value:0"}};
    options.max_steps = 1;
    return std::make_shared<EvalHook>(options);
  }

  // Feeds in every second call, as two hooks must not feed one tensor.
  std::shared_ptr<FeedFnHook> FeedsOnce() {
    return FeedFrom([calls = 0]() mutable {
      return ++calls % 2 == 0 ? Feeds{{"increment:0", int64_t{1}}} : Feeds();
    });
  }

  std::vector<HookPtr> AllHooks() {
    const Every each = Every::Steps(1);
    return {KeepBestCheckpoints(dir_.path(), "w_value:0", each),
            Saves(),
            StopEarly("w_value:0", /*patience=*/100, each),
            Evaluates(),
            FeedsOnce(),
            std::make_shared<FinalOpsHook>(Fetch<float>("w_value:0")),
            WaitForGlobalStep(0),
            std::make_shared<LambdaHook>(LambdaHook::Options()),
            OnStep(each, [](int64_t) {}),
            LogTensors({"w_value:0"}, each),
            WriteMetrics(dir_ / "metrics.jsonl", {{"w", "w_value:0"}}, each),
            StopAtNan("w_value:0"),
            ProfileSteps(dir_.path(), /*first_step=*/1, /*num_steps=*/1),
            SaveTimelines(dir_.path(), each),
            ShowProgress(/*last_step=*/2),
            TellResourceUsage(dir_.path(), each),
            CountSteps(dir_.path(), each),
            StopAtStep(2),
            SaveSummaries(dir_.path(), each, "w_summary:0"),
            StopAfterTime(/*max_secs=*/3600)};
  }

  // Trains two steps.
  void Train(const HookPtr& hook) {
    HookDriver run({hook, hook});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(2), IsOkAndHolds(ElementsAre(1, 2)));
    EXPECT_THAT(run.Close(), IsOk());
  }

  void TrainAndFail(const HookPtr& hook) {
    HookDriver run({hook, hook});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(1), IsOk());
    EXPECT_THAT(run.Close(absl::InternalError("injected")),
                StatusIs(absl::StatusCode::kInternal));
  }

  const TempDir dir_;
  UnsyncedFileOps unsynced_;
  std::vector<std::string> calls_;
};

TEST_F(HookTwiceTest, EveryHookMayBeListedTwice) {  // HOOK-11
  for (const HookPtr& hook : AllHooks()) {
    SCOPED_TRACE(hook->name());
    Train(hook);
  }
}

TEST_F(HookTwiceTest, AndMayBeAborted) {  // HOOK-11
  for (const HookPtr& hook : AllHooks()) {
    SCOPED_TRACE(hook->name());
    TrainAndFail(hook);
  }
}

TEST_F(HookTwiceTest, EachStepIsStillSavedOnce) {  // HOOK-11
  Train(Saves());

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.Begin", "L.BeforeSave 0",
                          "L.AfterSave 0", "L.BeforeSave 1", "L.AfterSave 1",
                          "L.BeforeSave 2", "L.AfterSave 2", "L.End 2"));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// CheckpointSaverHook with saves in the background, and with saves that fail.

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using Calls = std::vector<std::string>;

class CheckpointSaverHookAsyncTest : public testing::Test {
 protected:
  CheckpointSaverHookAsyncTest() {
    options_.checkpoint_dir = dir_.path();
    options_.save_steps = 2;
    options_.async = true;
    options_.clock = &clock_;
    listener_ = std::make_shared<RecordingListener>("L", &calls_);
    options_.listeners = {listener_};
  }

  // Opens a session, which saves step 0 in the foreground.
  void Open() {
    Scaffold::Options pieces;
    pieces.saver = saver_;
    run_ = std::make_unique<HookDriver>(
        std::vector<HookPtr>{std::make_shared<CheckpointSaverHook>(options_)});
    run_->options().scaffold = std::make_shared<Scaffold>(pieces);
    ASSERT_THAT(run_->Open(), IsOk());
    ASSERT_THAT(calls_,
                ElementsAre("L.Begin", "L.BeforeSave 0", "L.AfterSave 0"));
    calls_.clear();
  }

  absl::Status Train(int runs) { return run_->Train(runs).status(); }

  // Lets the save in the background end, without a step.
  void AwaitSave() {
    while (saver_->saving()) std::this_thread::yield();
  }

  std::optional<int64_t> NewestStep() {
    const auto newest = LatestCheckpoint(dir_.path());
    if (!newest.ok() || !newest->has_value()) return std::nullopt;
    return StepOfPrefix(**newest);
  }

  const TempDir dir_;
  FakeClock clock_;
  SlowFileOps disk_{".data-"};
  CheckpointSaverHook::Options options_;
  Calls calls_;
  std::shared_ptr<RecordingListener> listener_;
  const std::shared_ptr<Saver> saver_ = Saver::Deferred();
  std::unique_ptr<HookDriver> run_;
};

TEST_F(CheckpointSaverHookAsyncTest, TrainsOnWhileACheckpointIsWritten) {
  Open();
  disk_.Stop();

  EXPECT_THAT(Train(2), IsOk());
  EXPECT_TRUE(saver_->saving());
  // What follows a save comes after the step during which it ended.
  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2"));
  EXPECT_EQ(NewestStep(), 0);
  disk_.GoOn();
  AwaitSave();
  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2"));
  EXPECT_THAT(Train(1), IsOk());

  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2", "L.AfterSave 2"));
  EXPECT_EQ(NewestStep(), 2);
  EXPECT_THAT(run_->Close(), IsOk());
  EXPECT_EQ(NewestStep(), 3);
}

TEST_F(CheckpointSaverHookAsyncTest,
       ASaveThatFallsDueMeanwhileIsMadeAfterwards) {
  Open();
  disk_.Stop();
  EXPECT_THAT(Train(5), IsOk());
  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2"));
  disk_.GoOn();
  AwaitSave();

  EXPECT_THAT(Train(1), IsOk());
  AwaitSave();
  EXPECT_THAT(Train(1), IsOk());

  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2", "L.AfterSave 2",
                                  "L.BeforeSave 6", "L.AfterSave 6"));
}

TEST_F(CheckpointSaverHookAsyncTest, TheEndWaitsForTheSaveAndIsSavedOnce) {
  Open();
  EXPECT_THAT(Train(2), IsOk());

  EXPECT_THAT(run_->Close(), IsOk());

  EXPECT_THAT(calls_,
              ElementsAre("L.BeforeSave 2", "L.AfterSave 2", "L.End 2"));
  EXPECT_EQ(NewestStep(), 2);
}

TEST_F(CheckpointSaverHookAsyncTest, AListenerThatThrowsLeavesTheLastSave) {
  Open();
  listener_->ThrowIn("AfterSave");
  disk_.Stop();
  EXPECT_THAT(Train(3), IsOk());
  disk_.GoOn();

  EXPECT_THAT(run_->Close(), StatusIs(absl::StatusCode::kInternal,
                                      HasSubstr("thrown by a listener")));

  EXPECT_THAT(calls_,
              ElementsAre("L.BeforeSave 2", "L.AfterSave 2", "L.BeforeSave 3",
                          "L.AfterSave 3", "L.OnAbort"));
  EXPECT_EQ(NewestStep(), 3);
}

TEST_F(CheckpointSaverHookAsyncTest, AWishToStopIsHeardAfterTheSave) {
  Open();
  listener_->StopAfterStep(2);
  EXPECT_THAT(Train(2), IsOk());
  AwaitSave();
  EXPECT_THAT(Train(5), IsOk());

  EXPECT_TRUE(run_->session().ShouldStop());
  EXPECT_THAT(run_->Close(), IsOk());
  EXPECT_EQ(NewestStep(), 3);
}

TEST_F(CheckpointSaverHookAsyncTest, AFailedSaveFailsTheNextStep) {
  Open();
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  EXPECT_THAT(Train(1), IsOk());

  absl::Status status = Train(1);  // the save may have failed by its end
  AwaitSave();
  if (status.ok()) status = Train(1);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               HasSubstr("CheckpointSaverHook")));
  disk_.FailCall(-1, 0);
  EXPECT_EQ(NewestStep(), 0);
}

TEST_F(CheckpointSaverHookAsyncTest, AFailedSaveFailsTheEnd) {
  Open();
  disk_.Stop();
  EXPECT_THAT(Train(2), IsOk());
  disk_.AwaitWriter();
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  disk_.GoOn();
  AwaitSave();
  disk_.FailCall(-1, 0);

  EXPECT_THAT(run_->Close(), StatusIs(absl::StatusCode::kResourceExhausted));

  // But the state is saved all the same.
  EXPECT_EQ(NewestStep(), 2);
}

TEST_F(CheckpointSaverHookAsyncTest, ASlowDiskHoldsTheEndUpOnlySoLong) {
  options_.save_patience_secs = 0.01;
  Open();
  disk_.Stop();
  EXPECT_THAT(Train(2), IsOk());

  EXPECT_THAT(run_->Close(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                      HasSubstr("model.ckpt-2")));

  disk_.GoOn();
  EXPECT_THAT(saver_->WaitForSave(), IsOk());
  EXPECT_EQ(NewestStep(), 2);
}

TEST_F(CheckpointSaverHookAsyncTest, AnErrorInTrainingLetsTheSaveEnd) {
  Open();
  EXPECT_THAT(Train(2), IsOk());

  EXPECT_THAT(run_->Close(absl::InternalError("a bad batch")),
              StatusIs(absl::StatusCode::kInternal));

  EXPECT_EQ(NewestStep(), 2);
  EXPECT_THAT(calls_, ElementsAre("L.BeforeSave 2", HasSubstr("L.OnAbort")));
}

TEST_F(CheckpointSaverHookAsyncTest, AForkedChildDropsWhatItInherited) {
  Open();
  disk_.Stop();
  EXPECT_THAT(Train(2), IsOk());
  disk_.AwaitWriter();

  EXPECT_TRUE(HoldsInChild([this] {
    run_.reset();
    return true;
  }));

  disk_.GoOn();
  EXPECT_THAT(run_->Close(), IsOk());
  EXPECT_EQ(NewestStep(), 2);
}

TEST_F(CheckpointSaverHookAsyncTest, AStreamedSaveCannotBeInTheBackground) {
  options_.snapshot = SnapshotMode::kStream;
  HookDriver run({std::make_shared<CheckpointSaverHook>(options_)});
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("kStream")));
}

// Calls a function before each save.
//
// Confined: as the hook that calls it.
class BeforeSaves : public CheckpointSaverListener {
 public:
  explicit BeforeSaves(std::function<void(int64_t step)> fn)
      : fn_(std::move(fn)) {}

  absl::Status BeforeSave(Session&, int64_t step) override {
    fn_(step);
    return absl::OkStatus();
  }

 private:
  const std::function<void(int64_t step)> fn_;
};

// Two hooks, A and B in this order, that save by one saver.
class TwoCheckpointSaverHooksTest : public CheckpointSaverHookAsyncTest {
 protected:
  TwoCheckpointSaverHooksTest() {
    options_.save_steps = 3;
    options_.tolerated_failures = 5;
    b_ = options_;
    options_.listeners = {std::make_shared<RecordingListener>("A", &calls_)};
    b_.listeners = {std::make_shared<RecordingListener>("B", &calls_)};
  }

  // Opens a session, which has saved step 0.
  void OpenTwo(std::vector<HookPtr> others = {}) {
    Scaffold::Options pieces;
    pieces.saver = saver_;
    others.push_back(std::make_shared<CheckpointSaverHook>(options_));
    others.push_back(std::make_shared<CheckpointSaverHook>(b_));
    run_ = std::make_unique<HookDriver>(std::move(others));
    run_->options().scaffold = std::make_shared<Scaffold>(pieces);
    ASSERT_THAT(run_->Open(), IsOk());
    calls_.clear();
  }

  CheckpointSaverHook::Options b_;
  std::atomic<bool> is_ending_{false};
};

TEST_F(TwoCheckpointSaverHooksTest, AFailedSaveIsAcknowledgedByNobody) {
  OpenTwo();
  disk_.Stop();
  EXPECT_THAT(Train(3), IsOk());
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  disk_.GoOn();
  AwaitSave();
  EXPECT_THAT(Train(1), IsOk());
  AwaitSave();
  disk_.FailCall(-1, 0);
  EXPECT_THAT(Train(1), IsOk());
  EXPECT_THAT(calls_, ElementsAre("A.BeforeSave 3", "B.BeforeSave 4"));
  EXPECT_EQ(NewestStep(), 0);

  // Neither of them takes the end for saved.
  EXPECT_THAT(run_->Close(), IsOk());
  EXPECT_THAT(calls_,
              ElementsAre("A.BeforeSave 3", "B.BeforeSave 4", "A.BeforeSave 5",
                          "A.AfterSave 5", "A.End 5", "B.BeforeSave 5",
                          "B.AfterSave 5", "B.End 5"));
  EXPECT_EQ(NewestStep(), 5);
}

TEST_F(TwoCheckpointSaverHooksTest, TheErrorOfOneIsNotThatOfTheOther) {
  b_.listeners.push_back(std::make_shared<BeforeSaves>([this](int64_t step) {
    if (step == 4) disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  }));
  OpenTwo();
  disk_.Stop();
  EXPECT_THAT(Train(3), IsOk());
  disk_.GoOn();
  AwaitSave();
  EXPECT_THAT(Train(1), IsOk());
  AwaitSave();
  disk_.FailCall(-1, 0);

  EXPECT_THAT(Train(1), IsOk());

  EXPECT_THAT(calls_,
              ElementsAre("A.BeforeSave 3", "A.AfterSave 3", "B.BeforeSave 4"));
  EXPECT_EQ(NewestStep(), 3);
  EXPECT_THAT(run_->Close(), IsOk());
}

TEST_F(TwoCheckpointSaverHooksTest, NoStepWaitsForTheSaveOfTheOther) {
  options_.save_steps = 2;
  b_.save_steps = 3;
  OpenTwo();
  disk_.Stop();

  // Nobody lets the disk go on.
  EXPECT_THAT(Train(4), IsOk());

  EXPECT_THAT(calls_, ElementsAre("A.BeforeSave 2"));
  disk_.GoOn();
  AwaitSave();
  disk_.Stop();
  EXPECT_THAT(Train(1), IsOk());
  EXPECT_THAT(calls_,
              ElementsAre("A.BeforeSave 2", "A.AfterSave 2", "A.BeforeSave 5"));
  disk_.GoOn();
  AwaitSave();
  EXPECT_THAT(Train(1), IsOk());
  EXPECT_THAT(calls_,
              ElementsAre("A.BeforeSave 2", "A.AfterSave 2", "A.BeforeSave 5",
                          "A.AfterSave 5", "B.BeforeSave 6"));
}

TEST_F(TwoCheckpointSaverHooksTest, ADiskThatHangsFailsTheSaveOfTheOther) {
  b_.save_patience_secs = 0;
  OpenTwo();
  disk_.Stop();

  EXPECT_THAT(Train(4), IsOk());

  // Each is a failure, of the five that B tolerates, and A's goes on.
  EXPECT_THAT(calls_, ElementsAre("A.BeforeSave 3", "B.BeforeSave 3"));
  disk_.GoOn();
  AwaitSave();
  EXPECT_THAT(Train(1), IsOk());
  EXPECT_THAT(calls_, Contains("A.AfterSave 3"));
  EXPECT_EQ(NewestStep(), 3);
}

TEST_F(TwoCheckpointSaverHooksTest, NorDoesOneNeverComeToSave) {
  // A is due in each step, and comes first.
  options_.save_steps = 1;
  b_.listeners.push_back(
      std::make_shared<BeforeSaves>([this](int64_t) { disk_.GoOn(); }));
  OpenTwo();
  for (int step = 1; step <= 3; ++step) {
    AwaitSave();
    if (step == 3) disk_.Stop();
    EXPECT_THAT(Train(1), IsOk());
  }
  EXPECT_THAT(calls_, Not(Contains("B.BeforeSave 3")));

  clock_.Advance(absl::Seconds(600));
  EXPECT_THAT(Train(1), IsOk());

  EXPECT_THAT(calls_, Contains("B.BeforeSave 4"));
}

TEST_F(TwoCheckpointSaverHooksTest, TheEndIsSavedThoughTheOtherIsWriting) {
  options_.save_steps = 100;
  const auto disk = std::make_shared<LambdaHook>([this] {
    LambdaHook::Options options;
    options.end = [this](Session&) {
      is_ending_ = true;
      return absl::OkStatus();
    };
    return options;
  }());
  OpenTwo({disk});
  disk_.Stop();
  EXPECT_THAT(Train(3), IsOk());
  std::thread writer([this] {
    while (!is_ending_) std::this_thread::yield();
    disk_.GoOn();
  });

  EXPECT_THAT(run_->Close(), IsOk());
  writer.join();

  EXPECT_THAT(calls_,
              ElementsAre("B.BeforeSave 3", "A.BeforeSave 3", "A.AfterSave 3",
                          "A.End 3", "B.AfterSave 3", "B.End 3"));
}

// The same in the background and in the foreground.
class CheckpointSaverHookFailuresTest
    : public CheckpointSaverHookAsyncTest,
      public testing::WithParamInterface<bool> {
 protected:
  CheckpointSaverHookFailuresTest() {
    options_.async = GetParam();
    options_.save_steps = 1;
  }

  // A step whose save is over when it returns.
  absl::Status Step() {
    const absl::Status status = Train(1);
    AwaitSave();
    return status;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, CheckpointSaverHookFailuresTest,
                         testing::Bool(), [](const auto& async) {
                           return async.param ? "Background" : "Foreground";
                         });

TEST_P(CheckpointSaverHookFailuresTest, SoManyInARowAreTolerated) {
  options_.tolerated_failures = 2;
  Open();
  LogCapture log;
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  EXPECT_THAT(Step(), IsOk());
  EXPECT_THAT(Step(), IsOk());
  disk_.FailCall(-1, 0);
  EXPECT_THAT(Step(), IsOk());
  EXPECT_THAT(Step(), IsOk());
  EXPECT_GE(NewestStep(), 3);  // the disk had room again

  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  absl::Status status;
  int steps = 0;
  for (; status.ok() && steps < 9; ++steps) status = Step();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(steps, testing::AllOf(testing::Ge(3), testing::Le(5)));
  EXPECT_THAT(log.lines(), testing::Contains(HasSubstr("2 of 2")));
}

TEST_P(CheckpointSaverHookFailuresTest, NotForLong) {
  options_.tolerated_failures = 100;
  options_.tolerated_secs = 10;
  Open();
  disk_.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
  EXPECT_THAT(Step(), IsOk());
  EXPECT_THAT(Step(), IsOk());
  clock_.Advance(absl::Seconds(11));

  absl::Status status = Step();
  if (GetParam()) status.Update(Step());

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_P(CheckpointSaverHookFailuresTest, BadToleranceIsRefused) {
  options_.tolerated_failures = -1;
  HookDriver run({std::make_shared<CheckpointSaverHook>(options_)});
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("tolerated_failures")));
}

}  // namespace
}  // namespace tftrain

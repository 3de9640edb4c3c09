// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/eval_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/hooks/best_checkpoint_hook.h"
#include "tftrain/hooks/early_stopping_hook.h"
#include "tftrain/hooks/eval_hook_for_test.h"
#include "tftrain/hooks/internal/training_pause.h"
#include "tftrain/hooks/time_limit_hook.h"
#include "tftrain/summary/event_file_writer_cache.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

// A disk that has room for checkpoints, but neither for notes on them nor for
// a new folder.
//
// Thread-safe.
class NoRoomForResults : public UnsyncedFileOps {
 public:
  int Rename(const char* from, const char* to) override {
    if (absl::EndsWith(to, ".tftrain.json")) {
      errno = ENOSPC;
      return -1;
    }
    return UnsyncedFileOps::Rename(from, to);
  }
  int MakeFolder(const char*, mode_t) override {
    errno = ENOSPC;
    return -1;
  }
};

// The events in the only file of `folder`.
std::vector<std::string> EventsIn(const std::string& folder) {
  const auto files = ListFolder(folder);
  EXPECT_THAT(files, IsOkAndHolds(::testing::SizeIs(1)));
  if (!files.ok() || files->size() != 1) return {};
  return Describe(JoinPath(folder, files->front()));
}

TEST_F(EvalHookTest, EvaluatesTheModelThatIsTrained) {
  // users.md row 62
  EvaluateLive();
  auto run = MakeRun();

  EXPECT_THAT(run->Train(5), IsOkAndHolds(ElementsAre(1, 2, 3, 4, 5)));
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(2, 4, 5));
  EXPECT_THAT(results_[0].metrics, ElementsAre(Pair("w", 2), Pair("x", 3)));
  EXPECT_EQ(results_[0].num_steps, 3);
  EXPECT_EQ(results_[0].checkpoint, dir_ / "model.ckpt-2");
  EXPECT_THAT(MetricsOfStep(2), ElementsAre(Pair("w", 2), Pair("x", 3)));
  EXPECT_THAT(EventsIn(dir_ / "eval"),
              ElementsAre("START()@2", "w=2@2", "x=3@2", "w=4@4", "x=3@4",
                          "w=5@5", "x=3@5"));
}

TEST_F(EvalHookTest, EvaluatesCheckpointsInAGraphOfItsOwn) {
  // users.md row 63: one session serves all evaluations, so that the queue goes
  // on where it was.
  EvaluateCheckpointsAlone();
  options_.name = "test";
  auto run = MakeRun(/*after_checkpoints=*/true);

  EXPECT_THAT(run->Train(3), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 2, 3));
  EXPECT_THAT(results_[0].metrics,
              ElementsAre(Pair("next", 0.5), Pair("w", 0)));
  EXPECT_THAT(results_[1].metrics,
              ElementsAre(Pair("next", 2.5), Pair("w", 2)));
  EXPECT_THAT(MetricsOfStep(3),
              ElementsAre(Pair("test/next", 4.5), Pair("test/w", 3)));
  EXPECT_THAT(EventsIn(dir_ / "eval_test"),
              ElementsAre("START()", "next=0.5", "w=0", "next=2.5@2", "w=2@2",
                          "next=4.5@3", "w=3@3"));
}

TEST_F(EvalHookTest, SeveralNoteTheirMetricsSideBySide) {
  EvaluateLive();
  options_.metrics = {{"x", "x:0"}};
  options_.name = "valid";
  EvalHook::Options test = options_;
  test.name = "test";
  test.feeds = [](int64_t i) -> absl::StatusOr<Feeds> {
    if (i == 1) return EndOfInputError("one is enough");
    return Feeds{{"x:0", 9.0f}};
  };
  auto run =
      MakeRun(/*after_checkpoints=*/false, {std::make_shared<EvalHook>(test)});

  EXPECT_THAT(run->Train(2), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(MetricsOfStep(2),
              ElementsAre(Pair("test/x", 9), Pair("valid/x", 3)));
}

TEST_F(EvalHookTest, AFullDiskCostsResultsAndNoTraining) {
  // reliability R14
  EvaluateLive();
  auto run = MakeRun();
  EXPECT_THAT(dir_.List(), Contains("eval"));
  const NoRoomForResults disk;
  LogCapture log;

  EXPECT_THAT(run->Train(4), IsOkAndHolds(ElementsAre(1, 2, 3, 4)));
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(2, 4));
  EXPECT_EQ(hook_->notes_failed(), 2);
  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING: "),
                                          HasSubstr(dir_ / "model.ckpt-2")))
                               .Times(1));
  EXPECT_THAT(EventsIn(dir_ / "eval"), Contains("w=4@4"));
}

TEST_F(EvalHookTest, NorDoesAFolderThatCannotBeRead) {
  EvaluateLive();
  hook_ = std::make_shared<EvalHook>(options_);
  HookDriver run({hook_}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  UnsyncedFileOps disk;
  disk.FailCall(0, EIO, FaultyFileOps::Fault::kSticky);

  EXPECT_THAT(run.Train(2), IsOk());
  // The writer's thread lets go of this disk.
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(2));
  EXPECT_EQ(hook_->notes_failed(), 1);
}

TEST_F(EvalHookTest, NorWhereTheFolderOfItsEventsIsGone) {
  // The last evaluation comes after this hook's own end.
  EvaluateLive();
  options_.every.reset();
  hook_ = std::make_shared<EvalHook>(options_);
  CheckpointSaverHook::Options saves;
  saves.checkpoint_dir = dir_.path();
  saves.save_steps = 100;
  saves.listeners = {EvaluateCheckpoints(hook_)};
  HookDriver run({hook_, std::make_shared<CheckpointSaverHook>(saves)},
                 dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());
  std::filesystem::remove_all(dir_ / "eval");
  const NoRoomForResults disk;
  LogCapture log;

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 3));
  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING: "),
                                          HasSubstr(dir_ / "eval\""))));
}

TEST_F(EvalHookTest, EvaluatesTheNewestCheckpointOnce) {
  EvaluateCheckpointsAlone();
  options_.every = Every::Steps(1);
  auto run = MakeRun();

  // Checkpoints are those of the steps 0, 2, 4 and 5.
  EXPECT_THAT(run->Train(5), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 2, 4, 5));
}

TEST_F(EvalHookTest, ServesOneSessionAfterTheOther) {
  EvaluateCheckpointsAlone();
  const auto hook = std::make_shared<EvalHook>(options_);
  for (int session = 1; session <= 2; ++session) {
    CheckpointSaverHook::Options saves;
    saves.checkpoint_dir = dir_.path();
    saves.save_steps = 100;
    saves.listeners = {EvaluateCheckpoints(hook)};
    HookDriver run({std::make_shared<CheckpointSaverHook>(saves), hook},
                   dir_.path());
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(3), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  // The checkpoint that the second one was restored from is not saved again.
  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 3, 6));
}

TEST_F(EvalHookTest, WithoutACheckpointNothingIsEvaluated) {
  EvaluateCheckpointsAlone();
  options_.every = Every::Steps(1);
  HookDriver run({std::make_shared<EvalHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(results_, IsEmpty());
}

TEST_F(EvalHookTest, AListenerNeedsItsHookInTheList) {
  for (const bool alone : {true, false}) {
    options_ = EvalHook::Options();
    options_.checkpoint_dir = dir_.path();
    if (alone) {
      EvaluateCheckpointsAlone();
    } else {
      EvaluateLive();
    }
    CheckpointSaverHook::Options saves;
    saves.checkpoint_dir = dir_.path();
    saves.save_steps = 2;
    saves.listeners = {
        EvaluateCheckpoints(std::make_shared<EvalHook>(options_))};

    EXPECT_THAT(
        HookDriver({std::make_shared<CheckpointSaverHook>(saves)}).Open(),
        StatusIs(absl::StatusCode::kFailedPrecondition,
                 HasSubstr("among the session's hooks")));
  }
}

TEST_F(EvalHookTest, AnotherSessionsListIsNotEnough) {
  EvaluateLive();
  auto run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  HookDriver other({}, dir_.path());
  ASSERT_THAT(other.Open(), IsOk());

  EXPECT_THAT(hook_->Evaluate(other.session().raw_session()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("among the session's hooks")));
}

TEST_F(EvalHookTest, AStopFromOutsideBreaksAnEvaluationOff) {
  EvaluateLive();
  std::unique_ptr<HookDriver> run;
  options_.feeds = [&](int64_t i) -> absl::StatusOr<Feeds> {
    if (i == 3) run->session().RequestStop("the machine goes");
    EXPECT_LE(i, 3);
    return Feeds{{"x:0", 1.0f}};
  };
  options_.max_steps = 10;
  run = MakeRun();

  EXPECT_THAT(run->Train(9), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(run->Close(), IsOk());

  // Nor is there time for one at the end, although the end is saved.
  EXPECT_THAT(results_, IsEmpty());
  EXPECT_THAT(dir_.List(), Contains("model.ckpt-2.index"));
}

TEST_F(EvalHookTest, ThereIsNoTimeForTheEndWhenTheTimeIsOver) {
  FakeClock clock;
  EvaluateLive();
  options_.every = Every::Steps(3);
  TimeLimitHook::Options limit;
  limit.max_secs = 10;
  limit.clock = &clock;
  auto run = MakeRun(/*after_checkpoints=*/true,
                     {std::make_shared<TimeLimitHook>(limit)});
  run->AfterEachRun([&] { clock.Advance(absl::Seconds(3)); });

  EXPECT_THAT(run->Train(9), IsOkAndHolds(ElementsAre(1, 2, 3, 4, 5)));
  EXPECT_THAT(run->Close(), IsOk());

  // After the checkpoints 0, 2 and 4, and after step 3; 5 is saved.
  EXPECT_THAT(EvaluatedSteps(), ElementsAre(0, 2, 3, 4));
  EXPECT_THAT(dir_.List(), Contains("model.ckpt-5.index"));
}

TEST_F(EvalHookTest, ThereIsTimeWhereAStepAskedForTheEnd) {
  EvaluateLive();
  options_.every = Every::Steps(100);
  auto run = MakeRun();
  EXPECT_THAT(run->Train(2), IsOk());

  const absl::Status body =
      run->session().RunStepFn([](StepContext& context) -> absl::Status {
        TF_RETURN_IF_ERROR(context.RunWithHooks(Target("train")));
        return context.RequestStop();
      });
  EXPECT_TRUE(run->session().ShouldStop());
  EXPECT_THAT(run->Close(body), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(3));
}

TEST_F(EvalHookTest, WhatThrowsAtTheEndHoldsNothingBack) {
  EvaluateLive();
  options_.every = Every::Steps(100);
  options_.on_result = [](const EvalResult&) -> absl::Status {
    throw std::runtime_error("thrown");
  };
  auto run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  ASSERT_THAT(run->Close(), StatusIs(absl::StatusCode::kInternal,
                                     HasSubstr("thrown; in an evaluation")));

  EXPECT_THAT(EventsIn(dir_ / "eval"),
              ElementsAre("START()@1", "w=1@1", "x=3@1"));
  // Nobody holds the folder's writer any more.
  EXPECT_THAT(EventFileWriterCache::Get(dir_ / "eval").value().use_count(), 1);
}

TEST_F(EvalHookTest, TheMeasurementAtTheEndIsJudged) {
  EvaluateLive();
  options_.every = Every::Steps(100);
  hook_ = std::make_shared<EvalHook>(options_);
  const auto early = StopEarly("w", MetricOf(hook_, "w"), /*patience=*/2);
  HookDriver run({hook_, early}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  ASSERT_TRUE(early->best().has_value());
  EXPECT_EQ(early->best()->step, 3);
}

TEST_F(EvalHookTest, ReadsStreamingMetricsAfterTheLastStep) {
  // The update adds to w, in the evaluation's own session.
  EvaluateCheckpointsAlone();
  options_.metrics.clear();
  options_.update_ops = {"train"};
  options_.final_metrics = {{"w", "w_value:0"}};
  options_.max_steps = 10;
  options_.every = Every::Steps(2);
  auto run = MakeRun();

  EXPECT_THAT(run->Train(4), IsOkAndHolds(ElementsAre(1, 2, 3, 4)));
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(EvaluatedSteps(), ElementsAre(2, 4));
  EXPECT_EQ(results_[0].metrics["w"], 12);
  EXPECT_EQ(results_[1].metrics["w"], 14);
}

TEST_F(EvalHookTest, AnErrorOfTheEvaluationFailsTheStep) {
  EvaluateLive();
  options_.on_result = [](const EvalResult&) {
    return absl::InternalError("injected");
  };
  auto run = MakeRun();

  EXPECT_THAT(run->Train(2), StatusIs(absl::StatusCode::kInternal,
                                      HasSubstr("injected; in an evaluation")));
}

TEST_F(EvalHookTest, TrainingStopsByWhatWasEvaluated) {
  EvaluateLive();
  auto run = [&] {
    hook_ = std::make_shared<EvalHook>(options_);
    return HookDriver({hook_, StopEarly("w", MetricOf(hook_, "w"),
                                        /*patience=*/2)},
                      dir_.path());
  }();
  ASSERT_THAT(run.Open(), IsOk());

  // w rises: its best value is that of the evaluation at step 2.
  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3, 4, 5, 6)));

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(run.session().summary().detail,
              HasSubstr("\"w\" has not fallen in 2 checks; its best value was "
                        "2, at step 2"));
}

TEST_F(EvalHookTest, AMetricThatNobodyMeasuresComesOutOfCreate) {
  EvaluateLive();
  hook_ = std::make_shared<EvalHook>(options_);
  BestCheckpointHook::Options best;
  best.checkpoint_dir = dir_.path();
  best.metric = "accuracy";
  best.source = MetricOf(hook_, "acuracy");
  for (const HookPtr& judge :
       {HookPtr(StopEarly("accuracy", MetricOf(hook_, "acuracy"), 2)),
        HookPtr(std::make_shared<BestCheckpointHook>(best))}) {
    EXPECT_THAT(
        HookDriver({hook_, judge}).Open(),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr("\"acuracy\""), HasSubstr("\"x\", \"w\""))));
  }
}

TEST_F(EvalHookTest, WhoIsAskedMustBeInTheListBefore) {
  EvaluateLive();
  hook_ = std::make_shared<EvalHook>(options_);
  const HookPtr early = StopEarly("w", MetricOf(hook_, "w"), /*patience=*/9);

  for (const std::vector<HookPtr>& hooks :
       {std::vector<HookPtr>{early}, std::vector<HookPtr>{early, hook_}}) {
    EXPECT_THAT(HookDriver(hooks).Open(),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("\"w\""), HasSubstr("list it"))));
  }
}

TEST_F(EvalHookTest, TheNextSessionMeasuresItsStepsAgain) {
  EvaluateLive();
  hook_ = std::make_shared<EvalHook>(options_);
  const auto early = StopEarly("w", MetricOf(hook_, "w"), /*patience=*/9);
  for (int session = 0; session < 2; ++session) {
    HookDriver run({hook_, early});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(2), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
    EXPECT_EQ(results_.size(), session + 1u);
    // Nor does the value of the session before count.
    EXPECT_EQ(early->checks_without_improvement(), 0);
  }
}

TEST_F(EvalHookTest, TheBestEvaluatedCheckpointIsKept) {
  EvaluateCheckpointsAlone();
  BestCheckpointHook::Options best;
  best.checkpoint_dir = dir_.path();
  best.metric = "w";
  auto run = MakeRun(/*after_checkpoints=*/true,
                     {std::make_shared<BestCheckpointHook>(best)});

  // Five are kept as the newest, and the first one for its small w.
  EXPECT_THAT(run->Train(20), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "w"),
              IsOkAndHolds(dir_ / "model.ckpt-0"));
  EXPECT_THAT(MetricsOfStep(2), IsEmpty());
}

TEST_F(EvalHookTest, TheEvaluationAtTheEndMayBeTheBest) {
  EvaluateLive();
  hook_ = std::make_shared<EvalHook>(options_);
  BestCheckpointHook::Options best;
  best.checkpoint_dir = dir_.path();
  best.metric = "w";
  best.source = MetricOf(hook_, "w");
  best.mode = MetricMode::kMax;
  HookDriver run({hook_, std::make_shared<BestCheckpointHook>(best)},
                 dir_.path());
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(5), IsOk());
  EXPECT_THAT(BestCheckpoint(dir_.path(), "w", MetricMode::kMax),
              IsOkAndHolds(dir_ / "model.ckpt-4"));
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "w", MetricMode::kMax),
              IsOkAndHolds(dir_ / "model.ckpt-5"));
}

TEST_F(EvalHookTest, AnEvaluationIsNoTrainingTime) {
  // users.md row 52
  FakeClock clock;
  EvaluateLive();
  options_.clock = &clock;
  options_.on_result = [&](const EvalResult&) {
    clock.Advance(absl::Seconds(7));
    return absl::OkStatus();
  };
  HookDriver run({std::make_shared<EvalHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  const absl::Duration before = internal::TrainingPause::Total();

  EXPECT_THAT(run.Train(2), IsOk());

  EXPECT_EQ(internal::TrainingPause::Total() - before, absl::Seconds(7));
}

TEST_F(EvalHookTest, BadOptionsComeOutOfCreate) {
  EvaluateLive();
  const auto bad = [this](auto change, const char* message) {
    EvalHook::Options options = options_;
    change(&options);
    EXPECT_THAT(
        HookDriver({std::make_shared<EvalHook>(options)}).Open(),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  bad([](auto* o) { o->metrics.clear(); }, "neither metrics nor final_metrics");
  bad([](auto* o) { o->metrics = {{"a", "los"}}; }, "\"los\"");
  bad([](auto* o) { o->metrics = {"w_summary:0"}; }, "of type string");
  bad(
      [](auto* o) {
        o->final_metrics = {{"x", "w_value:0"}};
      },
      "two metrics are called \"x\"");
  bad([](auto* o) { o->update_ops = {"updte"}; }, "\"updte\"");
  bad([](auto* o) { o->max_steps = 0; }, "max_steps is \"0\"");
  bad([](auto* o) { o->feeds = nullptr; }, "max_steps is not set");
  bad(
      [](auto* o) {
        o->feeds = nullptr;
        o->max_steps = 1;
      },
      "\"x\"");
  bad([](auto* o) { o->final_metrics = {{"last", "x:0"}}; }, "\"x\"");
  bad([](auto* o) { o->metrics = {{"", "w_value:0"}}; }, "the name \"\"");
  bad([](auto* o) { o->metrics = {{"\xff", "w_value:0"}}; }, "no UTF-8");
  bad([](auto* o) { o->name = "\xff"; }, "no UTF-8");
  bad([](auto* o) { o->every = Every::Steps(-1); }, "every_steps");
  bad(
      [](auto* o) {
        o->checkpoint_dir.clear();
        o->graph = CountingGraph();
      },
      "checkpoint_dir is empty");

  GraphPtr graph = CountingGraph();
  options_.graph = graph;
  EXPECT_THAT(
      HookDriver({std::make_shared<EvalHook>(options_)}, "", graph).Open(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("is the one that is trained")));
}

}  // namespace
}  // namespace tftrain

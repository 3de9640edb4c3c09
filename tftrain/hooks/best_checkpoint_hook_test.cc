// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/best_checkpoint_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

// A run that keeps its newest checkpoint only, beside the best by x:0.
class BestCheckpointHookTest : public ::testing::Test {
 protected:
  BestCheckpointHookTest() {
    options_.checkpoint_dir = dir_.path();
    options_.metric = "loss";
    options_.tensor = "x:0";
    options_.every = Every::Steps(1);
  }

  enum class First { kSaver, kBest };

  std::unique_ptr<HookDriver> MakeRun(int64_t save_steps = 1000,
                                      bool async = false,
                                      First first = First::kSaver,
                                      GraphPtr graph = CountingGraph()) {
    CheckpointSaverHook::Options saves;
    saves.checkpoint_dir = dir_.path();
    saves.save_steps = save_steps;
    saves.async = async;
    saves.non_finite = non_finite_;
    std::vector<HookPtr> hooks = {
        std::make_shared<CheckpointSaverHook>(saves),
        std::make_shared<BestCheckpointHook>(options_)};
    if (first == First::kBest) std::swap(hooks[0], hooks[1]);
    hooks.push_back(std::make_shared<LambdaHook>(judge_));
    auto run = std::make_unique<HookDriver>(std::move(hooks), dir_.path(),
                                            std::move(graph));
    run->options().master = master_;
    Saver::Options newest;
    newest.max_to_keep = 1;
    Scaffold::Options scaffold;
    scaffold.saver = Saver::Deferred(newest);
    run->options().scaffold = std::make_shared<Scaffold>(scaffold);
    EXPECT_THAT(run->Open(), IsOk());
    return run;
  }

  // Trains one step for each loss.
  void Train(HookDriver& run, const std::vector<float>& losses) {
    for (const float loss : losses) {
      EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
    }
  }

  // The steps of the checkpoints in the folder, newest first.
  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    const auto checkpoints = ListCheckpoints(dir_.path());
    EXPECT_THAT(checkpoints, IsOk());
    for (const ListedCheckpoint& each : *checkpoints) {
      steps.push_back(*each.step);
    }
    return steps;
  }

  std::string Prefix(int64_t step) {
    return dir_ / absl::StrCat("model.ckpt-", step);
  }

  const TempDir dir_;
  BestCheckpointHook::Options options_;
  LambdaHook::Options judge_;
  std::optional<CheckpointSaverHook::NonFinite> non_finite_;
  std::string master_;
};

TEST_F(BestCheckpointHookTest, KeepsTheBestBesideTheNewest) {
  // users.md row 27
  auto run = MakeRun();

  Train(*run, {3, 1, 2, 5});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(4, 2));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
  EXPECT_THAT(Saver::Metrics(Prefix(2)), ElementsAre(Pair("loss", 1)));
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(Prefix(4)));
}

TEST_F(BestCheckpointHookTest, KeepsNothingThatAHookRejected) {
  judge_.before_run = [](SessionRunContext&) -> absl::StatusOr<SessionRunArgs> {
    return SessionRunArgs(Fetch<float>("x:0"));
  };
  judge_.judge =
      [](SessionRunContext&,
         const SessionRunValues& values) -> absl::StatusOr<StepVerdict> {
    TF_ASSIGN_OR_RETURN(const float loss, values.Get(Fetch<float>("x:0")));
    return loss > 0 ? StepVerdict::kGood : StepVerdict::kBad;
  };
  auto run = MakeRun();

  Train(*run, {3, -1, 2, 5});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(4, 3));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(3)));
}

// The loss of a step may be a record, and its update spoil the model.
class BestModelIsFiniteTest : public BestCheckpointHookTest,
                              public ::testing::WithParamInterface<float> {
 protected:
  // Two good steps, the second of them better, then a record that is spoilt.
  void TrainBadly(HookDriver& run) {
    Train(run, {3, 2});
    EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}, {"gradient:0", GetParam()}}),
                IsOk());
  }
};

INSTANTIATE_TEST_SUITE_P(NanAndInfinity, BestModelIsFiniteTest,
                         ::testing::Values(kNan, kInfinity),
                         [](const auto& spoilt) {
                           return spoilt.param > 0 ? "Infinity" : "Nan";
                         });

TEST_P(BestModelIsFiniteTest, ASpoiltModelIsNotAmongTheBest) {
  non_finite_ = CheckpointSaverHook::NonFinite::kSkip;
  LogCapture log;
  auto run = MakeRun(/*save_steps=*/1, /*async=*/false, First::kSaver,
                     DivergingGraph());

  TrainBadly(*run);
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(Prefix(2)));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("WARNING: Not kept among the best"),
                             HasSubstr("\"w\" holds"))));
}

TEST_P(BestModelIsFiniteTest, NorIsACheckpointOfOneThatAnotherHookSaved) {
  non_finite_ = CheckpointSaverHook::NonFinite::kSave;
  auto run = MakeRun(/*save_steps=*/1, /*async=*/true, First::kSaver,
                     DivergingGraph());

  TrainBadly(*run);
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(3, 2));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
}

TEST_P(BestModelIsFiniteTest, NobodyLooksWhereThatIsSaid) {
  options_.check_finite = false;
  auto run = MakeRun(/*save_steps=*/1000, /*async=*/false, First::kSaver,
                     DivergingGraph());

  TrainBadly(*run);
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(3)));
}

TEST_F(BestCheckpointHookTest, KeepsTheBestOfAServerUnseen) {
  master_ = LocalServerAddress();
  auto run = MakeRun();

  Train(*run, {3, 1, 2});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
}

TEST_F(BestCheckpointHookTest, KeepsSeveralWithLargeValues) {
  options_.keep = 2;
  options_.mode = MetricMode::kMax;
  auto run = MakeRun();

  // 4 is better than the second best then, 3 is not.
  Train(*run, {2, 5, 4, 3, 1});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(5, 3, 2));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss", MetricMode::kMax),
              IsOkAndHolds(Prefix(2)));
}

TEST_F(BestCheckpointHookTest, AValueThatIsNotFiniteIsNotAmongTheBest) {
  auto run = MakeRun();

  Train(*run, {kNan, -kInfinity, kInfinity, 7, kNan, 9});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(6, 4));
}

TEST_F(BestCheckpointHookTest, ALaterRunMustBeatTheBestOfTheFolder) {
  {
    auto run = MakeRun();
    Train(*run, {3, 1, 2});
    EXPECT_THAT(run->Close(), IsOk());
  }
  auto run = MakeRun();

  Train(*run, {2, 1.5f, 4});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(6, 2));
}

TEST_F(BestCheckpointHookTest, TakesTheCheckpointThatWasJustSaved) {
  auto run = MakeRun(/*save_steps=*/1);

  Train(*run, {3});

  // A second save of the step would have written a second data file.
  EXPECT_THAT(dir_.List(), Contains("model.ckpt-1.data-00000-of-00001"));
  EXPECT_THAT(Saver::Metrics(Prefix(1)), ElementsAre(Pair("loss", 3)));
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(BestCheckpointHookTest, TakesTheCheckpointThatIsStillBeingSaved) {
  auto run = MakeRun(/*save_steps=*/1, /*async=*/true);

  Train(*run, {3});

  EXPECT_THAT(dir_.List(), Contains("model.ckpt-1.data-00000-of-00001"));
  EXPECT_THAT(Saver::Metrics(Prefix(1)), ElementsAre(Pair("loss", 3)));
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(BestCheckpointHookTest, TheLastSaveDoesNotForgetThatItIsTheBest) {
  auto run = MakeRun();

  Train(*run, {3, 1});
  // Now the hook for checkpoints saves step 2 as well.
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
}

TEST_F(BestCheckpointHookTest, ASecondSaveOfTheStepKeepsTheMetric) {
  for (const bool async : {false, true}) {
    auto run = MakeRun(/*save_steps=*/1, async, First::kBest);

    // The second is the best, and each step is saved by the other hook as well.
    Train(*run, {3, async ? 0.5f : 1, 2, 4});
    EXPECT_THAT(run->Close(), IsOk());

    const int64_t best = async ? 6 : 2;
    EXPECT_THAT(Steps(), ElementsAre(best + 2, best));
    EXPECT_THAT(Saver::Metrics(Prefix(best)),
                ElementsAre(Pair("loss", async ? 0.5 : 1)));
  }
}

TEST_F(BestCheckpointHookTest, TheLastSaveKeepsTheMetricInEitherOrder) {
  auto run = MakeRun(/*save_steps=*/1000, /*async=*/false, First::kBest);

  Train(*run, {3, 1});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(2)));
}

TEST_F(BestCheckpointHookTest, TheLastSaveIsAsTheOtherHookWantsIt) {
  options_.save_graph_def = false;
  auto run = MakeRun(/*save_steps=*/1000, /*async=*/false, First::kBest);

  Train(*run, {3, 1});
  EXPECT_THAT(dir_.List(), Not(Contains("model.ckpt-2.meta")));
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(dir_.List(), Contains("model.ckpt-2.meta"));
}

TEST_F(BestCheckpointHookTest, ADiskThatStandsStillIsAFailedSave) {
  SlowFileOps disk(".data-");
  options_.save_patience_secs = 0.01;
  auto run = MakeRun(/*save_steps=*/1, /*async=*/true, First::kBest);
  disk.Stop();
  // Not among the best; the other hook begins to save it.
  Train(*run, {kInfinity});
  LogCapture log;

  // Nobody lets the disk go on.
  Train(*run, {3});

  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("step 2, which is among the best"),
                             HasSubstr("still being written"))));
  disk.GoOn();
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(BestCheckpointHookTest, AnotherModelOfTheStepDoesNotGetItsMetrics) {
  options_.keep = 2;
  auto run = MakeRun();
  Train(*run, {3, 1});
  ASSERT_THAT(Saver::SetMetrics(Prefix(2), {{"accuracy", 0.9}}), IsOk());

  // Training is taken back, and comes to step 2 by another way.
  ASSERT_THAT(run->options().scaffold->saver()->Restore(
                  run->session().raw_session(), Prefix(1)),
              IsOk());
  Train(*run, {0.5f});

  EXPECT_THAT(Saver::Metrics(Prefix(2)), ElementsAre(Pair("loss", 0.5)));
  EXPECT_THAT(run->Close(), IsOk());
  EXPECT_THAT(Saver::Metrics(Prefix(2)), ElementsAre(Pair("loss", 0.5)));
}

TEST_F(BestCheckpointHookTest, TheRestoredModelGetsWhatIsMeasuredAtItsStep) {
  {
    auto run = MakeRun();
    Train(*run, {3});
    EXPECT_THAT(run->Close(), IsOk());
  }
  ASSERT_THAT(Saver::SetMetrics(Prefix(1), {{"accuracy", 0.9}}), IsOk());
  auto run = MakeRun();

  // A step that trains nothing.
  EXPECT_THAT(run->Train(1, {{"x:0", 2.0f}}, "pair"), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Saver::Metrics(Prefix(1)),
              ElementsAre(Pair("accuracy", 0.9), Pair("loss", 2)));
}

TEST_F(BestCheckpointHookTest, ACheckpointOfTheStepThatIsGoneIsSavedAnew) {
  auto run = MakeRun();
  Train(*run, {3});
  ASSERT_THAT(RemoveFile(Prefix(1) + ".index"), IsOk());

  EXPECT_THAT(run->Train(1, {{"x:0", 2.0f}}, "pair"), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(1)));
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(BestCheckpointHookTest, GetsAlongWithSavesInTheBackground) {
  auto run = MakeRun(/*save_steps=*/2, /*async=*/true);

  Train(*run, {3, 2, 1, 4, 5, 6, 7});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(7, 3));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(3)));
}

TEST_F(BestCheckpointHookTest, TakesTheCheckpointThatIsBeingWritten) {
  SlowFileOps disk(".data-");
  auto run = MakeRun(/*save_steps=*/2, /*async=*/true);
  Train(*run, {3});
  disk.Stop();

  std::thread training([&] { Train(*run, {2}); });
  disk.AwaitWriter();
  disk.GoOn();
  training.join();

  EXPECT_THAT(Saver::Metrics(Prefix(2)), ElementsAre(Pair("loss", 2)));
  // As above, it was not written a second time.
  EXPECT_THAT(dir_.List(), Contains("model.ckpt-2.data-00000-of-00001"));
  EXPECT_THAT(run->Close(), IsOk());
}

TEST_F(BestCheckpointHookTest, KeepsWhatOthersHaveMeasured) {
  options_.tensor.clear();
  auto run = MakeRun(/*save_steps=*/1);

  Train(*run, {0});
  ASSERT_THAT(Saver::SetMetrics(Prefix(1), {{"loss", 0.5}}), IsOk());
  Train(*run, {0, 0, 0});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(4, 1));
}

TEST_F(BestCheckpointHookTest, OfASourceThePresentStepCounts) {
  options_.tensor.clear();
  std::optional<Measurement> measured;
  options_.source = [&] { return measured; };
  auto run = MakeRun();

  Train(*run, {0});
  measured = Measurement{1, 0.1};  // told late
  Train(*run, {0});
  measured = Measurement{3, 0.5};
  Train(*run, {0, 0});
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(4, 3));
}

TEST_F(BestCheckpointHookTest, AtTheEndTooOnlyThePresentStepCounts) {
  options_.tensor.clear();
  std::optional<Measurement> measured;
  options_.source = [&] { return measured; };
  auto run = MakeRun();
  Train(*run, {0, 0});

  measured = Measurement{1, 0.1};
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(std::nullopt));
}

TEST_F(BestCheckpointHookTest, NothingRejectedIsKeptAtTheEnd) {
  options_.tensor.clear();
  std::optional<Measurement> measured;
  options_.source = [&] { return measured; };
  judge_.judge = [](SessionRunContext&, const SessionRunValues&) {
    return StepVerdict::kBad;
  };
  auto run = MakeRun();
  Train(*run, {0, 0});

  measured = Measurement{2, 0.1};
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(std::nullopt));
}

TEST_F(BestCheckpointHookTest, AFolderWithoutTheMetricHasNoBest) {
  auto run = MakeRun();
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(std::nullopt));
  EXPECT_THAT(BestCheckpoint(dir_ / "missing", "loss"),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(BestCheckpointHookTest, WarnsWhereNothingHadTheMetric) {
  options_.tensor.clear();
  for (const bool is_measured : {false, true}) {
    auto run = MakeRun(/*save_steps=*/1);
    Train(*run, {0, 0});
    ASSERT_THAT(is_measured ? Saver::SetMetrics(Prefix(4), {{"loss", 1}})
                            : Saver::SetMetrics(Prefix(2), {{"los", 1}}),
                IsOk());
    LogCapture log;
    EXPECT_THAT(run->Close(), IsOk());

    EXPECT_THAT(log.lines(),
                Contains(AllOf(HasSubstr("WARNING: "),
                               HasSubstr("has the metric \"loss\"")))
                    .Times(is_measured ? 0 : 1));
    EXPECT_THAT(log.lines(), Contains(EndsWith("the metrics there are: los"))
                                 .Times(is_measured ? 0 : 1));
  }
}

TEST_F(BestCheckpointHookTest, AFullDiskCostsACheckpointAndNoTraining) {
  // reliability R14
  const auto hook = std::make_shared<BestCheckpointHook>(options_);
  HookDriver run({hook}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  Train(run, {3});
  LogCapture log;
  {
    FaultyFileOps disk;
    disk.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
    Train(run, {1, 1});
  }

  // As soon as there is room again, better is what beats what was kept.
  Train(run, {2});
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_EQ(hook->saves_failed(), 2);
  EXPECT_THAT(
      log.lines(),
      Contains(AllOf(HasSubstr("WARNING: "), HasSubstr("of step 2"))).Times(1));
  EXPECT_THAT(BestCheckpoint(dir_.path(), "loss"), IsOkAndHolds(Prefix(4)));
}

TEST_F(BestCheckpointHookTest, BadOptionsComeOutOfCreate) {
  const auto bad = [this](auto change, const char* message) {
    BestCheckpointHook::Options options = options_;
    change(&options);
    EXPECT_THAT(
        HookDriver({std::make_shared<BestCheckpointHook>(options)}).Open(),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  bad([](auto* o) { o->checkpoint_dir.clear(); }, "checkpoint_dir is empty");
  bad([](auto* o) { o->keep = 0; }, "keep is \"0\"");
  bad([](auto* o) { o->save_patience_secs = -1; }, "save_patience_secs");
  bad([](auto* o) { o->tensor = "los"; }, "\"los\"");
  bad([](auto* o) { o->metric = "\xff"; }, "no UTF-8");
  bad([](auto* o) { o->source = [] { return std::nullopt; }; },
      "both of tensor and source");
  bad(
      [](auto* o) {
        o->tensor.clear();
        o->metric.clear();
      },
      "neither metric nor tensor");
}

TEST_F(BestCheckpointHookTest, TheTensorGivesTheMetricItsName) {
  HookDriver run({KeepBestCheckpoints(dir_.path(), "constant:0")});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(BestCheckpoint(dir_.path(), "constant:0"),
              IsOkAndHolds(Prefix(1)));
}

}  // namespace
}  // namespace tftrain

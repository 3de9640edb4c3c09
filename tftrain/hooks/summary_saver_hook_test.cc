// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/summary_saver_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Runs that write the summary of w, which no step changes before it is read.
class SummarySaverHookTest : public ::testing::Test {
 protected:
  SummarySaverHookTest() {
    options_.save_steps = 8;
    options_.output_dir = dir_.path();
    options_.summary_op = {"constant_summary:0"};
    options_.clock = &clock_;
  }

  // A CountingGraph with summaries of constants.
  GraphPtr MakeGraph() {
    GraphPtr graph = CountingGraph();
    const tensorflow::Scope scope = graph->scope();
    for (const std::string name : {"constant", "other"}) {
      tensorflow::ops::ScalarSummary(scope.WithOpName(name + "_summary"), name,
                                     tensorflow::ops::Const(scope, 1.5f));
    }
    EXPECT_THAT(graph->status(), IsOk());
    return graph;
  }

  HookDriver MakeRun(std::vector<HookPtr> more = {}) {
    std::vector<HookPtr> hooks = {std::make_shared<SummarySaverHook>(options_)};
    hooks.insert(hooks.end(), more.begin(), more.end());
    return HookDriver(hooks, "", MakeGraph());
  }

  std::vector<std::string> Live(int runs, absl::Duration step_time,
                                const Feeds& feeds = {}) {
    HookDriver run = MakeRun();
    run.AfterEachRun([this, step_time] { clock_.Advance(step_time); });
    EXPECT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
    return Events();
  }

  std::vector<std::string> Events() {
    std::vector<std::string> events;
    for (const std::string& name : dir_.List()) {
      const std::vector<std::string> some = Describe(dir_ / name);
      events.insert(events.end(), some.begin(), some.end());
    }
    return events;
  }

  const TempDir dir_;
  FakeClock clock_;
  SummarySaverHook::Options options_;
};

TEST_F(SummarySaverHookTest, RecordsTheFirstStepAndEveryEighthAfterIt) {
  // SSH-02, SSH-03, SSH-04, SSH-07
  EXPECT_THAT(Live(30, absl::ZeroDuration()),
              ElementsAre("START()@1", "constant=1.5@1", "constant=1.5@9",
                          "constant=1.5@17", "constant=1.5@25"));
}

TEST_F(SummarySaverHookTest, RecordsEachStepThatTakesAsLongAsTheCadence) {
  // SSH-05
  options_.save_steps.reset();
  options_.save_secs = 0.5;
  EXPECT_THAT(Live(4, absl::Seconds(0.5)),
              ElementsAre("START()@1", "constant=1.5@1", "constant=1.5@2",
                          "constant=1.5@3", "constant=1.5@4"));
}

TEST_F(SummarySaverHookTest, RecordsAtTheFirstStepAfterSoManySeconds) {
  // SSH-05
  options_.save_steps.reset();
  options_.save_secs = 9;
  EXPECT_THAT(Live(8, absl::Seconds(3.1)),
              ElementsAre("START()@1", "constant=1.5@1", "constant=1.5@4",
                          "constant=1.5@7"));
}

TEST_F(SummarySaverHookTest, EachTensorOfAListIsAnEvent) {
  // SSH-06
  options_.summary_op = {"constant_summary:0", "other_summary:0"};
  EXPECT_THAT(Live(9, absl::ZeroDuration()),
              ElementsAre("START()@1", "constant=1.5@1", "other=1.5@1",
                          "constant=1.5@9", "other=1.5@9"));
}

TEST_F(SummarySaverHookTest, StepsThatJumpRecordWhereTheyLand) {
  // SSH-08: the step is the one after the run.
  EXPECT_THAT(Live(6, absl::ZeroDuration(), {{"increment:0", 4}}),
              ElementsAre("START()@4", "constant=1.5@4", "constant=1.5@16"));
}

TEST_F(SummarySaverHookTest, TakesTheSummariesOfTheScaffold) {
  // SSH-01: the scaffold merges the collection, which holds w's alone.
  options_.summary_op.clear();
  options_.scaffold = std::make_shared<Scaffold>();
  HookDriver run = MakeRun();
  run.options().scaffold = options_.scaffold;
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.session().Run(Fetch<float>("constant:0")), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("START()", "w=0"));
}

TEST_F(SummarySaverHookTest, AScaffoldWithoutSummariesWritesTheStartOnly) {
  // SSH-10
  options_.summary_op.clear();
  options_.scaffold = std::make_shared<Scaffold>();
  LogCapture log;
  EXPECT_THAT(Live(9, absl::ZeroDuration()), ElementsAre("START()@1"));
  EXPECT_THAT(log.lines(), Contains(HasSubstr("No summaries are written")));
}

TEST_F(SummarySaverHookTest, WithNowhereToWriteItFetchesNothing) {
  // SSH-09: the placeholder is never missed.
  options_.output_dir = "";
  options_.summary_op = {"x_summary:0"};
  LogCapture log;
  EXPECT_THAT(Live(2, absl::ZeroDuration()), IsEmpty());
  EXPECT_THAT(log.lines(), Contains(HasSubstr("output_dir")));
}

TEST_F(SummarySaverHookTest, WritesToTheWriterItIsGiven) {
  // SSH-01
  EventFileWriter::Options options;
  options.logdir = dir_.path();
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  options_.summary_writer = *writer;
  options_.output_dir = "/nowhere";
  EXPECT_THAT(Live(1, absl::ZeroDuration()),
              ElementsAre("START()@1", "constant=1.5@1"));
  EXPECT_FALSE((*writer)->closed());
}

TEST_F(SummarySaverHookTest, AFailedFirstStepLeavesTheNextOneTheFirst) {
  std::vector<std::string> calls;
  auto failing = std::make_shared<RecordingHook>("F", &calls);
  failing->FailIn("BeforeRun", absl::InternalError("injected"));
  HookDriver run = MakeRun({failing});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("START()@1", "constant=1.5@1"));
}

TEST_F(SummarySaverHookTest, EachSessionBeginsWithItsStart) {
  // users.md row 60
  Live(1, absl::ZeroDuration());
  EXPECT_THAT(Live(1, absl::ZeroDuration()),
              ElementsAre("START()@1", "constant=1.5@1", "START()@1",
                          "constant=1.5@1"));
}

TEST_F(SummarySaverHookTest, SoDoesASecondOneOfTheSameHook) {
  // SSH-07
  const auto hook = std::make_shared<SummarySaverHook>(options_);
  for (int session = 0; session < 2; ++session) {
    HookDriver run({hook}, "", MakeGraph());
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(1), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  EXPECT_THAT(Events(), ElementsAre("START()@1", "constant=1.5@1", "START()@1",
                                    "constant=1.5@1"));
}

TEST_F(SummarySaverHookTest, WritesWhatItHasAfterAnError) {
  // users.md V3; reliability R14
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(9), IsOk());
  EXPECT_THAT(run.Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));

  EXPECT_THAT(Events(),
              ElementsAre("START()@1", "constant=1.5@1", "constant=1.5@9"));
}

TEST_F(SummarySaverHookTest, WaitsForAStepThatFeedsWhatItNeeds) {
  // users.md row 42
  options_.summary_op = {"x_summary:0"};
  options_.save_steps = 1;
  LogCapture log;
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}}), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", 4.0f}}), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("START()@1", "x=1@1", "x=4@4"));
  EXPECT_THAT(log.lines(), Contains(HasSubstr("feeds or reads x")).Times(1));
}

TEST_F(SummarySaverHookTest, AskedForWhatNobodyFeedsTheStepFails) {
  // Python: as there, the runtime tells what is missing.
  options_.summary_op = {"x_summary:0"};
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'x'")));
}

TEST_F(SummarySaverHookTest, TakesNoBatchAwayFromTraining) {
  // users.md V7, row 44
  options_.summary_op = {"next_summary:0"};
  options_.save_steps = 1;
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.session().raw_session().Run(Target("fill")), IsOk());
  EXPECT_THAT(run.Train(2, {}, "train_next"), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_THAT(run.Train(1, {}, "train_next"), IsOk());

  EXPECT_THAT(run.session().raw_session().Run(Fetch<int32_t>("left:0")),
              IsOkAndHolds(97));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(Events(),
              ElementsAre("START()@1", "next=0@1", "next=1@2", "next=2@6"));
}

TEST_F(SummarySaverHookTest, RefusesBadOptions) {
  // SSH-01
  const auto open = [this] { return MakeRun().Open(); };

  options_.scaffold = std::make_shared<Scaffold>();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("both of scaffold")));
  options_.scaffold.reset();
  options_.save_secs = 1;
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("both of every_secs")));
  options_.save_secs.reset();
  options_.save_steps.reset();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("neither of every_secs")));
  options_.save_steps = 1;
  options_.summary_op = {"missing:0"};
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("missing")));
  options_.summary_op.clear();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("neither of scaffold")));
}

TEST_F(SummarySaverHookTest, RefusesATensorThatIsNoSummary) {
  options_.summary_op = {"constant:0"};
  EXPECT_THAT(MakeRun().Open(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(SummarySaverHookTest, NeedsAGlobalStep) {
  // SSH-02
  HookDriver run({std::make_shared<SummarySaverHook>(options_)}, "",
                 Graph::Create());
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/step_counter_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;

// A run in which each step takes a quarter of a second.
class StepCounterHookTest : public ::testing::Test {
 protected:
  StepCounterHookTest() { options_.clock = &clock_; }

  // Records into the folder by way of a writer that the test keeps.
  void MakeWriter() {
    EventFileWriter::Options options;
    options.logdir = dir_.path();
    absl::StatusOr<std::shared_ptr<EventFileWriter>> writer =
        EventFileWriter::Create(options);
    ASSERT_THAT(writer, IsOk());
    options_.summary_writer = *writer;
  }

  std::vector<std::string> Train(int runs, const Feeds& feeds = {}) {
    MakeWriter();
    HookDriver run({std::make_shared<StepCounterHook>(options_)});
    run.AfterEachRun([this] { clock_.Advance(absl::Milliseconds(250)); });
    EXPECT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
    return Written();
  }

  std::vector<std::string> Written() {
    EXPECT_THAT(options_.summary_writer->Flush(), IsOk());
    const std::string path = options_.summary_writer->path();
    return path.empty() ? std::vector<std::string>() : Describe(path);
  }

  const TempDir dir_;
  FakeClock clock_;
  StepCounterHook::Options options_;
};

TEST_F(StepCounterHookTest, FirstTriggerOnlyStartsTheClock) {
  // SCH-03, SCH-05
  options_.every_n_steps = 10;
  LogCapture log;
  EXPECT_THAT(Train(30),
              ElementsAre("global_step/sec=4@11", "global_step/sec=4@21"));
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(),
                Contains(HasSubstr("global_step/sec: 4")).Times(2));
  }
}

TEST_F(StepCounterHookTest, RecordsEveryHundredStepsByDefault) {
  // SCH-01
  EXPECT_THAT(Train(210),
              ElementsAre("global_step/sec=4@101", "global_step/sec=4@201"));
}

TEST_F(StepCounterHookTest, RecordsAtTheFirstStepAfterSoManySeconds) {
  // SCH-04
  options_.every_n_steps.reset();
  options_.every_n_secs = 0.6;
  EXPECT_THAT(Train(8),
              ElementsAre("global_step/sec=4@4", "global_step/sec=4@7"));
}

TEST_F(StepCounterHookTest, StepsThatJumpAreJudgedByWhereTheyLand) {
  // SCH-06
  options_.every_n_steps = 10;
  EXPECT_THAT(Train(6, {{"increment:0", 4}}),
              ElementsAre("global_step/sec=16@16"));
}

TEST_F(StepCounterHookTest, StepsLongerThanTheCadenceAreAllRecorded) {
  // SCH-06
  options_.every_n_steps = 3;
  EXPECT_THAT(Train(3, {{"increment:0", 4}}),
              ElementsAre("global_step/sec=16@8", "global_step/sec=16@12"));
}

TEST_F(StepCounterHookTest, AClockThatStandsStillRecordsNothing) {
  // SCH-08
  options_.every_n_steps = 1;
  MakeWriter();
  HookDriver run({std::make_shared<StepCounterHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(5), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Written(), IsEmpty());
}

TEST_F(StepCounterHookTest, WithoutAWriterItOnlyLogs) {
  // SCH-05
  if (!LogCapture::HoldsInfo()) GTEST_SKIP() << "INFO is not logged";
  options_.every_n_steps = 2;
  LogCapture log;
  HookDriver run({std::make_shared<StepCounterHook>(options_)});
  run.AfterEachRun([this] { clock_.Advance(absl::Milliseconds(250)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(log.lines(), Contains("INFO: global_step/sec: 4"));
  EXPECT_THAT(dir_.List(), IsEmpty());
}

TEST_F(StepCounterHookTest, LetsGoOfItsWriterAtTheEnd) {
  // SCH-09: nobody else holds the folder's writer, so it is closed.
  options_.every_n_steps = 1;
  options_.output_dir = dir_.path();
  const auto hook = std::make_shared<StepCounterHook>(options_);
  HookDriver run({hook});
  run.AfterEachRun([this] { clock_.Advance(absl::Milliseconds(250)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  ASSERT_EQ(dir_.List().size(), 1u);
  EXPECT_THAT(Describe(dir_ / dir_.List().front()),
              ElementsAre("global_step/sec=4@2"));
}

TEST_F(StepCounterHookTest, LetsGoOfItsWriterAfterAnError) {
  options_.every_n_steps = 1;
  options_.output_dir = dir_.path();
  const auto hook = std::make_shared<StepCounterHook>(options_);
  HookDriver run({hook});
  run.AfterEachRun([this] { clock_.Advance(absl::Milliseconds(250)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));

  ASSERT_EQ(dir_.List().size(), 1u);
  EXPECT_THAT(Describe(dir_ / dir_.List().front()),
              ElementsAre("global_step/sec=4@2"));
}

TEST_F(StepCounterHookTest, ASecondSessionStartsTheClockAnew) {
  options_.every_n_steps = 2;
  MakeWriter();
  const auto hook = std::make_shared<StepCounterHook>(options_);
  for (int session = 0; session < 2; ++session) {
    HookDriver run({hook});
    run.AfterEachRun([this] { clock_.Advance(absl::Milliseconds(250)); });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(3), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
    clock_.Advance(absl::Hours(1));
  }

  EXPECT_THAT(Written(),
              ElementsAre("global_step/sec=4@3", "global_step/sec=4@3"));
}

TEST_F(StepCounterHookTest, WarnsAtMostFiveTimesThatTheStepStandsStill) {
  // SCH-07; users.md row 51: only runs that train are judged.
  const auto warnings = [](const LogCapture& log) {
    const std::vector<std::string> lines = log.lines();
    return std::count_if(
        lines.begin(), lines.end(), [](const std::string& line) {
          return absl::StrContains(line, "global step is still");
        });
  };
  LogCapture log;
  HookDriver run({std::make_shared<StepCounterHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(3), IsOk());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(run.session().Run(Fetch<float>("w_value:0")), IsOk());
  }
  EXPECT_EQ(warnings(log), 0) << "evaluations need not train";

  EXPECT_THAT(run.Train(2, {{"increment:0", 0}}), IsOk());
  EXPECT_THAT(warnings(log), AllOf(Ge(1), Le(2)));
  EXPECT_THAT(run.Train(9, {{"increment:0", 0}}), IsOk());
  EXPECT_EQ(warnings(log), 5);

  // Nor does another hook say more.
  HookDriver other({std::make_shared<StepCounterHook>(options_)});
  ASSERT_THAT(other.Open(), IsOk());
  EXPECT_THAT(other.Train(5, {{"increment:0", 0}}), IsOk());
  EXPECT_EQ(warnings(log), 5);
}

TEST_F(StepCounterHookTest, RefusesBadOptions) {
  // SCH-01
  options_.every_n_secs = 1;
  HookDriver both({std::make_shared<StepCounterHook>(options_)});
  EXPECT_THAT(both.Open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));

  HookDriver neither({CountSteps(dir_.path(), Every())});
  EXPECT_THAT(neither.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("neither")));
}

TEST_F(StepCounterHookTest, NeedsAGlobalStep) {
  HookDriver run({CountSteps(dir_.path())}, "", Graph::Create());
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/logging_tensor_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Runs that log into a list, with the number of the run: "1: constant = 1.5".
// What would go to the log goes through the formatter, as tests may not depend
// on the log's level.
class LoggingTensorHookTest : public ::testing::Test {
 protected:
  LoggingTensorHookTest() {
    options_.tensors = {{"c", "constant:0"}};
    options_.clock = &clock_;
    options_.formatter = [this](const LoggedValues& values) {
      std::string line = absl::StrCat(run_, ":");
      for (const LoggedValues::Item& item : values.items) {
        absl::StrAppend(&line, " ", item.tag);
      }
      lines_.push_back(line);
      last_ = {values.global_step, values.elapsed_secs, values.elapsed_steps};
      return line;
    };
  }

  HookDriver MakeRun() {
    HookDriver run({std::make_shared<LoggingTensorHook>(options_)});
    run.AfterEachRun([this] {
      ++run_;
      clock_.Advance(absl::Seconds(1));
    });
    return run;
  }

  std::vector<std::string> Live(int runs, const Feeds& feeds = {}) {
    HookDriver run = MakeRun();
    EXPECT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
    return lines_;
  }

  struct Last {
    std::optional<int64_t> global_step;
    std::optional<double> elapsed_secs;
    std::optional<int64_t> elapsed_steps;
  };

  FakeClock clock_;
  LoggingTensorHook::Options options_;
  int run_ = 1;
  std::vector<std::string> lines_;
  Last last_;
};

TEST_F(LoggingTensorHookTest, LogsTheFirstRunAndEveryTenthAfterIt) {
  // LTH-04
  options_.every_n_iter = 10;
  EXPECT_THAT(Live(25), ElementsAre("1: c", "11: c", "21: c"));
}

TEST_F(LoggingTensorHookTest, CountsRunsAndNotGlobalSteps) {
  // LTH-04
  options_.every_n_iter = 3;
  EXPECT_THAT(Live(7, {{"increment:0", 100}}),
              ElementsAre("1: c", "4: c", "7: c"));
}

TEST_F(LoggingTensorHookTest, AsksForNothingInOtherRuns) {
  // LTH-04: nobody feeds what it logs in runs 2 and 3.
  options_.tensors = {"x:0"};
  options_.every_n_iter = 3;
  options_.waits_for_input = false;
  HookDriver run({std::make_shared<LoggingTensorHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}}), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}}), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
}

TEST_F(LoggingTensorHookTest, LogsAtTheFirstRunAfterSoManySeconds) {
  // LTH-09; a run takes a second.
  options_.every_n_secs = 2.5;
  EXPECT_THAT(Live(8), ElementsAre("1: c", "4: c", "7: c"));
}

TEST_F(LoggingTensorHookTest, AtEndAloneLogsNothingBefore) {
  // LTH-06
  options_.at_end = true;
  EXPECT_THAT(Live(3), ElementsAre("4: c"));
  EXPECT_EQ(last_.elapsed_secs, std::nullopt);
}

TEST_F(LoggingTensorHookTest, LogsTheRunsAndTheEnd) {
  // LTH-06
  options_.every_n_iter = 2;
  options_.at_end = true;
  EXPECT_THAT(Live(3), ElementsAre("1: c", "3: c", "4: c"));
}

// LTH-06: in Python the run that went well is an error.
TEST_F(LoggingTensorHookTest, WhatCannotBeLoggedAtTheEndIsAWarning) {
  options_.at_end = true;
  HookDriver run = MakeRun();
  tensorflow::ops::Placeholder(run.graph()->scope().WithOpName("constant_fed"),
                               tensorflow::DT_FLOAT);
  options_.tensors = {{"fed", "constant_fed:0"}};
  run.options().hooks = {std::make_shared<LoggingTensorHook>(options_)};
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());

  LogCapture log;
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("not logged"), HasSubstr("must feed"))));
}

TEST_F(LoggingTensorHookTest, TheRunAtTheEndHasNoHooks) {
  // LTH-06
  options_.at_end = true;
  std::vector<std::string> calls;
  HookDriver run({std::make_shared<RecordingHook>("A", &calls),
                  std::make_shared<LoggingTensorHook>(options_),
                  std::make_shared<RecordingHook>("B", &calls)});
  ASSERT_THAT(run.Open(), IsOk());
  calls.clear();

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_EQ(lines_.size(), 1u);
  EXPECT_THAT(calls, ElementsAre("A.End", "B.End"));
}

TEST_F(LoggingTensorHookTest, LogsNothingAtTheEndAfterAnError) {
  options_.at_end = true;
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(LoggingTensorHookTest, TheFormatterLearnsStepAndTime) {
  // LTH-07; users.md row 49
  options_.every_n_iter = 10;
  Live(1);
  EXPECT_EQ(last_.global_step, 1);
  EXPECT_EQ(last_.elapsed_secs, std::nullopt);
  EXPECT_EQ(last_.elapsed_steps, std::nullopt);
  Live(11);
  EXPECT_EQ(last_.global_step, 11);
  EXPECT_EQ(last_.elapsed_secs, 10.0);
  EXPECT_EQ(last_.elapsed_steps, 10);
}

TEST_F(LoggingTensorHookTest, TheUsualTextHoldsTagsValuesAndTime) {
  // LTH-02, LTH-05, LTH-08
  if (!LogCapture::HoldsInfo()) GTEST_SKIP() << "INFO is not logged";
  options_.formatter = nullptr;
  options_.every_n_iter = 10;
  options_.tensors =
      TaggedTensors({{"step", "increment:0"}, {"constant", "constant"}});
  LogCapture log;
  Live(11);
  EXPECT_THAT(log.lines(), Contains("INFO: constant = 1.5, step = 1"));
  EXPECT_THAT(log.lines(),
              Contains("INFO: constant = 1.5, step = 1 (10.000 sec)"));
}

TEST_F(LoggingTensorHookTest, AListKeepsItsOrderAndNamesAreTags) {
  // LTH-02
  options_.every_n_iter = 1;
  options_.tensors = {"w_value:0", {"c", "constant:0"}, "increment"};
  EXPECT_THAT(Live(1), ElementsAre("1: w_value:0 c increment"));
}

TEST_F(LoggingTensorHookTest, ASecondSessionLogsItsFirstRun) {
  // LTH-03
  options_.every_n_iter = 10;
  const auto hook = std::make_shared<LoggingTensorHook>(options_);
  for (int session = 0; session < 2; ++session) {
    HookDriver run({hook});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(2), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }
  EXPECT_THAT(lines_, ElementsAre("1: c", "1: c"));
}

TEST_F(LoggingTensorHookTest, WaitsForARunThatFeedsWhatItNeeds) {
  // users.md row 42
  options_.every_n_iter = 2;
  options_.tensors = {"x:0"};
  HookDriver run = MakeRun();
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2, {{"x:0", 1.0f}}), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}}), IsOk());
  EXPECT_THAT(lines_, ElementsAre("1: x:0", "5: x:0"));
}

TEST_F(LoggingTensorHookTest, ResolvesNamesAtTheStart) {
  // LTH-03
  options_.every_n_iter = 1;
  const auto open = [this](const std::string& name) {
    options_.tensors = {name};
    return MakeRun().Open();
  };
  EXPECT_THAT(open("constant"), IsOk());
  EXPECT_THAT(open("pair:1"), IsOk());
  EXPECT_THAT(open("pair"), StatusIs(absl::StatusCode::kInvalidArgument,
                                     HasSubstr("2 outputs")));
  EXPECT_THAT(open("train"), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("no value")));
  EXPECT_THAT(open("missing"), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("\"missing\"")));
  EXPECT_THAT(open("pair:2"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pair")));
}

TEST_F(LoggingTensorHookTest, RefusesBadOptions) {
  // LTH-01
  const auto open = [this] { return MakeRun().Open(); };
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("none of")));
  options_.every_n_iter = 0;
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("every_n_iter is \"0\"")));
  options_.every_n_secs = 1;
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));
  options_.at_end = true;
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));
  options_.every_n_iter.reset();
  options_.tensors.clear();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("no tensors")));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/progress_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::HasSubstr;

// Keeps what it is to show.
class TextSink : public ProgressSink {
 public:
  void Write(std::string_view written) override { text.append(written); }
  bool is_terminal() const override { return terminal; }
  int width() const override { return columns; }
  bool has_color() const override { return color; }

  bool terminal = false;
  int columns = 60;
  bool color = false;
  std::string text;
};

// Each save takes five seconds.
class SlowSave : public CheckpointSaverListener {
 public:
  explicit SlowSave(FakeClock* clock) : clock_(clock) {}
  absl::Status BeforeSave(Session&, int64_t) override {
    clock_->Advance(absl::Seconds(5));
    return absl::OkStatus();
  }

 private:
  FakeClock* const clock_;
};

// A run in which each step takes half a second.
class ProgressHookTest : public ::testing::Test {
 protected:
  ProgressHookTest() {
    options_.clock = &clock_;
    options_.sink = sink_;
    options_.every = Every::Steps(2);
  }

  std::unique_ptr<HookDriver> MakeRun(std::vector<HookPtr> others = {}) {
    others.push_back(std::make_shared<ProgressHook>(options_));
    auto run = std::make_unique<HookDriver>(std::move(others));
    run->AfterEachRun([this] { clock_.Advance(absl::Milliseconds(500)); });
    EXPECT_THAT(run->Open(), IsOk());
    return run;
  }

  FakeClock clock_;
  std::shared_ptr<TextSink> sink_ = std::make_shared<TextSink>();
  ProgressHook::Options options_;
};

TEST_F(ProgressHookTest, WritesLinesWhereThereIsNoTerminal) {
  options_.last_step = 200;
  options_.tensors = {{"c", "constant"}};
  auto run = MakeRun();

  EXPECT_THAT(run->Train(4), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_EQ(sink_->text,
            "step 1 of 200 (0%), c = 1.5\n"
            "step 3 of 200 (1%), 2 steps/s, 1:39 left, c = 1.5\n"
            "step 4 of 200 (2%), 2 steps/s, 1:38 left\n");
}

TEST_F(ProgressHookTest, TheLastStepShowsItsTensorsToo) {
  options_.last_step = 4;
  options_.tensors = {{"c", "constant"}};
  auto run = MakeRun();

  EXPECT_THAT(run->Train(4), IsOk());

  EXPECT_THAT(sink_->text,
              ::testing::EndsWith("step 4 of 4 (100%), 2 steps/s, c = 1.5\n"));
}

TEST_F(ProgressHookTest, WithoutALastStepThereIsNoTimeLeft) {
  auto run = MakeRun();

  EXPECT_THAT(run->Train(3), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_EQ(sink_->text, "step 1\nstep 3, 2 steps/s\n");
}

TEST_F(ProgressHookTest, DrawsABarOverItselfOnATerminal) {
  sink_->terminal = true;
  options_.last_step = 4;
  auto run = MakeRun();

  EXPECT_THAT(run->Train(4), IsOk());
  EXPECT_THAT(run->Close(), IsOk());

  EXPECT_EQ(sink_->text,
            " 25% [#######-----------------------] 1/4\r"
            " 75% [###################-------] 3/4, 2 steps/s, 0:01 left\r"
            "100% [##############################] 4/4, 2 steps/s       \r\n");
}

TEST_F(ProgressHookTest, ColorsTheBarWhereColorsAreWanted) {
  sink_->terminal = true;
  sink_->color = true;
  options_.last_step = 2;
  auto run = MakeRun();

  EXPECT_THAT(run->Train(1), IsOk());

  EXPECT_EQ(sink_->text,
            " 50% [\x1b[32m###############\x1b[0m---------------] 1/2\r");
}

TEST_F(ProgressHookTest, KeepsToTheWidthOfTheTerminal) {
  sink_->terminal = true;
  options_.last_step = 4;
  // A letter and an accented one.
  options_.tensors = {{"c\xC3\xA9", "constant"}};

  sink_->columns = 28;
  auto run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_EQ(sink_->text, " 25% [#----] 1/4, c\xC3\xA9 = 1.5\r");

  // No room for a bar, nor for half of a character.
  run.reset();
  sink_->text.clear();
  sink_->columns = 13;
  run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_EQ(sink_->text, " 25% 1/4, c\r");
}

TEST_F(ProgressHookTest, ABarIsNeverLeftOpen) {
  sink_->terminal = true;
  options_.last_step = 4;
  auto run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());

  EXPECT_THAT(run->Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));

  EXPECT_THAT(sink_->text, ::testing::EndsWith("1/4\r\n"));
}

TEST_F(ProgressHookTest, TheRateIsThatOfTrainingAlone) {
  // users.md row 52
  const TempDir dir;
  CheckpointSaverHook::Options saves;
  saves.checkpoint_dir = dir.path();
  saves.save_steps = 1;
  saves.clock = &clock_;
  saves.listeners = {std::make_shared<SlowSave>(&clock_)};
  auto run = MakeRun({std::make_shared<CheckpointSaverHook>(saves)});

  EXPECT_THAT(run->Train(3), IsOk());

  EXPECT_THAT(sink_->text, HasSubstr("step 3, 2 steps/s\n"));
}

TEST_F(ProgressHookTest, StepsThatComeAgainDoNotCountBackwards) {
  auto run = MakeRun();
  EXPECT_THAT(run->Train(2), IsOk());

  EXPECT_THAT(run->Train(1, {{"increment:0", -2}}), IsOk());

  EXPECT_THAT(sink_->text, HasSubstr("step 0, 1 steps/s\n"));
}

TEST_F(ProgressHookTest, ShowsABarTwiceASecondAndLinesTwiceAMinute) {
  options_.every.reset();
  {
    auto run = MakeRun();
    EXPECT_THAT(run->Train(61), IsOk());
    EXPECT_EQ(sink_->text, "step 1\nstep 61, 2 steps/s\n");
  }
  sink_->text.clear();
  sink_->terminal = true;
  auto run = MakeRun();
  EXPECT_THAT(run->Train(2), IsOk());
  EXPECT_EQ(sink_->text, "step 1\rstep 2, 2 steps/s\r");
}

TEST_F(ProgressHookTest, TheStyleCanBeChosen) {
  options_.style = ProgressHook::Style::kBar;
  auto run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_EQ(sink_->text, "step 1\r");

  run.reset();
  sink_->text.clear();
  sink_->terminal = true;
  options_.style = ProgressHook::Style::kLines;
  run = MakeRun();
  EXPECT_THAT(run->Train(1), IsOk());
  EXPECT_EQ(sink_->text, "step 1\n");
}

TEST_F(ProgressHookTest, BadOptionsComeOutOfCreate) {
  EXPECT_THAT(HookDriver({ShowProgress(0)}).Open(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("last_step is \"0\"")));
  EXPECT_THAT(HookDriver({ShowProgress(5, {"los"})}).Open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("los")));
}

TEST(ProgressSinkTest, TheErrorStreamOfTestsIsNoTerminalAndHonoursNoColor) {
  ::setenv("TERM", "dumb", /*overwrite=*/1);
  const std::shared_ptr<ProgressSink> sink = ProgressSink::Stderr();
  EXPECT_FALSE(sink->is_terminal());

  ::setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(sink->has_color());
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(sink->has_color());
  ::unsetenv("NO_COLOR");

  ::testing::internal::CaptureStderr();
  sink->Write("step 1\n");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "step 1\n");
}

}  // namespace
}  // namespace tftrain

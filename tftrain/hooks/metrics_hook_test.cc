// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/metrics_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tftrain/base/file.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class MetricsHookTest : public ::testing::Test {
 protected:
  MetricsHookTest() {
    options_.tensors = {{"loss", "x:0"}};
    options_.every = Every::Steps(1);
    options_.clock = &clock_;
  }

  // Trains one step for each loss.
  void Train(HookDriver& run, const std::vector<float>& losses) {
    for (const float loss : losses) {
      EXPECT_THAT(run.Train(1, {{"x:0", loss}}), IsOk());
    }
  }

  // A session of its own, which goes on where the saved one ended.
  void TrainAndSave(const std::vector<float>& losses) {
    hook_ = std::make_shared<MetricsHook>(options_);
    HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1000)), hook_},
                   dir_.path());
    ASSERT_THAT(run.Open(), IsOk());
    Train(run, losses);
    EXPECT_THAT(run.Close(), IsOk());
  }

  // A session that is lost without a save.
  void TrainAndLose(const std::vector<float>& losses) {
    HookDriver run({std::make_shared<MetricsHook>(options_)}, dir_.path());
    ASSERT_THAT(run.Open(), IsOk());
    Train(run, losses);
    EXPECT_THAT(run.Close(absl::InternalError("injected")),
                StatusIs(absl::StatusCode::kInternal));
  }

  std::string Read(const std::string& name) {
    const absl::StatusOr<std::string> text = ReadFile(dir_ / name, 1 << 20);
    EXPECT_THAT(text, IsOk());
    return text.value_or("");
  }

  const TempDir dir_;
  FakeClock clock_;
  MetricsHook::Options options_;
  std::shared_ptr<MetricsHook> hook_;
};

TEST_F(MetricsHookTest, WritesJsonLinesAndCsvAtItsCadence) {
  options_.every = Every::Steps(2);
  options_.json_path = dir_ / "deep/m.jsonl";
  options_.csv_path = dir_ / "m.csv";

  TrainAndSave({0.5f, 0, 0.1f});

  EXPECT_EQ(Read("deep/m.jsonl"),
            "{\"step\":1,\"time\":1000000000.000,\"loss\":0.5}\n"
            "{\"step\":3,\"time\":1000000000.000,\"loss\":0.1}\n");
  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "1,1000000000.000,0.5\n"
            "3,1000000000.000,0.1\n");
  EXPECT_EQ(hook_->stats().written, 4);
  EXPECT_EQ(hook_->stats().lost, 0);
}

TEST_F(MetricsHookTest, KeepsItsCadenceWhereARunIsManySteps) {
  options_.every = Every::Steps(10);
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(3, {{"x:0", 1.0f}, {"increment:0", 10}}), IsOk());

  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "10,1000000000.000,1.0\n"
            "20,1000000000.000,1.0\n"
            "30,1000000000.000,1.0\n");
}

TEST_F(MetricsHookTest, KeepsItsCadenceWhereRunsDiffer) {
  options_.every = Every::Steps(100);
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(run.Train(1, {{"x:0", 1.0f}, {"increment:0", 50}}), IsOk());
    EXPECT_THAT(run.Train(5, {{"x:0", 1.0f}, {"increment:0", 1}}), IsOk());
  }

  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "50,1000000000.000,1.0\n"
            "161,1000000000.000,1.0\n");
}

TEST_F(MetricsHookTest, ValuesThatAreNotFiniteStayReadable) {
  options_.json_path = dir_ / "m.jsonl";
  options_.csv_path = dir_ / "m.csv";

  TrainAndSave({kNan, kInfinity, -kInfinity});

  EXPECT_THAT(Read("m.jsonl"), HasSubstr(",\"loss\":\"NaN\"}\n"));
  EXPECT_THAT(Read("m.jsonl"), HasSubstr(",\"loss\":\"Infinity\"}\n"));
  EXPECT_THAT(Read("m.jsonl"), HasSubstr(",\"loss\":\"-Infinity\"}\n"));
  EXPECT_THAT(Read("m.csv"), HasSubstr(",nan\n2,"));
  EXPECT_THAT(Read("m.csv"), HasSubstr(",inf\n3,"));
  EXPECT_THAT(Read("m.csv"), HasSubstr(",-inf\n"));
}

TEST_F(MetricsHookTest, EscapesNames) {
  options_.tensors = {{"a\"b,\\\t", "constant"}};
  options_.json_path = dir_ / "m.jsonl";
  options_.csv_path = dir_ / "m.csv";

  TrainAndSave({0});

  EXPECT_THAT(Read("m.jsonl"), HasSubstr("\"a\\\"b,\\\\\\u0009\":1.5}"));
  EXPECT_THAT(Read("m.csv"), HasSubstr("step,time,\"a\"\"b,\\\t\"\n1,"));
}

// JSON is UTF-8: one byte that is none would spoil the row for every reader.
TEST_F(MetricsHookTest, NamesThatAreNoUtf8StayReadable) {
  options_.tensors = {{"caf\xe9", "constant"}};
  options_.json_path = dir_ / "m.jsonl";
  options_.csv_path = dir_ / "m.csv";

  TrainAndSave({0});

  EXPECT_THAT(Read("m.jsonl"), HasSubstr("\"caf\uFFFD\":1.5}"));
  EXPECT_THAT(Read("m.csv"), StartsWith("step,time,caf\uFFFD\n1,"));
}

TEST_F(MetricsHookTest, EachRowIsInTheFileAsSoonAsItsStepIsOver) {
  options_.json_path = dir_ / "m.jsonl";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());

  Train(run, {0.5f});
  EXPECT_THAT(Read("m.jsonl"), HasSubstr("\"loss\":0.5}\n"));
  EXPECT_THAT(run.Close(), IsOk());
}

TEST_F(MetricsHookTest, AResumedRunReplacesTheRowsThatComeAgain) {
  // users.md section 4: appended on resume
  options_.json_path = dir_ / "m.jsonl";
  options_.csv_path = dir_ / "m.csv";
  TrainAndSave({1, 2});
  TrainAndLose({3, 4});

  TrainAndSave({5, 6, 7});

  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "1,1000000000.000,1.0\n"
            "2,1000000000.000,2.0\n"
            "3,1000000000.000,5.0\n"
            "4,1000000000.000,6.0\n"
            "5,1000000000.000,7.0\n");
  const std::string json = Read("m.jsonl");
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 5);
  EXPECT_THAT(json, HasSubstr("\"step\":3,\"time\":1000000000.000,"
                              "\"loss\":5.0}\n"));
}

TEST_F(MetricsHookTest, AStepThatComesAgainInOneSessionReplacesWhatFollowed) {
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  Train(run, {1, 2, 3});

  // Training was set back to step 1.
  EXPECT_THAT(run.Train(1, {{"x:0", 9.0f}, {"increment:0", -1}}),
              IsOkAndHolds(ElementsAre(2)));

  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "1,1000000000.000,1.0\n"
            "2,1000000000.000,9.0\n");
}

TEST_F(MetricsHookTest, ARunThatDoesNotTrainWritesNothing) {
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  Train(run, {1, 2});
  FaultyFileOps files;

  EXPECT_THAT(run.session().Run(Fetch<float>("x:0"), {{"x:0", 9.0f}}),
              IsOkAndHolds(9.0f));

  EXPECT_THAT(files.calls(), IsEmpty());
  Train(run, {3});
  EXPECT_EQ(Read("m.csv"),
            "step,time,loss\n"
            "1,1000000000.000,1.0\n"
            "2,1000000000.000,2.0\n"
            "3,1000000000.000,3.0\n");
}

TEST_F(MetricsHookTest, AStepNeverWaitsForAFileToBeOnTheDisk) {
  // Neither one whose row is torn, nor one that comes again.
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  FaultyFileOps files;
  files.LimitWrites(10);
  files.FailCall(2, ENOSPC);
  Train(run, {1});
  files.FailCall(-1, 0);
  Train(run, {2});

  EXPECT_THAT(run.Train(1, {{"x:0", 9.0f}, {"increment:0", -1}}),
              IsOkAndHolds(ElementsAre(1)));

  EXPECT_THAT(files.calls(), Contains("ftruncate").Times(2));
  EXPECT_THAT(files.calls(), Not(Contains(AnyOf("fsync", "rename"))));
  EXPECT_EQ(Read("m.csv"), "step,time,loss\n1,1000000000.000,9.0\n");
}

TEST_F(MetricsHookTest, RepairsALastLineThatIsTorn) {
  options_.json_path = dir_ / "m.jsonl";
  ASSERT_THAT(WriteFileAtomically(options_.json_path,
                                  "# a note of the user\n"
                                  "{\"step\":0,\"time\":1.000,\"loss\":1.0}\n"
                                  "{\"step\":0,\"ti"),
              IsOk());
  ASSERT_EQ(::chmod(options_.json_path.c_str(), 0600), 0);

  TrainAndSave({2});

  EXPECT_EQ(Read("m.jsonl"),
            "# a note of the user\n"
            "{\"step\":0,\"time\":1.000,\"loss\":1.0}\n"
            "{\"step\":1,\"time\":1000000000.000,\"loss\":2.0}\n");
  struct stat stat;
  ASSERT_EQ(::stat(options_.json_path.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0600u);
}

TEST_F(MetricsHookTest, WhatIsNoRowStaysAndWhatGoesIsTold) {
  options_.json_path = dir_ / "m.jsonl";
  ASSERT_THAT(WriteFileAtomically(options_.json_path,
                                  "{\"step\":0,\"loss\":1.0}\n"
                                  "{\"step\":1,\"loss\":2.0}\n"
                                  "# a note of the user\n"
                                  "{\"step\":2,\"loss\":3.0}\n"
                                  "# and another\n"),
              IsOk());

  LogCapture log;
  TrainAndSave({4});

  EXPECT_EQ(Read("m.jsonl"),
            "{\"step\":0,\"loss\":1.0}\n"
            "# a note of the user\n"
            "# and another\n"
            "{\"step\":1,\"time\":1000000000.000,\"loss\":4.0}\n");
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("steps after 0"),
                                            HasSubstr("m.jsonl\": 2"))));
  }
}

TEST_F(MetricsHookTest, AFileThatIsMovedAwayIsBegunAnew) {
  options_.csv_path = dir_ / "m.csv";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  Train(run, {1});

  std::filesystem::rename(dir_ / "m.csv", dir_ / "m.csv.1");
  Train(run, {2});

  EXPECT_EQ(Read("m.csv.1"), "step,time,loss\n1,1000000000.000,1.0\n");
  EXPECT_EQ(Read("m.csv"), "step,time,loss\n2,1000000000.000,2.0\n");
}

TEST_F(MetricsHookTest, TwoHooksDoNotShareAFile) {
  options_.json_path = dir_ / "m.jsonl";
  HookDriver two({std::make_shared<MetricsHook>(options_),
                  std::make_shared<MetricsHook>(options_)});

  EXPECT_THAT(two.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("m.jsonl")));

  TrainAndSave({1});  // The file is free again.
}

TEST_F(MetricsHookTest, AFileWithOtherColumnsIsNotTouched) {
  options_.csv_path = dir_ / "m.csv";
  const std::string other = "step,time,accuracy\n7,1.0,0.5\n";
  ASSERT_THAT(WriteFileAtomically(options_.csv_path, other), IsOk());

  EXPECT_THAT(HookDriver({std::make_shared<MetricsHook>(options_)}).Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("other columns than \"step,time,loss\"")));

  EXPECT_EQ(Read("m.csv"), other);
}

TEST_F(MetricsHookTest, AFailureOfTheDiskIsOneWarningAndACount) {
  options_.json_path = dir_ / "m.jsonl";
  auto hook = std::make_shared<MetricsHook>(options_);
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());
  Train(run, {1});
  LogCapture log;
  {
    FaultyFileOps faults;
    faults.FailCall(0, ENOSPC, FaultyFileOps::Fault::kSticky);
    Train(run, {2, 3});
  }

  Train(run, {4});

  EXPECT_EQ(hook->stats().lost, 2);
  EXPECT_EQ(hook->stats().written, 2);
  int warnings = 0;
  for (const std::string& line : log.lines()) {
    warnings += line.find("Metrics are lost") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(warnings, 1);
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(log.lines(), Contains(HasSubstr("were lost: 2 of 4")));
  EXPECT_EQ(Read("m.jsonl"),
            "{\"step\":1,\"time\":1000000000.000,\"loss\":1.0}\n"
            "{\"step\":4,\"time\":1000000000.000,\"loss\":4.0}\n");
}

TEST_F(MetricsHookTest, ARowThatWasTornByTheDiskIsNotLeftInTheMiddle) {
  options_.json_path = dir_ / "m.jsonl";
  HookDriver run({std::make_shared<MetricsHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  {
    FaultyFileOps faults;
    faults.LimitWrites(10);
    faults.FailCall(2, ENOSPC);
    Train(run, {1});
  }

  Train(run, {2});

  EXPECT_EQ(Read("m.jsonl"),
            "{\"step\":2,\"time\":1000000000.000,\"loss\":2.0}\n");
}

TEST_F(MetricsHookTest, AFileThatCannotBeOpenedFailsCreate) {
  options_.json_path = dir_.path();
  EXPECT_THAT(HookDriver({std::make_shared<MetricsHook>(options_)}).Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("Is a directory")));
}

TEST_F(MetricsHookTest, TheNameSaysTheFormat) {
  {
    HookDriver run({WriteMetrics(dir_ / "m.csv", {"constant"}),
                    WriteMetrics(dir_ / "m.json", {"constant"})});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(1), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }
  EXPECT_THAT(Read("m.csv"), HasSubstr("step,time,constant\n1,"));
  EXPECT_THAT(Read("m.json"), HasSubstr("{\"step\":1,"));
}

TEST_F(MetricsHookTest, BadOptionsComeOutOfCreate) {
  options_.json_path = dir_ / "m.jsonl";
  const auto bad = [this](auto change, const char* message) {
    MetricsHook::Options options = options_;
    change(&options);
    EXPECT_THAT(
        HookDriver({std::make_shared<MetricsHook>(options)}).Open(),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  bad([](auto* o) { o->tensors.clear(); }, "no tensors to write");
  bad([](auto* o) { o->json_path.clear(); }, "neither json_path nor csv_path");
  bad([](auto* o) { o->tensors.emplace_back("loss", "constant"); },
      "\"loss\" is taken");
  bad(
      [](auto* o) {
        o->tensors = {{"step", "constant"}};
      },
      "\"step\" is taken");
  bad(
      [](auto* o) {
        o->tensors = {{"a\nb", "constant"}};
      },
      "more than one line");
  bad([](auto* o) { o->tensors = {"w_summary:0"}; }, "of type string");
  bad([](auto* o) { o->every = Every::Steps(-1); }, "every_steps");
}

}  // namespace
}  // namespace tftrain

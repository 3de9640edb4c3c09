// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which checkpoints a saver keeps, on disk: policies, metrics, pins.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/interrupted_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

Saver::Options Keeping(std::vector<RetentionPolicy> retention) {
  Saver::Options options;
  options.retention = std::move(retention);
  return options;
}

class SaverRetentionTest : public ::testing::Test {
 protected:
  // The steps of the checkpoints in the folder.
  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    const auto checkpoints = ListCheckpoints(dir_.path());
    EXPECT_THAT(checkpoints, IsOk());
    for (const ListedCheckpoint& each : *checkpoints) {
      EXPECT_TRUE(each.complete);
      steps.push_back(*each.step);
    }
    std::sort(steps.begin(), steps.end());
    return steps;
  }

  std::string Prefix(int64_t step) {
    return CheckpointPrefix(dir_ / "model", step);
  }

  absl::Status Save(Program& program, int64_t step,
                    const std::map<std::string, double>& metrics = {}) {
    program.Set(step);
    Saver::SaveOptions options;
    options.global_step = step;
    options.metrics = metrics;
    return program.saver()
        .Save(program.session(), dir_ / "model", options)
        .status();
  }

  const TempDir dir_;
};

TEST_F(SaverRetentionTest, TheBestStaysAndTheNewestIsTheLatest) {
  Program program(
      Keeping({KeepNewest{1}, KeepBest{"accuracy", 2, KeepBest::Mode::kMax}}));
  const std::vector<double> accuracy = {0.5, 0.9, 0.7, std::nan(""), 0.2};
  for (size_t i = 0; i < accuracy.size(); ++i) {
    ASSERT_THAT(
        Save(program, static_cast<int64_t>(i) + 1, {{"accuracy", accuracy[i]}}),
        IsOk());
  }
  EXPECT_THAT(Steps(), ElementsAre(2, 3, 5));
  EXPECT_THAT(LatestCheckpoint(dir_.path()), IsOkAndHolds(Prefix(5)));
  EXPECT_EQ(program.StateOf(Prefix(2)), "2");
  EXPECT_THAT(Saver::Metrics(Prefix(3)), ElementsAre(Pair("accuracy", 0.7)));
  EXPECT_THAT(FileExists(Prefix(1) + ".tftrain.json"), IsOkAndHolds(false));
}

TEST_F(SaverRetentionTest, AMetricThatComesLaterCountsInALaterRun) {
  const std::vector<RetentionPolicy> policies = {KeepNewest{1},
                                                 KeepBest{"loss"}};
  {
    Saver::Options all;
    all.max_to_keep = 0;
    Program program(all);
    for (int step = 1; step <= 3; ++step) {
      ASSERT_THAT(Save(program, step, {{"loss", step}}), IsOk());
    }
  }
  ASSERT_THAT(Saver::SetMetrics(Prefix(2), {{"loss", 0.5}}), IsOk());
  Program program(Keeping(policies));
  program.saver().RecoverLastCheckpoints({Prefix(1), Prefix(2), Prefix(3)});
  ASSERT_THAT(Save(program, 4), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(2, 4));
  ASSERT_THAT(Saver::SetMetrics(Prefix(4), {{"loss", 0.25}}), IsOk());
  ASSERT_THAT(Save(program, 5), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(4, 5));
}

TEST_F(SaverRetentionTest, APolicyMayBeAddedWhileTheRunGoesOn) {
  Program program(Keeping({KeepNewest{1}}));
  ASSERT_THAT(Save(program, 1, {{"loss", 0.1}}), IsOk());

  ASSERT_THAT(program.saver().AddRetention(KeepBest{"loss"}), IsOk());
  ASSERT_THAT(Save(program, 2, {{"loss", 0.2}}), IsOk());
  ASSERT_THAT(Save(program, 3, {{"loss", 0.3}}), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(1, 3));
  EXPECT_THAT(program.saver().AddRetention(KeepBest{""}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(SaverRetentionTest, NoLaterRunDeletesWhatIsKeptForGood) {
  {
    Program program(Keeping({KeepNewest{1}, KeepEverySteps{2}}));
    for (int step = 1; step <= 5; ++step) {
      ASSERT_THAT(Save(program, step), IsOk());
    }
    EXPECT_THAT(Steps(), ElementsAre(2, 4, 5));
    EXPECT_THAT(program.saver().last_checkpoints(), ElementsAre(Prefix(5)));
  }
  Program program(Keeping({KeepNewest{1}}));
  program.saver().RecoverLastCheckpoints({Prefix(2), Prefix(4), Prefix(5)});
  EXPECT_THAT(program.saver().last_checkpoints(), ElementsAre(Prefix(5)));
  ASSERT_THAT(Save(program, 6), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(2, 4, 6));
}

TEST_F(SaverRetentionTest, MetricsOfAFormerCheckpointAreNotTheNewOnes) {
  Program program(Keeping({KeepBest{"loss"}}));
  ASSERT_THAT(Save(program, 1, {{"loss", 0.1}}), IsOk());
  ASSERT_THAT(Save(program, 1), IsOk());
  EXPECT_THAT(Saver::Metrics(Prefix(1)), IsEmpty());
  ASSERT_THAT(Save(program, 1, {{"loss", 0.2}}), IsOk());
  EXPECT_THAT(Saver::Metrics(Prefix(1)), ElementsAre(Pair("loss", 0.2)));
}

// R2: whatever file call fails, with all that follow.
TEST_F(SaverRetentionTest, ACrashNeverMixesMetricsOfTwoCheckpoints) {
  UnsyncedFileOps files;
  Program program;
  const std::string path = dir_ / "model";
  const auto save = [&](int64_t number) {
    program.Set(number);
    Saver::SaveOptions options;
    options.metrics = {{"loss", static_cast<double>(number)}};
    return program.saver().Save(program.session(), path, options).status();
  };
  constexpr int kNoFault = -1;
  bool failed = true;
  for (int call = 0; failed; ++call) {
    files.FailCall(kNoFault, 0);
    ASSERT_THAT(save(1), IsOk());
    ASSERT_THAT(Saver::Metrics(path), ElementsAre(Pair("loss", 1)));
    files.FailCall(call, EIO, FaultyFileOps::Fault::kSticky);
    failed = !save(2).ok();
    files.FailCall(kNoFault, 0);
    const std::string state = program.StateOf(path);
    ASSERT_THAT(state, testing::AnyOf("1", "2"));
    for (const auto& [name, value] : Saver::Metrics(path)) {
      EXPECT_EQ(absl::StrCat(value), state) << "call " << call;
    }
  }
  EXPECT_THAT(Saver::Metrics(path), ElementsAre(Pair("loss", 2)));
}

// R8
TEST_F(SaverRetentionTest, ASaveThatFailsLeavesTheMetricsOfTheFormer) {
  UnsyncedFileOps files;
  Program program(Keeping({KeepBest{"loss"}}));
  int stayed = 0;
  bool was_reached = true;
  for (int call = 0; was_reached; ++call) {
    ASSERT_THAT(Save(program, 1, {{"loss", 0.5}}), IsOk());
    files.FailCall(call, ENOSPC);
    // The same name again, without a metric.
    program.Set(2);
    const auto saved = program.saver().Save(program.session(), Prefix(1));
    was_reached = files.calls().size() > static_cast<size_t>(call);
    files.FailCall(-1, 0);
    if (program.StateOf(Prefix(1)) != "1") continue;
    EXPECT_FALSE(saved.ok());
    EXPECT_THAT(Saver::Metrics(Prefix(1)), ElementsAre(Pair("loss", 0.5)))
        << "call " << call;
    ++stayed;
  }
  EXPECT_GT(stayed, 20);
  EXPECT_THAT(Saver::Metrics(Prefix(1)), IsEmpty());
}

TEST_F(SaverRetentionTest, PoliciesAndOldOptionsAreNotMixed) {
  Saver::Options options = Keeping({KeepNewest{1}});
  options.max_to_keep = 3;
  EXPECT_THAT(Saver::Create(*MakeModel({"w"}), options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("retention policies")));
  EXPECT_THAT(Saver::Create(*MakeModel({"w"}), Keeping({KeepBest{""}})),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Program(Keeping({KeepNewest{1}})).saver().saver_def().max_to_keep(),
            0);
}

// R8: also when it goes wrong.
TEST_F(SaverRetentionTest, MetricsThatCannotBeWrittenFailTheSave) {
  Program program;
  EXPECT_THAT(Save(program, 1, {{"", 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(dir_.List(), IsEmpty());
}

TEST_F(SaverRetentionTest, APinnedCheckpointGoesWithTheFirstSaveAfterThePin) {
  Program program(Keeping({KeepNewest{1}}));
  ASSERT_THAT(Save(program, 1), IsOk());
  {
    const auto pin = CheckpointPin::Take(Prefix(1));
    ASSERT_THAT(pin, IsOk());
    const auto second = CheckpointPin::Take(Prefix(1));
    ASSERT_THAT(second, IsOk());
    ASSERT_THAT(Save(program, 2), IsOk());
    ASSERT_THAT(Save(program, 3), IsOk());
    EXPECT_THAT(Steps(), ElementsAre(1, 3));
    EXPECT_EQ(program.StateOf(Prefix(1)), "1");
  }
  ASSERT_THAT(Save(program, 4), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(4));
  EXPECT_THAT(CheckpointPin::Take(Prefix(1)),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(SaverRetentionTest, APinKeepsTheDataOfACheckpointThatIsReplaced) {
  Program program;
  ASSERT_THAT(Save(program, 1), IsOk());
  const std::string data = DataFileName(Prefix(1), 0, 1);
  {
    const auto pin = CheckpointPin::Take(Prefix(1));
    ASSERT_THAT(Save(program, 1), IsOk());
    EXPECT_THAT(FileExists(data), IsOkAndHolds(true));
    EXPECT_EQ(program.StateOf(Prefix(1)), "1");
  }
  ASSERT_THAT(Save(program, 1), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(program.StateOf(Prefix(1)), "1");
  EXPECT_THAT(FileExists(data), IsOkAndHolds(false));
}

// Row 21
TEST_F(SaverRetentionTest, ARotationAmidARestoreLeavesItTheCheckpoint) {
  InterruptedFileOps files;
  Program reader;
  absl::Status last;
  for (int look = 0;; ++look) {
    Program writer(Keeping({KeepNewest{1}}));
    ASSERT_THAT(Save(writer, 1), IsOk());
    files.Interrupt(look, [&] { EXPECT_THAT(Save(writer, 2), IsOk()); });
    reader.Restart();
    const absl::Status status =
        reader.saver().Restore(reader.session(), Prefix(1));
    const bool interrupted = files.interrupted();
    files.Interrupt(0, nullptr);
    if (!interrupted) break;
    last = status;
    if (status.ok()) {
      EXPECT_EQ(reader.State(), "1") << look;
    } else {
      EXPECT_THAT(FileExists(Prefix(1) + ".index"), IsOkAndHolds(false));
    }
    ASSERT_THAT(Save(writer, 3), IsOk());
    EXPECT_THAT(Steps(), ElementsAre(3));
  }
  // By then the restore has its pin.
  EXPECT_THAT(last, IsOk());
}

TEST_F(SaverRetentionTest, ARestoreLetsGoOfItsPin) {
  Program program(Keeping({KeepNewest{1}}));
  ASSERT_THAT(Save(program, 1), IsOk());
  ASSERT_THAT(program.saver().Restore(program.session(), dir_.path()), IsOk());
  ASSERT_THAT(Save(program, 2), IsOk());
  EXPECT_THAT(Steps(), ElementsAre(2));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves that end at any moment: whatever file operation fails, and whatever
// does not happen any more after it, the newest acknowledged checkpoint is
// there.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AnyOf;

using Fault = FaultyFileOps::Fault;

struct Scenario {
  std::string name;
  int max_to_keep;
  // Checkpoints written before the one that fails, and that one. The variables
  // are 1, 2, 3, ... in them.
  std::vector<std::string> before;
  std::string then;
};

std::vector<Scenario> Scenarios() {
  return {{"First", 5, {}, "model-1"},
          {"Second", 5, {"model-1"}, "model-2"},
          {"Rotating", 1, {"model-1", "model-2"}, "model-3"},
          {"SameName", 5, {"model"}, "model"},
          {"SameNameThrice", 1, {"model", "model"}, "model"}};
}

class SaverCrashTest : public ::testing::TestWithParam<Scenario> {
 protected:
  // The program as it is when it starts to write the last checkpoint.
  struct Run {
    // The `reused` programs need not be made anew.
    Run(Program* reused_writer, Program* reused_reader)
        : writer(*reused_writer), reader(*reused_reader) {
      NewSaver();
      for (const std::string& name : GetParam().before) {
        EXPECT_THAT(Save(name), IsOk());
      }
    }

    // As a program that starts anew has it.
    void NewSaver() {
      saver = *Saver::FromSaverDef(*writer.graph(), writer.saver().saver_def());
    }

    absl::Status Save(const std::string& name) {
      writer.Set(++number);
      return saver->Save(writer.session(), dir / name).status();
    }

    // The state that a program restores which starts now.
    std::string Restored() {
      const auto latest = LatestCheckpoint(dir.path());
      if (!latest.ok()) return std::string(latest.status().message());
      return latest->has_value() ? reader.StateOf(**latest) : "nothing";
    }

    Program& writer;
    Program& reader;
    const TempDir dir;
    std::shared_ptr<Saver> saver;
    int64_t number = 0;
  };

  SaverCrashTest() : writer_(Options()) {}

  static Saver::Options Options() {
    Saver::Options options;
    options.max_to_keep = GetParam().max_to_keep;
    return options;
  }

  int CountCalls() {
    Run run(&writer_, &reader_);
    faults_.FailCall(-1, 0);
    EXPECT_THAT(run.Save(GetParam().then), IsOk());
    return static_cast<int>(faults_.calls().size());
  }

  UnsyncedFileOps faults_;
  Program writer_;
  Program reader_;
};

INSTANTIATE_TEST_SUITE_P(Scenarios, SaverCrashTest,
                         testing::ValuesIn(Scenarios()),
                         [](const auto& scenario) {
                           return scenario.param.name;
                         });

// SVR-10
TEST_P(SaverCrashTest, TheNewestAcknowledgedCheckpointIsRestored) {
  const Scenario& scenario = GetParam();
  const int calls = CountCalls();
  ASSERT_GT(calls, 20);
  for (int call = 0; call < calls; ++call) {
    Run run(&writer_, &reader_);
    const std::string former =
        scenario.before.empty() ? "nothing" : absl::StrCat(run.number);
    faults_.FailCall(call, EIO, Fault::kSticky);
    const absl::Status status = run.Save(scenario.then);
    faults_.FailCall(-1, 0);
    const std::string now = absl::StrCat(run.number);
    if (status.ok()) {
      EXPECT_EQ(run.Restored(), now) << "crash at call " << call;
    } else {
      EXPECT_THAT(run.Restored(), AnyOf(former, now))
          << "crash at call " << call;
    }

    run.NewSaver();
    EXPECT_THAT(run.Save(scenario.then), IsOk()) << "after call " << call;
    EXPECT_EQ(run.Restored(), absl::StrCat(run.number))
        << "after call " << call;
    for (const std::string& name : run.dir.List()) {
      EXPECT_FALSE(absl::StartsWith(name, ".tftrain.ckpt")) << name;
    }
  }
}

// SVR-10, CKS-02
TEST_P(SaverCrashTest, AFailedSaveLeavesAllAsItWas) {
  const Scenario& scenario = GetParam();
  const int calls = CountCalls();
  const bool replaces = std::count(scenario.before.begin(),
                                   scenario.before.end(), scenario.then) > 0;
  for (int call = 0; call < calls; ++call) {
    Run run(&writer_, &reader_);
    const std::vector<std::string> before = run.dir.List();
    const std::string former =
        scenario.before.empty() ? "nothing" : absl::StrCat(run.number);
    const int error_number = call % 2 == 0 ? ENOSPC : EIO;
    faults_.FailCall(call, error_number);
    const absl::Status status = run.Save(scenario.then);
    const std::string what =
        absl::StrCat("call ", call, ", ", faults_.calls()[call]);
    faults_.FailCall(-1, 0);
    const std::string now = absl::StrCat(run.number);
    if (status.ok()) {
      EXPECT_EQ(run.Restored(), now) << what;
    } else if (replaces) {
      EXPECT_THAT(run.Restored(), AnyOf(former, now)) << what;
    } else {
      EXPECT_FALSE(IsEndOfInput(status)) << what;
      EXPECT_EQ(run.Restored(), former) << what;
      EXPECT_EQ(run.dir.List(), before) << what;
    }
    EXPECT_THAT(run.Save(scenario.then), IsOk()) << what;
  }
}

}  // namespace
}  // namespace tftrain

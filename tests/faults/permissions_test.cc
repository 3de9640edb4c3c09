// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Who may read what is written: row 26 of the table of faults, S5.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/metrics_hook.h"
#include "tftrain/hooks/profile_window_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Pair;

mode_t ModeOf(const std::string& path) {
  struct stat stat;
  EXPECT_EQ(::stat(path.c_str(), &stat), 0) << path;
  return stat.st_mode & 0777;
}

// The permissions of all files in a folder and the folders in it, by path.
std::map<std::string, mode_t> Modes(const TempDir& dir) {
  std::map<std::string, mode_t> modes;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(dir.path())) {
    if (!entry.is_directory()) modes[entry.path()] = ModeOf(entry.path());
  }
  return modes;
}

// Looks at each file while it is written.
//
// Thread-safe.
class WatchfulFileOps : public UnsyncedFileOps {
 public:
  explicit WatchfulFileOps(mode_t widest) : widest_(widest) {}

  ssize_t Write(int fd, const void* data, size_t size) override {
    struct stat stat;
    if (::fstat(fd, &stat) == 0 && (stat.st_mode & 0777 & ~widest_) != 0) {
      ++too_open;
    }
    ++writes;
    return UnsyncedFileOps::Write(fd, data, size);
  }

  std::atomic<int> writes = 0;
  std::atomic<int> too_open = 0;

 private:
  const mode_t widest_;
};

// The umask, and the file_mode of the saver.
class PermissionsTest
    : public ::testing::TestWithParam<std::tuple<mode_t, mode_t>> {
 protected:
  PermissionsTest() : former_(::umask(std::get<0>(GetParam()))) {}
  ~PermissionsTest() override { ::umask(former_); }

  static mode_t Expected() {
    return std::get<1>(GetParam()) & ~std::get<0>(GetParam());
  }
  static Saver::Options Options() {
    Saver::Options options;
    options.file_mode = std::get<1>(GetParam());
    return options;
  }
  static Saver::SaveOptions WithMetrics() {
    Saver::SaveOptions save;
    save.metrics = {{"loss", 1}};
    return save;
  }

  const TempDir dir_;

 private:
  const mode_t former_;
};

TEST_P(PermissionsTest, EveryFileOfACheckpointIsAsOpenAsAskedFor) {
  WatchfulFileOps files(0600);
  Program program(Options());
  program.Set(1);
  for (int i = 0; i < 2; ++i) {  // new, then in the place of the former one
    ASSERT_THAT(
        program.saver().Save(program.session(), dir_ / "model", WithMetrics()),
        IsOk());
    EXPECT_THAT(Modes(dir_), Each(Pair(testing::_, Expected())));
  }
  ASSERT_THAT(program.saver().SaveAsync(program.session(), dir_ / "async",
                                        WithMetrics()),
              IsOk());
  ASSERT_THAT(program.saver().WaitForSave(), IsOk());
  EXPECT_THAT(Modes(dir_), testing::SizeIs(10));
  EXPECT_THAT(Modes(dir_), Each(Pair(testing::_, Expected())));
  EXPECT_GT(files.writes, 0);
  EXPECT_EQ(files.too_open, 0);
}

TEST_P(PermissionsTest, SoAreThoseThatTheGraphsOperationsWrite) {
  const GraphPtr graph = MakeModel({"w"});
  const auto saver = Saver::Create(*graph, Options());
  ASSERT_THAT(saver, IsOk());
  Session::Options remote;
  remote.target = LocalServerAddress();
  const auto session = Session::Create(graph, remote);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT((*saver)->Save(**session, dir_ / "model", WithMetrics()), IsOk());
  EXPECT_THAT(Modes(dir_), testing::SizeIs(5));
  EXPECT_THAT(Modes(dir_), Each(Pair(testing::_, Expected())));
}

// The event file is shared, and begun by whichever hook is the first.
TEST_P(PermissionsTest, SoIsAllThatHooksWriteIntoTheFolderOfTheSaver) {
  Scaffold::Options pieces;
  pieces.saver = Saver::Deferred(Options());
  ProfilerHook::Options timelines;
  timelines.save_steps = 1;
  timelines.output_dir = dir_.path();
  timelines.file_mode = Options().file_mode;
  ProfileWindowHook::Options profile;
  profile.first_step = 3;
  profile.num_steps = 1;
  profile.output_dir = dir_ / "profile";
  profile.file_mode = Options().file_mode;
  MetricsHook::Options metrics;
  metrics.tensors = {{"weight", "w/Read/ReadVariableOp:0"}};
  metrics.json_path = dir_ / "metrics.jsonl";
  metrics.csv_path = dir_ / "metrics.csv";
  metrics.file_mode = Options().file_mode;
  WatchfulFileOps files(Expected());

  HookDriver run({CountSteps(dir_.path(), Every::Steps(1)),
                  SaveCheckpoints(dir_.path(), Every::Steps(1)),
                  std::make_shared<ProfilerHook>(timelines),
                  std::make_shared<ProfileWindowHook>(profile),
                  std::make_shared<MetricsHook>(metrics)});
  run.options().scaffold = std::make_shared<Scaffold>(pieces);
  ASSERT_THAT(run.Open(), IsOk());
  ASSERT_THAT(run.Train(4), IsOk());
  ASSERT_THAT(run.Close(), IsOk());

  const std::map<std::string, mode_t> modes = Modes(dir_);
  EXPECT_THAT(modes, Each(Pair(testing::_, Expected())));
  for (const char* output :
       {"graph.pbtxt", "/checkpoint", "tfevents", "timeline-", "xplane.pb",
        "profile-empty", "metrics.jsonl", "metrics.csv"}) {
    EXPECT_THAT(modes, Contains(Key(HasSubstr(output))));
  }
  EXPECT_EQ(files.too_open, 0);
}

TEST_P(PermissionsTest, WhatASessionWritesIsNeverWiderThanTheUmask) {
  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1))}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  ASSERT_THAT(run.Train(1), IsOk());
  ASSERT_THAT(run.Close(), IsOk());
  EXPECT_THAT(dir_.List(), Contains(HasSubstr("events.out.tfevents")));
  for (const auto& [name, mode] : Modes(dir_)) {
    EXPECT_EQ(mode & (std::get<0>(GetParam()) | 0111), 0u) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Umasks, PermissionsTest,
                         ::testing::Combine(::testing::Values(0, 022, 077),
                                            ::testing::Values(0666, 0640,
                                                              0600)));

}  // namespace
}  // namespace tftrain

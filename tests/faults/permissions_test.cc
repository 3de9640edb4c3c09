// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Who may read what is written: row 26 of the table of faults, S5.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <string>
#include <tuple>

#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::Each;
using ::testing::Pair;

mode_t ModeOf(const std::string& path) {
  struct stat stat;
  EXPECT_EQ(::stat(path.c_str(), &stat), 0) << path;
  return stat.st_mode & 0777;
}

// The permissions of all files of a folder, by name.
std::map<std::string, mode_t> Modes(const TempDir& dir) {
  std::map<std::string, mode_t> modes;
  for (const std::string& name : dir.List()) modes[name] = ModeOf(dir / name);
  return modes;
}

// Looks at each file while it is written.
//
// Thread-safe.
class WatchfulFileOps : public UnsyncedFileOps {
 public:
  ssize_t Write(int fd, const void* data, size_t size) override {
    struct stat stat;
    if (::fstat(fd, &stat) == 0 && (stat.st_mode & 0077) != 0) ++open_to_all;
    ++writes;
    return UnsyncedFileOps::Write(fd, data, size);
  }

  std::atomic<int> writes = 0;
  std::atomic<int> open_to_all = 0;
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
  WatchfulFileOps files;
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
  EXPECT_EQ(files.open_to_all, 0);
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

TEST_P(PermissionsTest, WhatASessionWritesIsNeverWiderThanTheUmask) {
  HookDriver run({SaveCheckpoints(dir_.path(), Every::Steps(1))}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  ASSERT_THAT(run.Train(1), IsOk());
  ASSERT_THAT(run.Close(), IsOk());
  EXPECT_THAT(dir_.List(),
              testing::Contains(testing::HasSubstr("events.out.tfevents")));
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

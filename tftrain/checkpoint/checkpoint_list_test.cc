// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CheckpointListTest : public ::testing::Test {
 protected:
  void Write(const std::string& name) {
    ASSERT_THAT(WriteFileAtomically(dir_ / name, "x"), IsOk());
  }
  // A complete checkpoint, or one without some of its data.
  void Save(const std::string& name, int shards = 1, int shards_written = -1) {
    Write(IndexFileName(name));
    if (shards_written < 0) shards_written = shards;
    for (int i = 0; i < shards_written; ++i)
      Write(DataFileName(name, i, shards));
  }
  // The names of the checkpoints, those not complete in brackets.
  std::vector<std::string> List() {
    const auto list = ListCheckpoints(dir_.path());
    std::vector<std::string> names;
    if (!list.ok()) return {std::string(list.status().message())};
    for (const ListedCheckpoint& checkpoint : *list) {
      const std::string name = BaseName(checkpoint.prefix);
      names.push_back(checkpoint.complete ? name : "(" + name + ")");
    }
    return names;
  }

  const TempDir dir_;
};

// CKS-10
TEST_F(CheckpointListTest, IndexMakesACheckpointExist) {
  Write("m-1.index");
  Write("m-2.data-00000-of-00001");

  EXPECT_TRUE(CheckpointExists(dir_ / "m-1"));
  EXPECT_FALSE(CheckpointExists(dir_ / "m-2"));
  EXPECT_FALSE(CheckpointExists(dir_ / "none/m-1"));
  EXPECT_FALSE(CheckpointExists(""));
}

// CKS-10, SVR-38
TEST_F(CheckpointListTest, FilesOfTheFirstFormatExist) {
  Write("old");
  Write("s-00000-of-00002");
  Write("s-00001-of-00002");
  Write("t-00000-of-00002");

  EXPECT_TRUE(CheckpointExists(dir_ / "old"));
  EXPECT_TRUE(CheckpointExists(dir_ / "s-?????"
                                      "-of-00002"));
  EXPECT_FALSE(CheckpointExists(dir_ / "t-?????"
                                       "-of-00002"));
  EXPECT_TRUE(CheckpointIsComplete(dir_ / "old"));
}

TEST_F(CheckpointListTest, PatternsAreNotExpanded) {
  Save("m-1");

  EXPECT_FALSE(CheckpointExists(dir_ / "m-?"));
  EXPECT_FALSE(CheckpointExists(dir_ / "m-*"));
  EXPECT_FALSE(CheckpointExists(dir_ / "m-[1]"));
}

TEST_F(CheckpointListTest, PipeOrFolderIsNoCheckpoint) {
  ASSERT_EQ(::mkfifo((dir_ / "m-1.index").c_str(), 0600), 0);
  ASSERT_THAT(CreateFolders(dir_ / "m-2.index"), IsOk());

  EXPECT_FALSE(CheckpointExists(dir_ / "m-1"));
  EXPECT_FALSE(CheckpointExists(dir_ / "m-2"));
}

TEST_F(CheckpointListTest, CompleteNeedsEveryShardOfOneCount) {
  Save("a-1", 1);
  Save("a-2", 2);
  Save("a-3", 2, /*shards_written=*/1);
  Save("a-4", 1, /*shards_written=*/0);
  Save("a-5", 3, /*shards_written=*/2);
  Write(DataFileName("a-5", 0, 1));

  EXPECT_TRUE(CheckpointIsComplete(dir_ / "a-1"));
  EXPECT_TRUE(CheckpointIsComplete(dir_ / "a-2"));
  EXPECT_FALSE(CheckpointIsComplete(dir_ / "a-3"));
  EXPECT_FALSE(CheckpointIsComplete(dir_ / "a-4"));
  EXPECT_TRUE(CheckpointIsComplete(dir_ / "a-5"));
}

TEST_F(CheckpointListTest, ListsByStepNewestFirst) {
  Save("m-9");
  Save("m-10");
  Save("m-00000011");
  Save("fixed");
  Save("m-12", 2, /*shards_written=*/1);
  Write("m-13.data-00000-of-00001");
  Write("m-14.meta");
  Write("checkpoint");
  Write(BaseName(IndexFileName(TemporaryPrefix(""))));

  EXPECT_THAT(List(), ElementsAre("(m-13)", "(m-12)", "m-00000011", "m-10",
                                  "m-9", "fixed"));
}

TEST_F(CheckpointListTest, EqualStepsAreOrderedByTheTimeOfTheIndex) {
  Save("a-7");
  Save("b-7");
  const auto now = std::filesystem::last_write_time(dir_ / "b-7.index");
  std::filesystem::last_write_time(dir_ / "a-7.index",
                                   now + std::chrono::seconds(5));

  EXPECT_THAT(List(), ElementsAre("a-7", "b-7"));
}

TEST_F(CheckpointListTest, MissingFolderIsNotFound) {
  EXPECT_THAT(List(), IsEmpty());
  EXPECT_THAT(ListCheckpoints(dir_ / "none"),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace tftrain

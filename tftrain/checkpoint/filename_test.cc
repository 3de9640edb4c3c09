// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/filename.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tftrain/base/file.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// SVR-11
TEST(FilenameTest, PrefixIsBaseAndStep) {
  EXPECT_EQ(CheckpointPrefix("run/model.ckpt"), "run/model.ckpt");
  EXPECT_EQ(CheckpointPrefix("run/model.ckpt", 0), "run/model.ckpt-0");
  EXPECT_EQ(CheckpointPrefix("run/model.ckpt", 12), "run/model.ckpt-12");
}

// SVR-01
TEST(FilenameTest, PaddedStepHasEightDigitsOrMore) {
  EXPECT_EQ(CheckpointPrefix("m", 12, /*pad=*/true), "m-00000012");
  EXPECT_EQ(CheckpointPrefix("m", 1234567890, /*pad=*/true), "m-1234567890");
}

TEST(FilenameTest, StepIsReadFromTheEndOfThePrefix) {
  EXPECT_EQ(StepOfPrefix("run/model.ckpt-500"), 500);
  EXPECT_EQ(StepOfPrefix("m-00000012"), 12);
  EXPECT_EQ(StepOfPrefix("m-9223372036854775807"), 9223372036854775807);
  EXPECT_EQ(BaseOfPrefix("run/model.ckpt-500"), "run/model.ckpt");
  EXPECT_EQ(BaseOfPrefix("day-2026-01-02"), "day-2026-01");
}

TEST(FilenameTest, PrefixWithoutStepHasNone) {
  for (const char* prefix : {"model.ckpt", "model-", "m-1a", "m--", "",
                             "m-9223372036854775808", "run-7/model", "m- 7"}) {
    EXPECT_EQ(StepOfPrefix(prefix), std::nullopt) << prefix;
    EXPECT_EQ(BaseOfPrefix(prefix), prefix);
  }
}

// SVR-11
TEST(FilenameTest, FilesOfAPrefixHaveTensorFlowsNames) {
  EXPECT_EQ(IndexFileName("d/m-3"), "d/m-3.index");
  EXPECT_EQ(DataFileName("d/m-3", 0, 1), "d/m-3.data-00000-of-00001");
  EXPECT_EQ(DataFileName("d/m-3", 1, 12), "d/m-3.data-00001-of-00012");
  EXPECT_EQ(MetaFileName("d/m-3"), "d/m-3.meta");
  EXPECT_EQ(MetaFileName("d/m-3", "graph"), "d/m-3.graph");
}

// MGR-05
TEST(FilenameTest, MetaFileNameLeavesTheShardOut) {
  EXPECT_EQ(MetaFileName("d/m-3-00001-of-00002"), "d/m-3.meta");
  EXPECT_EQ(MetaFileName("d/m-3-?????"
                         "-of-00002"),
            "d/m-3.meta");
  EXPECT_EQ(MetaFileName("d/m-of-3"), "d/m-of-3.meta");
  EXPECT_EQ(MetaFileName("d/m-x-of-3"), "d/m-x-of-3.meta");
}

TEST(FilenameTest, EachFileNameIsReadBack) {
  using Kind = CheckpointFile::Kind;
  const auto index = ParseCheckpointFile(IndexFileName("d/m-3"));
  const auto data = ParseCheckpointFile(DataFileName("d/m-3", 7, 100000));
  const auto meta = ParseCheckpointFile(MetaFileName("d/m-3"));

  ASSERT_TRUE(index && data && meta);
  EXPECT_EQ(index->kind, Kind::kIndex);
  EXPECT_EQ(index->prefix, "d/m-3");
  EXPECT_EQ(data->kind, Kind::kData);
  EXPECT_EQ(data->prefix, "d/m-3");
  EXPECT_EQ(data->shard, 7);
  EXPECT_EQ(data->num_shards, 100000);
  EXPECT_EQ(meta->kind, Kind::kMeta);
  const auto notes = ParseCheckpointFile(NotesFileName("run/m-5"));
  ASSERT_TRUE(notes.has_value());
  EXPECT_EQ(notes->kind, Kind::kNotes);
  EXPECT_EQ(notes->prefix, "run/m-5");
  EXPECT_EQ(meta->prefix, "d/m-3");
}

TEST(FilenameTest, OtherNamesAreNoFilesOfACheckpoint) {
  for (const char* name :
       {"m-3", "checkpoint", ".index", "d/.index", "d/.data-00000-of-00001",
        "m.data-0000-of-00001", "m.data-00001-of-00001", "m.data-00000-of-",
        "m.data-000000-of-00001",
        "m.data-?????"
        "-of-00001",
        "m.index.tmp", "m.data-00000-of-00001.tempstate1", "", "/",
        "m.data-99999999999-of-99999999999"}) {
    EXPECT_FALSE(ParseCheckpointFile(name)) << name;
    EXPECT_EQ(PrefixOfPath(name), name);
  }
}

TEST(FilenameTest, AnyFileLeadsToThePrefix) {
  for (const char* path :
       {"d/m-3", "d/m-3.index", "d/m-3.meta", "d/m-3.data-00001-of-00002"}) {
    EXPECT_EQ(PrefixOfPath(path), "d/m-3");
  }
}

// SVR-28
TEST(FilenameTest, FilesOfACheckpointAreListedInTheOrderOfDeletion) {
  const std::vector<std::string> names = {"checkpoint",
                                          "m-3.data-00000-of-00002",
                                          "m-3.data-00001-of-00002",
                                          "m-3.index",
                                          "m-3.meta",
                                          "m-30.index",
                                          "m-3.index~",
                                          "m-3x.meta",
                                          "m-?.index"};

  EXPECT_THAT(FilesOfCheckpoint("m-3", names),
              ElementsAre("m-3.meta", "m-3.index", "m-3.data-00000-of-00002",
                          "m-3.data-00001-of-00002"));
  EXPECT_THAT(FilesOfCheckpoint("m-*", names), IsEmpty());
  EXPECT_THAT(FilesOfCheckpoint("m-?", names), ElementsAre("m-?.index"));
}

// SVR-37
TEST(FilenameTest, PatternOfTheFirstFormatStandsForItsShards) {
  EXPECT_THAT(ShardsOfV1Pattern("d/m-3-?????"
                                "-of-00002"),
              ElementsAre("d/m-3-00000-of-00002", "d/m-3-00001-of-00002"));
  for (const char* other : {"d/m-3", "m-00001-of-00002",
                            "m-?????"
                            "-of-2",
                            "m-*-of-00002",
                            "m?????"
                            "-of-00002",
                            "m-?????"
                            "-of-100000"}) {
    EXPECT_THAT(ShardsOfV1Pattern(other), IsEmpty()) << other;
  }
}

TEST(FilenameTest, TemporaryNamesAreHiddenRandomAndKnownAgain) {
  const std::string first = TemporaryPrefix("run");
  const std::string second = TemporaryPrefix("run");

  EXPECT_NE(first, second);
  EXPECT_EQ(DirName(first), "run");
  EXPECT_EQ(BaseName(first).front(), '.');
  for (const std::string& name :
       {BaseName(first), BaseName(IndexFileName(second)),
        BaseName(DataFileName(first, 0, 1)) + ".tempstate17"}) {
    EXPECT_TRUE(IsTemporaryCheckpointName(name)) << name;
  }
}

TEST(FilenameTest, NamesOfOthersAreNotTemporary) {
  const std::string digits(32, 'a');
  EXPECT_TRUE(IsTemporaryCheckpointName(".tftrain.ckpt-" + digits));
  for (const std::string& name :
       {std::string("model.ckpt-3.index"), std::string(".tftrain.ckpt-abc"),
        ".tftrain.ckpt-" + std::string(32, 'g'),
        ".tftrain.ckpt-" + digits + "x", ".tftrain.ckpt-" + digits + "/../x",
        ".tftrain.ckpt-" + digits + "./x", "x.tftrain.ckpt-" + digits}) {
    EXPECT_FALSE(IsTemporaryCheckpointName(name)) << name;
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/checkpoint_notes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class CheckpointNotesTest : public ::testing::Test {
 protected:
  CheckpointNotesTest() {
    EXPECT_THAT(WriteFileAtomically(prefix_ + ".index", "x"), IsOk());
  }

  CheckpointNotes Read(const std::string& text) {
    EXPECT_THAT(WriteFileAtomically(prefix_ + ".tftrain.json", text), IsOk());
    return ReadNotes(prefix_);
  }

  const TempDir dir_;
  const std::string prefix_ = dir_ / "model-1";
};

TEST_F(CheckpointNotesTest, AMetricIsReadAsItWasWritten) {
  LogCapture log;
  EXPECT_THAT(ReadNotes(prefix_).metrics, IsEmpty());
  ASSERT_THAT(SetMetrics(prefix_, {{"loss", 0.1}}), IsOk());
  ASSERT_THAT(MarkKept(prefix_), IsOk());
  ASSERT_THAT(SetMetrics(prefix_, {{"top \"5\"\n", -1e300}}), IsOk());
  EXPECT_THAT(ReadNotes(prefix_).metrics,
              ElementsAre(Pair("loss", 0.1), Pair("top \"5\"\n", -1e300)));
  EXPECT_TRUE(ReadNotes(prefix_).kept);
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST_F(CheckpointNotesTest, SeveralMetricsAreOneWrite) {
  ASSERT_THAT(SetMetrics(prefix_, {{"loss", 3}, {"old", 4}}), IsOk());
  FaultyFileOps files;

  ASSERT_THAT(SetMetrics(prefix_, {{"accuracy", 1}, {"loss", 2}}), IsOk());

  EXPECT_THAT(
      ReadNotes(prefix_).metrics,
      ElementsAre(Pair("accuracy", 1), Pair("loss", 2), Pair("old", 4)));
  const std::vector<std::string> calls = files.calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "rename"), 1);
}

TEST_F(CheckpointNotesTest, NoneOfSeveralIsNotedWhenOneIsRefused) {
  EXPECT_THAT(SetMetrics(prefix_, {{"loss", 1}, {"\xff", 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadNotes(prefix_).metrics, IsEmpty());
}

TEST_F(CheckpointNotesTest, NoNumberTakesTheMetricAway) {
  ASSERT_THAT(SetMetrics(prefix_, {{"loss", 0.1}}), IsOk());
  ASSERT_THAT(
      SetMetrics(prefix_, {{"loss", std::numeric_limits<double>::quiet_NaN()}}),
      IsOk());
  EXPECT_THAT(ReadNotes(prefix_).metrics, IsEmpty());
}

TEST_F(CheckpointNotesTest, WhatCannotBeNotedIsRefused) {
  EXPECT_THAT(SetMetrics(dir_ / "model-2", {{"loss", 1}}),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(SetMetrics(prefix_, {{"", 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(SetMetrics(prefix_, {{std::string(kNotesLimit, 'x'), 1}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(dir_.List(), ElementsAre("model-1.index"));
}

TEST_F(CheckpointNotesTest, TheFileIsAsOpenAsTheIndex) {
  ASSERT_EQ(::chmod((prefix_ + ".index").c_str(), 0600), 0);
  ASSERT_THAT(SetMetrics(prefix_, {{"loss", 1}}), IsOk());
  struct stat stat;
  ASSERT_EQ(::stat((prefix_ + ".tftrain.json").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0600u);
}

// S1, S2
TEST_F(CheckpointNotesTest, WhatIsNoNotesIsIgnoredWithAWarning) {
  const std::string deep(20000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[1]"),
        std::string("\0\xff\x01", 3), deep,
        absl::StrCat("{\"metrics\":{\"", std::string(kNotesLimit, 'x'),
                     "\":1}}"),
        std::string("{\"metrics\":{\"loss\":\"NaN\",\"\":1,\"a\":[1]}}"),
        std::string("{\"metrics\":{\"loss\":1e999}}")}) {
    LogCapture log;
    EXPECT_THAT(Read(text).metrics, IsEmpty());
    EXPECT_FALSE(ReadNotes(prefix_).kept);
    EXPECT_THAT(log.lines(), Not(IsEmpty())) << text.substr(0, 40);
  }
  EXPECT_THAT(Read("{\"metrics\":7,\"kept\":\"yes\"}").metrics, IsEmpty());
  EXPECT_THAT(Read("{\"metrics\":{\"a\":\"x\",\"b\":2},\"new\":1}").metrics,
              ElementsAre(Pair("b", 2)));
}

TEST_F(CheckpointNotesTest, APipeIsNotWaitedFor) {
  LogCapture log;
  ASSERT_EQ(::mkfifo((prefix_ + ".tftrain.json").c_str(), 0600), 0);
  EXPECT_THAT(ReadNotes(prefix_).metrics, IsEmpty());
  EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("no regular file")));
}

}  // namespace
}  // namespace tftrain::internal

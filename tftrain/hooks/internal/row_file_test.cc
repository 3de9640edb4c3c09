// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/row_file.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A row is a number.
std::optional<int64_t> StepOf(std::string_view row) {
  int64_t step = 0;
  return absl::SimpleAtoi(row, &step) ? std::optional<int64_t>(step)
                                      : std::nullopt;
}

class RowFileTest : public ::testing::Test {
 protected:
  void Fill(std::string_view text) {
    ASSERT_THAT(WriteFileAtomically(path_, text), IsOk());
  }
  std::string Read() { return ReadFile(path_, 1 << 30).value_or("nothing"); }

  const TempDir dir_;
  const std::string path_ = dir_ / "rows";
  RowFile rows_{path_, 0666, "", StepOf};
};

// A run of weeks has gigabytes of rows.
TEST_F(RowFileTest, ReadsTheEndOfALongFileOnly) {
  std::string text;
  for (int i = 0; i < 300000; ++i) absl::StrAppend(&text, i, "\n");
  Fill(text);

  {
    FaultyFileOps files;
    ASSERT_THAT(rows_.Open(299990), IsOk());
    EXPECT_THAT(files.calls(), ElementsAre("stat", "open", "fstat", "fstat",
                                           "pread", "ftruncate"));
  }
  ASSERT_THAT(rows_.Append(299991, "299991"), IsOk());

  EXPECT_EQ(Read(), text.substr(0, text.find("299992")));
}

TEST_F(RowFileTest, AllRowsOfALongFileMayGo) {
  std::string text = "# a note\n";
  for (int i = 5; i < 300000; ++i) absl::StrAppend(&text, i, "\n");
  Fill(text);

  ASSERT_THAT(rows_.Open(4), IsOk());

  EXPECT_EQ(Read(), "# a note\n");
}

TEST_F(RowFileTest, LinesLongerThanABlockAreLines) {
  const std::string note = absl::StrCat("# ", std::string(200000, 'x'), "\n");
  Fill(absl::StrCat("1\n", note, "2\n", note, "3\n", std::string(100000, 'y')));

  ASSERT_THAT(rows_.Open(1), IsOk());

  EXPECT_EQ(Read(), absl::StrCat("1\n", note, note));
}

TEST_F(RowFileTest, RowsMayBeLong) {
  const std::string spaces(3 << 20, ' ');
  const std::string text = absl::StrCat("1", spaces, "\n2", spaces, "\n");
  Fill(absl::StrCat(text, "3", spaces, "\n"));

  ASSERT_THAT(rows_.Open(2), IsOk());

  EXPECT_EQ(Read(), text);
}

TEST_F(RowFileTest, StaysWhereItIsWhenTheProcessChangesItsFolder) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(dir_.path());
  RowFile rows("rows", 0666, "", StepOf);
  EXPECT_THAT(rows.Open(0), IsOk());
  EXPECT_THAT(rows.Append(1, "1"), IsOk());
  std::filesystem::current_path(before);

  EXPECT_THAT(rows.Append(2, "2"), IsOk());

  EXPECT_EQ(Read(), "1\n2\n");
}

TEST_F(RowFileTest, AFileOfSomethingElseIsLeftAlone) {
  const std::string text = absl::StrCat(std::string(3 << 20, 'x'), "\n");
  Fill(text);

  EXPECT_THAT(rows_.Open(1), StatusIs(absl::StatusCode::kFailedPrecondition,
                                      HasSubstr("no rows")));

  EXPECT_EQ(Read(), text);
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/index_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/io/table_options.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/snappy.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/index_table_for_test.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;
using Rows = std::map<std::string, std::string>;
using table_for_test::Append;
using table_for_test::Block;
using table_for_test::Fixed;
using table_for_test::Row;
using table_for_test::Table;
using table_for_test::Varint;
using table_for_test::WithIndex;
using table_for_test::Written;

// The table of `rows` as TensorFlow writes it.
std::string TensorFlowTable(const Rows& rows,
                            const tensorflow::table::Options& options = {}) {
  const TempDir dir;
  std::unique_ptr<tensorflow::WritableFile> file;
  EXPECT_THAT(tensorflow::Env::Default()->NewWritableFile(dir / "table", &file),
              IsOk());
  tensorflow::table::TableBuilder builder(options, file.get());
  for (const auto& [key, value] : rows) builder.Add(key, value);
  EXPECT_THAT(builder.Finish(), IsOk());
  EXPECT_THAT(file->Close(), IsOk());
  return *ReadFile(dir / "table", 1 << 30);
}

// Many names with much in common, over several blocks.
Rows ManyRows() {
  Rows rows = {{"", "the header"}};
  for (int i = 0; i < 500; ++i) {
    rows[absl::StrCat("layer_", i, "/dense/kernel")] = absl::StrCat("value", i);
  }
  return rows;
}

tensorflow::table::Options SmallBlocks() {
  tensorflow::table::Options options;
  options.block_size = 256;
  options.compression = tensorflow::table::kNoCompression;
  return options;
}

Rows RowsOf(const IndexTable& table) {
  Rows rows;
  for (auto row = table.begin(); row.valid(); row.Next()) {
    rows[std::string(row.key())] = std::string(row.value());
  }
  return rows;
}

TEST(IndexTableTest, ReadsWhatTensorFlowWrites) {
  const Rows rows = ManyRows();
  for (const auto& options : {tensorflow::table::Options(), SmallBlocks()}) {
    const auto table = IndexTable::Parse(TensorFlowTable(rows, options));
    ASSERT_THAT(table, IsOk());
    EXPECT_EQ((*table)->size(), rows.size());
    EXPECT_EQ(RowsOf(**table), rows);
  }
}

TEST(IndexTableTest, ReadsCompressedBlocks) {
  tensorflow::table::Options options = SmallBlocks();
  options.compression = tensorflow::table::kSnappyCompression;
  const std::string bytes = TensorFlowTable(ManyRows(), options);
  ASSERT_LT(bytes.size(), TensorFlowTable(ManyRows(), SmallBlocks()).size());
  const auto table = IndexTable::Parse(bytes);
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(RowsOf(**table), ManyRows());
}

TEST(IndexTableTest, FindsTheFirstRowNotBeforeAKey) {
  const Rows rows = ManyRows();
  const auto table = IndexTable::Parse(TensorFlowTable(rows, SmallBlocks()));
  ASSERT_THAT(table, IsOk());
  for (auto it = rows.begin(); it != rows.end(); ++it) {
    const auto row = (*table)->LowerBound(it->first);
    ASSERT_TRUE(row.valid());
    EXPECT_EQ(row.key(), it->first);
    EXPECT_EQ(row.value(), it->second);
    const auto next = (*table)->LowerBound(it->first + '\0');
    if (std::next(it) == rows.end()) {
      EXPECT_FALSE(next.valid());
    } else {
      EXPECT_EQ(next.key(), std::next(it)->first);
    }
  }
  EXPECT_FALSE((*table)->LowerBound("zebra").valid());
}

TEST(IndexTableTest, ATableMayBeEmpty) {
  const auto table = IndexTable::Parse(TensorFlowTable({}));
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ((*table)->size(), 0);
  EXPECT_FALSE((*table)->begin().valid());
  EXPECT_FALSE((*table)->LowerBound("key").valid());
}

// Row 10: every bit is either checked or, in the footer, the only one possible.
TEST(IndexTableTest, EveryFlippedBitAndEveryCutIsFound) {
  Rows rows = ManyRows();
  rows.erase(std::next(rows.begin(), 25), rows.end());
  const std::string bytes = TensorFlowTable(rows, SmallBlocks());
  ASSERT_GT(9 * bytes.size(), 6000);
  ASSERT_THAT(IndexTable::Parse(bytes), IsOk());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_THAT(IndexTable::Parse(flipped), StatusIs(Code::kDataLoss)) << bit;
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(IndexTable::Parse(bytes.substr(0, size)),
                StatusIs(Code::kDataLoss))
        << size;
  }
}

TEST(IndexTableTest, TablesByHandAreRead) {
  const auto table = IndexTable::Parse(
      Table({{"ab", Block(Row(0, "a", "1") + Row(1, "b", "2"))},
             {"c", Block(Row(0, "b", "3") + Row(0, "c", "4"), {0, 5})}}));
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(RowsOf(**table),
            (Rows{{"a", "1"}, {"ab", "2"}, {"b", "3"}, {"c", "4"}}));
}

// Row 23: with valid checksums.
TEST(IndexTableTest, RowsThatLieAreDamage) {
  const std::vector<std::string> blocks = {
      "",
      Fixed(0, 4),
      Fixed(7, 4),
      Fixed(0xffffffff, 4),
      Block(""),
      Block(Row(0, "a", "1"), {}),
      Block(Row(0, "a", "1"), {1}),
      Block(Row(0, "a", "1"), {0, 0}),
      Block(Row(0, "a", "1"), {0, 4}),
      Block(Row(0, "a", "1"), {0, 0xffffffff}),
      Block(Row(1, "a", "1")),
      Block(Row(0, "a", "1") + Row(2, "b", "1")),
      Block(Row(0, "a", "1") + Row(1, "b", "1"), {0, 5}),
      Block(Row(0, "b", "1") + Row(0, "a", "1")),
      Block(Row(0, "a", "1") + Row(0, "a", "1")),
      Block(Row(0, "a", "1") + Row(1, "", "1")),
      Block(Varint(0) + Varint(1) + Varint(9) + "a1"),
      Block(Varint(0) + Varint(9) + Varint(0) + "a"),
      Block(Varint(0) + Varint(0xffffffff) + Varint(0xffffffff)),
      Block(Varint(uint64_t{1} << 40) + Varint(1) + Varint(0) + "a"),
      Block("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
      Block(Row(0, std::string(70000, 'a'), "1")),
  };
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_THAT(IndexTable::Parse(Table({{"z", blocks[i]}})),
                StatusIs(Code::kDataLoss))
        << i;
  }
}

TEST(IndexTableTest, BlocksOutOfOrderAreDamage) {
  const std::string a = Block(Row(0, "a", "1"));
  const std::string b = Block(Row(0, "b", "2"));
  EXPECT_THAT(IndexTable::Parse(Table({{"a", a}, {"b", b}})), IsOk());
  EXPECT_THAT(IndexTable::Parse(Table({{"b", a}, {"c", b}})),
              StatusIs(Code::kDataLoss, HasSubstr("order")));
  EXPECT_THAT(IndexTable::Parse(Table({{"a", b}})),
              StatusIs(Code::kDataLoss, HasSubstr("order")));
  EXPECT_THAT(IndexTable::Parse(Table({{"b", b}, {"c", a}})),
              StatusIs(Code::kDataLoss, HasSubstr("order")));
}

// A block that is pointed to again and again would make a small file large.
TEST(IndexTableTest, PlacesThatLieAreDamage) {
  std::string file;
  const Written a = Append(Block(Row(0, "a", "1")), &file);
  const Written b = Append(Block(Row(0, "b", "1")), &file);
  const std::vector<std::string> places = {
      "",
      Varint(a.offset),
      a.place() + "x",
      Written{a.offset, a.size + 1}.place(),
      Written{a.offset, uint64_t{1} << 62}.place(),
      Written{a.offset, ~uint64_t{0}}.place(),
      Written{uint64_t{1} << 62, a.size}.place(),
      Written{~uint64_t{0}, 1}.place(),
      std::string(11, '\xff'),
  };
  for (size_t i = 0; i < places.size(); ++i) {
    EXPECT_THAT(
        IndexTable::Parse(WithIndex(file, Block(Row(0, "z", places[i])))),
        StatusIs(Code::kDataLoss))
        << i;
  }
  for (const Written& second : {a, b}) {
    const std::string rows = Row(0, "a", b.place());
    EXPECT_THAT(
        IndexTable::Parse(WithIndex(
            file, Block(rows + Row(0, "z", second.place()), {0, rows.size()}))),
        StatusIs(Code::kDataLoss));
  }
}

TEST(IndexTableTest, CompressionThatLiesIsDamage) {
  std::string compressed;
  const std::string block = Block(Row(0, "a", "1"));
  ASSERT_TRUE(tensorflow::port::Snappy_Compress(block.data(), block.size(),
                                                &compressed));
  EXPECT_THAT(IndexTable::Parse(Table({{"z", compressed}}, 1)), IsOk());
  EXPECT_THAT(IndexTable::Parse(Table({{"z", compressed}}, 2)),
              StatusIs(Code::kDataLoss, HasSubstr("unknown")));
  EXPECT_THAT(IndexTable::Parse(Table({{"z", compressed.substr(1)}}, 1)),
              StatusIs(Code::kDataLoss));
  EXPECT_THAT(IndexTable::Parse(Table({{"z", Varint(0xfffffff0) + "abc"}}, 1)),
              StatusIs(Code::kDataLoss, HasSubstr("larger")));
  EXPECT_THAT(IndexTable::Parse(Table({{"z", std::string(9, '\xff')}}, 1)),
              StatusIs(Code::kDataLoss, HasSubstr("uncompressed")));
}

// The search for a row goes from the last restart on.
TEST(IndexTableTest, TooManyRowsWithoutARestartAreDamage) {
  for (const int count : {256, 257}) {
    std::string rows;
    for (int i = 0; i < count; ++i) {
      rows += Row(0, absl::StrCat(1000 + i), "");
    }
    const auto table = IndexTable::Parse(Table({{"z", Block(rows)}}));
    EXPECT_EQ(table.ok(), count == 256) << table.status();
  }
}

}  // namespace
}  // namespace tftrain::internal

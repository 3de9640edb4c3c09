// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file_writer_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::SizeIs;

std::shared_ptr<EventFileWriter> Get(const std::string& logdir) {
  auto writer = EventFileWriterCache::Get(logdir);
  EXPECT_THAT(writer, IsOk());
  return *writer;
}

// WRT-13: here every way to name a folder leads to the same writer.
TEST(EventFileWriterCacheTest, OneFolderHasOneWriter) {
  const TempDir dir;
  const auto writer = Get(dir / "d");
  std::filesystem::create_symlink(dir / "d", dir / "link");

  EXPECT_EQ(Get(dir / "d"), writer);
  EXPECT_EQ(Get(dir / "d/"), writer);
  EXPECT_EQ(Get(dir / "./d"), writer);
  EXPECT_EQ(Get(dir / "link"), writer);
  EXPECT_NE(Get(dir / "e"), writer);
}

// WRT-14: here a writer closes when the last one lets go of it.
TEST(EventFileWriterCacheTest, LastUserClosesTheWriter) {
  const TempDir dir;
  auto first = Get(dir.path());
  auto second = Get(dir.path());
  first->AddScalar("a", 1);
  first.reset();
  EXPECT_FALSE(second->closed());
  second->AddScalar("a", 2);
  second.reset();
  EXPECT_THAT(dir.List(), SizeIs(1));

  const auto third = Get(dir.path());
  third->AddScalar("a", 3);
  ASSERT_THAT(third->Flush(), IsOk());
  EXPECT_THAT(dir.List(), SizeIs(2));
}

TEST(EventFileWriterCacheTest, ClosedWriterIsNotGivenOutAgain) {
  const TempDir dir;
  const auto first = Get(dir.path());
  ASSERT_THAT(first->Close(), IsOk());

  const auto second = Get(dir.path());

  EXPECT_NE(first, second);
  EXPECT_FALSE(second->closed());
}

// WRT-14
TEST(EventFileWriterCacheTest, ClearClosesAll) {
  const TempDir dir;
  const auto a = Get(dir / "a");
  const auto b = Get(dir / "b");
  a->AddScalar("x", 1);

  EventFileWriterCache::Clear();

  EXPECT_TRUE(a->closed());
  EXPECT_TRUE(b->closed());
  EXPECT_THAT(ListFolder(dir / "a"), IsOkAndHolds(SizeIs(1)));
  EXPECT_NE(Get(dir / "a"), a);
}

TEST(EventFileWriterCacheTest, FolderThatCannotBeMadeIsAnError) {
  const TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir / "file", "x"), IsOk());

  EXPECT_THAT(EventFileWriterCache::Get(dir / "file"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(EventFileWriterCache::Get(""),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TempDirTest, IsEmptyAndUnlikeAnyOther) {
  const TempDir one;
  const TempDir two;

  EXPECT_NE(one.path(), two.path());
  EXPECT_THAT(one.List(), IsEmpty());
}

TEST(TempDirTest, IsGoneWithItsContentAtTheEnd) {
  std::optional<TempDir> dir(std::in_place);
  const std::string path = dir->path();
  ASSERT_THAT(CreateFolders(*dir / "deep/er"), IsOk());
  ASSERT_THAT(WriteFileAtomically(*dir / "deep/er/file", "x"), IsOk());
  EXPECT_THAT(dir->List(), ElementsAre("deep"));

  dir.reset();

  EXPECT_THAT(FileExists(path), IsOkAndHolds(false));
}

}  // namespace
}  // namespace tftrain

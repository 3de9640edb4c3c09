// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/faulty_file_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;

class FaultyFileOpsTest : public ::testing::Test {
 protected:
  absl::Status Remove(std::string_view name) { return RemoveFile(dir_ / name); }

  const TempDir dir_;
  FaultyFileOps faults_;
};

TEST_F(FaultyFileOpsTest, FailsOneCall) {
  faults_.FailCall(1, ENOSPC);

  EXPECT_THAT(Remove("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Remove("b"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Remove("c"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(FaultyFileOpsTest, FailsAllCallsFromThereOn) {
  faults_.FailCall(1, EIO, FaultyFileOps::Fault::kSticky);

  EXPECT_THAT(Remove("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Remove("b"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Remove("c"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(FaultyFileOpsTest, NotesTheCalls) {
  EXPECT_THAT(WriteFileAtomically(dir_ / "a", "x"), IsOk());

  EXPECT_THAT(faults_.calls(),
              ElementsAre("open", "fstat", "fchmod", "write", "fchmod", "fsync",
                          "close", "rename", "open", "fsync", "close"));
}

TEST_F(FaultyFileOpsTest, ShortWritesAreStillWholeFiles) {
  faults_.LimitWrites(3);

  EXPECT_THAT(WriteFileAtomically(dir_ / "a", "0123456789"), IsOk());

  EXPECT_THAT(ReadFile(dir_ / "a", 100), IsOkAndHolds("0123456789"));
}

}  // namespace
}  // namespace tftrain

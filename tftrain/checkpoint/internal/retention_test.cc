// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kNever = absl::ZeroDuration();

absl::Time At(int minutes) {
  return absl::FromUnixSeconds(1000) + absl::Minutes(minutes);
}

std::vector<std::string> NamesOf(const std::vector<KeptCheckpoint>& list) {
  std::vector<std::string> names;
  for (const KeptCheckpoint& checkpoint : list) {
    names.push_back(checkpoint.prefix);
  }
  return names;
}

// SVR-27, SVR-35
TEST(RetentionTest, APlanChangesNothingUntilItIsApplied) {
  Retention retention(2, kNever, At(0));
  retention.set_kept({{"a", At(1)}, {"b", At(2)}, {"c", At(3)}});
  const Retention::Change change = retention.Plan("d", At(4));
  EXPECT_THAT(NamesOf(change.kept), ElementsAre("c", "d"));
  EXPECT_THAT(NamesOf(change.deleted), ElementsAre("a", "b"));
  EXPECT_THAT(NamesOf(retention.kept()), ElementsAre("a", "b", "c"));
  retention.Apply(change);
  EXPECT_THAT(NamesOf(retention.kept()), ElementsAre("c", "d"));
  EXPECT_FALSE(retention.kept().front().own);
  EXPECT_TRUE(retention.kept().back().own);
}

// SVR-27
TEST(RetentionTest, ANameSavedAgainIsTheNewest) {
  Retention retention(2, kNever, At(0));
  retention.set_kept({{"a", At(1)}, {"b", At(2)}});
  const Retention::Change change = retention.Plan("a", At(3));
  EXPECT_THAT(NamesOf(change.kept), ElementsAre("b", "a"));
  EXPECT_THAT(change.deleted, IsEmpty());
}

// SVR-31, SVR-32: on Python's grid, but once in an interval.
TEST(RetentionTest, OneInEveryIntervalIsKeptForGood) {
  Retention retention(1, absl::Hours(1), At(0));
  std::vector<std::string> deleted;
  for (const int minute : {60, 61, 119, 121, 300, 310, 361, 362}) {
    const Retention::Change change =
        retention.Plan(absl::StrCat(minute), At(minute));
    for (const KeptCheckpoint& checkpoint : change.deleted) {
      deleted.push_back(checkpoint.prefix);
    }
    retention.Apply(change);
  }
  EXPECT_THAT(deleted, ElementsAre("60", "119", "310"));
}

// SVR-33: a time without end says so for one, and for no other.
TEST(RetentionTest, AnInfiniteTimeIsKeptForGood) {
  Retention retention(1, absl::Hours(1), At(0));
  retention.set_kept({{"a", absl::InfiniteFuture()}, {"b", At(61)}});
  const Retention::Change change = retention.Plan("c", At(62));
  EXPECT_THAT(change.deleted, IsEmpty());
  EXPECT_EQ(change.next_preserved, At(120));
}

// SVR-33: no time is later than an interval that never ends.
TEST(RetentionTest, NothingIsKeptForGoodWithoutAnInterval) {
  Retention retention(1, kNever, At(0));
  retention.set_kept({{"a", absl::InfiniteFuture()}});
  EXPECT_THAT(NamesOf(retention.Plan("b", At(1)).deleted), ElementsAre("a"));
}

// SVR-28
TEST(RetentionTest, DeletesTheFilesOfOneCheckpointAndNoOther) {
  const TempDir dir;
  for (const std::string name :
       {"m-1.index", "m-1.meta", "m-1.data-00000-of-00002",
        "m-1.data-00001-of-00002", "m-1.index.old", "m-10.index", "m-1",
        "m-1.data-0-of-1"}) {
    ASSERT_THAT(WriteFileAtomically(dir / name, "x", {/*durable=*/false}),
                IsOk());
  }
  DeleteCheckpoint({dir / "m-?", At(1), /*own=*/true}, dir.path());
  EXPECT_THAT(dir.List(), testing::SizeIs(8));
  DeleteCheckpoint({dir / "m-1", At(1), /*own=*/false}, "elsewhere");
  EXPECT_THAT(dir.List(), testing::SizeIs(8));
  DeleteCheckpoint({dir / "m-1", At(1), /*own=*/false}, dir.path());
  EXPECT_THAT(dir.List(), ElementsAre("m-1", "m-1.data-0-of-1", "m-1.index.old",
                                      "m-10.index"));
}

}  // namespace
}  // namespace tftrain::internal

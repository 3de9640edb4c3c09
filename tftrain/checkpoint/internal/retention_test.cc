// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::map<std::string, double> NoMetrics(const std::string&) { return {}; }

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
  Retention retention({KeepNewest{2}}, At(0));
  retention.set_kept({{"a", At(1)}, {"b", At(2)}, {"c", At(3)}});
  const Retention::Change change = retention.Plan("d", At(4), NoMetrics);
  EXPECT_THAT(NamesOf(change.kept), ElementsAre("c", "d"));
  EXPECT_THAT(NamesOf(change.deleted), ElementsAre("a", "b"));
  EXPECT_THAT(NamesOf(retention.kept()), ElementsAre("a", "b", "c"));
  retention.Apply(change, {});
  EXPECT_THAT(NamesOf(retention.kept()), ElementsAre("c", "d"));
  EXPECT_FALSE(retention.kept().front().own);
  EXPECT_TRUE(retention.kept().back().own);
}

// SVR-27
TEST(RetentionTest, ANameSavedAgainIsTheNewest) {
  Retention retention({KeepNewest{2}}, At(0));
  retention.set_kept({{"a", At(1)}, {"b", At(2)}});
  const Retention::Change change = retention.Plan("a", At(3), NoMetrics);
  EXPECT_THAT(NamesOf(change.kept), ElementsAre("b", "a"));
  EXPECT_THAT(change.deleted, IsEmpty());
}

// R3: else the newest would be deleted by its other name.
TEST(RetentionTest, ACheckpointIsTheSameHoweverItIsSpelled) {
  const std::string here = std::filesystem::current_path();
  Retention retention({KeepNewest{2}}, At(0));
  retention.set_kept({{"run/a", At(1)},
                      {"run/b", At(2)},
                      {here + "/run/a", At(3)},
                      {"run//./b", At(4)}});
  EXPECT_THAT(NamesOf(retention.kept()),
              ElementsAre(here + "/run/a", "run//./b"));
  const Retention::Change change = retention.Plan("./run/a", At(5), NoMetrics);
  EXPECT_THAT(NamesOf(change.kept), ElementsAre("run//./b", "./run/a"));
  EXPECT_THAT(change.deleted, IsEmpty());
}

// SVR-31, SVR-32: on Python's grid, but once in an interval.
TEST(RetentionTest, OneInEveryIntervalIsKeptForGood) {
  Retention retention(ClassicRetention(1, 1), At(0));
  std::vector<std::string> deleted;
  for (const int minute : {60, 61, 119, 121, 300, 310, 361, 362}) {
    const Retention::Change change =
        retention.Plan(absl::StrCat(minute), At(minute), NoMetrics);
    for (const KeptCheckpoint& checkpoint : change.deleted) {
      deleted.push_back(checkpoint.prefix);
    }
    retention.Apply(change, {});
  }
  EXPECT_THAT(deleted, ElementsAre("60", "119", "310"));
}

// SVR-33: a time without end says so for one, and for no other.
TEST(RetentionTest, AnInfiniteTimeIsKeptForGood) {
  Retention retention(ClassicRetention(1, 1), At(0));
  retention.set_kept({{"a", absl::InfiniteFuture()}, {"b", At(61)}});
  const Retention::Change change = retention.Plan("c", At(62), NoMetrics);
  EXPECT_THAT(change.deleted, IsEmpty());
  EXPECT_EQ(change.next_preserved.back(), At(120));
}

// SVR-33: no time is later than an interval that never ends.
TEST(RetentionTest, NothingIsKeptForGoodWithoutAnInterval) {
  Retention retention(ClassicRetention(1, 0), At(0));
  retention.set_kept({{"a", absl::InfiniteFuture()}});
  EXPECT_THAT(NamesOf(retention.Plan("b", At(1), NoMetrics).deleted),
              ElementsAre("a"));
}

class RetentionPoliciesTest : public ::testing::Test {
 protected:
  // Saves the checkpoints m-1, m-2, ... with these values of the metric "loss"
  // under `policies`, one a minute.
  void Run(std::vector<RetentionPolicy> policies,
           const std::vector<double>& losses) {
    Retention retention(std::move(policies), At(0));
    const auto loss_of = [&](const std::string& prefix) {
      const double loss =
          losses[static_cast<size_t>(*StepOfPrefix(prefix) - 1)];
      return Retention::Metrics{{"loss", loss}};
    };
    for (int i = 1; i <= static_cast<int>(losses.size()); ++i) {
      const Retention::Change change =
          retention.Plan(absl::StrCat("m-", i), At(i), loss_of);
      for (const auto& each : change.preserved) {
        preserved_.push_back(each.prefix);
      }
      for (const auto& each : change.deleted) deleted_.push_back(each.prefix);
      retention.Apply(change, {});
    }
    kept_ = NamesOf(retention.kept());
  }

  std::vector<std::string> kept_, preserved_, deleted_;
};

TEST_F(RetentionPoliciesTest, WhatAnyPolicyKeepsIsKept) {
  Run({KeepNewest{1}, KeepBest{"loss", 2}, KeepEverySteps{4}},
      {5, 1, 4, 9, 8, 2, 7});
  EXPECT_THAT(kept_, ElementsAre("m-2", "m-6", "m-7"));
  EXPECT_THAT(preserved_, ElementsAre("m-4"));
  EXPECT_THAT(deleted_, ElementsAre("m-1", "m-3", "m-5"));
}

TEST_F(RetentionPoliciesTest, TheLargestAndTheLaterOfEqualsAreBest) {
  Run({KeepBest{"loss", 1, KeepBest::Mode::kMax}}, {3, 5, 5, 1});
  EXPECT_THAT(kept_, ElementsAre("m-3", "m-4"));
}

TEST_F(RetentionPoliciesTest, NoNumberIsNeverBest) {
  Run({KeepBest{"loss"}}, {std::nan(""), 7, std::nan("")});
  EXPECT_THAT(kept_, ElementsAre("m-2", "m-3"));
}

TEST_F(RetentionPoliciesTest, AnUnknownMetricKeepsTheNewestOnly) {
  Run({KeepBest{"accuracy"}}, {1, 2});
  EXPECT_THAT(kept_, ElementsAre("m-2"));
}

TEST_F(RetentionPoliciesTest, EveryPolicyOfIntervalsHasItsOwn) {
  Run({KeepEveryHours{2.0 / 60}, KeepEveryHours{3.0 / 60}},
      {0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_THAT(preserved_, ElementsAre("m-3", "m-4", "m-5", "m-7"));
}

TEST_F(RetentionPoliciesTest, NumbersThatMeanNothingAreRefused) {
  for (const RetentionPolicy& policy : std::vector<RetentionPolicy>{
           KeepNewest{0}, KeepBest{"", 1}, KeepBest{"loss", 0},
           KeepEverySteps{0}, KeepEveryHours{-1},
           KeepEveryHours{std::nan("")}}) {
    EXPECT_THAT(CheckRetention({KeepNewest{}, policy}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         testing::HasSubstr("give ")))
        << policy.index();
  }
}

TEST(RetentionTest, WhatCouldNotBeDeletedGoesWithTheNextOne) {
  Retention retention({KeepNewest{1}}, At(0));
  retention.set_kept({{"a", At(1)}});
  Retention::Change change = retention.Plan("b", At(2), NoMetrics);
  retention.Apply(change, change.deleted);
  EXPECT_THAT(NamesOf(retention.Plan("c", At(3), NoMetrics).deleted),
              ElementsAre("a", "b"));
  EXPECT_THAT(NamesOf(retention.Plan("a", At(3), NoMetrics).deleted),
              ElementsAre("b"));
}

// SVR-28
TEST(RetentionTest, DeletesTheFilesOfOneCheckpointAndNoOther) {
  const TempDir dir;
  for (const std::string name :
       {"m-1.index", "m-1.meta", "m-1.tftrain.json", "m-1.data-00000-of-00002",
        "m-1.data-00001-of-00002", "m-1.index.old", "m-10.index", "m-1",
        "m-1.data-0-of-1"}) {
    ASSERT_THAT(WriteFileAtomically(dir / name, "x", {/*durable=*/false}),
                IsOk());
  }
  EXPECT_TRUE(DeleteCheckpoint({dir / "m-?", At(1), /*own=*/true}, dir.path()));
  EXPECT_THAT(dir.List(), testing::SizeIs(9));
  EXPECT_TRUE(DeleteCheckpoint({dir / "m-1", At(1), false}, "elsewhere"));
  EXPECT_THAT(dir.List(), testing::SizeIs(9));
  EXPECT_TRUE(DeleteCheckpoint({dir / "m-1", At(1), false}, dir.path()));
  EXPECT_THAT(dir.List(), ElementsAre("m-1", "m-1.data-0-of-1", "m-1.index.old",
                                      "m-10.index"));
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/matchers.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace tftrain {
namespace {

using ::testing::DescribeMatcher;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointee;
using ::testing::StringMatchResultListener;

TEST(MatchersTest, IsOkMatchesAStatusAndAStatusOr) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(absl::StatusOr<int>(3), IsOk());
  EXPECT_THAT(absl::InternalError("x"), Not(IsOk()));
  EXPECT_THAT(absl::StatusOr<int>(absl::InternalError("x")), Not(IsOk()));
}

TEST(MatchersTest, StatusIsMatchesCodeAndMessage) {
  const absl::Status status = absl::NotFoundError("no such op");

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, "no such op"));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, HasSubstr("such")));
  EXPECT_THAT(status, StatusIs(Not(absl::StatusCode::kOk)));
  EXPECT_THAT(status, Not(StatusIs(absl::StatusCode::kInternal)));
  EXPECT_THAT(status, Not(StatusIs(absl::StatusCode::kNotFound, "other")));
}

TEST(MatchersTest, IsOkAndHoldsMatchesTheValue) {
  EXPECT_THAT(absl::StatusOr<int>(3), IsOkAndHolds(3));
  EXPECT_THAT(absl::StatusOr<std::string>("text"), IsOkAndHolds("text"));
  EXPECT_THAT((absl::StatusOr<std::vector<int>>({1, 2})),
              IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(absl::StatusOr<int>(4), Not(IsOkAndHolds(3)));
  EXPECT_THAT(absl::StatusOr<int>(absl::InternalError("x")),
              Not(IsOkAndHolds(3)));
}

TEST(MatchersTest, IsOkAndHoldsMatchesAValueThatCannotBeCopied) {
  const absl::StatusOr<std::unique_ptr<int>> result = std::make_unique<int>(7);

  EXPECT_THAT(result, IsOkAndHolds(Pointee(7)));
}

TEST(MatchersTest, AFailureShowsTheWholeStatus) {
  StringMatchResultListener listener;
  const ::testing::Matcher<absl::Status> matcher = IsOk();

  EXPECT_FALSE(
      matcher.MatchAndExplain(absl::NotFoundError("no such op"), &listener));
  EXPECT_THAT(listener.str(), HasSubstr("NOT_FOUND: no such op"));
  EXPECT_THAT(DescribeMatcher<absl::StatusOr<int>>(IsOkAndHolds(3)),
              "is OK and holds a value that is equal to 3");
  EXPECT_THAT(DescribeMatcher<absl::StatusOr<int>>(Not(IsOkAndHolds(3))),
              "is not OK or holds a value that isn't equal to 3");
}

}  // namespace
}  // namespace tftrain

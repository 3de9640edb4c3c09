// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/feed_fn_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tftrain/base/errors.h"
#include "tftrain/testing/diverging_graph.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

TEST(FeedFnHookTest, FeedsWhatTheFunctionReturnsForEachStep) {
  // FFN-01
  float x = 0;
  HookDriver run({FeedFrom([&] { return Feeds{{"x:0", x += 10}}; })});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.session().Run(Fetch<float>("x:0")), IsOkAndHolds(10.0f));
  EXPECT_THAT(run.session().Run(Fetch<float>("x:0")), IsOkAndHolds(20.0f));
  EXPECT_THAT(run.Close(), IsOk());
}

TEST(FeedFnHookTest, EmptyFeedsFeedNothing) {
  // FFN-02
  HookDriver run({FeedFrom([] { return Feeds(); })}, "", DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.session().Run(Fetch<float>("x:0")), IsOkAndHolds(1.0f));
  EXPECT_THAT(run.session().Run(Fetch<float>("x:0"), {{"x:0", 5.0f}}),
              IsOkAndHolds(5.0f));
}

TEST(FeedFnHookTest, ATensorIsFedByOneOnly) {
  HookDriver run({FeedFrom([] { return Feeds{{"x:0", 1.0f}}; })});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.session().Run(Fetch<float>("x:0"), {{"x:0", 5.0f}}),
              StatusIs(kPrecondition, HasSubstr("\"x:0\"")));
}

TEST(FeedFnHookTest, TheEndOfTheDataEndsTrainingCleanly) {
  int batches = 2;
  HookDriver run({FeedFrom([&]() -> absl::StatusOr<Feeds> {
                   if (batches-- == 0) return EndOfInputError("no more data");
                   return Feeds{{"x:0", 1.0f}};
                 })},
                 "", DivergingGraph());
  ASSERT_THAT(run.Open(), IsOk());

  const auto summary = run.session().RunUntilStop(
      [&] { return run.session().Run(Target("train")); });

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->reason, StopReason::kEndOfInput);
  EXPECT_EQ(summary->last_step, 2);
}

TEST(FeedFnHookTest, NeedsAFunction) {
  HookDriver run({FeedFrom(nullptr)});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("no function")));
}

}  // namespace
}  // namespace tftrain

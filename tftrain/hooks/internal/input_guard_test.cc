// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/input_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Request Asks(std::vector<std::string> fetches,
             std::vector<std::string> targets = {},
             std::vector<std::string> feeds = {}) {
  Request request;
  request.fetches = std::move(fetches);
  request.dtypes.resize(request.fetches.size());
  request.targets = std::move(targets);
  request.feeds = std::move(feeds);
  return request;
}

InputGuard Guard(const GraphPtr& graph, const Request& request) {
  absl::StatusOr<InputGuard> guard = InputGuard::Create(graph, request);
  EXPECT_THAT(guard, IsOk());
  return *std::move(guard);
}

TEST(InputGuardTest, ARequestWithoutInputsJoinsAnyStep) {
  InputGuard guard = Guard(CountingGraph(), Asks({"w_summary:0"}));

  EXPECT_THAT(guard.inputs(), IsEmpty());
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"})));
}

TEST(InputGuardTest, APlaceholderIsWaitedForOnceItWasFed) {
  InputGuard guard = Guard(CountingGraph(), Asks({"x_summary:0"}));

  EXPECT_THAT(guard.inputs(), ElementsAre("x"));
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"}))) << "a hook may feed it";
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"}, {"x:0"})));
  EXPECT_FALSE(guard.Allows(Asks({}, {"train"})));
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"}, {"x:0"})));
}

TEST(InputGuardTest, ATensorFedOnTheWayStandsForThePlaceholder) {
  const GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const auto half = tensorflow::ops::Multiply(
      scope.WithOpName("half"), AsOutput(*graph->FindTensor("x:0")), 0.5f);
  tensorflow::ops::Identity(scope.WithOpName("y"), half);
  InputGuard guard = Guard(graph, Asks({"y:0"}));

  EXPECT_TRUE(guard.Allows(Asks({}, {"train"}, {"half:0"})));
  EXPECT_FALSE(guard.Allows(Asks({}, {"train"})));
}

TEST(InputGuardTest, ARequestsOwnFeedsAreNotInputs) {
  InputGuard guard = Guard(CountingGraph(), Asks({"x_summary:0"}, {}, {"x:0"}));

  EXPECT_THAT(guard.inputs(), IsEmpty());
}

TEST(InputGuardTest, AQueueIsReadOnlyTogetherWithTheCaller) {
  InputGuard guard = Guard(CountingGraph(), Asks({"next_summary:0"}));

  EXPECT_THAT(guard.inputs(), ElementsAre("next"));
  EXPECT_TRUE(guard.Allows(Asks({"next:0"})));
  EXPECT_FALSE(guard.Allows(Asks({"w_value:0"})));
  EXPECT_TRUE(guard.Allows(Asks({}, {"train_next"})));
}

TEST(InputGuardTest, RefusesNamesTheGraphDoesNotHave) {
  EXPECT_THAT(InputGuard::Create(CountingGraph(), Asks({"missing:0"})),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(InputGuard::Create(CountingGraph(), Asks({}, {"missing"})),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tftrain::internal

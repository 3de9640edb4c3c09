// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/input_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/testing/requests.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(InputGuardTest, ARequestWithoutInputsJoinsAnyStep) {
  InputGuard guard(CountingGraph(), Asks({"w_summary:0"}));

  EXPECT_THAT(guard.inputs(), IsEmpty());
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"})));
}

TEST(InputGuardTest, APlaceholderIsWaitedForOnceItWasFed) {
  InputGuard guard(CountingGraph(), Asks({"x_summary:0"}));

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
  InputGuard guard(graph, Asks({"y:0"}));

  EXPECT_TRUE(guard.Allows(Asks({}, {"train"}, {"half:0"})));
  EXPECT_FALSE(guard.Allows(Asks({}, {"train"})));
}

TEST(InputGuardTest, ARequestsOwnFeedsAreNotInputs) {
  InputGuard guard(CountingGraph(), Asks({"x_summary:0"}, {}, {"x:0"}));

  EXPECT_THAT(guard.inputs(), IsEmpty());
}

TEST(InputGuardTest, AQueueIsReadOnlyTogetherWithTheCaller) {
  InputGuard guard(CountingGraph(), Asks({"next_summary:0"}));

  EXPECT_THAT(guard.inputs(), ElementsAre("next"));
  EXPECT_TRUE(guard.Allows(Asks({"next:0"})));
  EXPECT_FALSE(guard.Allows(Asks({"w_value:0"})));
  EXPECT_TRUE(guard.Allows(Asks({}, {"train_next"})));
}

TEST(InputGuardTest, AnswersAreKeptForEachOfTheCallersRequests) {
  InputGuard guard(CountingGraph(), Asks({"next_summary:0"}));
  const RequestPtr trains = Asks({}, {"train_next"});
  const RequestPtr evaluates = Asks({"w_value:0"});
  guard.PlanAhead(evaluates);

  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(guard.Allows(trains));
    EXPECT_FALSE(guard.Allows(evaluates));
  }
  // More kinds of steps than are remembered change no answer.
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(guard.Allows(Asks({"w_value:0"})));
  EXPECT_TRUE(guard.Allows(trains));
}

TEST(InputGuardTest, NamesTheGraphDoesNotHaveAreNoInputs) {
  InputGuard guard(CountingGraph(), Asks({"missing:0"}, {"missing"}));

  EXPECT_THAT(guard.inputs(), IsEmpty());
  EXPECT_TRUE(guard.Allows(Asks({}, {"train"})));
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/step_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/session/fetch.h"
#include "tftrain/testing/matchers.h"

namespace tftrain::internal {
namespace {

using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::HasSubstr;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

template <typename F>
RequestPtr Ask(const F& fetches, std::vector<std::string> feeds = {}) {
  return std::make_shared<const Request>(
      MakeRequest(fetches, std::move(feeds)));
}

// "y" = 2 * "x", "z" = 3 * "x".
class StepPlanTest : public testing::Test {
 protected:
  StepPlanTest() {
    const tensorflow::Scope scope = graph_->scope();
    const auto x =
        ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT);
    ops::Mul(scope.WithOpName("y"), x, ops::Const(scope, 2.0f));
    ops::Mul(scope.WithOpName("z"), x, ops::Const(scope, 3.0f));
    auto engine =
        Engine::Create(tensorflow::SessionOptions(), **graph_->ToGraphDef());
    EXPECT_THAT(engine, IsOk());
    engine_ = *std::move(engine);
  }

  absl::StatusOr<std::shared_ptr<const StepPlan>> Make(
      const std::vector<RequestPtr>& requests) {
    return StepPlan::Make(graph_, requests, engine_, ThreadMode::kPool);
  }

  const GraphPtr graph_ = Graph::Create();
  std::shared_ptr<Engine> engine_;
  const Fetch<float> y_{"y:0"};
  const Fetch<float> z_{"z:0"};
};

float Number(const Tensor& tensor) { return tensor.scalar<float>()(); }

TEST_F(StepPlanTest, EachPartGetsItsOwnValues) {
  const RequestPtr caller = Ask(std::tuple{z_, y_}, {"x:0"});
  const RequestPtr hook = Ask(std::tuple{y_, Fetch<float>("x:0"), y_});
  const RequestPtr idle = Ask(std::tuple<>());
  const auto plan = Make({caller, hook, idle});
  ASSERT_THAT(plan, IsOk());
  const FeedValue feeds[] = {10.0f};
  StepBuffers buffers;

  ASSERT_THAT((*plan)->Run({{&caller, feeds}, {&hook, {}}, {&idle, {}}},
                           nullptr, nullptr, &buffers),
              IsOk());

  const StepValues of_caller = (*plan)->Values(0, &buffers, false);
  ASSERT_EQ(of_caller.size(), 2);
  EXPECT_EQ(Number(of_caller[0]), 30.0f);
  EXPECT_EQ(Number(of_caller[1]), 20.0f);
  const StepValues of_hook = (*plan)->Values(1, &buffers, false);
  ASSERT_EQ(of_hook.size(), 3);
  EXPECT_EQ(Number(of_hook[0]), 20.0f);
  EXPECT_EQ(Number(of_hook[1]), 10.0f);
  EXPECT_TRUE(of_hook[0].SharesBufferWith(of_hook[2]));
  EXPECT_TRUE(of_hook[0].SharesBufferWith(of_caller[1]));
  EXPECT_EQ((*plan)->Values(2, &buffers, false).size(), 0);
}

TEST_F(StepPlanTest, MatchesTheSameRequestsOnly) {
  const RequestPtr one = Ask(y_, {"x:0"});
  const RequestPtr equal = Ask(y_, {"x:0"});
  const RequestPtr hook = Ask(z_);
  const auto plan = Make({one, hook});
  ASSERT_THAT(plan, IsOk());

  EXPECT_TRUE((*plan)->Matches({{&one, {}}, {&hook, {}}}));
  EXPECT_FALSE((*plan)->Matches({{&equal, {}}, {&hook, {}}}));
  EXPECT_FALSE((*plan)->Matches({{&hook, {}}, {&one, {}}}));
  EXPECT_FALSE((*plan)->Matches({{&one, {}}}));
  EXPECT_FALSE((*plan)->Matches({}));
}

TEST_F(StepPlanTest, ChecksNamesAndTypesWithoutASession) {
  const auto check = [&](const RequestPtr& request) {
    return StepPlan::Check(*graph_, {request});
  };

  EXPECT_THAT(check(Ask(y_, {"x:0"})), IsOk());
  EXPECT_THAT(check(Ask(Fetch<float>("w:0"))),
              StatusIs(kInvalid, HasSubstr("\"w\"")));
  EXPECT_THAT(check(Ask(Fetch<float>("y:1"))), StatusIs(kInvalid));
  EXPECT_THAT(
      check(Ask(Fetch<int>("y:0"))),
      StatusIs(kInvalid, AllOf(HasSubstr("float"), HasSubstr("int32"))));
  EXPECT_THAT(check(Ask(Target("y:0"))), StatusIs(kInvalid));
  EXPECT_THAT(check(Ask(y_, {"x"})), StatusIs(kInvalid));
  EXPECT_THAT(check(Ask(y_, {"x:0", "x:0"})),
              StatusIs(kInvalid, HasSubstr("fed twice")));
  // A type is checked too where the value is the one that was fed.
  EXPECT_THAT(check(Ask(Fetch<int>("x:0"), {"x:0"})), StatusIs(kInvalid));
}

TEST_F(StepPlanTest, TwoPartiesMayNotFeedTheSameTensor) {
  const RequestPtr caller = Ask(y_, {"x:0"});
  const RequestPtr none = Ask(z_);
  const RequestPtr hook = Ask(z_, {"x:0"});

  EXPECT_THAT(Make({caller, hook}),
              StatusIs(kPrecondition, AllOf(HasSubstr("\"x:0\""),
                                            HasSubstr("by the caller"))));
  EXPECT_THAT(Make({none, hook, Ask(y_, {"x:0"})}),
              StatusIs(kPrecondition, HasSubstr("two hooks")));
}

TEST_F(StepPlanTest, PartsMayFeedDifferentTensors) {
  const RequestPtr caller = Ask(y_, {"x:0"});
  const RequestPtr hook = Ask(z_, {"z:0"});
  const auto plan = Make({caller, hook});
  ASSERT_THAT(plan, IsOk());
  const FeedValue x[] = {1.0f};
  const FeedValue z[] = {5.0f};
  StepBuffers buffers;

  ASSERT_THAT(
      (*plan)->Run({{&caller, x}, {&hook, z}}, nullptr, nullptr, &buffers),
      IsOk());

  EXPECT_EQ(Number((*plan)->Values(0, &buffers, false)[0]), 2.0f);
  EXPECT_EQ(Number((*plan)->Values(1, &buffers, false)[0]), 5.0f);
}

TEST_F(StepPlanTest, WrongNumberOfValuesIsInvalid) {
  const RequestPtr request = Ask(y_, {"x:0"});
  const auto plan = Make({request});
  ASSERT_THAT(plan, IsOk());
  const FeedValue two[] = {1.0f, 2.0f};
  StepBuffers buffers;

  EXPECT_THAT((*plan)->Run({{&request, {}}}, nullptr, nullptr, &buffers),
              StatusIs(kInvalid, HasSubstr("given 0 values")));
  EXPECT_THAT((*plan)->Run({{&request, two}}, nullptr, nullptr, &buffers),
              StatusIs(kInvalid, HasSubstr("given 2 values")));
}

TEST_F(StepPlanTest, BuffersServeStepAfterStep) {
  const RequestPtr y = Ask(y_, {"x:0"});
  const RequestPtr both = Ask(std::tuple{y_, z_}, {"x:0"});
  const auto small = Make({y});
  const auto large = Make({both});
  ASSERT_THAT(small, IsOk());
  ASSERT_THAT(large, IsOk());
  StepBuffers buffers;
  for (float i = 1; i < 4; ++i) {
    const FeedValue x[] = {i};
    ASSERT_THAT((*large)->Run({{&both, x}}, nullptr, nullptr, &buffers),
                IsOk());
    EXPECT_EQ(Number((*large)->Values(0, &buffers, false)[1]), 3 * i);
    ASSERT_THAT((*small)->Run({{&y, x}}, nullptr, nullptr, &buffers), IsOk());
    EXPECT_EQ(Number((*small)->Values(0, &buffers, false)[0]), 2 * i);
  }
}

TEST_F(StepPlanTest, ReleasedBuffersHoldNothing) {
  const RequestPtr request = Ask(y_, {"x:0"});
  const auto plan = Make({request});
  ASSERT_THAT(plan, IsOk());
  const Tensor fed(1.0f);
  const FeedValue x[] = {fed};
  StepBuffers buffers;
  ASSERT_THAT((*plan)->Run({{&request, x}}, nullptr, nullptr, &buffers),
              IsOk());

  buffers.Release();

  EXPECT_FALSE(buffers.fetched[0].SharesBufferWith(fed));
  EXPECT_EQ(buffers.fetched[0].NumElements(), 0);
  EXPECT_EQ(buffers.fed[0].NumElements(), 0);
  EXPECT_EQ(StepBuffers().Values(0).size(), 0);
}

TEST_F(StepPlanTest, PlanKeepsTheEngineAlive) {
  const RequestPtr request = Ask(y_, {"x:0"});
  const auto plan = Make({request});
  ASSERT_THAT(plan, IsOk());
  engine_.reset();
  const FeedValue x[] = {1.0f};
  StepBuffers buffers;

  EXPECT_THAT((*plan)->Run({{&request, x}}, nullptr, nullptr, &buffers),
              IsOk());
}

TEST(EngineTest, GraphThatCannotRunIsTold) {
  tensorflow::GraphDef graph_def;
  graph_def.add_node()->set_op("NoSuchOp");

  EXPECT_THAT(Engine::Create(tensorflow::SessionOptions(), graph_def),
              testing::Not(IsOk()));
}

TEST(EngineTest, UnknownTargetIsTold) {
  tensorflow::SessionOptions options;
  options.target = "elsewhere://there";

  EXPECT_THAT(Engine::Create(options, tensorflow::GraphDef()),
              StatusIs(kPrecondition, HasSubstr("\"elsewhere://there\"")));
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/plan_cache.h"

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

class PlanCacheTest : public testing::Test {
 protected:
  PlanCacheTest() {
    tensorflow::ops::Const(graph_->scope().WithOpName("x"), 1.0f);
    auto engine =
        Engine::Create(tensorflow::SessionOptions(), **graph_->ToGraphDef());
    EXPECT_THAT(engine, IsOk());
    engine_ = *std::move(engine);
  }

  // Requests differ by being different objects, whatever they ask for.
  static RequestPtr NewRequest() {
    return std::make_shared<const Request>(MakeRequest(Target("x")));
  }

  PlanCache::PlanPtr NewPlan(const std::vector<RequestPtr>& requests) {
    auto plan = StepPlan::Make(graph_, requests, engine_, ThreadMode::kPool);
    EXPECT_THAT(plan, IsOk());
    return *std::move(plan);
  }

  PlanCache::PlanPtr Find(PlanCache& cache,
                          const std::vector<RequestPtr>& requests) {
    std::vector<StepPart> parts;
    for (const RequestPtr& request : requests) parts.push_back({&request, {}});
    return cache.Find(parts);
  }

  const GraphPtr graph_ = Graph::Create();
  std::shared_ptr<Engine> engine_;
  const RequestPtr a_ = NewRequest();
  const RequestPtr b_ = NewRequest();
  const RequestPtr c_ = NewRequest();
};

TEST_F(PlanCacheTest, FindsAPlanByAllItsRequestsInOrder) {
  PlanCache cache(8);
  const auto a = NewPlan({a_});
  const auto ab = NewPlan({a_, b_});
  cache.Add(a);
  cache.Add(ab);

  EXPECT_EQ(Find(cache, {a_}), a);
  EXPECT_EQ(Find(cache, {a_, b_}), ab);
  EXPECT_EQ(Find(cache, {b_, a_}), nullptr);
  EXPECT_EQ(Find(cache, {b_}), nullptr);
  EXPECT_EQ(Find(cache, {}), nullptr);
  EXPECT_EQ(Find(cache, {NewRequest()}), nullptr);
}

TEST_F(PlanCacheTest, DropsTheOneUsedLongestAgo) {
  PlanCache cache(2);
  cache.Add(NewPlan({a_}));
  cache.Add(NewPlan({b_}));
  ASSERT_NE(Find(cache, {a_}), nullptr);

  cache.Add(NewPlan({c_}));

  EXPECT_EQ(cache.size(), 2);
  EXPECT_NE(Find(cache, {a_}), nullptr);
  EXPECT_EQ(Find(cache, {b_}), nullptr);
  EXPECT_NE(Find(cache, {c_}), nullptr);
}

TEST_F(PlanCacheTest, KeepsTheFirstOfTwoEqualPlans) {
  PlanCache cache(2);
  const auto first = NewPlan({a_});
  cache.Add(first);

  cache.Add(NewPlan({a_}));

  EXPECT_EQ(cache.size(), 1);
  EXPECT_EQ(Find(cache, {a_}), first);
}

TEST_F(PlanCacheTest, MayHoldNothing) {
  PlanCache cache(0);

  cache.Add(NewPlan({a_}));

  EXPECT_EQ(cache.size(), 0);
  EXPECT_EQ(Find(cache, {a_}), nullptr);
}

TEST_F(PlanCacheTest, ClearedPlanLivesOnWhereItIsUsed) {
  PlanCache cache(2);
  cache.Add(NewPlan({a_}));
  const auto used = Find(cache, {a_});

  cache.Clear();

  EXPECT_EQ(cache.size(), 0);
  EXPECT_EQ(used.use_count(), 1);
  StepBuffers buffers;
  EXPECT_THAT(used->Run({{&a_, {}}}, nullptr, nullptr, &buffers), IsOk());
}

}  // namespace
}  // namespace tftrain::internal

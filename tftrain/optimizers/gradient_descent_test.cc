// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/gradient_descent.h"

#include <gmock/gmock.h>

#include "tftrain/optimizers/optimizer_test_fixture.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::FloatNear;

using GradientDescentTest = OptimizerFixture;

TEST_F(GradientDescentTest, LinearModelFollowsTheHandComputedSteps) {
  const Variable w = MakeVariable("w", {0});
  const Variable b = MakeVariable("b", {0});
  const std::vector<float> x = {1, 2, 3}, y = {3, 5, 7};
  const auto prediction = ops::Add(
      scope_, ops::Mul(scope_, w.value(), ops::Const(scope_, MakeTensor(x))),
      b.value());
  auto train = GradientDescentOptimizer(0.05).Minimize(*graph_, scope_,
                                                       Distance(prediction, y));
  ASSERT_THAT(train, IsOk());
  Start();

  double expected_w = 0, expected_b = 0;
  for (int i = 0; i < 20; ++i) {
    double gradient_w = 0, gradient_b = 0;
    for (size_t k = 0; k < x.size(); ++k) {
      const double error = expected_w * x[k] + expected_b - y[k];
      gradient_w += error * x[k];
      gradient_b += error;
    }
    expected_w -= 0.05 * gradient_w;
    expected_b -= 0.05 * gradient_b;

    Run(*train);

    EXPECT_THAT(Value(w.value()),
                ElementsAre(FloatNear(static_cast<float>(expected_w), 1e-5f)));
    EXPECT_THAT(Value(b.value()),
                ElementsAre(FloatNear(static_cast<float>(expected_b), 1e-5f)));
  }
}

TEST_F(GradientDescentTest, LearningRateMayBeATensor) {
  const Variable w = MakeVariable("w", {1});
  auto step = CreateGlobalStep(*graph_);
  ASSERT_THAT(step, IsOk());
  const tensorflow::Output rate =  // 1, 1/2, 1/3, …
      ops::Reciprocal(scope_,
                      ops::Cast(scope_,
                                ops::Add(scope_, step->value(),
                                         ops::Const(scope_, int64_t{1})),
                                tensorflow::DT_FLOAT));
  Optimizer::MinimizeOptions options;
  options.global_step = *step;
  auto train = GradientDescentOptimizer(rate).Minimize(
      *graph_, scope_, Distance(w.value(), {3}), options);
  ASSERT_THAT(train, IsOk());
  Start();

  float expected = 1;
  for (int i = 1; i <= 4; ++i) {
    expected -= (expected - 3) / static_cast<float>(i);
    Run(*train);
    EXPECT_THAT(Value(w.value()), ElementsAre(FloatNear(expected, 1e-6f)));
  }
}

TEST_F(GradientDescentTest, DoubleVariableTakesACastRate) {
  auto w = Variable::Create(*graph_, scope_, "w", ops::Const(scope_, 1.0));
  ASSERT_THAT(w, IsOk());
  const auto loss = ops::L2Loss(scope_, w->value());

  auto train = GradientDescentOptimizer(0.25).Minimize(*graph_, scope_, loss);

  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);
  EXPECT_THAT(Fetch(w->value()).scalar<double>()(), DoubleNear(0.75, 1e-12));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/adam.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tftrain/optimizers/optimizer_test_fixture.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::FloatNear;

using AdamTest = OptimizerFixture;

// The rule of the header in plain C++, for one number.
struct PlainAdam {
  double rate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double m = 0, v = 0, power1 = 1, power2 = 1;

  double Step(double w, double gradient) {
    power1 *= beta1;
    power2 *= beta2;
    m = beta1 * m + (1 - beta1) * gradient;
    v = beta2 * v + (1 - beta2) * gradient * gradient;
    return w - rate * std::sqrt(1 - power2) / (1 - power1) * m /
                   (std::sqrt(v) + epsilon);
  }
};

TEST_F(AdamTest, FollowsTheRuleInEveryStep) {
  const Variable w = MakeVariable("w", {1, -2});
  AdamOptimizer::Options options;
  options.learning_rate = 0.1;
  options.beta1 = 0.8;
  options.beta2 = 0.95;
  options.epsilon = 1e-4;
  AdamOptimizer adam(options);
  auto train = adam.Minimize(*graph_, scope_, Distance(w.value(), {3, 0.5f}));
  ASSERT_THAT(train, IsOk());
  Start();

  PlainAdam first{0.1, 0.8, 0.95, 1e-4}, second{0.1, 0.8, 0.95, 1e-4};
  double a = 1, b = -2;
  for (int i = 0; i < 50; ++i) {
    a = first.Step(a, a - 3);
    b = second.Step(b, b - 0.5);

    Run(*train);

    ASSERT_THAT(Value(w.value()),
                ElementsAre(FloatNear(static_cast<float>(a), 2e-5f),
                            FloatNear(static_cast<float>(b), 2e-5f)));
  }
  EXPECT_THAT(Value(adam.GetSlot(w, "m")->value()),
              ElementsAre(FloatNear(static_cast<float>(first.m), 2e-5f),
                          FloatNear(static_cast<float>(second.m), 2e-5f)));
  EXPECT_THAT(Value(adam.GetSlot(w, "v")->value()),
              ElementsAre(FloatNear(static_cast<float>(first.v), 2e-5f),
                          FloatNear(static_cast<float>(second.v), 2e-5f)));
}

TEST_F(AdamTest, DefaultsArePythons) {
  const Variable w = MakeVariable("w", {1});
  auto train =
      AdamOptimizer().Minimize(*graph_, scope_, Distance(w.value(), {0}));
  ASSERT_THAT(train, IsOk());
  Start();

  PlainAdam plain;
  double expected = 1;
  for (int i = 0; i < 5; ++i) {
    expected = plain.Step(expected, expected);
    Run(*train);
  }

  EXPECT_THAT(Value(w.value()),
              ElementsAre(FloatNear(static_cast<float>(expected), 1e-6f)));
}

TEST_F(AdamTest, VariablesOfItsOwnHavePythonsNamesAndAreNotTrainable) {
  MakeVariable("w", {1});
  const Variable a = MakeVariable("layer/a", {1});
  auto step = CreateGlobalStep(*graph_);
  ASSERT_THAT(step, IsOk());
  auto variables =
      Variable::FromCollection(*graph_, collection_keys::kTrainableVariables);
  ASSERT_THAT(variables, IsOk());
  Optimizer::MinimizeOptions options;
  options.global_step = *step;
  AdamOptimizer adam;
  auto train = adam.Minimize(
      *graph_, scope_,
      Distance(ops::Mul(scope_, (*variables)[0].value(), a.value()), {0}),
      options);

  ASSERT_THAT(train, IsOk());
  EXPECT_THAT(
      VariableNames(collection_keys::kGlobalVariables),
      ElementsAre("w", "layer/a", "global_step", "beta1_power", "beta2_power",
                  "w/Adam", "w/Adam_1", "layer/a/Adam", "layer/a/Adam_1"));
  EXPECT_THAT(VariableNames(collection_keys::kTrainableVariables),
              ElementsAre("w", "layer/a"));
  EXPECT_EQ(adam.variables().size(), 6u);
  EXPECT_EQ(adam.GetSlot(a, "v")->name(), "layer/a/Adam_1");
  EXPECT_EQ(adam.GetSlot(a, "other"), std::nullopt);
  for (const char* name :
       {"Adam/learning_rate", "Adam/beta1", "Adam/beta2", "Adam/epsilon",
        "Adam/update_w/ResourceApplyAdam",
        "Adam/update_layer/a/ResourceApplyAdam", "Adam/mul",
        "Adam/AssignVariableOp", "Adam/mul_1", "Adam/AssignVariableOp_1",
        "Adam/update", "Adam/Const", "Adam"}) {
    EXPECT_TRUE(HasOperation(name)) << name;
  }
}

TEST_F(AdamTest, SecondLossSharesTheSlotsOfTheFirst) {
  const Variable w = MakeVariable("w", {1});
  AdamOptimizer adam;
  ASSERT_THAT(adam.Minimize(*graph_, scope_, Distance(w.value(), {0})), IsOk());
  const size_t variables = adam.variables().size();

  auto second = adam.Minimize(*graph_, scope_, Distance(w.value(), {5}));

  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->node()->name(), "Adam_1");
  EXPECT_EQ(adam.variables().size(), variables);
}

TEST_F(AdamTest, AnotherOptimizerHasVariablesOfItsOwn) {
  const Variable w = MakeVariable("w", {1});
  AdamOptimizer first, second;
  const tensorflow::Output loss = Distance(w.value(), {0});

  ASSERT_THAT(first.Minimize(*graph_, scope_, loss), IsOk());
  ASSERT_THAT(second.Minimize(*graph_, scope_, loss), IsOk());

  EXPECT_THAT(
      VariableNames(collection_keys::kGlobalVariables),
      ElementsAre("w", "beta1_power", "beta2_power", "w/Adam", "w/Adam_1",
                  "beta1_power_1", "beta2_power_1", "w/Adam_2", "w/Adam_3"));
}

TEST_F(AdamTest, DoubleVariableIsTrained) {
  auto w = Variable::Create(*graph_, scope_, "w", ops::Const(scope_, 1.0));
  ASSERT_THAT(w, IsOk());
  auto train = AdamOptimizer().Minimize(*graph_, scope_,
                                        ops::L2Loss(scope_, w->value()));
  ASSERT_THAT(train, IsOk());
  Start();
  Run(*train);

  PlainAdam plain;
  EXPECT_THAT(Fetch(w->value()).scalar<double>()(),
              DoubleNear(plain.Step(1, 1), 1e-7));
}

}  // namespace
}  // namespace tftrain

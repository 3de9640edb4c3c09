// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/closure.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/array_ops.h"
#include "tensorflow/cc/ops/data_flow_ops.h"
#include "tensorflow/cc/ops/math_ops.h"
#include "tensorflow/cc/ops/no_op.h"
#include "tensorflow/cc/ops/random_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"

namespace tftrain::internal {
namespace {

namespace ops = tensorflow::ops;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// x (fed) -> half -> y; y waits for x as well; noise is random.
class ClosureTest : public testing::Test {
 protected:
  ClosureTest() {
    const tensorflow::Scope scope = graph_->scope();
    x_ = ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT);
    const auto two = ops::Const(scope.WithOpName("two"), 2.0f);
    const auto half = ops::Div(scope.WithOpName("half"), x_, two);
    ops::Neg(scope.WithOpName("y").WithControlDependencies({x_}), half);
    ops::RandomUniform(scope.WithOpName("noise"),
                       ops::Const(scope.WithOpName("shape"), {1}),
                       tensorflow::DT_FLOAT);
    EXPECT_THAT(graph_->status(), IsOk());
  }

  std::vector<std::string> Reached(const std::vector<std::string>& fetches,
                                   const std::vector<std::string>& targets,
                                   const std::vector<std::string>& feeds) {
    Request request;
    request.fetches = fetches;
    request.targets = targets;
    std::vector<std::string> names;
    const Closure closure(*graph_, request, feeds);
    for (const tensorflow::Node* node : closure.nodes()) {
      EXPECT_TRUE(closure.Contains(node));
      if (!node->IsSource()) names.push_back(node->name());
    }
    return names;
  }

  const tensorflow::Node* Find(const std::string& name) {
    return *graph_->FindOperation(name);
  }

  const GraphPtr graph_ = Graph::Create();
  tensorflow::Output x_;
};

TEST_F(ClosureTest, ReachesWhatMustRun) {
  EXPECT_THAT(Reached({"y:0"}, {}, {}),
              UnorderedElementsAre("y", "half", "two", "x"));
  EXPECT_THAT(Reached({}, {"half"}, {}),
              UnorderedElementsAre("half", "two", "x"));
}

TEST_F(ClosureTest, EndsAtWhatIsFed) {
  EXPECT_THAT(Reached({"half:0"}, {}, {"x:0"}),
              UnorderedElementsAre("half", "two"));
  EXPECT_THAT(Reached({"half:0"}, {}, {"half:0"}), IsEmpty());
}

TEST_F(ClosureTest, WaitingForAFedPlaceholderIsWaitingForTheFeed) {
  EXPECT_THAT(Reached({"y:0"}, {}, {"x:0"}),
              UnorderedElementsAre("y", "half", "two"));
}

TEST_F(ClosureTest, AnUnknownNameReachesNothing) {
  EXPECT_THAT(Reached({"missing:0", "y:7"}, {"missing"}, {"missing:0"}),
              IsEmpty());
}

TEST_F(ClosureTest, KnowsWhatARunLeavesBehind) {
  const tensorflow::Scope scope = graph_->scope();
  const Variable w =
      *Variable::Create(*graph_, scope, "w", ops::Const(scope, 1.0f));
  ops::Identity(scope.WithOpName("read_w"), w.value());
  ops::CheckNumerics(scope.WithOpName("check"), w.value(), "w is bad");
  const ops::FIFOQueue queue(scope.WithOpName("queue"), {tensorflow::DT_FLOAT});
  ops::QueueSize(scope.WithOpName("size"), queue.handle);
  ops::QueueDequeue(scope.WithOpName("next"), queue.handle,
                    {tensorflow::DT_FLOAT});
  ASSERT_THAT(graph_->status(), IsOk());

  EXPECT_TRUE(ChangesNothing(Find("half")));
  EXPECT_TRUE(ChangesNothing(Find("read_w")));
  EXPECT_TRUE(ChangesNothing(w.value().node()));
  EXPECT_TRUE(ChangesNothing(w.handle().node()));
  EXPECT_TRUE(ChangesNothing(Find("size")));
  EXPECT_TRUE(ChangesNothing(Find("queue")));
  EXPECT_FALSE(ChangesNothing(Find("x"))) << "it fails a step without a feed";
  EXPECT_FALSE(ChangesNothing(Find("noise"))) << "it has a seed that moves on";
  EXPECT_FALSE(ChangesNothing(Find("check"))) << "it is made to fail";
  EXPECT_FALSE(ChangesNothing(Find("next")));
  EXPECT_TRUE(ChangesVariables(Find(w.initializer().node()->name())));
  EXPECT_FALSE(ChangesVariables(w.value().node()));
  EXPECT_FALSE(ChangesVariables(Find("next")));
  EXPECT_FALSE(FillsQueue(Find("next")));
  EXPECT_FALSE(ChangesVariables(Find("half")));
  EXPECT_TRUE(ConsumesInput(Find("next")));
  EXPECT_FALSE(ConsumesInput(Find("size")));
  EXPECT_TRUE(NeedsFeed(Find("x")));
  EXPECT_FALSE(NeedsFeed(Find("two")));
}

}  // namespace
}  // namespace tftrain::internal

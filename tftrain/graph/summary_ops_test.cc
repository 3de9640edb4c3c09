// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/summary_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;

namespace ops = ::tensorflow::ops;

// What the serialized summaries in `tensor` say.
tensorflow::Summary Evaluated(const Graph& graph,
                              const tensorflow::Output& tensor) {
  std::unique_ptr<tensorflow::Session> session(
      tensorflow::NewSession(tensorflow::SessionOptions()));
  EXPECT_THAT(session->Create(**graph.ToGraphDef()), IsOk());
  std::vector<tensorflow::Tensor> out;
  EXPECT_THAT(session->Run({}, {tensor.name()}, {}, &out), IsOk());
  tensorflow::Summary summary;
  if (out.size() == 1) {
    EXPECT_TRUE(
        summary.ParseFromString(out[0].scalar<tensorflow::tstring>()()));
  }
  return summary;
}

class SummaryOpsTest : public testing::Test {
 protected:
  const GraphPtr graph_ = Graph::Create();
  const tensorflow::Scope scope_ = graph_->scope();
};

TEST_F(SummaryOpsTest, MergesAllInOrder) {
  ASSERT_THAT(ScalarSummary(*graph_, scope_, "loss", ops::Const(scope_, 2.5f)),
              IsOk());
  ASSERT_THAT(HistogramSummary(*graph_, scope_, "weights",
                               ops::Const(scope_, {1.0f, 2.0f, 6.0f})),
              IsOk());
  EXPECT_THAT(graph_->GetCollection("summaries"),
              ElementsAre("loss:0", "weights:0"));

  const auto merged = MergeAllSummaries(*graph_);

  ASSERT_THAT(merged, IsOk());
  ASSERT_TRUE(merged->has_value());
  EXPECT_EQ((*merged)->name(), "Merge/MergeSummary:0");
  const tensorflow::Summary summary = Evaluated(*graph_, **merged);
  ASSERT_EQ(summary.value_size(), 2);
  EXPECT_EQ(summary.value(0).tag(), "loss");
  EXPECT_EQ(summary.value(0).simple_value(), 2.5f);
  EXPECT_EQ(summary.value(1).tag(), "weights");
  EXPECT_EQ(summary.value(1).histo().sum(), 9.0);
}

TEST_F(SummaryOpsTest, NothingToMergeIsNothing) {
  EXPECT_THAT(MergeAllSummaries(*graph_), IsOkAndHolds(Eq(std::nullopt)));
  EXPECT_EQ(graph_->engine_graph().num_op_nodes(), 0);
}

TEST_F(SummaryOpsTest, TagsMayHoldWhatNamesMayNot) {
  for (const char* tag : {"loss (mean)", "_hidden", "größe", "layer/loss"}) {
    const auto summary =
        ScalarSummary(*graph_, scope_, tag, ops::Const(scope_, 2.5f));
    ASSERT_THAT(summary, IsOk());

    const tensorflow::Summary evaluated = Evaluated(*graph_, *summary);
    ASSERT_EQ(evaluated.value_size(), 1);
    EXPECT_EQ(evaluated.value(0).tag(), tag);
  }
}

TEST_F(SummaryOpsTest, SameTagTwiceIsTwoOperations) {
  for (int i = 0; i < 2; ++i) {
    ASSERT_THAT(
        ScalarSummary(*graph_, scope_, "loss", ops::Const(scope_, 2.5f)),
        IsOk());
  }

  EXPECT_THAT(graph_->GetCollection("summaries"),
              ElementsAre("loss:0", "loss_1:0"));
}

TEST_F(SummaryOpsTest, CollectionThatNamesNoTensorIsInvalid) {
  ASSERT_THAT(graph_->AddToCollection("summaries", "absent:0"), IsOk());

  EXPECT_THAT(
      MergeAllSummaries(*graph_),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"absent\"")));
}

// GRF-04
TEST_F(SummaryOpsTest, FinalizedGraphTakesNoSummary) {
  const tensorflow::Output value = ops::Const(scope_, 2.5f);
  ASSERT_THAT(ScalarSummary(*graph_, scope_, "loss", value), IsOk());
  ASSERT_THAT(graph_->Finalize(), IsOk());
  const int nodes = graph_->engine_graph().num_op_nodes();

  const auto refused =
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("finalized"));
  EXPECT_THAT(ScalarSummary(*graph_, scope_, "more", value), refused);
  EXPECT_THAT(HistogramSummary(*graph_, scope_, "more", value), refused);
  EXPECT_THAT(MergeAllSummaries(*graph_), refused);
  EXPECT_EQ(graph_->engine_graph().num_op_nodes(), nodes);
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/named_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain::internal {
namespace {

using ::testing::HasSubstr;

template <typename T>
class NumberInTest : public ::testing::Test {};

using Types = ::testing::Types<float, double, Eigen::half, tensorflow::bfloat16,
                               int8_t, uint8_t, int16_t, uint16_t, int32_t,
                               uint32_t, int64_t, uint64_t>;
TYPED_TEST_SUITE(NumberInTest, Types);

TYPED_TEST(NumberInTest, ReadsTheNumberWhateverItsType) {
  EXPECT_THAT(NumberIn(tensorflow::Tensor(static_cast<TypeParam>(7)), "t"),
              IsOkAndHolds(7.0));
}

TEST(NamedTensorsTest, ABoolIsZeroOrOneAndAVectorOfOneIsItsElement) {
  EXPECT_THAT(NumberIn(tensorflow::Tensor(true), "t"), IsOkAndHolds(1.0));
  tensorflow::Tensor vector(tensorflow::DT_FLOAT, {1});
  vector.flat<float>()(0) = 0.5f;
  EXPECT_THAT(NumberIn(vector, "t"), IsOkAndHolds(0.5));
}

TEST(NamedTensorsTest, RefusesWhatIsNoNumber) {
  EXPECT_THAT(NumberIn(tensorflow::Tensor(tensorflow::DT_FLOAT, {2}), "t"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"t\" is of the shape [2]")));
  EXPECT_THAT(NumberIn(tensorflow::Tensor(tensorflow::tstring("x")), "t"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("of type string")));
}

TEST(NamedTensorsTest, KnowsFromTheGraphWhatCannotBeOneNumber) {
  const GraphPtr graph = CountingGraph();
  tensorflow::ops::Const(graph->scope().WithOpName("two"), {1.0f, 2.0f});
  tensorflow::ops::Placeholder(graph->scope().WithOpName("small"),
                               tensorflow::DT_FLOAT8_E5M2);

  EXPECT_THAT(NumberName(*graph, "constant"), IsOkAndHolds("constant:0"));
  EXPECT_THAT(NumberName(*graph, "two:0"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("of the shape [2]")));
  EXPECT_THAT(NumberName(*graph, "w_summary"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("of type string")));
  EXPECT_THAT(NumberName(*graph, "small"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("of type float8_e5m2")));
}

TEST(NamedTensorsTest, TheNameOfAnOperationWillDoWhereItHasOneOutput) {
  const GraphPtr graph = CountingGraph();

  EXPECT_THAT(TensorName(*graph, "constant"), IsOkAndHolds("constant:0"));
  EXPECT_THAT(TensorName(*graph, "pair:1"), IsOkAndHolds("pair:1"));
  EXPECT_THAT(TensorName(*graph, "pair"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("2 outputs; name the one that is meant")));
  EXPECT_THAT(TensorName(*graph, "train"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("0 outputs and no value")));
}

}  // namespace
}  // namespace tftrain::internal

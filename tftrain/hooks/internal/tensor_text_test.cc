// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/tensor_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tftrain/session/tensor_values.h"

namespace tftrain::internal {
namespace {

using tensorflow::Tensor;

template <typename T>
std::string Scalar(T value) {
  return TensorText(MakeScalar(value));
}

template <typename T>
std::string Vector(const std::vector<T>& values) {
  return TensorText(MakeVector<T>(values));
}

TEST(TensorTextTest, FloatsAreAsShortAsTheirTypeAllows) {
  // LTH-08
  EXPECT_EQ(Scalar(0.5f), "0.5");
  EXPECT_EQ(Scalar(0.1f), "0.1");
  EXPECT_EQ(Scalar(0.1), "0.1");
  EXPECT_EQ(Scalar(1.0f), "1.0");
  EXPECT_EQ(Scalar(-0.0f), "-0.0");
  EXPECT_EQ(Scalar(123456789.125), "123456789.125");
  EXPECT_EQ(Scalar(1e-5f), "1e-05");
  EXPECT_EQ(Scalar(1e16), "1e+16");
  EXPECT_EQ(Scalar(std::numeric_limits<float>::quiet_NaN()), "nan");
  EXPECT_EQ(Scalar(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(Scalar(Eigen::half(0.1f)), "0.1");
  EXPECT_EQ(Scalar(Eigen::half(2000.0f)), "2000.0");
  EXPECT_EQ(Scalar(Eigen::half(-INFINITY)), "-inf");
  EXPECT_EQ(Scalar(Eigen::half(NAN)), "nan");
  EXPECT_EQ(Scalar(tensorflow::bfloat16(0.1f)), "0.1");
  EXPECT_EQ(Scalar(tensorflow::bfloat16(1.0f / 3)), "0.334");
}

TEST(TensorTextTest, ArraysHaveNoExponents) {
  // LTH-08; numpy has some from 1e8 on.
  EXPECT_EQ(Vector<float>({1, 0.25f}), "[1. 0.25]");
  EXPECT_EQ(Vector<double>({1e-9, 1}), "[0. 1.]");
  EXPECT_EQ(Vector<double>({1.0 / 3}), "[0.33333333]");
  EXPECT_EQ(Vector<float>({1e10f}), "[10000000000.]");
}

TEST(TensorTextTest, OtherTypesPrintAsInPython) {
  // LTH-08
  EXPECT_EQ(Scalar(int64_t{-3}), "-3");
  EXPECT_EQ(Scalar(uint8_t{200}), "200");
  EXPECT_EQ(Scalar(true), "True");
  EXPECT_EQ(Scalar(std::string("a\n\xff\\")), "b'a\\n\\xff\\\\'");
  EXPECT_EQ(Scalar(std::string("it's")), "b\"it's\"");
  EXPECT_EQ(Vector<std::string>({"a", "b"}), "[b'a' b'b']");
}

TEST(TensorTextTest, MatricesStayInOneLine) {
  Tensor matrix(tensorflow::DT_INT32, {2, 2});
  for (int i = 0; i < 4; ++i) matrix.flat<int32_t>()(i) = i;
  EXPECT_EQ(TensorText(matrix), "[[0 1] [2 3]]");
  EXPECT_EQ(TensorText(Tensor(tensorflow::DT_FLOAT, {0, 3})), "[]");
}

TEST(TensorTextTest, LargeArraysShowTheirEdges) {
  std::vector<int32_t> values(1001);
  for (int i = 0; i < 1001; ++i) values[static_cast<size_t>(i)] = i;
  EXPECT_EQ(Vector(values), "[0 1 2 ... 998 999 1000]");
}

TEST(TensorTextTest, RareTypesPrintTypeAndShape) {
  const Tensor complex(tensorflow::DT_COMPLEX64, {2});
  EXPECT_EQ(TensorText(complex), "<complex64 [2]>");
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/non_finite.h"

#include <complex>
#include <limits>

#include "gtest/gtest.h"
#include "tensorflow/core/framework/bfloat16.h"
#include "tensorflow/core/framework/types.h"

namespace tftrain::internal {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
Tensor Filled(int64_t size, T with) {
  Tensor tensor(DataTypeToEnum<T>::value, TensorShape({size}));
  tensor.flat<T>().setConstant(with);
  return tensor;
}

template <typename T>
class FindNonFiniteTest : public testing::Test {};

using Types = testing::Types<Eigen::half, tensorflow::bfloat16, float, double,
                             std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(FindNonFiniteTest, Types);

// What is special about a type of real or complex numbers.
template <typename T>
struct Special {
  static T Nan() { return std::numeric_limits<T>::quiet_NaN(); }
  static T Infinity() { return std::numeric_limits<T>::infinity(); }
  static T Largest() { return std::numeric_limits<T>::max(); }
};
template <typename T>
struct Special<std::complex<T>> {
  // The later one of the two numbers tells that neither is passed over.
  static std::complex<T> Nan() { return {T(1), Special<T>::Nan()}; }
  static std::complex<T> Infinity() { return {T(1), Special<T>::Infinity()}; }
  static std::complex<T> Largest() { return {T(1), Special<T>::Largest()}; }
};

TYPED_TEST(FindNonFiniteTest, FindsTheFirstOneOfALargeTensor) {
  using Number = Special<TypeParam>;
  ASSERT_TRUE(CanBeNonFinite(DataTypeToEnum<TypeParam>::value));
  Tensor tensor = Filled<TypeParam>(10'000, TypeParam(-1));
  EXPECT_FALSE(FindNonFinite(tensor, true).has_value());

  tensor.flat<TypeParam>()(9'998) = -Number::Infinity();
  tensor.flat<TypeParam>()(9'999) = Number::Nan();

  const std::optional<NonFinite> any = FindNonFinite(tensor, true);
  ASSERT_TRUE(any.has_value());
  EXPECT_EQ(any->element, 9'998);
  EXPECT_FALSE(any->is_nan);
  EXPECT_EQ(ToString(*any, tensor), "an infinity (element 9998 of 10000)");

  const std::optional<NonFinite> nan = FindNonFinite(tensor, false);
  ASSERT_TRUE(nan.has_value());
  EXPECT_EQ(nan->element, 9'999);
  EXPECT_TRUE(nan->is_nan);
}

TYPED_TEST(FindNonFiniteTest, TheLargestNumberIsFinite) {
  EXPECT_FALSE(
      FindNonFinite(Filled<TypeParam>(3, Special<TypeParam>::Largest()), true)
          .has_value());
}

TEST(NonFiniteTest, TellsOfAScalarWithoutItsPlace) {
  Tensor scalar(std::numeric_limits<float>::quiet_NaN());

  const std::optional<NonFinite> found = FindNonFinite(scalar, false);

  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(ToString(*found, scalar), "a NaN");
}

TEST(NonFiniteTest, IntegersAndNoElementsAreFinite) {
  EXPECT_FALSE(CanBeNonFinite(tensorflow::DT_INT64));
  EXPECT_FALSE(FindNonFinite(Filled<int64_t>(3, -1), true).has_value());
  EXPECT_FALSE(FindNonFinite(Filled<float>(0, 0), true).has_value());
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/tensor_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "tensorflow/cc/framework/ops.h"
#include "tensorflow/core/framework/bfloat16.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::tensorflow::DataType;
using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

// RUN-15: what is not computed yet is no value.
static_assert(!std::is_convertible_v<tensorflow::Output, FeedValue>);
static_assert(!std::is_convertible_v<tensorflow::Operation, FeedValue>);

template <typename T>
absl::StatusOr<T> Read(const Tensor& tensor) {
  return internal::TensorReader<T>::Read(tensor, "x:0");
}

template <typename T>
Tensor Vector(std::initializer_list<T> values) {
  Tensor tensor(tensorflow::DataTypeToEnum<T>::value,
                tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
  std::copy(values.begin(), values.end(), tensor.flat<T>().data());
  return tensor;
}

// `value` fed to a tensor of type T, and read back.
template <typename T>
absl::StatusOr<T> FedAs(const FeedValue& value) {
  const auto tensor = value.As(internal::TensorReader<T>::dtype(), "x:0");
  if (!tensor.ok()) return tensor.status();
  return Read<T>(*tensor);
}

template <typename T>
class ScalarTypesTest : public testing::Test {};
using ScalarTypes =
    testing::Types<float, double, bool, char, signed char, unsigned char, short,
                   unsigned short, int, unsigned, long, unsigned long,
                   long long, unsigned long long, int64_t, uint64_t>;
TYPED_TEST_SUITE(ScalarTypesTest, ScalarTypes);

// RUN-03, RUN-19
TYPED_TEST(ScalarTypesTest, GoInAndOutUnchanged) {
  for (const TypeParam value :
       {std::numeric_limits<TypeParam>::lowest(), TypeParam{1},
        std::numeric_limits<TypeParam>::max()}) {
    const FeedValue fed = value;
    EXPECT_EQ(fed.tensor().dims(), 0);
    EXPECT_THAT(Read<TypeParam>(fed.tensor()), IsOkAndHolds(value));
  }
  const FeedValue fed = std::vector<TypeParam>{TypeParam{1}, TypeParam{0}};
  EXPECT_EQ(fed.tensor().shape(), tensorflow::TensorShape({2}));
  EXPECT_THAT(Read<std::vector<TypeParam>>(fed.tensor()),
              IsOkAndHolds(ElementsAre(TypeParam{1}, TypeParam{0})));
}

// RUN-19
TEST(TensorValuesTest, TextGoesInAndOutUnchanged) {
  const std::string odd("nul \0 é \xff\n", 11);
  const std::string lengthy(100, 'x');

  EXPECT_THAT(Read<std::string>(FeedValue("plain").tensor()),
              IsOkAndHolds("plain"));
  EXPECT_THAT(Read<std::string>(FeedValue(odd).tensor()), IsOkAndHolds(odd));
  EXPECT_THAT(
      Read<std::vector<std::string>>(
          FeedValue(std::vector<std::string>{odd, "", lengthy}).tensor()),
      IsOkAndHolds(ElementsAre(odd, "", lengthy)));
}

// RUN-19
TEST(TensorValuesTest, EmptyVectorsAreVectors) {
  const FeedValue fed = std::vector<float>();

  EXPECT_EQ(fed.tensor().shape(), tensorflow::TensorShape({0}));
  EXPECT_THAT(Read<std::vector<float>>(fed.tensor()), IsOkAndHolds(IsEmpty()));
}

TEST(TensorValuesTest, ReadingAnotherTypeIsInvalid) {
  EXPECT_THAT(Read<int>(Tensor(1.0f)),
              StatusIs(kInvalid, AllOf(HasSubstr("\"x:0\""), HasSubstr("float"),
                                       HasSubstr("int32"))));
  EXPECT_THAT(Read<std::string>(Tensor(1.0f)), StatusIs(kInvalid));
  EXPECT_THAT(Read<float>(Tensor(tensorflow::tstring("1"))),
              StatusIs(kInvalid));
  EXPECT_THAT(Read<std::vector<int64_t>>(Vector<int>({1})), StatusIs(kInvalid));
}

TEST(TensorValuesTest, ReadingAnotherRankIsInvalid) {
  const Tensor matrix(tensorflow::DT_FLOAT, tensorflow::TensorShape({2, 3}));

  EXPECT_THAT(
      Read<float>(matrix),
      StatusIs(kInvalid, AllOf(HasSubstr("[2,3]"), HasSubstr("a scalar"))));
  EXPECT_THAT(Read<float>(Vector<float>({1})), StatusIs(kInvalid));
  EXPECT_THAT(Read<std::vector<float>>(matrix),
              StatusIs(kInvalid, HasSubstr("a vector")));
  EXPECT_THAT(Read<std::vector<float>>(Tensor(1.0f)), StatusIs(kInvalid));
}

TEST(TensorValuesTest, ATensorIsReadAsItIs) {
  const Tensor matrix(tensorflow::DT_HALF, tensorflow::TensorShape({2, 3}));

  const auto read = Read<Tensor>(matrix);

  ASSERT_THAT(read, IsOk());
  EXPECT_TRUE(read->SharesBufferWith(matrix));
}

// RUN-16
TEST(FeedValueTest, NumbersTakeTheTypeTheyAreFedTo) {
  EXPECT_THAT(FedAs<float>(3), IsOkAndHolds(3.0f));
  EXPECT_THAT(FedAs<float>(0.1), IsOkAndHolds(0.1f));
  EXPECT_THAT(FedAs<double>(int64_t{1} << 40),
              IsOkAndHolds(std::ldexp(1.0, 40)));
  EXPECT_THAT(FedAs<int64_t>(-3), IsOkAndHolds(-3));
  EXPECT_THAT(FedAs<uint8_t>(255), IsOkAndHolds(255));
  EXPECT_THAT(FedAs<int8_t>(uint64_t{127}), IsOkAndHolds(127));
  EXPECT_THAT(FedAs<std::vector<float>>(std::vector<int>{1, 2}),
              IsOkAndHolds(ElementsAre(1.0f, 2.0f)));
  EXPECT_THAT(FedAs<Eigen::half>(0.5), IsOkAndHolds(Eigen::half(0.5f)));
  EXPECT_THAT(FedAs<tensorflow::bfloat16>(2),
              IsOkAndHolds(tensorflow::bfloat16(2.0f)));
  EXPECT_THAT(FedAs<tensorflow::complex64>(2),
              IsOkAndHolds(tensorflow::complex64(2.0f, 0.0f)));
  EXPECT_THAT(FedAs<tensorflow::complex128>(0.5),
              IsOkAndHolds(tensorflow::complex128(0.5, 0.0)));
}

// RUN-16
TEST(FeedValueTest, IntegersThatWouldChangeAreInvalid) {
  EXPECT_THAT(FedAs<int>(int64_t{1} << 40),
              StatusIs(kInvalid, AllOf(HasSubstr("\"x:0\""), HasSubstr("int32"),
                                       HasSubstr("1099511627776"))));
  EXPECT_THAT(FedAs<uint8_t>(256), StatusIs(kInvalid));
  EXPECT_THAT(FedAs<uint8_t>(-1), StatusIs(kInvalid));
  EXPECT_THAT(FedAs<uint64_t>(-1), StatusIs(kInvalid));
  EXPECT_THAT(FedAs<int64_t>(std::numeric_limits<uint64_t>::max()),
              StatusIs(kInvalid));
  EXPECT_THAT(FedAs<std::vector<int8_t>>(std::vector<int>{1, 128}),
              StatusIs(kInvalid));
}

// RUN-16: Python cuts off what comes after the point of a float in a list.
TEST(FeedValueTest, FloatsAreNoIntegers) {
  EXPECT_THAT(FedAs<int>(1.5), StatusIs(kInvalid, HasSubstr("1.5")));
  EXPECT_THAT(FedAs<int>(1.0), StatusIs(kInvalid));
  EXPECT_THAT(FedAs<bool>(1), StatusIs(kInvalid));
  EXPECT_THAT(FedAs<float>(true), StatusIs(kInvalid));
}

// RUN-16
TEST(FeedValueTest, TextIsNoNumberAndTheReverse) {
  EXPECT_THAT(FedAs<float>("1"), StatusIs(kInvalid, HasSubstr("float")));
  EXPECT_THAT(FedAs<std::string>(1), StatusIs(kInvalid, HasSubstr("string")));
  EXPECT_THAT(FedAs<std::string>(std::vector<float>{1.0f}), StatusIs(kInvalid));
}

TEST(FeedValueTest, ATensorKeepsItsType) {
  const Tensor tensor(int64_t{3});

  const auto same = FeedValue(tensor).As(tensorflow::DT_INT64, "x:0");
  ASSERT_THAT(same, IsOk());
  EXPECT_TRUE(same->SharesBufferWith(tensor));
  EXPECT_THAT(FeedValue(tensor).As(tensorflow::DT_INT32, "x:0"),
              StatusIs(kInvalid, HasSubstr("a tensor of another type")));
}

TEST(FeedValueTest, SpecialFloatsStay) {
  EXPECT_THAT(FedAs<float>(std::numeric_limits<double>::infinity()),
              IsOkAndHolds(std::numeric_limits<float>::infinity()));
  const auto nan = FedAs<float>(std::nan(""));
  ASSERT_THAT(nan, IsOk());
  EXPECT_TRUE(std::isnan(*nan));
}

// Types that numbers do not turn into are named in one line, and nothing is
// read beyond its end.
TEST(FeedValueTest, TypesThatHoldNoNumbersAreInvalid) {
  for (const DataType type :
       {tensorflow::DT_STRING, tensorflow::DT_RESOURCE, tensorflow::DT_VARIANT,
        tensorflow::DT_QINT8, tensorflow::DT_BOOL}) {
    EXPECT_THAT(FeedValue(1.0f).As(type, "x:0"), StatusIs(kInvalid));
  }
}

}  // namespace
}  // namespace tftrain

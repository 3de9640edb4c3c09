// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/tensor_values.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/register_types.h"

namespace tftrain {
namespace {

using tensorflow::DataType;
using tensorflow::DataTypeString;
using tensorflow::Tensor;

absl::Status CannotTake(std::string_view name, const Tensor& value,
                        DataType wanted, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", name, "\" is ", DataTypeString(wanted), " and is fed ",
      value.DebugString(3), ", ", why, "; feed a value of its own type"));
}

template <typename T>
constexpr bool kIsComplex = std::is_same_v<T, tensorflow::complex64> ||
                            std::is_same_v<T, tensorflow::complex128>;
template <typename T>
constexpr bool kIsFloating =
    std::is_floating_point_v<T> || std::is_same_v<T, Eigen::half> ||
    std::is_same_v<T, tensorflow::bfloat16> || kIsComplex<T>;

// Whether an integer stays what it is in type To. Floating targets round, as
// they do in Python.
template <typename To, typename From>
bool Keeps(From value) {
  if constexpr (kIsFloating<To>) {
    return true;
  } else if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    const To converted = static_cast<To>(value);
    return static_cast<From>(converted) == value &&
           (converted < To{0}) == (value < From{0});
  } else {
    return false;
  }
}

template <typename To, typename From>
bool ConvertElements(const Tensor& from, Tensor* to) {
  auto source = from.flat<From>();
  auto target = to->flat<To>();
  for (int64_t i = 0; i < source.size(); ++i) {
    if (!Keeps<To>(source(i))) return false;
    if constexpr (kIsComplex<To>) {
      target(i) = static_cast<typename To::value_type>(source(i));
    } else {
      target(i) = static_cast<To>(source(i));
    }
  }
  return true;
}

template <typename To>
bool ConvertFrom(const Tensor& from, Tensor* to) {
  switch (from.dtype()) {
    case tensorflow::DT_DOUBLE:
      return ConvertElements<To, double>(from, to);
    case tensorflow::DT_FLOAT:
      return ConvertElements<To, float>(from, to);
    case tensorflow::DT_INT8:
      return ConvertElements<To, int8_t>(from, to);
    case tensorflow::DT_INT16:
      return ConvertElements<To, int16_t>(from, to);
    case tensorflow::DT_INT32:
      return ConvertElements<To, int32_t>(from, to);
    case tensorflow::DT_INT64:
      return ConvertElements<To, int64_t>(from, to);
    case tensorflow::DT_UINT8:
      return ConvertElements<To, uint8_t>(from, to);
    case tensorflow::DT_UINT16:
      return ConvertElements<To, uint16_t>(from, to);
    case tensorflow::DT_UINT32:
      return ConvertElements<To, uint32_t>(from, to);
    case tensorflow::DT_UINT64:
      return ConvertElements<To, uint64_t>(from, to);
    default:
      return false;
  }
}

bool Convert(const Tensor& from, Tensor* to) {
  switch (to->dtype()) {
    case tensorflow::DT_DOUBLE:
      return ConvertFrom<double>(from, to);
    case tensorflow::DT_FLOAT:
      return ConvertFrom<float>(from, to);
    case tensorflow::DT_HALF:
      return ConvertFrom<Eigen::half>(from, to);
    case tensorflow::DT_BFLOAT16:
      return ConvertFrom<tensorflow::bfloat16>(from, to);
    case tensorflow::DT_COMPLEX64:
      return ConvertFrom<tensorflow::complex64>(from, to);
    case tensorflow::DT_COMPLEX128:
      return ConvertFrom<tensorflow::complex128>(from, to);
    case tensorflow::DT_INT8:
      return ConvertFrom<int8_t>(from, to);
    case tensorflow::DT_INT16:
      return ConvertFrom<int16_t>(from, to);
    case tensorflow::DT_INT32:
      return ConvertFrom<int32_t>(from, to);
    case tensorflow::DT_INT64:
      return ConvertFrom<int64_t>(from, to);
    case tensorflow::DT_UINT8:
      return ConvertFrom<uint8_t>(from, to);
    case tensorflow::DT_UINT16:
      return ConvertFrom<uint16_t>(from, to);
    case tensorflow::DT_UINT32:
      return ConvertFrom<uint32_t>(from, to);
    case tensorflow::DT_UINT64:
      return ConvertFrom<uint64_t>(from, to);
    default:
      return false;
  }
}

}  // namespace

namespace internal {

absl::Status WrongType(std::string_view tensor, DataType is, DataType wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", tensor, "\" is ", DataTypeString(is), " and was asked for as ",
      DataTypeString(wanted), "; ask for its own type, or for a Tensor"));
}

absl::Status WrongRank(std::string_view tensor,
                       const tensorflow::TensorShape& is, int wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", tensor, "\" has the shape ", is.DebugString(),
                   " and was asked for as a ",
                   wanted == 0 ? "scalar" : "vector", "; ask for a Tensor"));
}

}  // namespace internal

absl::StatusOr<Tensor> FeedValue::As(DataType dtype,
                                     std::string_view name) const {
  if (tensor_.dtype() == dtype) return tensor_;
  if (!is_cpp_value_) {
    return CannotTake(name, tensor_, dtype, "a tensor of another type");
  }
  Tensor converted(dtype, tensor_.shape());
  if (!Convert(tensor_, &converted)) {
    return CannotTake(name, tensor_, dtype, "which that type cannot hold");
  }
  return converted;
}

}  // namespace tftrain

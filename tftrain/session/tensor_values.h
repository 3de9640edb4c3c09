// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// C++ values in and out of tensors.

#ifndef TFTRAIN_SESSION_TENSOR_VALUES_H_
#define TFTRAIN_SESSION_TENSOR_VALUES_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tftrain {
namespace internal {

// The element type of tensors that hold C++ values of type T: T itself, the
// fixed-width type for `long long` and its like, and tstring for text.
template <typename T, typename = void>
struct ElementOf {
  using type = T;
};
template <>
struct ElementOf<std::string> {
  using type = tensorflow::tstring;
};
template <typename T>
struct ElementOf<
    T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>> {
  using Signed = std::conditional_t<
      sizeof(T) == 8, int64_t,
      std::conditional_t<sizeof(T) == 4, int32_t,
                         std::conditional_t<sizeof(T) == 2, int16_t, int8_t>>>;
  using Unsigned = std::conditional_t<
      sizeof(T) == 8, uint64_t,
      std::conditional_t<
          sizeof(T) == 4, uint32_t,
          std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
  using type = std::conditional_t<std::is_signed_v<T>, Signed, Unsigned>;
};
template <typename T>
using Element = typename ElementOf<T>::type;

absl::Status WrongType(std::string_view tensor, tensorflow::DataType is,
                       tensorflow::DataType wanted);
absl::Status WrongRank(std::string_view tensor,
                       const tensorflow::TensorShape& is, int wanted);

// Reads a tensor as a C++ value. `name` is for the error.
template <typename T>
struct TensorReader {  // a scalar
  static constexpr tensorflow::DataType dtype() {
    return tensorflow::DataTypeToEnum<Element<T>>::value;
  }
  static absl::StatusOr<T> Read(const tensorflow::Tensor& tensor,
                                std::string_view name) {
    if (tensor.dtype() != dtype()) {
      return WrongType(name, tensor.dtype(), dtype());
    }
    if (tensor.dims() != 0) return WrongRank(name, tensor.shape(), 0);
    return static_cast<T>(*static_cast<const Element<T>*>(tensor.data()));
  }
};
template <typename T>
struct TensorReader<std::vector<T>> {
  static constexpr tensorflow::DataType dtype() {
    return TensorReader<T>::dtype();
  }
  static absl::StatusOr<std::vector<T>> Read(const tensorflow::Tensor& tensor,
                                             std::string_view name) {
    if (tensor.dtype() != dtype()) {
      return WrongType(name, tensor.dtype(), dtype());
    }
    if (tensor.dims() != 1) return WrongRank(name, tensor.shape(), 1);
    auto values = tensor.flat<Element<T>>();
    return std::vector<T>(values.data(), values.data() + values.size());
  }
};
template <>
struct TensorReader<tensorflow::Tensor> {  // as it is, whatever it holds
  static constexpr tensorflow::DataType dtype() {
    return tensorflow::DT_INVALID;
  }
  static absl::StatusOr<tensorflow::Tensor> Read(
      const tensorflow::Tensor& tensor, std::string_view) {
    return tensor;
  }
};

template <typename T>
tensorflow::Tensor MakeScalar(const T& value) {
  tensorflow::Tensor tensor(tensorflow::DataTypeToEnum<Element<T>>::value,
                            tensorflow::TensorShape());
  *static_cast<Element<T>*>(tensor.data()) = Element<T>(value);
  return tensor;
}
template <typename T>
tensorflow::Tensor MakeVector(const std::vector<T>& values) {
  tensorflow::Tensor tensor(
      tensorflow::DataTypeToEnum<Element<T>>::value,
      tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
  auto flat = tensor.flat<Element<T>>();
  for (size_t i = 0; i < values.size(); ++i) {
    flat(static_cast<int64_t>(i)) = Element<T>(values[i]);
  }
  return tensor;
}

}  // namespace internal

// What is fed to a tensor of the graph: a Tensor as it is, or a C++ number,
// text or vector, which takes the type of the tensor it is fed to (`3` may be
// fed to a float or an int64) as long as no integer changes its value by that.
//
// Thread-compatible: const calls may run together.
// Python: the values of a feed_dict.
class FeedValue {
 public:
  FeedValue() = default;
  FeedValue(tensorflow::Tensor tensor)  // NOLINT: implicit by design
      : tensor_(std::move(tensor)) {}
  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
  FeedValue(T value)  // NOLINT: implicit by design
      : tensor_(internal::MakeScalar(value)), is_cpp_value_(true) {}
  FeedValue(const std::string& text)  // NOLINT: implicit by design
      : tensor_(internal::MakeScalar(text)) {}
  FeedValue(const char* text)  // NOLINT: implicit by design
      : FeedValue(std::string(text)) {}
  template <typename T>
  FeedValue(const std::vector<T>& values)  // NOLINT: implicit by design
      : tensor_(internal::MakeVector(values)),
        is_cpp_value_(std::is_arithmetic_v<T>) {}

  const tensorflow::Tensor& tensor() const { return tensor_; }

  // The value as a tensor of type `dtype`, to be fed to `name`.
  // Errors: kInvalidArgument when it has another type and may not take this
  // one.
  absl::StatusOr<tensorflow::Tensor> As(tensorflow::DataType dtype,
                                        std::string_view name) const;

 private:
  tensorflow::Tensor tensor_;
  bool is_cpp_value_ = false;
};

}  // namespace tftrain

#endif  // TFTRAIN_SESSION_TENSOR_VALUES_H_

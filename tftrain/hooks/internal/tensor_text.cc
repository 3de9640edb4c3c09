// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/tensor_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/types.h"

namespace tftrain::internal {
namespace {

using tensorflow::Tensor;

// Beyond this many elements only the edges of each dimension are printed.
constexpr int64_t kMaxElements = 1000;
constexpr int64_t kEdge = 3;
constexpr int kMaxDigits = 8;

// Calls std::to_chars, whose result always fits here.
template <typename... Args>
std::string ToChars(Args... args) {
  char buffer[400];
  const std::to_chars_result result =
      std::to_chars(buffer, buffer + sizeof(buffer), args...);
  return std::string(buffer, result.ptr);
}

bool NeedsExponent(double value) {
  const double size = std::abs(value);
  return size >= 1e16 || (size < 1e-4 && size > 0);
}

template <typename T>
std::string FloatText(T value, bool in_array) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (!in_array) {
    if (NeedsExponent(value)) {
      return ToChars(value, std::chars_format::scientific);
    }
    std::string text = ToChars(value, std::chars_format::fixed);
    if (text.find('.') == std::string::npos) text += ".0";
    return text;
  }
  if (std::abs(value) >= 1e16) {
    return ToChars(value, std::chars_format::scientific);
  }
  std::string text = ToChars(value, std::chars_format::fixed);
  const size_t point = text.find('.');
  if (point == std::string::npos) return text + ".";
  if (text.size() - point - 1 > kMaxDigits) {
    text = ToChars(value, std::chars_format::fixed, kMaxDigits);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

// The float with the shortest text that reads back as `value`, of 16 bits.
template <typename T>
float Shortest(T value) {
  const auto exact = static_cast<float>(value);
  for (int digits = 0; digits < kMaxDigits; ++digits) {
    float near = 0;
    if (absl::SimpleAtof(ToChars(exact, std::chars_format::scientific, digits),
                         &near) &&
        static_cast<T>(near) == value) {
      return near;
    }
  }
  return exact;
}

// A Python bytes literal.
std::string BytesText(std::string_view bytes) {
  const char quote = bytes.find('\'') != std::string_view::npos &&
                             bytes.find('"') == std::string_view::npos
                         ? '"'
                         : '\'';
  std::string text = {'b', quote};
  for (const char c : bytes) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\\' || c == quote) {
      text += {'\\', c};
    } else if (byte < 0x20 || byte >= 0x7f) {
      absl::StrAppend(&text, "\\x", absl::Hex(byte, absl::kZeroPad2));
    } else {
      text += c;
    }
  }
  return text + quote;
}

std::string ElementText(const Tensor& tensor, int64_t i) {
  const bool in_array = tensor.dims() > 0;
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT:
      return FloatText(tensor.flat<float>()(i), in_array);
    case tensorflow::DT_DOUBLE:
      return FloatText(tensor.flat<double>()(i), in_array);
    case tensorflow::DT_HALF:
      return FloatText(Shortest(tensor.flat<Eigen::half>()(i)), in_array);
    case tensorflow::DT_BFLOAT16:
      return FloatText(Shortest(tensor.flat<tensorflow::bfloat16>()(i)),
                       in_array);
    case tensorflow::DT_INT8:
      return absl::StrCat(int{tensor.flat<int8_t>()(i)});
    case tensorflow::DT_UINT8:
      return absl::StrCat(int{tensor.flat<uint8_t>()(i)});
    case tensorflow::DT_INT16:
      return absl::StrCat(tensor.flat<int16_t>()(i));
    case tensorflow::DT_UINT16:
      return absl::StrCat(tensor.flat<uint16_t>()(i));
    case tensorflow::DT_INT32:
      return absl::StrCat(tensor.flat<int32_t>()(i));
    case tensorflow::DT_UINT32:
      return absl::StrCat(tensor.flat<uint32_t>()(i));
    case tensorflow::DT_INT64:
      return absl::StrCat(tensor.flat<int64_t>()(i));
    case tensorflow::DT_UINT64:
      return absl::StrCat(tensor.flat<uint64_t>()(i));
    case tensorflow::DT_BOOL:
      return tensor.flat<bool>()(i) ? "True" : "False";
    default:
      return BytesText(tensor.flat<tensorflow::tstring>()(i));
  }
}

bool HasElementText(tensorflow::DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_FLOAT:
    case tensorflow::DT_DOUBLE:
    case tensorflow::DT_HALF:
    case tensorflow::DT_BFLOAT16:
    case tensorflow::DT_INT8:
    case tensorflow::DT_UINT8:
    case tensorflow::DT_INT16:
    case tensorflow::DT_UINT16:
    case tensorflow::DT_INT32:
    case tensorflow::DT_UINT32:
    case tensorflow::DT_INT64:
    case tensorflow::DT_UINT64:
    case tensorflow::DT_BOOL:
    case tensorflow::DT_STRING:
      return true;
    default:
      return false;
  }
}

// Appends the part of `tensor` that begins with the element `first` and spans
// the dimensions from `dim` on.
void AppendPart(const Tensor& tensor, int dim, int64_t first,
                std::string* text) {
  if (dim == tensor.dims()) {
    *text += ElementText(tensor, first);
    return;
  }
  const int64_t size = tensor.dim_size(dim);
  const bool edges_only =
      tensor.NumElements() > kMaxElements && size > 2 * kEdge;
  int64_t stride = 1;
  for (int d = dim + 1; d < tensor.dims(); ++d) stride *= tensor.dim_size(d);
  *text += '[';
  for (int64_t i = 0; i < size; ++i) {
    if (i > 0) *text += ' ';
    if (edges_only && i == kEdge) {
      *text += "... ";
      i = size - kEdge;
    }
    AppendPart(tensor, dim + 1, first + i * stride, text);
  }
  *text += ']';
}

}  // namespace

std::string TensorText(const Tensor& tensor) {
  if (!HasElementText(tensor.dtype())) {
    return absl::StrCat("<", tensorflow::DataTypeString(tensor.dtype()), " ",
                        tensor.shape().DebugString(), ">");
  }
  if (tensor.NumElements() == 0) return "[]";
  std::string text;
  AppendPart(tensor, 0, 0, &text);
  return text;
}

}  // namespace tftrain::internal

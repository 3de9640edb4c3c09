// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/parity/tensor_text.h"

#include <complex>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tensorflow/core/framework/register_types.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/logging.h"

namespace tftrain {
namespace {

using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Calls `fn` with a null pointer to the element type of `dtype`.
template <typename Fn>
void WithElementType(DataType dtype, Fn fn) {
  switch (dtype) {
#define TFTRAIN_CASE(T)                        \
  case tensorflow::DataTypeToEnum<T>::value: { \
    fn(static_cast<T*>(nullptr));              \
    break;                                     \
  }
    TF_CALL_NUMBER_TYPES(TFTRAIN_CASE)
    TF_CALL_bool(TFTRAIN_CASE) TF_CALL_tstring(TFTRAIN_CASE)
#undef TFTRAIN_CASE
            default : LOG(FATAL)
                      << "no element type "
                      << tensorflow::DataTypeString(dtype);
  }
}

std::string Escaped(std::string_view text) {
  std::string escaped = "\"";
  for (const char c : text) {
    if (absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' &&
        c != '\\') {
      escaped.push_back(c);
    } else {
      absl::StrAppendFormat(&escaped, "\\%03o", static_cast<unsigned char>(c));
    }
  }
  return escaped + '"';
}

std::string Text(bool value) { return value ? "true" : "false"; }
std::string Text(const tensorflow::tstring& value) { return Escaped(value); }
template <typename T>
std::string Text(std::complex<T> value) {
  return absl::StrFormat("(%.17g,%.17g)", value.real(), value.imag());
}
template <typename T>
std::string Text(T value) {
  if constexpr (std::is_integral_v<T>) return absl::StrCat(value);
  return absl::StrFormat("%.17g", static_cast<double>(value));
}

void Parse(const std::string& text, bool* value) { *value = text == "true"; }
void Parse(const std::string& text, tensorflow::tstring* value) {
  std::string unescaped;
  CHECK(absl::CUnescape(text.substr(1, text.size() - 2), &unescaped)) << text;
  *value = unescaped;
}
template <typename T>
void Parse(const std::string& text, std::complex<T>* value) {
  const std::vector<std::string> parts =
      absl::StrSplit(text.substr(1, text.size() - 2), ',');
  *value = {static_cast<T>(std::stod(parts.at(0))),
            static_cast<T>(std::stod(parts.at(1)))};
}
template <typename T>
void Parse(const std::string& text, T* value) {
  if constexpr (std::is_unsigned_v<T>) {
    *value = static_cast<T>(std::stoull(text));
  } else if constexpr (std::is_integral_v<T>) {
    *value = static_cast<T>(std::stoll(text));
  } else {
    double number = 0;  // std::stod refuses the smallest ones
    CHECK(absl::SimpleAtod(text, &number)) << text;
    *value = static_cast<T>(number);
  }
}

}  // namespace

std::string Describe(const Tensor& tensor) {
  std::string text =
      absl::StrCat(tensorflow::DataType_Name(tensor.dtype()), "[",
                   absl::StrJoin(tensor.shape().dim_sizes(), ","), "]");
  WithElementType(tensor.dtype(), [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto elements = tensor.flat<T>();
    for (int64_t i = 0; i < elements.size(); ++i) {
      absl::StrAppend(&text, " ", Text(elements(i)));
    }
  });
  return text;
}

std::string Describe(const Value& value) {
  if (value.is_tensor()) return Describe(*value.Get<Tensor>());
  std::vector<std::string> items;
  if (value.is_list()) {
    for (size_t i = 0; i < value.size(); ++i) {
      items.push_back(Describe(*value.At({static_cast<int>(i)})));
    }
    return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
  }
  if (value.is_map()) {
    for (const std::string& key : value.keys()) {
      items.push_back(absl::StrCat(key, ": ", Describe(*value.At({key}))));
    }
    return absl::StrCat("{", absl::StrJoin(items, ", "), "}");
  }
  return "-";
}

Tensor ParseTensor(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ' ');
  const std::vector<std::string> head =
      absl::StrSplit(parts.at(0), absl::ByAnyChar("[]"));
  TensorShape shape;
  for (const std::string_view size :
       absl::StrSplit(head.at(1), ',', absl::SkipEmpty())) {
    shape.AddDim(std::stoll(std::string(size)));
  }
  DataType dtype = tensorflow::DT_INVALID;
  CHECK(tensorflow::DataType_Parse(head.at(0), &dtype)) << text;
  Tensor tensor(dtype, shape);
  WithElementType(dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    auto elements = tensor.flat<T>();
    for (int64_t i = 0; i < elements.size(); ++i) {
      Parse(parts.at(static_cast<size_t>(i) + 1), &elements(i));
    }
  });
  return tensor;
}

}  // namespace tftrain

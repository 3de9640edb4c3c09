// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/non_finite.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace tftrain::internal {
namespace {

// Without their sign, numbers are ordered as their bits are: those beyond the
// infinity are NaN.
//
// Thread-compatible: const calls may run together.
template <typename Bits>
class Scan {
 public:
  // `infinity` is how the positive one is written.
  Scan(const void* numbers, int64_t count, Bits infinity)
      : numbers_(static_cast<const char*>(numbers)),
        count_(count),
        infinity_(infinity) {}

  std::optional<NonFinite> Find(bool also_infinite) const {
    const Bits limit = static_cast<Bits>(infinity_ - (also_infinite ? 1 : 0));
    // Whole blocks at once, which the compiler makes fast.
    constexpr int64_t kBlock = 4096;
    for (int64_t i = 0; i < count_; i += kBlock) {
      const int64_t end = std::min(count_, i + kBlock);
      Bits largest = 0;
      for (int64_t j = i; j < end; ++j) largest = std::max(largest, At(j));
      if (largest <= limit) continue;
      while (At(i) <= limit) ++i;
      return NonFinite{i, At(i) > infinity_};
    }
    return std::nullopt;
  }

 private:
  Bits At(int64_t i) const {
    constexpr Bits kAllButSign = static_cast<Bits>(~Bits{0}) >> 1;
    Bits bits;
    std::memcpy(&bits, numbers_ + i * static_cast<int64_t>(sizeof(Bits)),
                sizeof(Bits));
    return static_cast<Bits>(bits & kAllButSign);
  }

  const char* const numbers_;
  const int64_t count_;
  const Bits infinity_;
};

// `parts` is how many numbers one element is.
template <typename Bits>
std::optional<NonFinite> FindIn(const tensorflow::Tensor& tensor, Bits infinity,
                                bool also_infinite, int64_t parts = 1) {
  std::optional<NonFinite> found =
      Scan<Bits>(tensor.data(), tensor.NumElements() * parts, infinity)
          .Find(also_infinite);
  if (found.has_value()) found->element /= parts;
  return found;
}

constexpr uint16_t kHalfInfinity = 0x7c00;
constexpr uint16_t kBfloat16Infinity = 0x7f80;
constexpr uint32_t kFloatInfinity = 0x7f800000;
constexpr uint64_t kDoubleInfinity = 0x7ff0000000000000;

}  // namespace

bool CanBeNonFinite(tensorflow::DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_HALF:
    case tensorflow::DT_BFLOAT16:
    case tensorflow::DT_FLOAT:
    case tensorflow::DT_DOUBLE:
    case tensorflow::DT_COMPLEX64:
    case tensorflow::DT_COMPLEX128:
      return true;
    default:
      return false;
  }
}

std::optional<NonFinite> FindNonFinite(const tensorflow::Tensor& tensor,
                                       bool also_infinite) {
  switch (tensor.dtype()) {
    case tensorflow::DT_HALF:
      return FindIn(tensor, kHalfInfinity, also_infinite);
    case tensorflow::DT_BFLOAT16:
      return FindIn(tensor, kBfloat16Infinity, also_infinite);
    case tensorflow::DT_FLOAT:
      return FindIn(tensor, kFloatInfinity, also_infinite);
    case tensorflow::DT_DOUBLE:
      return FindIn(tensor, kDoubleInfinity, also_infinite);
    case tensorflow::DT_COMPLEX64:
      return FindIn(tensor, kFloatInfinity, also_infinite, /*parts=*/2);
    case tensorflow::DT_COMPLEX128:
      return FindIn(tensor, kDoubleInfinity, also_infinite, /*parts=*/2);
    default:
      return std::nullopt;
  }
}

std::string ToString(const NonFinite& found, const tensorflow::Tensor& tensor) {
  std::string text = found.is_nan ? "a NaN" : "an infinity";
  if (tensor.NumElements() > 1) {
    absl::StrAppend(&text, " (element ", found.element, " of ",
                    tensor.NumElements(), ")");
  }
  return text;
}

}  // namespace tftrain::internal

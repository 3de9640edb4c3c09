// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What reading and writing TensorFlow's checkpoints have in common.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FORMAT_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "absl/crc/crc32c.h"
#include "tensorflow/core/framework/tensor_shape.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/framework/types.pb.h"

namespace tftrain::internal {

// The version of the format.
inline constexpr int kFormatVersion = 1;

// A checksum among the bytes of an entry.
inline constexpr size_t kChecksumBytes = 4;

// The parts that a tensor may be stored in: TensorFlow compares each with all
// others.
inline constexpr int kMaxParts = 10000;

// Whether the bytes of elements of `width` each can be counted, also where an
// extent of zero hides others.
inline bool IsCountable(const tensorflow::TensorShapeProto& shape,
                        int64_t width) {
  int64_t bytes = width;
  for (const auto& dim : shape.dim()) {
    if (dim.size() < 0) return false;
    if (dim.size() == 0) continue;
    if (bytes > std::numeric_limits<int64_t>::max() / dim.size()) return false;
    bytes *= dim.size();
  }
  return true;
}

// Whether elements lie in a file as they do in memory.
inline bool IsPlain(tensorflow::DataType dtype) {
  return tensorflow::DataTypeCanUseMemcpy(dtype);
}

// `crc`, extended by the `width` lowest bytes of `value`, the lowest first.
inline absl::crc32c_t ExtendByNumber(absl::crc32c_t crc, uint64_t value,
                                     size_t width) {
  char bytes[sizeof(value)];
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xff);
    value >>= 8;
  }
  return absl::ExtendCrc32c(crc, std::string_view(bytes, width));
}

// `crc`, extended by the length of a string.
inline absl::crc32c_t ExtendByLength(absl::crc32c_t crc, uint64_t length) {
  const bool fits = length <= std::numeric_limits<uint32_t>::max();
  return ExtendByNumber(crc, length, fits ? 4 : 8);
}

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FORMAT_H_

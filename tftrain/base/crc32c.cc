// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#endif

namespace tftrain::internal {

#if defined(__x86_64__)
namespace {

// The instruction takes three cycles, but one can begin in each: three pieces
// are summed side by side. Large ones as long as there are any, since it costs
// a little to join their sums.
constexpr size_t kLargePiece = size_t{32} << 10;
constexpr size_t kSmallPiece = size_t{1} << 10;

// The sums of three pieces, each without the others.
struct Sums {
  absl::crc32c_t first, second, third;
};

uint64_t WordAt(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

absl::crc32c_t SumOf(uint64_t state) {
  return absl::crc32c_t{~static_cast<uint32_t>(state)};
}

template <size_t kPiece>
__attribute__((target("sse4.2"))) Sums SumPieces(absl::crc32c_t before,
                                                 const char* bytes) {
  uint64_t first = ~static_cast<uint32_t>(before);
  uint64_t second = ~uint32_t{0};
  uint64_t third = ~uint32_t{0};
  for (const char* const end = bytes + kPiece; bytes < end; bytes += 8) {
    first = _mm_crc32_u64(first, WordAt(bytes));
    second = _mm_crc32_u64(second, WordAt(bytes + kPiece));
    third = _mm_crc32_u64(third, WordAt(bytes + 2 * kPiece));
  }
  return {SumOf(first), SumOf(second), SumOf(third)};
}

// Extends `crc` by what it takes off the front of `bytes`.
template <size_t kPiece>
absl::crc32c_t TakePieces(absl::crc32c_t crc, std::string_view* bytes) {
  while (bytes->size() >= 3 * kPiece) {
    const Sums sums = SumPieces<kPiece>(crc, bytes->data());
    crc = absl::ConcatCrc32c(sums.first, sums.second, kPiece);
    crc = absl::ConcatCrc32c(crc, sums.third, kPiece);
    bytes->remove_prefix(3 * kPiece);
  }
  return crc;
}

}  // namespace

absl::crc32c_t ExtendChecksum(absl::crc32c_t crc, std::string_view bytes) {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) {
    crc = TakePieces<kLargePiece>(crc, &bytes);
    crc = TakePieces<kSmallPiece>(crc, &bytes);
  }
  return absl::ExtendCrc32c(crc, bytes);
}
#else
absl::crc32c_t ExtendChecksum(absl::crc32c_t crc, std::string_view bytes) {
  return absl::ExtendCrc32c(crc, bytes);
}
#endif

}  // namespace tftrain::internal

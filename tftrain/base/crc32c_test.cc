// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/crc32c.h"

#include <cstddef>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace tftrain::internal {
namespace {

std::string RandomBytes(size_t size) {
  std::mt19937 random(1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST(ExtendChecksumTest, IsTheChecksumOfTheFormat) {
  // The check value of CRC-32C.
  EXPECT_EQ(ExtendChecksum(absl::crc32c_t{0}, "123456789"),
            absl::crc32c_t{0xe3069283});
}

TEST(ExtendChecksumTest, IsAbslsAtEveryLengthPlaceAndBeginning) {
  const std::string bytes = RandomBytes(size_t{300} << 10);
  const std::string_view all = bytes;
  for (const size_t size : {0, 1, 7, 8, 3071, 3072, 3073, 6144, 98303, 98304,
                            98305, 101376, 101377, 200000, 294912, 307199}) {
    for (const size_t begin : {0, 1}) {
      for (const uint32_t before : {0u, 1u, 0xffffffffu, 0x12345678u}) {
        const std::string_view part = all.substr(begin, size);
        EXPECT_EQ(ExtendChecksum(absl::crc32c_t{before}, part),
                  absl::ExtendCrc32c(absl::crc32c_t{before}, part))
            << size << " bytes from " << begin << " behind " << before;
      }
    }
  }
}

TEST(ExtendChecksumTest, GoesOnWhereItStopped) {
  const std::string bytes = RandomBytes(size_t{1} << 20);
  const std::string_view all = bytes;
  absl::crc32c_t crc{0};
  for (size_t at = 0, size = 1; at < all.size(); at += size, size *= 2) {
    crc = ExtendChecksum(crc, all.substr(at, size));
  }
  EXPECT_EQ(crc, ExtendChecksum(absl::crc32c_t{0}, all));
}

}  // namespace
}  // namespace tftrain::internal

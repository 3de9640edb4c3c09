// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Checksums of large values.

#ifndef TFTRAIN_BASE_CRC32C_H_
#define TFTRAIN_BASE_CRC32C_H_

#include <string_view>

#include "absl/crc/crc32c.h"

namespace tftrain::internal {

// What absl::ExtendCrc32c returns. TensorFlow's wheel holds that function
// without the processor's instruction for it; this one uses it where there is
// one (x86-64 with SSE 4.2), and is then as fast as the memory.
//
// Thread-safe.
absl::crc32c_t ExtendChecksum(absl::crc32c_t crc, std::string_view bytes);

}  // namespace tftrain::internal

#endif  // TFTRAIN_BASE_CRC32C_H_

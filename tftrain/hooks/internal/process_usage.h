// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_PROCESS_USAGE_H_
#define TFTRAIN_HOOKS_INTERNAL_PROCESS_USAGE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace tftrain::internal {

// What a process holds; absent is what the system does not tell.
struct ProcessUsage {
  std::optional<int64_t> resident_bytes;
  std::optional<int64_t> peak_resident_bytes;
  std::optional<int64_t> threads;
  std::optional<int64_t> open_files;
};

// Reads `status` and counts `fd` in the folder `proc` of Linux's proc file
// system. What is missing there, or is no such number, is absent.
//
// Thread-safe.
ProcessUsage ReadProcessUsage(std::string_view proc = "/proc/self");

// The time that all threads of this process together spent computing.
//
// Thread-safe.
absl::Duration ProcessCpuTime();

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_PROCESS_USAGE_H_

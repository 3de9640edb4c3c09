// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/process_usage.h"

#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tftrain/base/file.h"

namespace tftrain::internal {
namespace {

// The value of the line "name: value", in which a size has the unit kB.
std::optional<int64_t> FindNumber(std::string_view status,
                                  std::string_view name) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max() / 1024;
  for (const std::string_view line : absl::StrSplit(status, '\n')) {
    const std::vector<std::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t:"), absl::SkipEmpty());
    if (words.size() < 2 || words[0] != name) continue;
    int64_t number = 0;
    if (!absl::SimpleAtoi(words[1], &number) || number < 0) break;
    if (words.size() == 2) return number;
    if (words.size() == 3 && words[2] == "kB" && number <= kLargest) {
      return 1024 * number;
    }
    break;
  }
  return std::nullopt;
}

}  // namespace

ProcessUsage ReadProcessUsage(std::string_view proc) {
  ProcessUsage usage;
  constexpr int64_t kMostBytes = 1 << 16;
  if (const absl::StatusOr<std::string> status =
          ReadFile(JoinPath(proc, "status"), kMostBytes);
      status.ok()) {
    usage.resident_bytes = FindNumber(*status, "VmRSS");
    usage.peak_resident_bytes = FindNumber(*status, "VmHWM");
    usage.threads = FindNumber(*status, "Threads");
  }
  if (const absl::StatusOr<std::vector<std::string>> files =
          ListFolder(JoinPath(proc, "fd"));
      files.ok() && !files->empty()) {
    // Without the one that lists them.
    usage.open_files = static_cast<int64_t>(files->size()) - 1;
  }
  return usage;
}

absl::Duration ProcessCpuTime() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace tftrain::internal

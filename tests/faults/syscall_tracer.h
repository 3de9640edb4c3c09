// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Follows the file calls of a child process with ptrace, and kills it at one.

#ifndef TFTRAIN_FAULTS_SYSCALL_TRACER_H_
#define TFTRAIN_FAULTS_SYSCALL_TRACER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tftrain {

// Where a child is killed.
struct KillPoint {
  // Just before that call, counted from 0.
  int call = 0;
  // A write there is done first, with half of its bytes.
  bool half_written = false;
};

// What a child did.
struct Trace {
  // Each of its calls that names a file of the folder, or a descriptor of one:
  // "rename run/.tftrain-1". The last one is where it was killed.
  std::vector<std::string> calls;
  bool killed = false;
  // What it ended with, if it was not killed.
  int exit_code = 0;
};

// Forks, and calls `body` in the child, which does not return: it raises
// SIGSTOP when its calls begin to count, and is killed at `kill` or ends with
// `_exit`. Calls of its threads count as well. The calling process has no other
// child, and no threads that `body` needs.
// Errors: kPermissionDenied when the system does not let it trace,
// kUnimplemented on Linux before 5.3 and on other processors than x86-64 and
// 64-bit ARM.
absl::StatusOr<Trace> TraceChild(const std::string& folder,
                                 std::optional<KillPoint> kill,
                                 const std::function<void()>& body);

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_SYSCALL_TRACER_H_

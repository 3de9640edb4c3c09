// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/process_state.h"

#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/log/check.h"
#include "absl/strings/numbers.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/clock.h"

namespace tftrain {
namespace {

// As the system counts them; a list of /proc/self/task may skip some while
// others end.
int Threads() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int threads = 0;
  while (status >> word && word != "Threads:") {
  }
  CHECK(status >> threads) << "cannot read /proc/self/status";
  return threads;
}

int Descriptors() {
  return static_cast<int>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

}  // namespace

ProcessState ProcessState::Now() { return {Threads(), Descriptors()}; }

ProcessState ProcessState::Settled(const ProcessState& before,
                                   absl::Duration timeout) {
  Clock* const clock = Clock::Real();
  const absl::Duration deadline = clock->Monotonic() + timeout;
  ProcessState now = Now();
  while (
      (now.threads > before.threads || now.descriptors > before.descriptors) &&
      clock->Monotonic() < deadline) {
    sched_yield();
    now = Now();
  }
  return now;
}

int64_t ResidentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  CHECK(statm >> size >> resident) << "cannot read /proc/self/statm";
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return otherwise;
  int64_t value = 0;
  CHECK(absl::SimpleAtoi(text, &value))
      << name << " is \"" << text << "\", set it to a number";
  return value;
}

}  // namespace tftrain

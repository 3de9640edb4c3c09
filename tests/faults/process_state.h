// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What this process holds, to find what a test leaves behind.

#ifndef TFTRAIN_FAULTS_PROCESS_STATE_H_
#define TFTRAIN_FAULTS_PROCESS_STATE_H_

#include <cstdint>
#include <ostream>

#include "absl/time/time.h"

namespace tftrain {

// Threads and open files of this process.
struct ProcessState {
  int threads = 0;
  int descriptors = 0;

  static ProcessState Now();

  // As soon as there are no more of either than in `before`, or after
  // `timeout`: the system lists a thread for a moment after it was joined.
  static ProcessState Settled(const ProcessState& before,
                              absl::Duration timeout = absl::Seconds(10));

  // Whether there are no more of either. There may be fewer: a thread that was
  // about to end may have been counted in `b`.
  friend bool operator<=(const ProcessState& a, const ProcessState& b) {
    return a.threads <= b.threads && a.descriptors <= b.descriptors;
  }
  friend std::ostream& operator<<(std::ostream& os, const ProcessState& state) {
    return os << state.threads << " threads and " << state.descriptors
              << " descriptors";
  }
};

// The memory of this process that is resident, in bytes, after what is free
// was given back to the system. Means something where kMemoryIsOurs.
int64_t ResidentBytes();

// The value of the environment variable `name` as a number, for longer runs
// than the ordinary one; `otherwise` when it is not set. Ends the program when
// it is no number.
int64_t FromEnvironment(const char* name, int64_t otherwise);

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_PROCESS_STATE_H_

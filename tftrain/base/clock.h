// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Where the library gets its time from, so that tests can drive it by hand.

#ifndef TFTRAIN_BASE_CLOCK_H_
#define TFTRAIN_BASE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// A source of time and the only way to wait for it. `testing/fake_clock.h`
// holds one that stands still until a test advances it.
//
// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // The machine's clocks. The object lives as long as the program.
  static Clock* Real();

  // The time of day: for what people and files see. It may jump.
  virtual absl::Time Now() const = 0;

  // Time since a fixed moment of unknown date, which never goes back: for
  // intervals and deadlines.
  virtual absl::Duration Monotonic() const = 0;

  // Releases `mu`, waits until `cv` is notified or `timeout` has passed on this
  // clock, and takes `mu` again. Returns false when the time ran out; true
  // otherwise, also without a notification: test the condition in a loop and
  // compute what remains of the time anew. A timeout of zero or less does not
  // wait; an infinite one never runs out.
  virtual bool WaitFor(Mutex& mu, CondVar& cv, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) = 0;
};

}  // namespace tftrain

#endif  // TFTRAIN_BASE_CLOCK_H_

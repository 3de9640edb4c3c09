// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The timer inside every hook that acts now and then.

#ifndef TFTRAIN_HOOKS_SECOND_OR_STEP_TIMER_H_
#define TFTRAIN_HOOKS_SECOND_OR_STEP_TIMER_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"

namespace tftrain {

// Says whether it is time to act: at most once every N seconds, or once every
// N steps. The timer only answers; whoever acts on the answer records that
// with `UpdateLastTriggeredStep`.
//
// Python: `tf.compat.v1.train.SecondOrStepTimer`.
// Python: measures seconds by the time of day, so that a clock set back stops
// it, and waits for the old step when the step goes back; here they are
// measured by the monotonic clock.
//
// Thread-compatible: const calls may run together.
//
//   if (timer.ShouldTriggerForStep(step)) {
//     timer.UpdateLastTriggeredStep(step);
//     Save(step);
//   }
class SecondOrStepTimer {
 public:
  // Exactly one of the first two must be set. Zero means every new step.
  struct Options {
    std::optional<double> every_secs;
    std::optional<int64_t> every_steps;

    // Must outlive the timer. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  // The time and the number of steps between two triggers.
  struct Elapsed {
    double secs = 0;
    int64_t steps = 0;
  };

  // Errors: kInvalidArgument if none or both of `every_secs` and `every_steps`
  // are set, or the one that is set is negative or not a number.
  static absl::StatusOr<SecondOrStepTimer> Create(const Options& options);
  static absl::StatusOr<SecondOrStepTimer> Create(const Every& every,
                                                  Clock* clock = nullptr);

  // True before the first trigger, and for a step before that of the last one,
  // as training was taken back then; false for the very step of the last one;
  // else true once the interval has passed since it.
  bool ShouldTriggerForStep(int64_t step) const;

  // Records a trigger at `step` and now. Returns what passed since the one
  // before, or nothing for the first and when the step went back.
  std::optional<Elapsed> UpdateLastTriggeredStep(int64_t step);

  // The step of the last trigger, if there was one.
  std::optional<int64_t> last_triggered_step() const;

  // Forgets the last trigger.
  void Reset() { last_.reset(); }

 private:
  struct Trigger {
    int64_t step;
    absl::Duration time;
  };

  explicit SecondOrStepTimer(const Options& options);

  absl::Duration every_;
  std::optional<int64_t> every_steps_;
  Clock* clock_;
  std::optional<Trigger> last_;
};

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_SECOND_OR_STEP_TIMER_H_

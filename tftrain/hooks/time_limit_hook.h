// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Ends training when its time is over.

#ifndef TFTRAIN_HOOKS_TIME_LIMIT_HOOK_H_
#define TFTRAIN_HOOKS_TIME_LIMIT_HOOK_H_

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Asks for a stop after the step with which a wall time is over, early enough
// that what follows, such as the last save, ends within the limit. A session
// whose time is over when it is created stops before its first step.
//
// The step that runs is finished: `reserve_secs` should cover the longest step,
// with what hooks do after it, and the longest save. The Coordinator is asked
// to stop as well, which tells those who look at it, such as an EvalHook, that
// there is no time left.
//
// Confined: the session calls a hook from one thread.
// Python: tf.train has none; Ignite's TimeLimit, Lightning's Timer.
//
//   options.hooks = {SaveCheckpoints("run", Every::Steps(500)),
//                    StopAfterTime(/*max_secs=*/3600, /*reserve_secs=*/60)};
class TimeLimitHook : public SessionRunHook {
 public:
  struct Options {
    // The limit, in seconds; must be set, and be positive and finite.
    double max_secs = 0;

    // From when they count, by the time of day, such as the start of the job a
    // scheduler will end. Nothing: from the Begin() of the first session this
    // object sees; neither a recovery nor another session moves the limit.
    // Either way the time from that Begin() on is measured by the monotonic
    // clock, so that setting the machine's clock changes nothing.
    std::optional<absl::Time> since;

    // How many of these seconds are left for what follows the last step.
    double reserve_secs = 0;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit TimeLimitHook(const Options& options);

  // Errors: kInvalidArgument for a `max_secs` that is not positive and finite
  // or a `reserve_secs` that is not 0 or more and below it.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

 private:
  const Options options_;
  Clock* const clock_;
  // Of the session, from its creation to its end.
  Coordinator* coordinator_ = nullptr;
  // When to stop, in the clock's monotonic time.
  std::optional<absl::Duration> deadline_;
};

// Stops after `max_secs` seconds but for `reserve_secs`.
std::shared_ptr<TimeLimitHook> StopAfterTime(double max_secs,
                                             double reserve_secs = 0);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_TIME_LIMIT_HOOK_H_

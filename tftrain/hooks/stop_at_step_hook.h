// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Ends training at a step.

#ifndef TFTRAIN_HOOKS_STOP_AT_STEP_HOOK_H_
#define TFTRAIN_HOOKS_STOP_AT_STEP_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Asks for a stop after the step with which the global step reaches a limit,
// or jumps past it.
//
// Python: `tf.compat.v1.train.StopAtStepHook`.
// Python: when the limit is reached before the first step, as in a run that is
// started again after its end, trains one step more; here the session then
// stops before the first step.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {StopAtStep(10'000)};
class StopAtStepHook : public SessionRunHook {
 public:
  // Exactly one of the two must be set.
  struct Options {
    // How many steps to train, counted from the global step of the first
    // session this object sees: neither a recovery nor another session moves
    // the limit. Zero trains none.
    std::optional<int64_t> num_steps;

    // The global step to stop at.
    std::optional<int64_t> last_step;
  };

  explicit StopAtStepHook(const Options& options);

  // Errors: kInvalidArgument if none or both of the options are set or
  // `num_steps` is negative; kFailedPrecondition without a global step.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

  // The global step to stop at, once it is known.
  std::optional<int64_t> last_step() const { return last_step_; }

 private:
  std::string Reason(int64_t step) const;

  const Options options_;
  std::optional<int64_t> last_step_;
};

// Stops when the global step is `last_step`.
std::shared_ptr<StopAtStepHook> StopAtStep(int64_t last_step);

// Stops after `num_steps` further steps.
std::shared_ptr<StopAtStepHook> StopAfterSteps(int64_t num_steps);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_STOP_AT_STEP_HOOK_H_

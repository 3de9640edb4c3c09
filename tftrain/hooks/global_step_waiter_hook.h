// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Lets a worker begin later than the others.

#ifndef TFTRAIN_HOOKS_GLOBAL_STEP_WAITER_HOOK_H_
#define TFTRAIN_HOOKS_GLOBAL_STEP_WAITER_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Holds the first step back until others have brought the global step to a
// number, which it looks at now and then; later steps are not held back. With
// `wait_until_step = K * log(1 + task)` workers come in one by one.
//
// The wait ends, too, when the session's coordinator is asked to stop: Run()
// then returns StopIterationError(), a clean end, without a step. It is the
// coordinator's clock that counts.
//
// Python: `tf.compat.v1.train.GlobalStepWaiterHook`, which heeds no stop and
// has no timeout.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {WaitForGlobalStep(1000 * task)};
class GlobalStepWaiterHook : public SessionRunHook {
 public:
  struct Options {
    // Zero or less: nobody waits.
    int64_t wait_until_step = 0;

    // How long to wait at most, in seconds; nothing: without limit.
    std::optional<double> timeout_secs;

    // How long to wait between two looks, in seconds.
    double poll_secs = 0.5;
  };

  explicit GlobalStepWaiterHook(const Options& options);

  // Errors: kInvalidArgument for a negative timeout, and when `poll_secs` is
  // not positive; kFailedPrecondition without a global step.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;

  // Errors: StopIterationError() when a stop is requested meanwhile;
  // kDeadlineExceeded after the timeout; those of reading the global step.
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;

 private:
  absl::Status Wait(Session& session) const;

  const Options options_;
  Coordinator* coordinator_ = nullptr;  // of the session
  bool started_ = false;
};

// Holds the first step back until the global step is `step`.
std::shared_ptr<GlobalStepWaiterHook> WaitForGlobalStep(int64_t step);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_GLOBAL_STEP_WAITER_HOOK_H_

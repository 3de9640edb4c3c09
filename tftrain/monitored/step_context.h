// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a step function gets from RunStepFn().

#ifndef TFTRAIN_MONITORED_STEP_CONTEXT_H_
#define TFTRAIN_MONITORED_STEP_CONTEXT_H_

#include <utility>

#include "absl/status/status.h"
#include "tftrain/base/errors.h"
#include "tftrain/session/runnable.h"
#include "tftrain/session/session.h"

namespace tftrain {

// One call of a step function. Valid during that call.
// Confined to the thread that called RunStepFn().
// Python: tf.compat.v1.train.MonitoredSession.StepContext.
class StepContext {
 public:
  StepContext(Session* session, Runnable* hooked)
      : session_(session), hooked_(hooked) {}

  // The plain session: runs without hooks.
  Session& session() const { return *session_; }

  // Runs a step with hooks around it; takes what Runnable::Run() takes.
  template <typename F, typename... Args>
  RunResult<F> RunWithHooks(const F& fetches, Args&&... args) {
    return hooked_->Run(fetches, std::forward<Args>(args)...);
  }

  // Ends training: `return context.RequestStop();`. The request counts even
  // when the function returns something else.
  absl::Status RequestStop() {
    stop_requested_ = true;
    return StopIterationError();
  }
  bool stop_requested() const { return stop_requested_; }

 private:
  Session* session_;
  Runnable* hooked_;
  bool stop_requested_ = false;
};

}  // namespace tftrain

#endif  // TFTRAIN_MONITORED_STEP_CONTEXT_H_

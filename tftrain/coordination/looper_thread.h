// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A thread that calls a function again and again until a Coordinator stops.

#ifndef TFTRAIN_COORDINATION_LOOPER_THREAD_H_
#define TFTRAIN_COORDINATION_LOOPER_THREAD_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/thread.h"
#include "tftrain/coordination/coordinator.h"

namespace tftrain {

// Starts such threads. An error that one of its functions returns, or an
// exception that leaves it, is reported to the Coordinator and ends the
// thread, without `stop_loop`.
//
// Python: `tf.compat.v1.train.LooperThread`; what a subclass overrides there
// is a function in `Options` here, and arguments are captured by it.
//
// Thread-safe.
//
//   LooperThread::Options options;
//   options.timer_interval_secs = 60;
//   TF_ASSIGN_OR_RETURN(
//       auto thread,
//       LooperThread::Loop(coordinator, options, [] { return Report(); }));
class LooperThread {
 public:
  struct Options {
    // Between the beginnings of two calls. Unset: one call after the other.
    // Set: the first call comes at once and the others at fixed multiples of
    // the interval after it; calls that are late are made up for without
    // waiting. By the Coordinator's clock.
    std::optional<double> timer_interval_secs;

    // The thread's name.
    std::string name = "looper";

    // Called once on the thread, before the first call and after the last.
    std::function<absl::Status()> start_loop;
    std::function<absl::Status()> stop_loop;
  };

  LooperThread() = delete;

  // Starts the thread and registers it with `coordinator`, which it keeps
  // alive. Looks whether to stop before each call of `run_loop`, the first
  // included.
  // Errors: kInvalidArgument if the interval is negative or not a number;
  // kResourceExhausted when the system refuses another thread.
  // REQUIRES: neither `coordinator` nor `run_loop` is null.
  //
  // Python: `LooperThread.loop`.
  static absl::StatusOr<std::shared_ptr<Thread>> Loop(
      std::shared_ptr<Coordinator> coordinator, Options options,
      std::function<absl::Status()> run_loop);
};

}  // namespace tftrain

#endif  // TFTRAIN_COORDINATION_LOOPER_THREAD_H_

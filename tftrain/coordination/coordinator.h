// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Stops a set of threads together and tells why.

#ifndef TFTRAIN_COORDINATION_COORDINATOR_H_
#define TFTRAIN_COORDINATION_COORDINATOR_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/thread.h"

namespace tftrain {

// The meeting point of the threads of one training run: each looks at
// `ShouldStop()` regularly, any may call `RequestStop(reason)`, and whoever
// started them calls `Join()`, which returns the reason if it was an error.
//
// States: running -> stopping -> joined, or running -> joined when all threads
// ended by themselves; `ClearStop()` leads back to running from anywhere.
//
// The Coordinator never ends a thread. One that does not stop within the grace
// period is named, with what it waits in, and left to itself; since it may
// then outlive the caller, whatever it uses must be owned by its function:
// hold the Coordinator in a `std::shared_ptr` and give the thread a copy.
//
// Python: `tf.train.Coordinator`.
//
// Thread-safe. Calls user code (`clean_stop`, `StopOnError`'s function, log
// sinks) without holding its lock, which comes before a Thread's in the order.
// In a child made by `fork` it has neither threads nor errors, and knows only
// whether to stop: make one there.
//
//   auto coordinator = std::make_shared<Coordinator>();
//   TF_ASSIGN_OR_RETURN(auto reader, Thread::Start("reader", [coordinator] {
//     coordinator->StopOnError([&]() -> absl::Status {
//       while (!coordinator->ShouldStop()) TF_RETURN_IF_ERROR(ReadOne());
//       return absl::OkStatus();
//     });
//   }));
//   coordinator->RegisterThread(reader);
//   absl::Status status = coordinator->Join();
class Coordinator {
 public:
  struct Options {
    // The errors that are no failure: reporting one is a plain request to
    // stop. Null, like a function that returns false: every error is a
    // failure.
    //
    // Python: `clean_stop_exception_types`, `(OutOfRangeError,)` by default;
    // here the end of input must be marked as such, see base/errors.h.
    std::function<bool(const absl::Status&)> clean_stop = IsEndOfInput;

    // Must outlive the Coordinator and its threads. Null means the machine's
    // clock.
    Clock* clock = nullptr;
  };

  struct JoinOptions {
    // How long, in seconds, the threads may take to end once a stop was
    // requested. Zero or less: do not wait; infinity: wait for all.
    double stop_grace_period_secs = 120;

    // Whether threads that still run after that are merely logged.
    bool ignore_live_threads = false;

    // Threads to join beside the registered ones.
    std::vector<std::shared_ptr<Thread>> threads;

    // Given to each thread that still runs after that, which lets go of it when
    // it ends: what the threads use and the caller is about to free.
    std::shared_ptr<const void> kept_by_live_threads;
  };

  explicit Coordinator(Options options);
  Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;
  ~Coordinator();

  // Asks all threads to stop. An error as the reason is stored if it is the
  // first and is no clean stop; `Join` returns it. A later error is attached
  // to the stored one as text, save for kCancelled, which is but the echo of
  // stopping. An error that comes after a plain request, or after a clean
  // stop, is dropped with a warning in the log. May be called any number of
  // times.
  //
  // After `Join` nobody is left to hand the error to, so it is logged at
  // ERROR, and stored if there is none: a further `Join` returns it.
  //
  // Python: `request_stop(ex)`; drops later errors silently, and raises the
  // error in the caller after `join`.
  void RequestStop(const absl::Status& reason = absl::OkStatus());

  // The same without an error, for the reason `why`.
  void RequestStop(std::string_view why);

  // What the first request that gave a reason said: why, or the message of its
  // error. One that is dropped is no reason.
  std::string stop_message() const;

  // True once a stop was requested. Costs one atomic load.
  //
  // Python: `should_stop`.
  bool ShouldStop() const;

  // Waits until a stop is requested, for at most `timeout`. Returns what
  // `ShouldStop()` does then. A timeout of zero or less does not wait.
  //
  // Python: `wait_for_stop`.
  bool WaitForStop(absl::Duration timeout = absl::InfiniteDuration()) const;

  // Forgets the request to stop, the stored error, and that `Join` was called.
  // Threads that are registered stay so.
  //
  // Python: `clear_stop`.
  void ClearStop();

  // Lets the next `Join` wait for `thread`, however it was started; a thread
  // that has ended, or is registered already, does no harm.
  //
  // Python: `register_thread`.
  void RegisterThread(std::shared_ptr<Thread> thread);

  // Waits for the registered threads and `options.threads`: without limit
  // until all have ended or a stop is requested, then for the rest to end
  // within the grace period. Afterwards no thread is registered; those that
  // were registered meanwhile are, for the next Join.
  //
  // Returns the stored error if there is one, again at every further call;
  // else, if threads still run and that is not ignored, an error that names
  // each of them and what it waits in.
  // Errors: the stored error; kDeadlineExceeded for threads that still run.
  //
  // Python: `join`; raises `RuntimeError` for threads that still run, and
  // forgets those registered while it waits.
  absl::Status Join(const JoinOptions& options);
  absl::Status Join() { return Join(JoinOptions()); }

  // True once `Join` has returned, until `ClearStop`.
  //
  // Python: `joined`.
  bool joined() const;

  // The stored error, or OK.
  //
  // Python: `raise_requested_exception`.
  absl::Status status() const;

  // Calls `fn` and reports an error it returns, or a C++ exception that leaves
  // it, with `RequestStop`. An OK status requests nothing.
  //
  // Python: `with stop_on_exception():`.
  void StopOnError(absl::FunctionRef<absl::Status()> fn);

  // The registered threads that still run, each as `Thread::Describe` puts it,
  // in the order of registration.
  std::vector<std::string> LiveThreads() const;

  Clock* clock() const { return clock_; }

 private:
  struct State;
  using Threads = std::vector<std::shared_ptr<Thread>>;

  // The registered threads and `extra`, each once.
  Threads ThreadsToJoin(const Threads& extra) const;

  // Waits while any of `threads` runs and, if `until_stop`, no stop is
  // requested; for at most `timeout`.
  void WaitForThreads(const Threads& threads, bool until_stop,
                      absl::Duration timeout) const;

  const std::function<bool(const absl::Status&)> clean_stop_;
  Clock* const clock_;

  // Shared with the threads being joined, which report their end to it.
  const std::shared_ptr<State> state_;
};

}  // namespace tftrain

#endif  // TFTRAIN_COORDINATION_COORDINATOR_H_

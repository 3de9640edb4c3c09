// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Start here: a session that initialises or restores a model, trains it with
// hooks around every step, and closes cleanly.

#ifndef TFTRAIN_MONITORED_SINGULAR_MONITORED_SESSION_H_
#define TFTRAIN_MONITORED_SINGULAR_MONITORED_SESSION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/fork.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/graph/graph.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/monitored/hook_costs.h"
#include "tftrain/monitored/step_context.h"
#include "tftrain/session/runnable.h"
#include "tftrain/session/session.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/setup/session_manager.h"

namespace tftrain {

namespace internal {
class HookedSession;
struct HookEntry;
}  // namespace internal

// Why training ended, where it was no error.
enum class StopReason {
  kStopRequested,  // by a hook, by RequestStop() or through the Coordinator
  kEndOfInput,     // a step found its input used up
  kStopIteration,  // the body or a step function ended it
  kClosed,         // Close() was called before any of those
};

// Returns "stop requested", "end of input", "stop iteration" or "closed".
std::string_view StopReasonName(StopReason reason);

// How a run ended, for logs and schedulers.
struct Summary {
  StopReason reason = StopReason::kClosed;
  // What the one who asked for the stop said.
  std::string detail;
  // The global step at the end; nothing when the graph has none.
  std::optional<int64_t> last_step;
  // What the session was restored from, and what had to be passed over; known
  // from the start.
  RestoreReport restore;
  // The newest checkpoint the scaffold's saver knows, "" when there is none.
  std::string checkpoint;
};

// A session with hooks that never recovers by itself: an error ends it.
//
// States: open -> stopping (ShouldStop() is true) -> closed. Creation calls, in
// this order: Begin of each hook, Scaffold::Finalize (the graph is frozen),
// restore or initialise, queue runners, AfterCreateSession of each hook. What
// fails there is undone before the error returns: no thread, file or session
// is left, and hooks that were begun get OnAbort.
//
//   SingularMonitoredSession::Options options;
//   options.hooks = {StopAtStep(10'000)};
//   TF_ASSIGN_OR_RETURN(auto session,
//                       SingularMonitoredSession::Create(graph, options));
//   TF_ASSIGN_OR_RETURN(Summary summary, session->RunUntilStop([&] {
//     return session->Run(Target("train"));
//   }));
//
// Confined: use from one thread at a time, but ShouldStop() and RequestStop()
// may be called from any; raw_session() is Thread-safe.
// Python: tf.compat.v1.train.SingularMonitoredSession.
class SingularMonitoredSession : public Runnable {
 public:
  struct Options {
    // Called in this order, in every callback.
    std::vector<HookPtr> hooks;
    // How the model is initialised, checked and saved; Scaffold() if null.
    std::shared_ptr<Scaffold> scaffold;
    // "" for the runtime in this process, else "grpc://host:port".
    std::string master;
    tensorflow::ConfigProto config;
    // A folder: its newest intact checkpoint is restored when it has one.
    std::string checkpoint_dir;
    // Whether an older checkpoint of the folder may take the place of one that
    // is damaged; without it that is an error.
    bool fall_back = true;
    // How long Close() waits for threads and, for half of it at most, for a
    // disk that does not take the events of hooks, in seconds.
    double stop_grace_period_secs = 120;
    // One checkpoint, which must exist.
    std::string checkpoint_filename_with_path;
    // Where the operations of a step run.
    ThreadMode thread_mode = ThreadMode::kPool;
    // Whether to measure what each hook costs (some 0.1 us per hook and step);
    // hook_costs() tells, and Close() logs the table.
    bool measure_hooks = false;
  };

  // Errors: kInvalidArgument for a hook that is null; those of the hooks, named
  // with hook and callback; of Scaffold::Finalize(),
  // SessionManager::PrepareSession() and QueueRunner.
  static absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> Create(
      GraphPtr graph, Options options);
  static absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> Create(
      GraphPtr graph) {
    return Create(std::move(graph), Options());
  }

  // Closes as after an error, when Close() was not called: hooks get OnAbort,
  // not End.
  ~SingularMonitoredSession() override;
  SingularMonitoredSession(const SingularMonitoredSession&) = delete;
  SingularMonitoredSession& operator=(const SingularMonitoredSession&) = delete;

  // Run() and Prepare() are those of Runnable, with hooks around each step. An
  // error of a hook or of the step is returned and leaves the session open.
  // Errors, beside those of Runnable::Run(): kFailedPrecondition when a hook
  // requested a stop in an earlier step, when the session is closed, and when
  // two threads run steps at once.

  // Calls `fn` with a StepContext and returns what it returns, a Status or a
  // StatusOr; when it called StepContext::RequestStop(), StopIterationError().
  // Python: run_step_fn.
  template <typename Fn>
  auto RunStepFn(Fn&& fn) -> std::invoke_result_t<Fn, StepContext&> {
    if (closed()) return AlreadyClosed();
    StepContext context(&raw_session(), this);
    // The request counts even when `fn` throws.
    const absl::Cleanup stop = [&] {
      if (context.stop_requested()) StopByStepFn();
    };
    auto result = std::forward<Fn>(fn)(context);
    if (context.stop_requested()) return StopIterationError();
    return result;
  }

  // Whether to stop: a hook, RequestStop() or a thread asked for it, a thread
  // failed, or the session is closed. A failure that was met here is the body's
  // failure to Close(): End is not called.
  // Python: should_stop, which raises a thread's failure.
  bool ShouldStop();

  // Makes ShouldStop() true; steps may still be run. The first reason is kept.
  // May be called from any thread.
  void RequestStop(std::string_view reason = "");

  // Steps until it is time to stop, then closes: calls `body` while
  // ShouldStop() is false, and Close() with what it returned last, unless
  // `body` closed the session. Returns how the run ended, or its error. Python:
  // `with session: while not session.should_stop(): body()`.
  absl::StatusOr<Summary> RunUntilStop(absl::FunctionRef<absl::Status()> body);

  // Ends the run, `body` being how it went: after OK or a clean stop
  // (IsCleanStop) every hook's End is called, else every hook's OnAbort; then
  // the threads are stopped and joined within the grace period, and the session
  // is closed. Threads that still run then are logged and left to themselves;
  // the plain session and the Coordinator are freed when the last of them ends.
  //
  // Returns the failure of a thread, else the first one of the hooks' End, else
  // `body` unless that is a clean stop; the others are told in its message.
  // Errors: kFailedPrecondition when the session is closed already, or when it
  // is called from within a step or a hook; the hooks hear nothing of that.
  // In a child made by fork, what was inherited is its parent's: neither hooks
  // nor threads hear of Close(), which returns `body`, nor of the destructor.
  // Python: close, __exit__.
  absl::Status Close(absl::Status body);
  absl::Status Close() { return Close(absl::OkStatus()); }
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  // The plain session, without hooks.
  // REQUIRES: !closed().
  Session& raw_session() const;
  const GraphPtr& graph() const { return graph_; }
  Coordinator& coordinator() const { return *coordinator_; }

  // How the run ended, or stands; `last_step` and `checkpoint` are known from
  // Close() on.
  const Summary& summary() const { return summary_; }

  // What the hooks cost so far, all zero unless Options::measure_hooks. Not to
  // be asked while a step runs.
  const HookCosts& hook_costs() const;

 protected:
  absl::Status RunRequest(const RequestPtr& request,
                          absl::Span<const FeedValue> feeds,
                          const tensorflow::RunOptions* options,
                          tensorflow::RunMetadata* metadata,
                          Receive receive) override;
  RequestPtr Intern(Request request) override;
  absl::Status PlanRequest(const RequestPtr& request) override;

 private:
  SingularMonitoredSession(GraphPtr graph, Options options);

  // The steps of creation; what they did is undone by Abort().
  absl::Status Open();
  absl::Status BeginHooks();
  absl::Status OpenSession();
  absl::Status TakeDeclaredRequests();
  absl::Status AfterCreateSession();

  // The hooks' last words.
  absl::Status EndHooks();
  void Abort(const absl::Status& status);
  // Stops the threads, within what `spent` leaves of the grace period, and
  // closes the session; returns a thread's failure.
  absl::Status StopAndJoin(absl::Duration spent);
  void NoteHowItEnded(const absl::Status& body);
  // What the one who asked for the stop said.
  std::string StopDetail() const;
  // Makes ShouldStop() true. Threads need not stop before the session closes,
  // as with a stop that a hook asks for.
  void StopByStepFn();
  static absl::Status AlreadyClosed();
  // That no step can be run any more, if so.
  absl::Status CheckOpen() const;

  const GraphPtr graph_;
  const Options options_;
  const std::shared_ptr<Scaffold> scaffold_;
  const std::shared_ptr<Coordinator> coordinator_;

  const ForkCheck fork_;
  std::vector<internal::HookEntry> hooks_;  // those whose Begin succeeded
  std::shared_ptr<Session> session_;        // null once closed
  std::unique_ptr<internal::HookedSession> hooked_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> met_failure_{false};  // by ShouldStop()
  std::atomic<bool> step_fn_stopped_{false};
  // Whether nobody had given a reason to stop before that.
  std::atomic<bool> step_fn_gave_reason_{false};
  std::atomic<bool> ending_{false};  // the hooks have been told, or are now
  std::atomic<int> busy_{0};    // how many steps and callbacks of hooks run
  bool server_answers_ = true;  // as far as is known
  Summary summary_;
};

// Creates a session, calls `body` with it and closes it with what that
// returned, unless `body` closed it.
// Python: `with SingularMonitoredSession(...) as session: body(session)`.
absl::StatusOr<Summary> With(
    GraphPtr graph, SingularMonitoredSession::Options options,
    absl::FunctionRef<absl::Status(SingularMonitoredSession&)> body);

}  // namespace tftrain

#endif  // TFTRAIN_MONITORED_SINGULAR_MONITORED_SESSION_H_

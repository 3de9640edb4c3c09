// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Code that runs around every step of a monitored session.

#ifndef TFTRAIN_HOOKS_SESSION_RUN_HOOK_H_
#define TFTRAIN_HOOKS_SESSION_RUN_HOOK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/fetch.h"
#include "tftrain/session/runnable.h"
#include "tftrain/session/session.h"
#include "tftrain/setup/scaffold.h"

namespace tftrain {

// What a hook adds to a step: fetches, feeds and options. A cheap handle to
// something immutable: make it once, in Begin(), and return it from BeforeRun()
// whenever it is due; the default one asks for nothing.
//
// Thread-compatible: const calls may run together.
// Python: tf.estimator.SessionRunArgs.
class SessionRunArgs {
 public:
  SessionRunArgs() = default;

  // Asks for `fetches` (see fetch.h); an empty list is a real request that
  // gets an empty answer.
  template <typename F>
  explicit SessionRunArgs(const F& fetches, const Feeds& feeds = {},
                          std::optional<tensorflow::RunOptions> options = {})
      : SessionRunArgs(MakeRequest(fetches, feeds.names()), feeds,
                       std::move(options)) {}

  // Feeds and options alone.
  static SessionRunArgs FeedOnly(
      const Feeds& feeds, std::optional<tensorflow::RunOptions> options = {}) {
    return SessionRunArgs(Request{{}, {}, {}, feeds.names()}, feeds,
                          std::move(options));
  }

  // Whether this asks for nothing at all.
  bool empty() const { return content_ == nullptr; }

  // REQUIRES: !empty().
  const RequestPtr& request() const { return content_->request; }
  absl::Span<const FeedValue> feeds() const { return content_->feeds; }
  const std::optional<tensorflow::RunOptions>& options() const {
    return content_->options;
  }

 private:
  struct Content {
    RequestPtr request;
    std::vector<FeedValue> feeds;
    std::optional<tensorflow::RunOptions> options;
  };

  SessionRunArgs(Request request, const Feeds& feeds,
                 std::optional<tensorflow::RunOptions> options);

  std::shared_ptr<const Content> content_;
};

// What a hook sees of the graph before it is frozen. Lives for one Begin().
// Confined to the thread that creates the session.
class BeginContext {
 public:
  BeginContext(GraphPtr graph, std::shared_ptr<Scaffold> scaffold)
      : graph_(std::move(graph)), scaffold_(std::move(scaffold)) {}

  // The graph, open for changes for the last time.
  Graph& graph() const { return *graph_; }
  const GraphPtr& graph_ptr() const { return graph_; }

  // The session's scaffold, whose pieces are complete from AfterCreateSession()
  // on.
  const std::shared_ptr<Scaffold>& scaffold() const { return scaffold_; }

  // Says that BeforeRun() will return `args` now and then, so that the names
  // are checked and the step is planned before training starts. Not a duty:
  // what was not declared is planned when it first appears, within a step.
  //
  // When one declared request is due, the others may be computed along with it,
  // if they only read: one plan serves all. Do not declare what is costly and
  // rare.
  void Declare(const SessionRunArgs& args) {
    DeclareLater([args] { return args; });
  }

  // The same for what is known only when the scaffold is finalized: `make` is
  // called then, before AfterCreateSession(), and may return empty args.
  using MakeArgs = std::function<absl::StatusOr<SessionRunArgs>()>;
  void DeclareLater(MakeArgs make) { declared_.push_back(std::move(make)); }
  const std::vector<MakeArgs>& declared() const { return declared_; }

 private:
  const GraphPtr graph_;
  const std::shared_ptr<Scaffold> scaffold_;
  std::vector<MakeArgs> declared_;
};

// One step as a hook sees it, the same object in BeforeRun(), Judge() and
// AfterRun().
// Confined to the thread that runs the step; valid during the callback.
// Python: tf.estimator.SessionRunContext.
class SessionRunContext {
 public:
  // `options` are the caller's and may be null.
  SessionRunContext(Session* session, const Request* original,
                    const tensorflow::RunOptions* options = nullptr)
      : session_(session),
        original_(original),
        timeout_in_ms_(options == nullptr ? 0 : options->timeout_in_ms()) {}

  // The plain session, to run something more without hooks.
  Session& session() const { return *session_; }
  // What the caller of Run() asked for.
  const Request& original_args() const { return *original_; }

  // The global step as it is now: in BeforeRun() before the step, later after
  // it, always the real one. Costs nothing worth counting for a resource
  // variable in this process, else one small run in each phase that asks, with
  // the timeout of the step.
  absl::StatusOr<int64_t> GlobalStep();

  // Ends training after this step: ShouldStop() answers true from then on, and
  // `reason` is told. The step itself is finished in any case.
  void RequestStop(std::string reason = "");
  bool stop_requested() const { return stop_requested_; }
  const std::string& stop_reason() const { return stop_reason_; }

  // Keeps `thing` until the step has ended, well or not. A hook hears nothing
  // of a step that fails.
  void KeepForStep(std::shared_ptr<const void> thing) {
    kept_.push_back(std::move(thing));
  }

  // For the session that runs the hooks: the step number must be read again.
  void StartPhase() { global_step_.reset(); }

 private:
  Session* session_;
  const Request* original_;
  const int64_t timeout_in_ms_;
  std::optional<int64_t> global_step_;
  bool stop_requested_ = false;
  std::string stop_reason_;
  std::vector<std::shared_ptr<const void>> kept_;
};

// What a hook got from a step. Valid during the callback; copy what is kept.
// Python: tf.estimator.SessionRunValues.
class SessionRunValues {
 public:
  SessionRunValues(StepValues values, const tensorflow::RunOptions* options,
                   const tensorflow::RunMetadata* metadata)
      : values_(values), options_(options), metadata_(metadata) {}

  // The tensors this hook asked for in this step, in order; empty when it
  // asked for none.
  const StepValues& results() const { return values_; }

  // The answer to `fetches`, which must be what BeforeRun() asked for in this
  // step.
  // Errors: kInvalidArgument when a value has another type or shape;
  // kFailedPrecondition when the hook did not ask for as many tensors.
  template <typename F>
  RunResult<F> Get(const F& fetches) const {
    const Request asked = MakeRequest(fetches);
    if (asked.fetches.size() != values_.size()) return NotAsked(asked);
    size_t next = 0;
    return FetchTraits<F>::Take(fetches, values_, &next);
  }

  // The options the step ran with, and what it recorded; null when neither the
  // caller nor a hook asked for any.
  const tensorflow::RunOptions* options() const { return options_; }
  const tensorflow::RunMetadata* run_metadata() const { return metadata_; }

 private:
  absl::Status NotAsked(const Request& asked) const;

  StepValues values_;
  const tensorflow::RunOptions* options_;
  const tensorflow::RunMetadata* metadata_;
};

// What a hook that judges makes of a step. The worst of several hooks' counts.
enum class StepVerdict {
  kGood,
  // What the step made of the variables must not be kept: no hook saves it, now
  // or at the end, until a step is judged good.
  kBad,
  // The hook has put the variables back to what they were earlier: it is as if
  // there had been no step. The caller of Run() gets its values all the same,
  // and each hook its OnUndone().
  kUndone,
};

// Extends a monitored session: asks for more in each step, sees the values, and
// may end training. Every callback is optional.
//
// Order: Begin -> AfterCreateSession -> (BeforeRun -> Judge -> AfterRun)* ->
// End; after a failure OnAbort ends it instead, and OnUndone comes in place of
// AfterRun in a step that was undone. Several hooks are called in the order of
// their list, in every callback; the Judge() of all comes before the AfterRun()
// of any.
//
// All callbacks run on the thread that called the session (Create, Run or
// Close), no lock is held meanwhile, and an exception thrown by one counts as
// the error kInternal. None may close the session (kFailedPrecondition) or run
// a step with hooks; its plain Session is at hand instead.
//
// Confined: the session calls a hook from one thread; one hook object serves
// one session at a time.
// Python: tf.estimator.SessionRunHook.
class SessionRunHook {
 public:
  virtual ~SessionRunHook() = default;

  // How errors and logs call this hook; by default the name of its class.
  virtual std::string name() const;

  // What happens when this hook asks for something that the caller's step does
  // not bring: a placeholder the caller fed before and does not feed now, or an
  // iterator, queue or reader that the caller read before and does not read
  // now, so that a batch would be taken away from training. True: the step runs
  // without this hook, its Judge() and AfterRun() included, with one warning;
  // the hook may ask again in the next step. False: the step runs with it all
  // the same, and fails or takes the batch, as in Python.
  virtual bool waits_for_input() const { return true; }

  // Whether Judge() is called; asked once, when the session is there.
  virtual bool judges() const { return false; }

  // When: once, before the session is made. Thread: that of Create(). Graph:
  // may be changed, for the last time. May: Declare() requests. An error makes
  // Create() fail with it; later hooks are not begun, those that were get
  // OnAbort(), and this one gets nothing. Bad options of a hook are told here.
  // Not called when an earlier hook's Begin() failed.
  virtual absl::Status Begin(BeginContext& context);

  // When: once, when the variables have their values (restored or initial) and
  // queue runners are started. Thread: that of Create(). Graph: frozen. May:
  // run `session`, which has no hooks; register threads with `coordinator`;
  // keep the addresses of both until End() or OnAbort(). An error makes
  // Create() fail with it, and all hooks get OnAbort(). Not called when the
  // session could not be made, or an earlier hook failed here.
  virtual absl::Status AfterCreateSession(Session& session,
                                          Coordinator& coordinator);

  // When: before each step. Thread: that of Run(). Graph: frozen. May: ask for
  // fetches, feeds and options, and for a stop after the step; run the plain
  // session. An error skips the later hooks, the step and every AfterRun(), and
  // is what Run() returns; the session stays open. Not called for steps of the
  // raw session, or when an earlier hook failed here.
  virtual absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context);

  // When: after each step that succeeded, if the hook judges(); before the
  // AfterRun() of any hook, so that nobody has used the step's values yet, or
  // saved what it made of the variables. Thread: that of Run(). Graph: frozen.
  // May: look at `values`, which are what this hook asked for; ask for a stop;
  // run the plain session; set its variables. kBad is noted in
  // Session::state_rejected(), kUndone skips the later Judge() and every
  // AfterRun(). An error counts as kBad, skips the same, and is what Run()
  // returns. Not called when the step failed, ran without this hook
  // (waits_for_input()), or was undone or failed by an earlier hook. Python has
  // no such call.
  virtual absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                            const SessionRunValues& values);

  // When: after a step that a Judge() undid; context.GlobalStep() is where
  // training goes on, mostly before the step it was at. Thread: that of Run().
  // Graph: frozen. May: forget what the hook knows of later steps, which come
  // again, and begin its cadence anew; ask for a stop; run the plain session.
  // An error is what Run() returns; later hooks are called all the same. Not
  // called after any other step. Python has no such call.
  virtual absl::Status OnUndone(SessionRunContext& context);

  // When: after each step that succeeded. Thread: that of Run(). Graph: frozen.
  // May: look at `values`, which are what this hook asked for; ask for a stop;
  // run the plain session. An error skips the later hooks and is what Run()
  // returns; the session stays open. Not called when the step failed, was
  // undone or failed by a Judge(), or ran without this hook
  // (waits_for_input()), or when an earlier hook failed here.
  virtual absl::Status AfterRun(SessionRunContext& context,
                                const SessionRunValues& values);

  // When: once, at a clean end (normal, asked for, or end of input), while
  // `session` still runs. Thread: that of Close(). Graph: frozen. May: run
  // `session`. An error is what Close() returns, unless a thread has failed;
  // later hooks are called all the same. Not called after another error:
  // OnAbort() is.
  virtual absl::Status End(Session& session);

  // When: instead of End(), once, for every hook whose Begin() succeeded, when
  // creation failed, the run ended with the error `status`, or the session was
  // dropped without Close(). Thread: that of Create(), Close() or the
  // destructor. May: let go of what the hook holds (threads, files), and no
  // more; the session may be closed already. Not called after End(). Python has
  // no such call.
  virtual void OnAbort(const absl::Status& status);
};

using HookPtr = std::shared_ptr<SessionRunHook>;

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_SESSION_RUN_HOOK_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_
#define TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/monitored/hook_costs.h"
#include "tftrain/monitored/internal/input_guard.h"
#include "tftrain/monitored/internal/shared_step.h"
#include "tftrain/session/internal/step_plan.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// A hook and what the sessions that call it remember of it.
struct HookEntry {
  HookPtr hook;
  std::string name;
  std::vector<BeginContext::MakeArgs> declare;
  std::vector<SessionRunArgs> declared;  // what those made
};

// What `fn`, which calls `callback` of `hook`, returns, told with both names.
// An exception that leaves it is kInternal.
absl::Status CallHook(const HookEntry& hook, std::string_view callback,
                      absl::FunctionRef<absl::Status()> fn);

// Runs steps of one session with hooks around each: BeforeRun of all, one step
// that serves the caller and every hook, Judge of those that judge, AfterRun of
// all, unless the step was undone.
//
// Which plan serves a step: without due hooks, the caller's own; else the
// caller's SharedStep, where all that is due joined it; else one for just this
// set of requests. When every hook that is due asked for the same in the step
// before, as one that is due in each step does, the step gets a plan of just
// this set rather than compute other hooks' values in vain.
//
// Confined: one step at a time; a second one from another thread is refused.
// Python: _HookedSession.
class HookedSession {
 public:
  // `session` and `hooks`, whose requests are known, must outlive this object's
  // last Run(). `measure` keeps the time of each callback.
  HookedSession(Session* session, const std::vector<HookEntry>* hooks,
                bool measure);
  ~HookedSession();

  absl::Status Run(const RequestPtr& request, absl::Span<const FeedValue> feeds,
                   const tensorflow::RunOptions* options,
                   tensorflow::RunMetadata* metadata,
                   absl::FunctionRef<absl::Status(const StepValues&)> receive);

  // Makes the plans of the steps in which the caller asks for `request`.
  absl::Status PlanAhead(const RequestPtr& request);

  // Whether a hook ended training (may be asked from any thread), and what it
  // said.
  bool stop_requested() const {
    return stop_requested_.load(std::memory_order_acquire);
  }
  const std::string& stop_reason() const { return stop_reason_; }

  const HookCosts& costs() const { return costs_; }

 private:
  // A request a hook made, and where its inputs come from.
  struct HookRequest {
    RequestPtr request;  // the one object for all that equal it
    InputGuard guard;
  };

  // One hook's part in the step that runs, and what is kept between steps.
  struct HookStep {
    SessionRunArgs args;
    const RequestPtr* request = nullptr;
    int part = -1;         // of the step; negative when it has none
    absl::Duration spent;  // in this step's callbacks, when it is measured
    bool judges = false;

    int64_t asked_in = -1;           // the step it last asked in
    const Request* asked = nullptr;  // and what for; only to compare
    bool again = false;              // it asked for the same in the step before

    std::deque<HookRequest> known;  // the declared ones come first
    bool warned = false;            // that it waits
  };

  absl::Status RunStep(const RequestPtr& request,
                       absl::Span<const FeedValue> feeds,
                       const tensorflow::RunOptions* options,
                       tensorflow::RunMetadata* metadata,
                       SessionRunContext& context);
  absl::Status BeforeRun(const RequestPtr& request, SessionRunContext& context);
  // What the hooks that judge make of the step; tells the session, too.
  absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                    const tensorflow::RunOptions* options,
                                    const tensorflow::RunMetadata* metadata);
  absl::Status OnUndone(SessionRunContext& context);
  absl::Status AfterRun(SessionRunContext& context,
                        const tensorflow::RunOptions* options,
                        const tensorflow::RunMetadata* metadata);

  // What a hook that takes part in the step gets of it.
  SessionRunValues ValuesOf(const HookStep& step,
                            const tensorflow::RunOptions* options,
                            const tensorflow::RunMetadata* metadata) const;
  // Calls `fn`, a callback of a hook after the step, and adds what it costs.
  template <typename Fn>
  absl::Status CallAfterStep(size_t hook, Fn fn);

  // Takes what a hook asked for into the step, or leaves the hook out of it.
  void Admit(size_t hook, SessionRunArgs args, const RequestPtr& caller);

  // Lays out who gets which part of the step, in `parts_`, and picks its
  // buffers.
  void ChooseParts(const RequestPtr& request,
                   absl::Span<const FeedValue> feeds);
  bool JoinSharedStep(const SharedStep& shared,
                      absl::Span<const FeedValue> feeds);

  HookRequest& Know(size_t hook, const RequestPtr& request);
  const SharedStep& SharedStepOf(const RequestPtr& request);

  Session* const session_;
  const std::vector<HookEntry>& hooks_;
  const bool measure_;
  bool any_judges_ = false;
  std::list<SharedStep> shared_;  // the caller's requests of late

  // Of the step that runs; kept so that idle steps allocate nothing.
  std::vector<HookStep> steps_;
  std::vector<HookStep*> asking_;
  std::vector<HookStep*> waiting_;
  std::vector<StepPart> parts_;
  int64_t step_ = 0;
  StepBuffers usual_buffers_;  // of idle steps, and of hooks that ask again
  StepBuffers other_buffers_;
  StepBuffers* buffers_ = &usual_buffers_;

  std::atomic<bool> running_{false};
  std::atomic<bool> stop_requested_{false};
  std::string stop_reason_;
  HookCosts costs_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_

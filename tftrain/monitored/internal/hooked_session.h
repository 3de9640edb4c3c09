// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_
#define TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/internal/step_plan.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// A hook and what the sessions that call it remember of it.
struct HookEntry {
  HookPtr hook;
  std::string name;
  std::vector<SessionRunArgs> declared;
};

// `status` with the hook and the callback it came from.
absl::Status HookError(const absl::Status& status, const HookEntry& hook,
                       std::string_view callback);

// Runs steps of one session with hooks around each: BeforeRun of all, one step
// that serves the caller and every hook, AfterRun of all.
//
// Confined: one step at a time; a second one from another thread is refused.
// Python: _HookedSession.
class HookedSession {
 public:
  // `session` and `hooks` must outlive this object's last Run().
  HookedSession(Session* session, const std::vector<HookEntry>* hooks);

  absl::Status Run(const RequestPtr& request, absl::Span<const FeedValue> feeds,
                   const tensorflow::RunOptions* options,
                   tensorflow::RunMetadata* metadata,
                   absl::FunctionRef<absl::Status(const StepValues&)> receive);

  // Whether a hook ended training (may be asked from any thread), and what it
  // said.
  bool stop_requested() const {
    return stop_requested_.load(std::memory_order_acquire);
  }
  const std::string& stop_reason() const { return stop_reason_; }

 private:
  // What one hook adds to the step that runs.
  struct HookStep {
    SessionRunArgs args;
    RequestPtr request;  // interned
    int part = -1;       // of the step; -1 when it asked for nothing
  };

  absl::Status RunStep(const RequestPtr& request,
                       absl::Span<const FeedValue> feeds,
                       const tensorflow::RunOptions* options,
                       tensorflow::RunMetadata* metadata,
                       SessionRunContext& context);
  absl::Status BeforeRun(SessionRunContext& context);
  absl::Status AfterRun(SessionRunContext& context,
                        const tensorflow::RunOptions* options,
                        const tensorflow::RunMetadata* metadata);
  // The request object that the planner knows for what the hook asked.
  const RequestPtr& InternFor(size_t hook, const RequestPtr& request);

  Session* const session_;
  const std::vector<HookEntry>& hooks_;

  // Of the step that runs; kept so that idle steps allocate nothing.
  std::vector<HookStep> steps_;
  std::vector<StepPart> parts_;
  StepBuffers buffers_;

  std::atomic<bool> running_{false};
  std::atomic<bool> stop_requested_{false};
  std::string stop_reason_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_MONITORED_INTERNAL_HOOKED_SESSION_H_

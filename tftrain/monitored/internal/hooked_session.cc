// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/hooked_session.h"

#include <exception>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/monitored/internal/run_options.h"

namespace tftrain::internal {
namespace {

// Calls `callback` for each hook until one returns an error or throws, which
// is then told with the hook's name.
template <typename Callback>
absl::Status CallEach(const std::vector<HookEntry>& hooks,
                      std::string_view name, Callback callback) {
  size_t i = 0;
  try {
    for (; i < hooks.size(); ++i) {
      absl::Status status = callback(i);
      if (!status.ok()) return HookError(status, hooks[i], name);
    }
  } catch (const std::exception& e) {
    return HookError(
        absl::InternalError(absl::StrCat("an exception: ", e.what())),
        hooks[i], name);
  } catch (...) {
    return HookError(absl::InternalError("an exception of an unknown type"),
                     hooks[i], name);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status HookError(const absl::Status& status, const HookEntry& hook,
                       std::string_view callback) {
  return Annotate(status, absl::StrCat("in ", hook.name, "::", callback));
}

HookedSession::HookedSession(Session* session,
                             const std::vector<HookEntry>* hooks)
    : session_(session), hooks_(*hooks), steps_(hooks->size()) {
  parts_.reserve(hooks->size() + 1);
}

absl::Status HookedSession::Run(
    const RequestPtr& request, absl::Span<const FeedValue> feeds,
    const tensorflow::RunOptions* options, tensorflow::RunMetadata* metadata,
    absl::FunctionRef<absl::Status(const StepValues&)> receive) {
  if (running_.exchange(true, std::memory_order_acquire)) {
    return absl::FailedPreconditionError(
        "another step runs in this session; run steps with hooks from one "
        "thread at a time, or use the raw session");
  }
  auto done = absl::MakeCleanup([this] {
    buffers_.Release();
    running_.store(false, std::memory_order_release);
  });
  if (stop_requested()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a step was run after a hook had requested a stop",
        stop_reason_.empty() ? "" : absl::StrCat(" (", stop_reason_, ")"),
        "; ask ShouldStop before each step"));
  }
  SessionRunContext context(session_, request.get());
  absl::Status status = RunStep(request, feeds, options, metadata, context);
  // A stop that was asked for counts, whatever came after it.
  if (context.stop_requested()) {
    stop_reason_ = context.stop_reason();
    stop_requested_.store(true, std::memory_order_release);
  }
  TF_RETURN_IF_ERROR(status);
  return receive(buffers_.Values(0));
}

absl::Status HookedSession::RunStep(const RequestPtr& request,
                                    absl::Span<const FeedValue> feeds,
                                    const tensorflow::RunOptions* options,
                                    tensorflow::RunMetadata* metadata,
                                    SessionRunContext& context) {
  parts_.clear();
  parts_.push_back({&request, feeds});
  TF_RETURN_IF_ERROR(BeforeRun(context));

  // Hooks may ask for options; they are merged into a copy.
  std::optional<tensorflow::RunOptions> merged;
  for (const HookStep& step : steps_) {
    if (step.part < 0 || !step.args.options().has_value()) continue;
    if (!merged.has_value()) {
      merged = options != nullptr ? *options : tensorflow::RunOptions();
    }
    MergeRunOptions(*step.args.options(), &*merged);
  }
  std::optional<tensorflow::RunMetadata> own_metadata;
  if (merged.has_value()) {
    options = &*merged;
    if (metadata == nullptr) metadata = &own_metadata.emplace();
  }

  TF_RETURN_IF_ERROR(session_->RunParts(parts_, options, metadata, &buffers_));
  context.StartPhase();
  return AfterRun(context, options, metadata);
}

absl::Status HookedSession::BeforeRun(SessionRunContext& context) {
  return CallEach(hooks_, "BeforeRun", [&](size_t i) -> absl::Status {
    HookStep& step = steps_[i];
    step.part = -1;
    absl::StatusOr<SessionRunArgs> args = hooks_[i].hook->BeforeRun(context);
    if (!args.ok()) return args.status();
    step.args = *std::move(args);
    if (step.args.empty()) return absl::OkStatus();
    step.part = static_cast<int>(parts_.size());
    parts_.push_back(
        {&InternFor(i, step.args.request()), step.args.feeds()});
    return absl::OkStatus();
  });
}

absl::Status HookedSession::AfterRun(SessionRunContext& context,
                                     const tensorflow::RunOptions* options,
                                     const tensorflow::RunMetadata* metadata) {
  return CallEach(hooks_, "AfterRun", [&](size_t i) -> absl::Status {
    const int part = steps_[i].part;
    const SessionRunValues values(
        part < 0 ? StepValues() : buffers_.Values(static_cast<size_t>(part)),
        options, metadata);
    return hooks_[i].hook->AfterRun(context, values);
  });
}

const RequestPtr& HookedSession::InternFor(size_t hook,
                                           const RequestPtr& request) {
  for (const SessionRunArgs& declared : hooks_[hook].declared) {
    if (declared.request() == request) return declared.request();
  }
  // A hook that makes its request anew in each step still gets one plan.
  RequestPtr& interned = steps_[hook].request;
  if (interned == nullptr || !(*interned == *request)) {
    interned = session_->Intern(*request);
  }
  return interned;
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/hooked_session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/monitored/internal/run_options.h"

namespace tftrain::internal {
namespace {

// How many requests of the caller, and undeclared ones of one hook, are kept.
constexpr size_t kMaxCallers = 16;
constexpr size_t kMaxUndeclared = 8;

// In place of a hook's part in a step: it asked for nothing; it was left out.
constexpr int kNone = -1;
constexpr int kWaits = -2;

absl::Status HookError(const absl::Status& status, const HookEntry& hook,
                       std::string_view callback) {
  return Annotate(status, absl::StrCat("in ", hook.name, "::", callback));
}

// Calls `callback` for each hook until one returns an error, which is then told
// with the hook's name.
template <typename Callback>
absl::Status CallEach(const std::vector<HookEntry>& hooks,
                      std::string_view name, Callback callback) {
  size_t i = 0;
  const absl::Status status = CallUserCode([&]() -> absl::Status {
    for (; i < hooks.size(); ++i) TF_RETURN_IF_ERROR(callback(i));
    return absl::OkStatus();
  });
  return status.ok() ? status : HookError(status, hooks[i], name);
}

// Adds the time it lives to `total`, unless that is null.
class Stopwatch {
 public:
  explicit Stopwatch(absl::Duration* total) : total_(total) {
    if (total_ != nullptr) start_ = std::chrono::steady_clock::now();
  }
  ~Stopwatch() {
    if (total_ == nullptr) return;
    *total_ += absl::FromChrono(std::chrono::steady_clock::now() - start_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  absl::Duration* const total_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

absl::Status CallHook(const HookEntry& hook, std::string_view callback,
                      absl::FunctionRef<absl::Status()> fn) {
  return HookError(CallUserCode(fn), hook, callback);
}

HookedSession::HookedSession(Session* session,
                             const std::vector<HookEntry>* hooks, bool measure)
    : session_(session),
      hooks_(*hooks),
      measure_(measure),
      steps_(hooks->size()) {
  parts_.reserve(hooks_.size() + 1);
  asking_.reserve(hooks_.size());
  for (size_t i = 0; i < hooks_.size(); ++i) {
    for (const SessionRunArgs& args : hooks_[i].declared) {
      steps_[i].known.push_back(
          {args.request(), InputGuard(session_->graph(), args.request())});
    }
    steps_[i].judges = hooks_[i].hook->judges();
    any_judges_ = any_judges_ || steps_[i].judges;
    costs_.hooks.push_back({hooks_[i].name, {}, {}, {}});
  }
  session_->set_state_judged(any_judges_);
}

HookedSession::~HookedSession() = default;

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
    buffers_->Release();
    running_.store(false, std::memory_order_release);
  });
  if (stop_requested()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a step was run after a hook had requested a stop",
        stop_reason_.empty() ? "" : absl::StrCat(" (", stop_reason_, ")"),
        "; ask ShouldStop before each step"));
  }
  SessionRunContext context(session_, request.get(), options);
  absl::Status status = RunStep(request, feeds, options, metadata, context);
  // A stop that was asked for counts, whatever came after it.
  if (context.stop_requested()) {
    stop_reason_ = context.stop_reason();
    stop_requested_.store(true, std::memory_order_release);
  }
  TF_RETURN_IF_ERROR(status);
  return receive(buffers_->CallerValues());
}

absl::Status HookedSession::PlanAhead(const RequestPtr& request) {
  TF_RETURN_IF_ERROR(session_->PlanParts({StepPart{&request, {}}}));
  for (HookStep& step : steps_) {
    for (HookRequest& known : step.known) known.guard.PlanAhead(request);
  }
  const SharedStep& shared = SharedStepOf(request);
  if (shared.parts().size() == 1) return absl::OkStatus();
  return session_->PlanParts(shared.parts());
}

absl::Status HookedSession::RunStep(const RequestPtr& request,
                                    absl::Span<const FeedValue> feeds,
                                    const tensorflow::RunOptions* options,
                                    tensorflow::RunMetadata* metadata,
                                    SessionRunContext& context) {
  TF_RETURN_IF_ERROR(BeforeRun(request, context));
  ChooseParts(request, feeds);

  // Hooks may ask for options; they are merged into a copy.
  std::optional<tensorflow::RunOptions> merged;
  for (const HookStep* step : asking_) {
    if (!step->args.options().has_value()) continue;
    if (!merged.has_value()) {
      merged = options != nullptr ? *options : tensorflow::RunOptions();
    }
    MergeRunOptions(*step->args.options(), &*merged);
  }
  std::optional<tensorflow::RunMetadata> own_metadata;
  if (merged.has_value()) options = &*merged;
  if (options != nullptr && metadata == nullptr) {
    metadata = &own_metadata.emplace();
  }

  {
    const Stopwatch watch(measure_ ? &costs_.running : nullptr);
    TF_RETURN_IF_ERROR(session_->RunParts(parts_, options, metadata, buffers_));
  }
  context.StartPhase();
  if (any_judges_) {
    TF_ASSIGN_OR_RETURN(const StepVerdict verdict,
                        Judge(context, options, metadata));
    if (verdict == StepVerdict::kUndone) return OnUndone(context);
  }
  return AfterRun(context, options, metadata);
}

absl::Status HookedSession::BeforeRun(const RequestPtr& request,
                                      SessionRunContext& context) {
  for (HookStep* step : asking_) step->part = kNone;
  asking_.clear();
  for (HookStep* step : waiting_) step->part = kNone;
  waiting_.clear();
  ++step_;
  return CallEach(hooks_, "BeforeRun", [&](size_t i) -> absl::Status {
    HookStep& step = steps_[i];
    absl::Duration took;
    absl::StatusOr<SessionRunArgs> args = [&] {
      const Stopwatch watch(measure_ ? &took : nullptr);
      return hooks_[i].hook->BeforeRun(context);
    }();
    if (measure_) {
      costs_.hooks[i].before_run += took;
      step.spent = took;
    }
    if (!args.ok()) return args.status();
    if (!args->empty()) Admit(i, *std::move(args), request);
    return absl::OkStatus();
  });
}

void HookedSession::Admit(size_t hook, SessionRunArgs args,
                          const RequestPtr& caller) {
  HookStep& step = steps_[hook];
  HookRequest& known = Know(hook, args.request());
  step.args = std::move(args);
  step.request = &known.request;
  if (known.guard.Allows(caller) || !hooks_[hook].hook->waits_for_input()) {
    step.again =
        step.asked_in == step_ - 1 && step.asked == known.request.get();
    step.asked_in = step_;
    step.asked = known.request.get();
    asking_.push_back(&step);
    return;
  }
  step.part = kWaits;
  waiting_.push_back(&step);
  if (step.warned) return;
  LOG(WARNING) << hooks_[hook].name << " waits for a step that feeds or reads "
               << absl::StrJoin(known.guard.inputs(), ", ")
               << ", as earlier steps did";
  step.warned = true;
}

void HookedSession::ChooseParts(const RequestPtr& request,
                                absl::Span<const FeedValue> feeds) {
  const bool again = std::all_of(asking_.begin(), asking_.end(),
                                 [](HookStep* step) { return step->again; });
  buffers_ = again ? &usual_buffers_ : &other_buffers_;
  parts_.clear();
  parts_.push_back({&request, feeds});
  if (asking_.empty()) return;
  const SharedStep& shared = SharedStepOf(request);
  if (JoinSharedStep(shared, feeds) && !(again && shared.WorksInVain(parts_))) {
    return;
  }
  parts_.erase(parts_.begin() + 1, parts_.end());
  for (HookStep* step : asking_) {
    step->part = static_cast<int>(parts_.size());
    parts_.push_back({step->request, step->args.feeds()});
  }
}

bool HookedSession::JoinSharedStep(const SharedStep& shared,
                                   absl::Span<const FeedValue> feeds) {
  for (HookStep* step : asking_) {
    step->part = shared.PartOf(*step->request);
    if (step->part < 0) return false;
  }
  parts_ = shared.parts();
  parts_[0].feeds = feeds;
  for (const HookStep* step : asking_) {
    parts_[static_cast<size_t>(step->part)].wanted = true;
  }
  return true;
}

template <typename Fn>
absl::Status HookedSession::CallAfterStep(size_t hook, Fn fn) {
  if (!measure_) return fn();
  absl::Duration took;
  absl::Status called = [&] {
    const Stopwatch watch(&took);
    return fn();
  }();
  HookCosts::Hook& cost = costs_.hooks[hook];
  steps_[hook].spent += took;
  cost.after_run += took;
  cost.worst = std::max(cost.worst, steps_[hook].spent);
  return called;
}

absl::StatusOr<StepVerdict> HookedSession::Judge(
    SessionRunContext& context, const tensorflow::RunOptions* options,
    const tensorflow::RunMetadata* metadata) {
  bool judged = false;
  StepVerdict verdict = StepVerdict::kGood;
  const absl::Status status =
      CallEach(hooks_, "Judge", [&](size_t i) -> absl::Status {
        const HookStep& step = steps_[i];
        if (!step.judges || step.part == kWaits ||
            verdict == StepVerdict::kUndone) {
          return absl::OkStatus();
        }
        judged = true;
        return CallAfterStep(i, [&]() -> absl::Status {
          TF_ASSIGN_OR_RETURN(const StepVerdict found,
                              hooks_[i].hook->Judge(
                                  context, ValuesOf(step, options, metadata)));
          verdict = std::max(verdict, found);
          return absl::OkStatus();
        });
      });
  // A step that no hook could look at leaves it as it was.
  if (judged) {
    session_->set_state_rejected(!status.ok() || verdict == StepVerdict::kBad);
  }
  TF_RETURN_IF_ERROR(status);
  return verdict;
}

absl::Status HookedSession::OnUndone(SessionRunContext& context) {
  context.StartPhase();
  absl::Status status;
  for (const HookEntry& hook : hooks_) {
    status.Update(CallHook(hook, "OnUndone",
                           [&] { return hook.hook->OnUndone(context); }));
  }
  return status;
}

absl::Status HookedSession::AfterRun(SessionRunContext& context,
                                     const tensorflow::RunOptions* options,
                                     const tensorflow::RunMetadata* metadata) {
  absl::Status status =
      CallEach(hooks_, "AfterRun", [&](size_t i) -> absl::Status {
        const HookStep& step = steps_[i];
        if (step.part == kWaits) return absl::OkStatus();
        return CallAfterStep(i, [&] {
          return hooks_[i].hook->AfterRun(context,
                                          ValuesOf(step, options, metadata));
        });
      });
  ++costs_.steps;
  return status;
}

SessionRunValues HookedSession::ValuesOf(
    const HookStep& step, const tensorflow::RunOptions* options,
    const tensorflow::RunMetadata* metadata) const {
  return SessionRunValues(
      step.part < 0 ? StepValues()
                    : buffers_->Values(static_cast<size_t>(step.part)),
      options, metadata);
}

HookedSession::HookRequest& HookedSession::Know(size_t hook,
                                                const RequestPtr& request) {
  std::deque<HookRequest>& known = steps_[hook].known;
  for (HookRequest& one : known) {
    if (one.request == request) return one;
  }
  // A hook that makes its request anew in each step still gets one plan.
  for (HookRequest& one : known) {
    if (*one.request == *request) return one;
  }
  const size_t declared = hooks_[hook].declared.size();
  if (known.size() == declared + kMaxUndeclared) {
    known.erase(known.begin() + static_cast<std::ptrdiff_t>(declared));
  }
  const RequestPtr interned = session_->Intern(*request);
  known.push_back({interned, InputGuard(session_->graph(), interned)});
  return known.back();
}

const SharedStep& HookedSession::SharedStepOf(const RequestPtr& request) {
  for (auto it = shared_.begin(); it != shared_.end(); ++it) {
    if (it->caller() != request) continue;
    shared_.splice(shared_.begin(), shared_, it);
    return shared_.front();
  }
  if (shared_.size() == kMaxCallers) shared_.pop_back();
  std::vector<RequestPtr> declared;
  for (const HookEntry& entry : hooks_) {
    for (const SessionRunArgs& args : entry.declared) {
      declared.push_back(args.request());
    }
  }
  return shared_.emplace_front(*session_->graph(), request, declared);
}

}  // namespace tftrain::internal

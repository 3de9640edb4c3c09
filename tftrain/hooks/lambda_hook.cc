// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/lambda_hook.h"

#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"

namespace tftrain {

LambdaHook::LambdaHook(Options options) : options_(std::move(options)) {}

absl::Status LambdaHook::Begin(BeginContext& context) {
  return options_.begin != nullptr ? options_.begin(context) : absl::OkStatus();
}

absl::Status LambdaHook::AfterCreateSession(Session& session,
                                            Coordinator& coordinator) {
  return options_.after_create_session != nullptr
             ? options_.after_create_session(session, coordinator)
             : absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> LambdaHook::BeforeRun(
    SessionRunContext& context) {
  if (options_.before_run == nullptr) return SessionRunArgs();
  return options_.before_run(context);
}

absl::StatusOr<StepVerdict> LambdaHook::Judge(SessionRunContext& context,
                                              const SessionRunValues& values) {
  if (options_.judge == nullptr) return StepVerdict::kGood;
  return options_.judge(context, values);
}

absl::Status LambdaHook::OnUndone(SessionRunContext& context) {
  return options_.on_undone != nullptr ? options_.on_undone(context)
                                       : absl::OkStatus();
}

absl::Status LambdaHook::AfterRun(SessionRunContext& context,
                                  const SessionRunValues& values) {
  return options_.after_run != nullptr ? options_.after_run(context, values)
                                       : absl::OkStatus();
}

absl::Status LambdaHook::End(Session& session) {
  return options_.end != nullptr ? options_.end(session) : absl::OkStatus();
}

void LambdaHook::OnAbort(const absl::Status& status) {
  if (options_.on_abort != nullptr) options_.on_abort(status);
}

OnStepHook::OnStepHook(const Every& every, SessionRunArgs args, Fn fn)
    : every_(every), args_(std::move(args)), fn_(std::move(fn)) {}

absl::Status OnStepHook::Begin(BeginContext& context) {
  if (fn_ == nullptr) {
    return absl::InvalidArgumentError(
        "the function of OnStep is empty, give it one to call");
  }
  TF_ASSIGN_OR_RETURN(timer_, SecondOrStepTimer::Create(every_));
  TF_RETURN_IF_ERROR(RequireGlobalStep(context.graph(), "OnStep").status());
  if (!args_.empty()) context.Declare(args_);
  return absl::OkStatus();
}

absl::Status OnStepHook::AfterCreateSession(Session& session, Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  step_.Start(step);
  return absl::OkStatus();
}

absl::Status OnStepHook::OnUndone(SessionRunContext& context) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  step_.Start(step);
  timer_->Reset();
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> OnStepHook::BeforeRun(SessionRunContext&) {
  is_due_ = timer_->ShouldTriggerForStep(step_.next());
  return is_due_ ? args_ : SessionRunArgs();
}

absl::Status OnStepHook::AfterRun(SessionRunContext& context,
                                  const SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  step_.Advance(step);
  // It may have seemed due, and the run was shorter than the one before.
  if (!is_due_ || !timer_->ShouldTriggerForStep(step)) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  return fn_(context, step, values);
}

}  // namespace tftrain

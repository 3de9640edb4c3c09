// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/stop_at_step_hook.h"

#include <algorithm>
#include <limits>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"

namespace tftrain {

StopAtStepHook::StopAtStepHook(const Options& options)
    : options_(options), last_step_(options.last_step) {}

absl::Status StopAtStepHook::Begin(BeginContext& context) {
  if (options_.num_steps.has_value() == options_.last_step.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.num_steps.has_value() ? "both" : "neither",
        " of num_steps and last_step are set, set exactly one of them"));
  }
  if (options_.num_steps.value_or(0) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_steps is \"", *options_.num_steps,
                     "\", give a number of steps that is not negative"));
  }
  return RequireGlobalStep(context.graph(), "StopAtStepHook").status();
}

absl::Status StopAtStepHook::AfterCreateSession(Session& session,
                                                Coordinator& coordinator) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  if (!last_step_.has_value()) {
    constexpr int64_t kLast = std::numeric_limits<int64_t>::max();
    last_step_ = *options_.num_steps > kLast - std::max<int64_t>(step, 0)
                     ? kLast
                     : step + *options_.num_steps;
  }
  if (step >= *last_step_) {
    LOG(INFO) << "Nothing is trained: " << Reason(step);
    coordinator.RequestStop(Reason(step));
  }
  return absl::OkStatus();
}

absl::Status StopAtStepHook::AfterRun(SessionRunContext& context,
                                      const SessionRunValues&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (step >= *last_step_) {
    context.RequestStop(Reason(step));
  }
  return absl::OkStatus();
}

std::string StopAtStepHook::Reason(int64_t step) const {
  return absl::StrCat("the global step ", step, " has reached the last one, ",
                      *last_step_);
}

std::shared_ptr<StopAtStepHook> StopAtStep(int64_t last_step) {
  StopAtStepHook::Options options;
  options.last_step = last_step;
  return std::make_shared<StopAtStepHook>(options);
}

std::shared_ptr<StopAtStepHook> StopAfterSteps(int64_t num_steps) {
  StopAtStepHook::Options options;
  options.num_steps = num_steps;
  return std::make_shared<StopAtStepHook>(options);
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/global_step_waiter_hook.h"

#include <algorithm>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/global_step.h"

namespace tftrain {
namespace {

// The log tells of so many steps of the others. Python's number.
constexpr int64_t kStepsPerLine = 1000;

}  // namespace

GlobalStepWaiterHook::GlobalStepWaiterHook(const Options& options)
    : options_(options) {}

absl::Status GlobalStepWaiterHook::Begin(BeginContext& context) {
  if (options_.timeout_secs.has_value() && !(*options_.timeout_secs >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("timeout_secs is \"", *options_.timeout_secs,
                     "\", give 0 or more seconds"));
  }
  if (!(options_.poll_secs > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("poll_secs is \"", options_.poll_secs,
                     "\", give a positive number of seconds"));
  }
  started_ = false;
  return RequireGlobalStep(context.graph(), "GlobalStepWaiterHook").status();
}

absl::Status GlobalStepWaiterHook::AfterCreateSession(
    Session&, Coordinator& coordinator) {
  coordinator_ = &coordinator;
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> GlobalStepWaiterHook::BeforeRun(
    SessionRunContext& context) {
  if (!started_ && options_.wait_until_step > 0) {
    TF_RETURN_IF_ERROR(Wait(context.session()));
  }
  started_ = true;
  return SessionRunArgs();
}

absl::Status GlobalStepWaiterHook::Wait(Session& session) const {
  const Clock& clock = *coordinator_->clock();
  const absl::Duration patience = options_.timeout_secs.has_value()
                                      ? absl::Seconds(*options_.timeout_secs)
                                      : absl::InfiniteDuration();
  const absl::Duration deadline = clock.Monotonic() + patience;
  LOG(INFO) << "The first step waits for the global step "
            << options_.wait_until_step;
  int64_t told = 0;
  while (true) {
    TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
    if (step >= options_.wait_until_step) return absl::OkStatus();
    if (step - told > kStepsPerLine) {
      LOG(INFO) << "The first step waits for the global step "
                << options_.wait_until_step << ", which is " << step << " now";
      told = step;
    }
    const absl::Duration left = deadline - clock.Monotonic();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the global step is \"", step, "\" and not \"",
          options_.wait_until_step, "\" after ", absl::FormatDuration(patience),
          "; wait longer, or look whether the other workers run"));
    }
    if (coordinator_->WaitForStop(
            std::min(left, absl::Seconds(options_.poll_secs)))) {
      return AnnotateBefore(
          StopIterationError(),
          absl::StrCat("the first step still waited for the global step ",
                       options_.wait_until_step));
    }
  }
}

std::shared_ptr<GlobalStepWaiterHook> WaitForGlobalStep(int64_t step) {
  GlobalStepWaiterHook::Options options;
  options.wait_until_step = step;
  return std::make_shared<GlobalStepWaiterHook>(options);
}

}  // namespace tftrain

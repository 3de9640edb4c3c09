// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/metric_watch.h"

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/named_tensors.h"

namespace tftrain::internal {

absl::Status MetricWatch::Begin(BeginContext& context,
                                const std::string& tensor,
                                const MetricSource& source, const Every& every,
                                Clock* clock, const std::string& hook) {
  if (tensor.empty() == (source == nullptr)) {
    return absl::InvalidArgumentError(absl::StrCat(
        tensor.empty() ? "neither" : "both",
        " of tensor and source are set, say in one way where the metric comes "
        "from"));
  }
  TF_RETURN_IF_ERROR(RequireGlobalStep(context.graph(), hook).status());
  source_ = source;
  num_runs_ = 0;
  is_requested_ = false;
  args_ = SessionRunArgs();
  if (tensor.empty()) return source_().status();
  TF_ASSIGN_OR_RETURN(timer_, SecondOrStepTimer::Create(every, clock));
  TF_ASSIGN_OR_RETURN(const std::string name,
                      NumberName(context.graph(), tensor));
  args_ = SessionRunArgs(FetchAll({name}));
  context.Declare(args_);
  return absl::OkStatus();
}

bool MetricWatch::GoOnFrom(int64_t step) {
  if (!last_step_.has_value() || *last_step_ <= step) return false;
  last_step_.reset();
  return true;
}

SessionRunArgs MetricWatch::BeforeRun(bool wanted) {
  is_requested_ =
      wanted && source_ == nullptr && timer_->ShouldTriggerForStep(num_runs_);
  return is_requested_ ? args_ : SessionRunArgs();
}

absl::StatusOr<std::optional<Measurement>> MetricWatch::AfterRun(
    SessionRunContext& context, const SessionRunValues& values) {
  const int64_t run = num_runs_++;
  if (source_ != nullptr) return AskSource();
  if (!is_requested_) return std::optional<Measurement>();
  timer_->UpdateLastTriggeredStep(run);
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  TF_ASSIGN_OR_RETURN(const double value,
                      NumberIn(values.results()[0], values.results().name(0)));
  last_step_ = step;
  return std::optional<Measurement>(Measurement{step, value});
}

absl::StatusOr<std::optional<Measurement>> MetricWatch::AskSource() {
  if (source_ == nullptr) return std::nullopt;
  TF_ASSIGN_OR_RETURN(const std::optional<Measurement> measured, source_());
  if (!measured.has_value() || measured->step == last_step_) {
    return std::nullopt;
  }
  last_step_ = measured->step;
  return measured;
}

}  // namespace tftrain::internal

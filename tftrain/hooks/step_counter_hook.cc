// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/step_counter_hook.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/writer_of.h"

namespace tftrain {
namespace {

// "train:0" and "train" both ask for the operation "train".
std::string_view OperationOf(std::string_view name) {
  return name.substr(0, name.find(':'));
}

}  // namespace

StepCounterHook::StepCounterHook(Options options)
    : options_(std::move(options)) {}

absl::Status StepCounterHook::Begin(BeginContext& context) {
  TF_ASSIGN_OR_RETURN(timer_, SecondOrStepTimer::Create({options_.every_n_secs,
                                                         options_.every_n_steps,
                                                         options_.clock}));
  TF_ASSIGN_OR_RETURN(const Variable step,
                      RequireGlobalStep(context.graph(), "StepCounterHook"));
  tag_ = absl::StrCat(step.name(), "/sec");
  train_ops_ = context.graph().GetCollection(collection_keys::kTrainOp);
  for (std::string& name : train_ops_) name = OperationOf(name);
  TF_ASSIGN_OR_RETURN(writer_, internal::WriterOf(options_.summary_writer,
                                                  options_.output_dir));
  return absl::OkStatus();
}

absl::Status StepCounterHook::AfterCreateSession(Session&, Coordinator&) {
  StartAnew();
  return absl::OkStatus();
}

absl::Status StepCounterHook::OnUndone(SessionRunContext&) {
  StartAnew();
  return absl::OkStatus();
}

void StepCounterHook::StartAnew() {
  timer_->Reset();
  last_step_.reset();
}

absl::StatusOr<SessionRunArgs> StepCounterHook::BeforeRun(SessionRunContext&) {
  has_run_ = true;
  return SessionRunArgs();
}

absl::Status StepCounterHook::AfterRun(SessionRunContext& context,
                                       const SessionRunValues&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (timer_->ShouldTriggerForStep(step)) Record(step);
  if (std::exchange(has_run_, false) && step == last_step_) {
    WarnIfTraining(context.original_args(), step);
  }
  last_step_ = step;
  return absl::OkStatus();
}

void StepCounterHook::Record(int64_t step) {
  const std::optional<SecondOrStepTimer::Elapsed> elapsed =
      timer_->UpdateLastTriggeredStep(step);
  // A clock too coarse for the steps tells nothing about them.
  if (!elapsed.has_value() || elapsed->secs <= 0) return;
  const double rate = static_cast<double>(elapsed->steps) / elapsed->secs;
  if (writer_ != nullptr) {
    writer_->AddScalar(tag_, static_cast<float>(rate), step);
  }
  LOG(INFO) << tag_ << ": " << absl::StrFormat("%g", rate);
}

void StepCounterHook::WarnIfTraining(const Request& request,
                                     int64_t step) const {
  const auto trains = [&](const std::string& name) {
    const std::string_view operation = OperationOf(name);
    return std::find(train_ops_.begin(), train_ops_.end(), operation) !=
           train_ops_.end();
  };
  if (!train_ops_.empty() &&
      std::none_of(request.targets.begin(), request.targets.end(), trains) &&
      std::none_of(request.fetches.begin(), request.fetches.end(), trains)) {
    return;
  }
  LOG_FIRST_N(WARNING, 5)
      << "The global step is still " << step
      << " after another run: give it to the optimizer, or increment it in "
         "the operation that trains, or hooks cannot count";
}

absl::Status StepCounterHook::End(Session&) {
  internal::LetGoOf(&writer_);
  return absl::OkStatus();
}

void StepCounterHook::OnAbort(const absl::Status&) {
  internal::LetGoOf(&writer_);
}

std::shared_ptr<StepCounterHook> CountSteps(std::string output_dir,
                                            const Every& every) {
  StepCounterHook::Options options;
  options.every_n_steps = every.every_steps;
  options.every_n_secs = every.every_secs;
  options.output_dir = std::move(output_dir);
  return std::make_shared<StepCounterHook>(std::move(options));
}

}  // namespace tftrain

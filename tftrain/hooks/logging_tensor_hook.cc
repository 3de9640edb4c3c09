// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/logging_tensor_hook.h"

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/named_tensors.h"
#include "tftrain/hooks/internal/tensor_text.h"

namespace tftrain {
namespace {

std::string DefaultText(const LoggedValues& values) {
  std::string text = absl::StrJoin(
      values.items, ", ", [](std::string* out, const LoggedValues::Item& item) {
        absl::StrAppend(out, item.tag, " = ", internal::TensorText(item.value));
      });
  if (values.elapsed_secs.has_value()) {
    absl::StrAppendFormat(&text, " (%.3f sec)", *values.elapsed_secs);
  }
  return text;
}

}  // namespace

std::vector<LoggedTensor> TaggedTensors(
    const std::map<std::string, std::string>& tensors) {
  std::vector<LoggedTensor> tagged;
  for (const auto& [tag, tensor] : tensors) tagged.emplace_back(tag, tensor);
  return tagged;
}

LoggingTensorHook::LoggingTensorHook(Options options)
    : options_(std::move(options)) {}

absl::Status LoggingTensorHook::MakeTimer() {
  timer_.reset();
  if (options_.at_end && !options_.every_n_iter.has_value() &&
      !options_.every_n_secs.has_value()) {
    return absl::OkStatus();
  }
  if (options_.every_n_iter.has_value() == options_.every_n_secs.has_value()) {
    return absl::InvalidArgumentError(
        options_.every_n_iter.has_value()
            ? "both every_n_iter and every_n_secs are set, set one of them"
            : "none of every_n_iter, every_n_secs and at_end is set, set one "
              "of them");
  }
  if (options_.every_n_iter.has_value() && *options_.every_n_iter <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("every_n_iter is \"", *options_.every_n_iter,
                     "\", give a positive number of steps"));
  }
  TF_ASSIGN_OR_RETURN(timer_, SecondOrStepTimer::Create({options_.every_n_secs,
                                                         options_.every_n_iter,
                                                         options_.clock}));
  return absl::OkStatus();
}

absl::Status LoggingTensorHook::Begin(BeginContext& context) {
  TF_RETURN_IF_ERROR(MakeTimer());
  if (options_.tensors.empty()) {
    return absl::InvalidArgumentError(
        "there are no tensors to log, name at least one");
  }
  num_runs_ = 0;
  is_requested_ = false;
  std::vector<FetchTree> fetches;
  for (const LoggedTensor& logged : options_.tensors) {
    TF_ASSIGN_OR_RETURN(std::string name,
                        internal::TensorName(context.graph(), logged.tensor));
    fetches.push_back(Fetch<tensorflow::Tensor>(std::move(name)));
  }
  fetches_ = List(std::move(fetches));
  args_ = SessionRunArgs(*fetches_);
  if (timer_.has_value()) context.Declare(args_);
  TF_ASSIGN_OR_RETURN(const std::optional<Variable> step,
                      GetGlobalStep(context.graph()));
  has_global_step_ = step.has_value();
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> LoggingTensorHook::BeforeRun(
    SessionRunContext&) {
  is_requested_ = timer_.has_value() && timer_->ShouldTriggerForStep(num_runs_);
  if (!is_requested_) return SessionRunArgs();
  return args_;
}

absl::Status LoggingTensorHook::AfterRun(SessionRunContext& context,
                                         const SessionRunValues& values) {
  if (is_requested_) {
    std::optional<int64_t> step;
    if (has_global_step_) {
      TF_ASSIGN_OR_RETURN(step, context.GlobalStep());
    }
    std::vector<tensorflow::Tensor> tensors;
    for (size_t i = 0; i < values.results().size(); ++i) {
      tensors.push_back(values.results()[i]);
    }
    Log(tensors, step);
  }
  ++num_runs_;
  return absl::OkStatus();
}

void LoggingTensorHook::Log(const std::vector<tensorflow::Tensor>& values,
                            std::optional<int64_t> global_step) {
  LoggedValues logged;
  logged.global_step = global_step;
  for (size_t i = 0; i < values.size(); ++i) {
    logged.items.push_back({options_.tensors[i].tag, values[i]});
  }
  if (timer_.has_value()) {
    const std::optional<SecondOrStepTimer::Elapsed> elapsed =
        timer_->UpdateLastTriggeredStep(num_runs_);
    if (elapsed.has_value()) {
      logged.elapsed_secs = elapsed->secs;
      logged.elapsed_steps = elapsed->steps;
    }
  }
  LOG(INFO) << (options_.formatter != nullptr ? options_.formatter(logged)
                                              : DefaultText(logged));
}

absl::Status LoggingTensorHook::End(Session& session) {
  if (!options_.at_end) return absl::OkStatus();
  const absl::Status logged = LogAtEnd(session);
  if (!logged.ok()) {
    // A line of the log is worth less than the run that went well.
    LOG(WARNING) << "The values at the end are not logged: "
                 << logged.message();
  }
  return absl::OkStatus();
}

absl::Status LoggingTensorHook::LogAtEnd(Session& session) {
  TF_ASSIGN_OR_RETURN(const Value value, session.Run(*fetches_));
  std::vector<tensorflow::Tensor> tensors;
  for (int i = 0; i < static_cast<int>(value.size()); ++i) {
    TF_ASSIGN_OR_RETURN(tensors.emplace_back(),
                        value.Get<tensorflow::Tensor>({i}));
  }
  std::optional<int64_t> step;
  if (has_global_step_) {
    TF_ASSIGN_OR_RETURN(step, session.GlobalStep());
  }
  Log(tensors, step);
  return absl::OkStatus();
}

std::shared_ptr<LoggingTensorHook> LogTensors(std::vector<LoggedTensor> tensors,
                                              const Every& every) {
  LoggingTensorHook::Options options;
  options.tensors = std::move(tensors);
  options.every_n_iter = every.every_steps;
  options.every_n_secs = every.every_secs;
  return std::make_shared<LoggingTensorHook>(std::move(options));
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/summary_saver_hook.h"

#include <string_view>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/writer_of.h"

namespace tftrain {
namespace {

SessionRunArgs Asking(const std::vector<std::string>& tensors) {
  std::vector<FetchTree> fetches;
  for (const std::string& tensor : tensors) {
    fetches.push_back(Fetch<std::string>(tensor));
  }
  return SessionRunArgs(List(std::move(fetches)));
}

}  // namespace

SummarySaverHook::SummarySaverHook(Options options)
    : options_(std::move(options)) {}

absl::Status SummarySaverHook::Begin(BeginContext& context) {
  if ((options_.scaffold != nullptr) == !options_.summary_op.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.scaffold != nullptr ? "both" : "neither",
        " of scaffold and summary_op are set, set exactly one of them"));
  }
  TF_ASSIGN_OR_RETURN(
      timer_, SecondOrStepTimer::Create(
                  {options_.save_secs, options_.save_steps, options_.clock}));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "SummarySaverHook").status());
  // A scaffold's summary_op is known once that is finalized.
  context.DeclareLater([this] {
    std::vector<std::string> tensors = options_.summary_op;
    if (options_.scaffold != nullptr &&
        options_.scaffold->summary_op().has_value()) {
      tensors = {*options_.scaffold->summary_op()};
    }
    if (tensors.empty()) {
      LOG(WARNING) << "No summaries are written, as the scaffold of the "
                      "SummarySaverHook has none: add some to the graph, and "
                      "give the session the same scaffold";
    }
    args_ = tensors.empty() ? SessionRunArgs() : Asking(tensors);
    return args_;
  });
  TF_ASSIGN_OR_RETURN(writer_, internal::WriterOf(options_.summary_writer,
                                                  options_.output_dir));
  if (writer_ == nullptr) {
    LOG(WARNING) << "Summaries are not written: give the hook an output_dir";
  }
  return absl::OkStatus();
}

absl::Status SummarySaverHook::AfterCreateSession(Session&, Coordinator&) {
  StartAnew();
  return absl::OkStatus();
}

absl::Status SummarySaverHook::OnUndone(SessionRunContext&) {
  StartAnew();
  return absl::OkStatus();
}

void SummarySaverHook::StartAnew() {
  is_first_run_ = true;
  timer_->Reset();
}

absl::StatusOr<SessionRunArgs> SummarySaverHook::BeforeRun(SessionRunContext&) {
  is_requested_ =
      writer_ != nullptr && !args_.empty() &&
      (is_first_run_ || timer_->ShouldTriggerForStep(last_step_ + 1));
  if (!is_requested_) return SessionRunArgs();
  return args_;
}

absl::Status SummarySaverHook::AfterRun(SessionRunContext& context,
                                        const SessionRunValues& values) {
  if (writer_ == nullptr) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  last_step_ = step;
  if (is_first_run_) {
    writer_->AddSessionLog(EventFileWriter::SessionStatus::kStart, step);
    is_first_run_ = false;
  }
  if (!is_requested_) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  const StepValues& results = values.results();
  for (size_t i = 0; i < results.size(); ++i) {
    TF_ASSIGN_OR_RETURN(
        const std::string summary,
        internal::TensorReader<std::string>::Read(results[i], results.name(i)));
    TF_RETURN_IF_ERROR(writer_->AddSummary(summary, step));
  }
  return absl::OkStatus();
}

absl::Status SummarySaverHook::End(Session&) {
  internal::LetGoOf(&writer_);
  return absl::OkStatus();
}

void SummarySaverHook::OnAbort(const absl::Status&) {
  internal::LetGoOf(&writer_);
}

std::shared_ptr<SummarySaverHook> SaveSummaries(
    std::string output_dir, const Every& every,
    std::shared_ptr<Scaffold> scaffold) {
  SummarySaverHook::Options options;
  options.save_steps = every.every_steps;
  options.save_secs = every.every_secs;
  options.output_dir = std::move(output_dir);
  options.scaffold = std::move(scaffold);
  return std::make_shared<SummarySaverHook>(std::move(options));
}

std::shared_ptr<SummarySaverHook> SaveSummaries(std::string output_dir,
                                                const Every& every,
                                                std::string summary_op) {
  SummarySaverHook::Options options;
  options.save_steps = every.every_steps;
  options.save_secs = every.every_secs;
  options.output_dir = std::move(output_dir);
  options.summary_op = {std::move(summary_op)};
  return std::make_shared<SummarySaverHook>(std::move(options));
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/progress_hook.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/named_tensors.h"
#include "tftrain/hooks/internal/tensor_text.h"
#include "tftrain/hooks/internal/training_pause.h"

namespace tftrain {
namespace {

constexpr double kBarSecs = 0.5;
constexpr double kLineSecs = 30;
// The columns of the bar itself, brackets left out.
constexpr int kMaxBar = 30;
constexpr int kMinBar = 5;

constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kPlain = "\x1b[0m";

// "0:45", "1:02:03".
std::string TimeText(double secs) {
  const auto whole = static_cast<int64_t>(secs + 0.5);
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60,
                         whole % 60);
}

// Three digits, or all before the point.
std::string RateText(double rate) {
  return rate < 1000 ? absl::StrFormat("%.3g", rate)
                     : absl::StrFormat("%.0f", rate);
}

// The beginning of `text` that has room in `columns`, in whole characters of
// UTF-8.
std::string_view Clipped(std::string_view text, int columns) {
  auto size = static_cast<size_t>(std::max(columns, 0));
  if (size >= text.size()) return text;
  while (size > 0 && (text[size] & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

}  // namespace

ProgressHook::ProgressHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()),
      sink_(options_.sink != nullptr ? options_.sink : ProgressSink::Stderr()),
      is_bar_(options_.style == Style::kAuto ? sink_->is_terminal()
                                             : options_.style == Style::kBar) {}

absl::Status ProgressHook::Begin(BeginContext& context) {
  if (options_.last_step.value_or(1) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("last_step is \"", *options_.last_step,
                     "\", give a positive global step, or none"));
  }
  TF_ASSIGN_OR_RETURN(
      timer_,
      SecondOrStepTimer::Create(
          options_.every.value_or(Every::Secs(is_bar_ ? kBarSecs : kLineSecs)),
          options_.clock));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "ProgressHook").status());
  std::vector<std::string> names;
  for (const LoggedTensor& tensor : options_.tensors) {
    TF_ASSIGN_OR_RETURN(names.emplace_back(),
                        internal::TensorName(context.graph(), tensor.tensor));
  }
  args_ = SessionRunArgs();
  if (!names.empty()) {
    args_ = SessionRunArgs(internal::FetchAll(names));
    context.Declare(args_);
  }
  return absl::OkStatus();
}

absl::Status ProgressHook::AfterCreateSession(Session& session, Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  step_.Start(step);
  num_runs_ = 0;
  is_requested_ = false;
  steps_timed_ = 0;
  shown_step_.reset();
  open_columns_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> ProgressHook::BeforeRun(SessionRunContext&) {
  const int64_t last = options_.last_step.value_or(0);
  const bool is_last = step_.now() < last && step_.next() >= last;
  is_requested_ = timer_->ShouldTriggerForStep(num_runs_) || is_last;
  return is_requested_ ? args_ : SessionRunArgs();
}

absl::Status ProgressHook::AfterRun(SessionRunContext& context,
                                    const SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  timed_until_ = clock_->Monotonic() - internal::TrainingPause::Total();
  if (num_runs_ == 0) {
    timed_since_ = timed_until_;
  } else {
    steps_timed_ += std::max<int64_t>(step - step_.now(), 0);
  }
  step_.Advance(step);
  if (is_requested_) {
    timer_->UpdateLastTriggeredStep(num_runs_);
    tensors_text_.clear();
    const StepValues& results = values.results();
    for (size_t i = 0; i < results.size(); ++i) {
      absl::StrAppend(&tensors_text_, ", ", options_.tensors[i].tag, " = ",
                      internal::TensorText(results[i]));
    }
    Show();
  }
  ++num_runs_;
  return absl::OkStatus();
}

std::string ProgressHook::Details() const {
  std::string details;
  const double secs = absl::ToDoubleSeconds(timed_until_ - timed_since_);
  if (steps_timed_ > 0 && secs > 0) {
    const double rate = static_cast<double>(steps_timed_) / secs;
    absl::StrAppend(&details, ", ", RateText(rate), " steps/s");
    if (options_.last_step.has_value() && step_.now() < *options_.last_step) {
      const auto left = static_cast<double>(*options_.last_step - step_.now());
      absl::StrAppend(&details, ", ", TimeText(left / rate), " left");
    }
  }
  return details + tensors_text_;
}

std::string ProgressHook::Line() const {
  std::string line = absl::StrCat("step ", step_.now());
  if (options_.last_step.has_value()) {
    absl::StrAppendFormat(
        &line, " of %d (%d%%)", *options_.last_step,
        100 * std::min(step_.now(), *options_.last_step) / *options_.last_step);
  }
  return absl::StrCat(line, Details(), "\n");
}

ProgressHook::Drawn ProgressHook::Bar() const {
  // The last column stays free: a terminal may go to the next line there.
  const int columns = sink_->width() - 1;
  const auto plain = [columns](const std::string& text) {
    const std::string_view clipped = Clipped(text, columns);
    return Drawn{std::string(clipped), clipped.size()};
  };
  if (!options_.last_step.has_value()) {
    return plain(absl::StrCat("step ", step_.now(), Details()));
  }
  const int64_t last = *options_.last_step;
  const int64_t done = std::clamp<int64_t>(step_.now(), 0, last);
  const std::string percent = absl::StrFormat("%3d%%", 100 * done / last);
  const std::string rest = absl::StrCat(" ", step_.now(), "/", last, Details());
  const int room = columns - static_cast<int>(percent.size() + rest.size()) - 3;
  if (room < kMinBar) return plain(percent + rest);
  const auto size = static_cast<size_t>(std::min(room, kMaxBar));
  const size_t filled =
      size * static_cast<size_t>(done) / static_cast<size_t>(last);
  const bool color = sink_->has_color();
  return {absl::StrCat(percent, " [", color ? kGreen : "",
                       std::string(filled, '#'), color ? kPlain : "",
                       std::string(size - filled, '-'), "]", rest),
          percent.size() + size + rest.size() + 3};
}

void ProgressHook::Show() {
  shown_step_ = step_.now();
  if (!is_bar_) {
    sink_->Write(Line());
    return;
  }
  const Drawn bar = Bar();
  // Spaces over what is left of a longer one. The cursor then waits at the
  // beginning of the line, so that a line of the log starts there too.
  const size_t left = open_columns_ - std::min(open_columns_, bar.columns);
  sink_->Write(absl::StrCat(bar.text, std::string(left, ' '), "\r"));
  open_columns_ = bar.columns;
}

void ProgressHook::EndLine() {
  if (open_columns_ > 0) sink_->Write("\n");
  open_columns_ = 0;
}

absl::Status ProgressHook::End(Session&) {
  if (num_runs_ > 0 && shown_step_ != step_.now()) {
    tensors_text_.clear();
    Show();
  }
  EndLine();
  return absl::OkStatus();
}

void ProgressHook::OnAbort(const absl::Status&) { EndLine(); }

std::shared_ptr<ProgressHook> ShowProgress(std::optional<int64_t> last_step,
                                           std::vector<LoggedTensor> tensors) {
  ProgressHook::Options options;
  options.last_step = last_step;
  options.tensors = std::move(tensors);
  return std::make_shared<ProgressHook>(std::move(options));
}

}  // namespace tftrain

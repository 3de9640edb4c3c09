// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/early_stopping_hook.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {
namespace {

std::string NameOf(const EarlyStoppingHook::Options& options) {
  if (!options.name.empty()) return options.name;
  return options.tensor.empty() ? "metric" : options.tensor;
}

}  // namespace

EarlyStoppingHook::EarlyStoppingHook(Options options)
    : options_(std::move(options)), name_(NameOf(options_)) {}

absl::Status EarlyStoppingHook::CheckOptions() const {
  if (options_.patience < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("patience is \"", options_.patience,
                     "\", give a positive number of checks"));
  }
  if (options_.must_appear_within_steps.value_or(1) < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must_appear_within_steps is \"", *options_.must_appear_within_steps,
        "\", give a positive number of steps"));
  }
  if (!(options_.min_delta >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "min_delta is \"", options_.min_delta, "\", give 0 or more"));
  }
  if (!(options_.smoothing >= 0 && options_.smoothing < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("smoothing is \"", options_.smoothing,
                     "\", give 0 or more and less than 1"));
  }
  return absl::OkStatus();
}

absl::Status EarlyStoppingHook::Begin(BeginContext& context) {
  TF_RETURN_IF_ERROR(CheckOptions());
  has_appeared_ = false;
  steps_without_ = 0;
  return watch_.Begin(context, options_.tensor, options_.source, options_.every,
                      options_.clock, "EarlyStoppingHook");
}

absl::Status EarlyStoppingHook::AfterCreateSession(Session& session,
                                                   Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  GoOnFrom(step);
  return absl::OkStatus();
}

absl::Status EarlyStoppingHook::OnUndone(SessionRunContext& context) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  GoOnFrom(step);
  return absl::OkStatus();
}

void EarlyStoppingHook::GoOnFrom(int64_t step) {
  if (!watch_.GoOnFrom(step)) return;
  if (best_.has_value() && best_->step > step) best_.reset();
  smoothed_.reset();
  waited_ = 0;
}

absl::Status EarlyStoppingHook::NeverAppeared() const {
  return absl::FailedPreconditionError(absl::StrCat(
      "the metric \"", name_, "\" has had no value in ", steps_without_,
      " steps, so that nothing could stop training; let the steps bring its "
      "inputs, or let an evaluation measure it before"));
}

absl::StatusOr<SessionRunArgs> EarlyStoppingHook::BeforeRun(
    SessionRunContext& context) {
  if (options_.start_from_step > 0 &&
      (!has_appeared_ || options_.source == nullptr)) {
    TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
    if (step + 1 < options_.start_from_step) {
      return watch_.BeforeRun(/*wanted=*/false);
    }
  }
  if (!has_appeared_) {
    if (steps_without_ == options_.must_appear_within_steps) {
      return NeverAppeared();
    }
    ++steps_without_;
  }
  return watch_.BeforeRun();
}

absl::Status EarlyStoppingHook::AfterRun(SessionRunContext& context,
                                         const SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const std::optional<Measurement> measured,
                      watch_.AfterRun(context, values));
  if (measured.has_value()) TakeNote(*measured);
  if (has_appeared_ && waited_ >= options_.patience) {
    context.RequestStop(Reason());
  }
  return absl::OkStatus();
}

void EarlyStoppingHook::TakeNote(const Measurement& measured) {
  if (measured.step < options_.start_from_step) return;
  has_appeared_ = true;
  waited_ = Improves(measured) ? 0 : waited_ + 1;
}

bool EarlyStoppingHook::Improves(const Measurement& measured) {
  if (!std::isfinite(measured.value)) return false;
  smoothed_ = smoothed_.has_value()
                  ? options_.smoothing * *smoothed_ +
                        (1 - options_.smoothing) * measured.value
                  : measured.value;
  std::optional<double> to_beat = options_.baseline;
  if (best_.has_value()) to_beat = best_->value;
  if (to_beat.has_value()) {
    const double gain = options_.mode == MetricMode::kMin
                            ? *to_beat - *smoothed_
                            : *smoothed_ - *to_beat;
    if (!(gain > options_.min_delta)) return false;
  }
  best_ = Measurement{measured.step, *smoothed_};
  return true;
}

std::string EarlyStoppingHook::Reason() const {
  return absl::StrCat(
      "\"", name_, "\" has not ",
      options_.mode == MetricMode::kMin ? "fallen" : "risen",
      options_.min_delta > 0
          ? absl::StrCat(" by more than ", options_.min_delta)
          : "",
      " in ", waited_, " checks; its best value was ",
      best_.has_value() ? absl::StrCat(best_->value, ", at step ", best_->step)
      : options_.baseline.has_value()
          ? absl::StrCat("the baseline, ", *options_.baseline)
          : "none, as no value was finite");
}

absl::Status EarlyStoppingHook::End(Session&) {
  TF_ASSIGN_OR_RETURN(const std::optional<Measurement> measured,
                      watch_.AskSource());
  if (measured.has_value()) TakeNote(*measured);
  if (has_appeared_ || steps_without_ == 0) return absl::OkStatus();
  // A source may measure less often than the session had steps.
  if (options_.source == nullptr ||
      steps_without_ >= options_.must_appear_within_steps.value_or(
                            std::numeric_limits<int64_t>::max())) {
    return NeverAppeared();
  }
  LOG(WARNING) << NeverAppeared().message();
  return absl::OkStatus();
}

std::shared_ptr<EarlyStoppingHook> StopEarly(std::string tensor, int patience,
                                             const Every& every,
                                             MetricMode mode) {
  EarlyStoppingHook::Options options;
  options.tensor = std::move(tensor);
  options.patience = patience;
  options.every = every;
  options.mode = mode;
  return std::make_shared<EarlyStoppingHook>(std::move(options));
}

std::shared_ptr<EarlyStoppingHook> StopEarly(std::string name,
                                             MetricSource source, int patience,
                                             MetricMode mode) {
  EarlyStoppingHook::Options options;
  options.name = std::move(name);
  options.source = std::move(source);
  options.patience = patience;
  options.mode = mode;
  return std::make_shared<EarlyStoppingHook>(std::move(options));
}

}  // namespace tftrain

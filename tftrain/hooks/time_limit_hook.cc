// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/time_limit_hook.h"

#include <cmath>
#include <string>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

std::string Reason(const TimeLimitHook::Options& options) {
  return absl::StrCat(
      "the time limit of ", options.max_secs, " s is reached",
      options.reserve_secs > 0
          ? absl::StrCat(" but for the ", options.reserve_secs, " s in reserve")
          : "");
}

}  // namespace

TimeLimitHook::TimeLimitHook(const Options& options)
    : options_(options),
      clock_(options.clock != nullptr ? options.clock : Clock::Real()) {}

absl::Status TimeLimitHook::Begin(BeginContext&) {
  if (!(options_.max_secs > 0 && std::isfinite(options_.max_secs))) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_secs is \"", options_.max_secs,
                     "\", give a positive number of seconds"));
  }
  if (!(options_.reserve_secs >= 0 &&
        options_.reserve_secs < options_.max_secs)) {
    return absl::InvalidArgumentError(
        absl::StrCat("reserve_secs is \"", options_.reserve_secs,
                     "\", give 0 or more seconds and less than max_secs"));
  }
  if (deadline_.has_value()) return absl::OkStatus();
  deadline_ = clock_->Monotonic() +
              absl::Seconds(options_.max_secs - options_.reserve_secs);
  if (options_.since.has_value()) {
    *deadline_ -= clock_->Now() - *options_.since;
  }
  return absl::OkStatus();
}

absl::Status TimeLimitHook::AfterCreateSession(Session&,
                                               Coordinator& coordinator) {
  coordinator_ = &coordinator;
  if (clock_->Monotonic() >= *deadline_) {
    LOG(INFO) << "Nothing is trained: " << Reason(options_);
    coordinator.RequestStop(Reason(options_));
  }
  return absl::OkStatus();
}

absl::Status TimeLimitHook::AfterRun(SessionRunContext& context,
                                     const SessionRunValues&) {
  if (clock_->Monotonic() >= *deadline_) {
    context.RequestStop(Reason(options_));
    coordinator_->RequestStop(Reason(options_));
  }
  return absl::OkStatus();
}

std::shared_ptr<TimeLimitHook> StopAfterTime(double max_secs,
                                             double reserve_secs) {
  TimeLimitHook::Options options;
  options.max_secs = max_secs;
  options.reserve_secs = reserve_secs;
  return std::make_shared<TimeLimitHook>(options);
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/second_or_step_timer.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tftrain {

absl::StatusOr<SecondOrStepTimer> SecondOrStepTimer::Create(
    const Options& options) {
  if (options.every_secs.has_value() == options.every_steps.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.every_secs.has_value() ? "both" : "neither",
        " of every_secs and every_steps are set, set exactly one of them"));
  }
  // Written so that NaN is refused as well.
  if (options.every_secs.has_value() && !(*options.every_secs >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("every_secs is \"", *options.every_secs,
                     "\", give a number of seconds that is not negative"));
  }
  if (options.every_steps.has_value() && *options.every_steps < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("every_steps is \"", *options.every_steps,
                     "\", give a number of steps that is not negative"));
  }
  return SecondOrStepTimer(options);
}

absl::StatusOr<SecondOrStepTimer> SecondOrStepTimer::Create(const Every& every,
                                                            Clock* clock) {
  return Create(Options{every.every_secs, every.every_steps, clock});
}

SecondOrStepTimer::SecondOrStepTimer(const Options& options)
    : every_(absl::Seconds(options.every_secs.value_or(0))),
      every_steps_(options.every_steps),
      clock_(options.clock == nullptr ? Clock::Real() : options.clock) {}

bool SecondOrStepTimer::ShouldTriggerForStep(int64_t step) const {
  if (!last_.has_value()) return true;
  if (last_->step == step) return false;
  if (step < last_->step) return true;
  // Subtracted, not added: an interval may be as long as the type allows.
  if (every_steps_.has_value()) return step - last_->step >= *every_steps_;
  return clock_->Monotonic() - last_->time >= every_;
}

std::optional<SecondOrStepTimer::Elapsed>
SecondOrStepTimer::UpdateLastTriggeredStep(int64_t step) {
  const absl::Duration now = clock_->Monotonic();
  std::optional<Elapsed> elapsed;
  if (last_.has_value() && step >= last_->step) {
    elapsed =
        Elapsed{absl::ToDoubleSeconds(now - last_->time), step - last_->step};
  }
  last_ = Trigger{step, now};
  return elapsed;
}

std::optional<int64_t> SecondOrStepTimer::last_triggered_step() const {
  if (!last_.has_value()) return std::nullopt;
  return last_->step;
}

}  // namespace tftrain

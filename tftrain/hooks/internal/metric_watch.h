// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_METRIC_WATCH_H_
#define TFTRAIN_HOOKS_INTERNAL_METRIC_WATCH_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/metric_source.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain::internal {

// The part of a hook that follows one metric: a tensor, fetched at a cadence
// that begins with the first step, or a source, asked after each step. The
// hook passes its callbacks on.
//
// Confined: the session calls a hook from one thread.
class MetricWatch {
 public:
  // Checks the options and declares the request; what was measured before
  // counts as known.
  // Errors: kInvalidArgument if none or both of `tensor` and `source` are set,
  // as NumberName() for the tensor, and as SecondOrStepTimer::Create for
  // `every`, which does not count with a source; that of the source;
  // kFailedPrecondition without a global step, telling the name `hook`.
  absl::Status Begin(BeginContext& context, const std::string& tensor,
                     const MetricSource& source, const Every& every,
                     Clock* clock, const std::string& hook);

  // Training goes on from `step`, in a new session or because a step was
  // undone. True if a later step was measured, which comes again.
  bool GoOnFrom(int64_t step);

  // What the step shall fetch; nothing unless `wanted`.
  SessionRunArgs BeforeRun(bool wanted = true);

  // A measurement that is new with this step, if there is one.
  // Errors: kInvalidArgument when the tensor holds no number; that of the
  // source.
  absl::StatusOr<std::optional<Measurement>> AfterRun(
      SessionRunContext& context, const SessionRunValues& values);

  // What the source, if there is one, has measured since it was asked last.
  // Errors: that of the source.
  absl::StatusOr<std::optional<Measurement>> AskSource();

 private:
  MetricSource source_;
  std::optional<SecondOrStepTimer> timer_;
  SessionRunArgs args_;
  // The steps of this session in which the hook took part.
  int64_t num_runs_ = 0;
  bool is_requested_ = false;
  // The one that was measured last.
  std::optional<int64_t> last_step_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_METRIC_WATCH_H_

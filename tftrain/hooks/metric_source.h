// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Where a hook that judges a model gets its metric from.

#ifndef TFTRAIN_HOOKS_METRIC_SOURCE_H_
#define TFTRAIN_HOOKS_METRIC_SOURCE_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/statusor.h"
#include "tftrain/checkpoint/retention.h"

namespace tftrain {

// What a metric was when the global step was `step`.
//
// Thread-compatible: const calls may run together.
struct Measurement {
  int64_t step = 0;
  double value = 0;
};

// Tells the newest measurement, or nothing as long as there is none; not one of
// a step that was undone (SessionRunHook::OnUndone). Asked after each step and
// at the end, on the thread that runs it; a measurement is a new one if its
// step differs from the last one's. It is asked in Begin() as well, only for
// its error, such as that nobody measures this metric: an error is one of
// Create(), Run() or Close(). MetricOf() of eval_hook.h makes one.
using MetricSource =
    std::function<absl::StatusOr<std::optional<Measurement>>()>;

// Whether the smaller or the larger value of a metric is the better one.
using MetricMode = KeepBest::Mode;

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_METRIC_SOURCE_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which checkpoints of a run are kept, told as policies: a checkpoint stays as
// long as any of them keeps it.
//
//   Saver::Options options;
//   options.retention = {KeepNewest{3},
//                        KeepBest{"accuracy", 2, KeepBest::Mode::kMax},
//                        KeepEverySteps{100'000}};
//
// Thread-compatible: const calls may run together.

#ifndef TFTRAIN_CHECKPOINT_RETENTION_H_
#define TFTRAIN_CHECKPOINT_RETENTION_H_

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"

namespace tftrain {

// Keeps the `count` checkpoints that were written last; all by default.
// Python: Saver's max_to_keep.
struct KeepNewest {
  int count = std::numeric_limits<int>::max();
};

// Keeps the `count` checkpoints with the smallest or the largest `metric`, the
// later of two that are equal. A checkpoint without that metric is none of
// them. See Saver::SaveOptions::metrics and Saver::SetMetrics().
// Python: orbax's best_fn and best_mode; tf.train has none.
struct KeepBest {
  enum class Mode { kMin, kMax };

  std::string metric;
  int count = 1;
  Mode mode = Mode::kMin;
};

// Keeps for good every checkpoint whose step is a multiple of `steps`. One
// without a step in its name is none of them.
struct KeepEverySteps {
  int64_t steps = 0;
};

// Keeps for good the first checkpoint of each interval of so many hours,
// counted from the start of the program.
// Python: Saver's keep_checkpoint_every_n_hours.
struct KeepEveryHours {
  double hours = 0;
};

using RetentionPolicy =
    std::variant<KeepNewest, KeepBest, KeepEverySteps, KeepEveryHours>;

// The policies that Saver's max_to_keep and keep_checkpoint_every_n_hours stand
// for; 0 keeps all, or none.
// REQUIRES: neither is negative.
std::vector<RetentionPolicy> ClassicRetention(int max_to_keep, double hours);

// Errors: kInvalidArgument for a count, steps or hours that are not positive,
// and for a metric without a name.
absl::Status CheckRetention(const std::vector<RetentionPolicy>& policies);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_RETENTION_H_

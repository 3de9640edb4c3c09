// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What the hooks of a session cost per step.

#ifndef TFTRAIN_MONITORED_HOOK_COSTS_H_
#define TFTRAIN_MONITORED_HOOK_COSTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace tftrain {

// Time spent in hooks, measured with the steps of a session that was asked to
// (SingularMonitoredSession::Options::measure_hooks). What a hook fetches is
// computed in the step itself and counts there.
// A value: Thread-compatible.
struct HookCosts {
  struct Hook {
    std::string name;
    // Over all steps, due or not.
    absl::Duration before_run;
    absl::Duration after_run;  // Judge() included
    // The longest single step: all callbacks together.
    absl::Duration worst;
  };
  std::vector<Hook> hooks;  // in the order of the session's list

  int64_t steps = 0;       // those that were finished
  absl::Duration running;  // inside TensorFlow, over all steps

  // A table to print: a line for each hook and one for the step itself, in
  // microseconds per step; a newline ends each.
  std::string ToTable() const;
};

}  // namespace tftrain

#endif  // TFTRAIN_MONITORED_HOOK_COSTS_H_

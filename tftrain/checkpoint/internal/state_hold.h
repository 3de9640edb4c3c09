// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What saving and restoring have in common where they meet a session.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_STATE_HOLD_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_STATE_HOLD_H_

#include "absl/log/log.h"
#include "absl/status/status.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// A StepHold while a checkpoint is taken or restored, with a warning when a
// step did not end in time.
//
// Confined: use from one thread.
class StateHold {
 public:
  explicit StateHold(Session& session) : hold_(session) {
    if (hold_.complete()) return;
    LOG(WARNING) << "A checkpoint is saved or restored while another thread's "
                    "step runs on; it may hold half of that step";
  }

 private:
  const StepHold hold_;
};

// `status` of the graph's own operations, whose files end early as well: with
// `code` where it would be taken for the end of input.
inline absl::Status WithoutEndOfInput(const absl::Status& status,
                                      absl::StatusCode code) {
  return absl::IsOutOfRange(status) ? absl::Status(code, status.message())
                                    : status;
}

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_STATE_HOLD_H_

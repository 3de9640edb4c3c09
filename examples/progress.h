// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A hook that shows how training comes along.

#ifndef TFTRAIN_EXAMPLES_PROGRESS_H_
#define TFTRAIN_EXAMPLES_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/fetch.h"

namespace char_lm {

// Shows step, speed, loss and the time left: on a terminal in one line that is
// drawn anew, otherwise in a new line now and then. The loss is the mean since
// it was last shown.
// Confined: the session calls a hook from one thread.
class ProgressHook : public tftrain::SessionRunHook {
 public:
  // Steps up to `last_step` are shown, and `bits` is the loss.
  ProgressHook(int64_t last_step, tftrain::Fetch<float> bits);

  absl::Status Begin(tftrain::BeginContext& context) override;
  absl::Status AfterCreateSession(tftrain::Session& session,
                                  tftrain::Coordinator& coordinator) override;
  absl::StatusOr<tftrain::SessionRunArgs> BeforeRun(
      tftrain::SessionRunContext& context) override;
  absl::Status AfterRun(tftrain::SessionRunContext& context,
                        const tftrain::SessionRunValues& values) override;
  absl::Status End(tftrain::Session& session) override;
  void OnAbort(const absl::Status& status) override;

 private:
  void Show(int64_t step, absl::Time now);
  void LeaveLine();

  const int64_t last_step_;
  const tftrain::Fetch<float> bits_;
  const bool on_terminal_;
  const tftrain::SessionRunArgs args_;

  int64_t first_step_ = 0;
  absl::Time start_;
  absl::Time shown_;
  bool in_line_ = false;
  double sum_of_bits_ = 0;
  int num_bits_ = 0;
};

}  // namespace char_lm

#endif  // TFTRAIN_EXAMPLES_PROGRESS_H_

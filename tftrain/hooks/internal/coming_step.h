// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_COMING_STEP_H_
#define TFTRAIN_HOOKS_INTERNAL_COMING_STEP_H_

#include <cstdint>

namespace tftrain::internal {

// The global step that the coming run is to reach, for a hook that must decide
// before it: as many steps on as the last run that trained took.
//
// Confined: use from one thread at a time.
class ComingStep {
 public:
  // Training begins, or goes on, at `step`.
  void Start(int64_t step) {
    now_ = step;
    stride_ = 1;
  }

  // A run has ended at `step`. False if it did not train.
  bool Advance(int64_t step) {
    if (step == now_) return false;
    if (step > now_) stride_ = step - now_;
    now_ = step;
    return true;
  }

  // The step now, and after the coming run.
  int64_t now() const { return now_; }
  int64_t next() const { return now_ + stride_; }

 private:
  int64_t now_ = 0;
  int64_t stride_ = 1;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_COMING_STEP_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Code that runs around every save of a CheckpointSaverHook.

#ifndef TFTRAIN_HOOKS_CHECKPOINT_SAVER_LISTENER_H_
#define TFTRAIN_HOOKS_CHECKPOINT_SAVER_LISTENER_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/session.h"

namespace tftrain {

// Told before and after each checkpoint, such as an evaluation that follows
// it. Every callback is optional; all run on the thread that called the
// session, whose plain form, without hooks, they get. An error is what the
// hook returns: Create(), Run() or Close() fails with it, and listeners that
// come later in the list are not called. An exception is the error kInternal.
//
// Confined: as the hook that calls it.
// Python: `tf.compat.v1.train.CheckpointSaverListener`.
class CheckpointSaverListener {
 public:
  virtual ~CheckpointSaverListener() = default;

  // When: in the hook's Begin(). Graph: may be changed, for the last time.
  virtual absl::Status Begin(BeginContext&) { return absl::OkStatus(); }

  // When: before the checkpoint of the step `global_step` is written. May: run
  // `session`. An error keeps it from being written.
  virtual absl::Status BeforeSave(Session&, int64_t) {
    return absl::OkStatus();
  }

  // When: once that checkpoint would survive a power cut. May: run `session`.
  // Returns whether training shall stop, which counts only for saves in the
  // course of training, not at its start or end. The listeners that come later
  // are called all the same.
  virtual absl::StatusOr<bool> AfterSave(Session&, int64_t) { return false; }

  // When: in the hook's End(), after the last save, which it may know already
  // from AfterSave(). All listeners are called, also after the error of one.
  virtual absl::Status End(Session&, int64_t) { return absl::OkStatus(); }

  // When: instead of End(), once, if Begin() succeeded: when a later one did
  // not, when the last save failed, or in the hook's OnAbort(). The session
  // may be closed already. Python has no such call.
  virtual void OnAbort(const absl::Status&) {}
};

using CheckpointSaverListenerPtr = std::shared_ptr<CheckpointSaverListener>;

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_CHECKPOINT_SAVER_LISTENER_H_

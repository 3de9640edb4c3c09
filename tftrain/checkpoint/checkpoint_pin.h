// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Keeps a checkpoint while somebody reads it.

#ifndef TFTRAIN_CHECKPOINT_CHECKPOINT_PIN_H_
#define TFTRAIN_CHECKPOINT_CHECKPOINT_PIN_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace tftrain {

// While there is a pin on a checkpoint, in whatever process, no saver deletes
// it: one that should go goes with the first save after the last pin has
// ended. A saver that writes another checkpoint in its place leaves the data
// of the former one until then, for those who have opened it.
//
//   TF_ASSIGN_OR_RETURN(const CheckpointPin pin,
//                       CheckpointPin::Take("run/model.ckpt-500"));
//   TF_RETURN_IF_ERROR(Evaluate("run/model.ckpt-500"));
//
// It is a lock (`flock`) on the index, which ends with the process at the
// latest, or with the last child that was forked meanwhile. File systems
// without locks have no pins; taking one is no error there. Python's saver does
// not ask for pins. Saver::Restore() takes one itself.
//
// Thread-compatible: const calls may run together.
class CheckpointPin {
 public:
  // Errors: kNotFound when there is no checkpoint of that prefix, or when it is
  // being deleted: look for the newest one again; those of base/file.h.
  static absl::StatusOr<CheckpointPin> Take(const std::string& prefix);

  CheckpointPin(CheckpointPin&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  CheckpointPin& operator=(CheckpointPin&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~CheckpointPin();

 private:
  explicit CheckpointPin(int fd) : fd_(fd) {}

  int fd_;
};

// A checkpoint that was found, and the pin on it; TensorFlow's first format
// has none.
struct PinnedCheckpoint {
  std::string prefix;
  std::optional<CheckpointPin> pin;
};

// Finds the checkpoint that is meant by `path` (see ResolveCheckpoint()) and
// pins it. Where that is a folder whose newest one is deleted at this moment,
// the next one is found.
// Errors: kInvalidArgument when there is no checkpoint; kNotFound when it is
// deleted at this moment; others of ResolveCheckpoint() and of base/file.h.
absl::StatusOr<PinnedCheckpoint> FindAndPin(const std::string& path);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_CHECKPOINT_PIN_H_

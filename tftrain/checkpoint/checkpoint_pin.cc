// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_pin.h"

#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/internal/index_lock.h"

namespace tftrain {

absl::StatusOr<CheckpointPin> CheckpointPin::Take(const std::string& prefix) {
  TF_ASSIGN_OR_RETURN(
      const int fd,
      internal::LockIndex(prefix, internal::IndexLockKind::kRead));
  return CheckpointPin(fd);
}

CheckpointPin::~CheckpointPin() {
  if (fd_ >= 0) internal::CurrentFileOps().Close(fd_);
}

}  // namespace tftrain

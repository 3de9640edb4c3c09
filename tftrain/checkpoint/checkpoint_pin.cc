// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_pin.h"

#include "absl/status/status.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
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

absl::StatusOr<PinnedCheckpoint> FindAndPin(const std::string& path) {
  constexpr int kMaxAttempts = 10;
  absl::Status gone;
  for (int i = 0; i < kMaxAttempts; ++i) {
    const absl::StatusOr<std::string> prefix = ResolveCheckpoint(path);
    if (absl::IsNotFound(prefix.status())) {
      return absl::InvalidArgumentError(prefix.status().message());
    }
    TF_RETURN_IF_ERROR(prefix.status());
    absl::StatusOr<CheckpointPin> pin = CheckpointPin::Take(*prefix);
    if (pin.ok()) return PinnedCheckpoint{*prefix, *std::move(pin)};
    TF_ASSIGN_OR_RETURN(const bool has_index,
                        FileExists(IndexFileName(*prefix)));
    if (!has_index && CheckpointExists(*prefix)) {
      return PinnedCheckpoint{*prefix, std::nullopt};
    }
    if (!absl::IsNotFound(pin.status())) return pin.status();
    gone = pin.status();
    if (*prefix == PrefixOfPath(path)) break;
  }
  return gone;
}

}  // namespace tftrain

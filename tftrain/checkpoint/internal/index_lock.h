// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The lock by which readers of a checkpoint keep it from being deleted.
//
// Thread-safe: the functions share nothing but the files.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_INDEX_LOCK_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_INDEX_LOCK_H_

#include <string>

#include "absl/status/statusor.h"

namespace tftrain::internal {

// Who locks: any number of readers, or the one who deletes.
enum class IndexLockKind { kRead, kDelete };

// Opens and locks (`flock`) the index of the checkpoint `prefix`, as it is at
// that path, without waiting. Returns the descriptor, which ends the lock when
// it is closed. On a file system without locks nothing is locked, which is no
// error.
// Errors: kNotFound when there is no index, or when it is being deleted;
// kFailedPrecondition when readers are in the way; those of base/file.h.
absl::StatusOr<int> LockIndex(const std::string& prefix, IndexLockKind kind);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_INDEX_LOCK_H_

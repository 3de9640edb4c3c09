// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One process saves into a folder at a time.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_FOLDER_LOCK_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_FOLDER_LOCK_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tftrain::internal {

// A share in this process's lock on a folder: the process holds an exclusive
// `flock` on the folder itself, whatever its path, as long as there is a share.
// It ends with the process, so that nothing is left to clean up; a child made
// by `fork` has no part in it.
//
// On a file system without locks, and on a folder that cannot be opened, there
// is no lock, which is logged once at WARNING.
//
// Thread-safe.
class FolderLock {
 public:
  // What the share is for.
  enum class Use {
    kWrite,    // one checkpoint is being written
    kSession,  // a session saves into the folder now and then
  };

  // Takes a share of the lock on `folder`, which must exist. Of the shares for
  // sessions all must have the same `owner`; it is only compared.
  // Errors: kFailedPrecondition when another process has the lock, or a
  // session of another owner a share.
  static absl::StatusOr<std::unique_ptr<FolderLock>> Take(
      std::string_view folder, Use use, const void* owner = nullptr);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

  // Calls `body` while no other thread of this process does so with a share on
  // the same folder: checkpoints are put into place, and the state file is
  // changed, one after the other.
  absl::Status Alone(absl::FunctionRef<absl::Status()> body);

  // Deletes temporary files of checkpoints, unless there is no lock or another
  // checkpoint is being written in the folder, and other temporary files of
  // ours that are older than a minute before `now`. What cannot be deleted is
  // logged at WARNING.
  void RemoveLeftovers(absl::Time now);

 private:
  struct Entry;
  class Registry;

  FolderLock(std::string_view folder, Use use, std::shared_ptr<Entry> entry);

  const std::string folder_;
  const Use use_;
  // What all shares on the folder have in common; null without a lock.
  const std::shared_ptr<Entry> entry_;
};

// Deletes a temporary file of ours, or a folder of such files. Trouble is
// logged at WARNING.
void RemoveTemporary(const std::string& path);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_FOLDER_LOCK_H_

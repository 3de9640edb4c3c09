// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/retention.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain::internal {

Retention::Retention(int max_to_keep, absl::Duration preserve_every,
                     absl::Time now)
    : max_to_keep_(max_to_keep),
      preserve_every_(preserve_every),
      next_preserved_(preserve_every > absl::ZeroDuration()
                          ? now + preserve_every
                          : absl::InfiniteFuture()) {}

Retention::Change Retention::Plan(std::string_view prefix,
                                  absl::Time now) const {
  Change change;
  change.next_preserved = next_preserved_;
  for (const KeptCheckpoint& checkpoint : kept_) {
    if (checkpoint.prefix != prefix) change.kept.push_back(checkpoint);
  }
  change.kept.push_back({std::string(prefix), now, /*own=*/true});
  if (max_to_keep_ <= 0) return change;
  const size_t most = static_cast<size_t>(max_to_keep_);
  const size_t excess =
      change.kept.size() > most ? change.kept.size() - most : 0;
  const auto first_kept =
      change.kept.begin() + static_cast<std::ptrdiff_t>(excess);
  for (auto it = change.kept.begin(); it != first_kept; ++it) {
    if (it->time <= change.next_preserved) {
      change.deleted.push_back(*it);
      continue;
    }
    if (it->time == absl::InfiniteFuture()) continue;
    // The next one is due at the first full interval that lies ahead of this.
    const absl::Duration behind = it->time - change.next_preserved;
    change.next_preserved +=
        absl::Floor(behind, preserve_every_) + preserve_every_;
  }
  change.kept.erase(change.kept.begin(), first_kept);
  return change;
}

void Retention::Apply(const Change& change) {
  kept_ = change.kept;
  next_preserved_ = change.next_preserved;
}

void DeleteCheckpoint(const KeptCheckpoint& checkpoint,
                      std::string_view folder) {
  const std::string where = DirName(checkpoint.prefix);
  if (!checkpoint.own && where != folder) {
    LOG(WARNING) << "The old checkpoint \"" << checkpoint.prefix
                 << "\" is not deleted: it does not lie in \"" << folder
                 << "\", where checkpoints are written now";
    return;
  }
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(where);
  if (!names.ok()) {
    LOG(WARNING) << "The old checkpoint \"" << checkpoint.prefix
                 << "\" is not deleted: " << names.status().message();
    return;
  }
  for (const std::string& name :
       FilesOfCheckpoint(BaseName(checkpoint.prefix), *names)) {
    const absl::Status status = RemoveFile(JoinPath(where, name));
    if (!status.ok()) {
      LOG(WARNING) << "A file of an old checkpoint stays: " << status.message();
    }
  }
}

}  // namespace tftrain::internal

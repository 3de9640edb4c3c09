// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which checkpoints of a run are kept.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace tftrain::internal {

// A checkpoint and what the policy knows about it.
struct KeptCheckpoint {
  std::string prefix;
  absl::Time time;  // when it was written
  // Whether this program wrote it. Others are deleted only where this program
  // saves.
  bool own = false;
};

// The newest checkpoints, as many as the policy says; one in every interval is
// taken off the list and never deleted. Decides only; the files are the
// caller's.
//
// Confined: use from one thread at a time.
// Python: the part of tf.compat.v1.train.Saver that deletes one checkpoint at
// most per save, and that keeps every one of several after a pause longer than
// the interval.
class Retention {
 public:
  // What a new checkpoint changes.
  struct Change {
    std::vector<KeptCheckpoint> kept;     // oldest first, the new one last
    std::vector<KeptCheckpoint> deleted;  // oldest first
    absl::Time next_preserved;
  };

  // Keeps `max_to_keep` checkpoints, or all for 0; of the others those that
  // are later than `now` plus each multiple of `preserve_every`, or none for 0.
  Retention(int max_to_keep, absl::Duration preserve_every, absl::Time now);

  // Oldest first.
  const std::vector<KeptCheckpoint>& kept() const { return kept_; }
  void set_kept(std::vector<KeptCheckpoint> kept) { kept_ = std::move(kept); }

  // What saving `prefix` at `now` changes, and the change itself.
  Change Plan(std::string_view prefix, absl::Time now) const;
  void Apply(const Change& change);

 private:
  const int max_to_keep_;
  const absl::Duration preserve_every_;

  std::vector<KeptCheckpoint> kept_;
  absl::Time next_preserved_;
};

// Deletes the files of `checkpoint` that a saver writes, in an order that
// leaves no part which could be taken for a whole. Trouble is logged at
// WARNING. Does nothing, and says so, for a checkpoint that is neither our own
// nor in `folder`.
// Python: remove_checkpoint, which also deletes what a pattern in the name
// stands for.
void DeleteCheckpoint(const KeptCheckpoint& checkpoint,
                      std::string_view folder);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Which checkpoints of a run are kept.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "tftrain/checkpoint/retention.h"

namespace tftrain::internal {

// A checkpoint and what the policy knows about it.
struct KeptCheckpoint {
  std::string prefix;
  absl::Time time;  // when it was written
  // Whether this program wrote it. Others are deleted only where this program
  // saves.
  bool own = false;
};

// The checkpoints of a run, of which the policies say what is kept. The newest
// is kept in any case. Paths are compared by what they lead to, not as text.
// What only KeepEverySteps or KeepEveryHours keeps is taken off the list and
// never deleted. Decides only; the files are the caller's.
//
// Confined: use from one thread at a time.
// Python: the part of tf.compat.v1.train.Saver that deletes one checkpoint at
// most per save, and that keeps every one of several after a pause longer than
// the interval.
class Retention {
 public:
  using Metrics = std::map<std::string, double>;

  // What a new checkpoint changes.
  struct Change {
    std::vector<KeptCheckpoint> kept;       // oldest first, the new one last
    std::vector<KeptCheckpoint> deleted;    // oldest first
    std::vector<KeptCheckpoint> preserved;  // kept for good, off the list
    // By policy: after when the next one is kept for good.
    std::vector<absl::Time> next_preserved;
  };

  // The intervals of KeepEveryHours begin at `now`.
  Retention(const std::vector<RetentionPolicy>& policies, absl::Time now);

  // Keeps, from the next Plan() on, also what `policy` keeps; an interval of
  // KeepEveryHours begins at `now`.
  void Add(const RetentionPolicy& policy, absl::Time now);

  // Oldest first.
  const std::vector<KeptCheckpoint>& kept() const { return kept_; }
  // One that is there twice, however it is spelled, counts as the later.
  void set_kept(std::vector<KeptCheckpoint> kept);

  // What saving `prefix` at `now` changes, and the change itself. `metrics_of`
  // is asked, only if a policy needs it, for the metrics of a checkpoint.
  Change Plan(
      std::string_view prefix, absl::Time now,
      absl::FunctionRef<Metrics(const std::string& prefix)> metrics_of) const;
  // The `undeleted` ones of the change are deleted with the next one.
  void Apply(const Change& change, std::vector<KeptCheckpoint> undeleted);

 private:
  std::vector<RetentionPolicy> policies_;

  std::vector<KeptCheckpoint> kept_;
  std::vector<KeptCheckpoint> undeleted_;
  std::vector<absl::Time> next_preserved_;
};

// Whether this program, which saves into `folder`, may delete or mark
// `checkpoint`.
bool IsOurs(const KeptCheckpoint& checkpoint, std::string_view folder);

// Deletes the files of `checkpoint` that a saver writes, in an order that
// leaves no part which could be taken for a whole. Trouble is logged at
// WARNING. Does nothing, and says so, for a checkpoint that is not ours.
// Returns false, and has done nothing, while somebody reads the checkpoint
// (CheckpointPin). Python: remove_checkpoint, which also deletes what a pattern
// in the name stands for.
bool DeleteCheckpoint(const KeptCheckpoint& checkpoint,
                      std::string_view folder);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_RETENTION_H_

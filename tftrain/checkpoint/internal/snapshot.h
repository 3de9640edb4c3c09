// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_SNAPSHOT_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_SNAPSHOT_H_

#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/checkpoint/internal/save_graph.h"
#include "tftrain/checkpoint/internal/variable_store.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// Looks at the values that a checkpoint is made of. Resource variables are read
// where the runtime keeps them; all else (reference variables, tables,
// iterators) is fetched in one run, of SaveV2's own inputs.
//
// Confined: use from one thread at a time, while no step runs that changes
// variables (StepHold).
class Snapshotter {
 public:
  // What becomes of the value of a variable that others may share.
  enum class Values {
    kShared,  // it is shared: whoever changes the variable next copies it
    kCopied,  // it is copied, into memory that is used again and again
  };

  explicit Snapshotter(std::vector<SavedTensor> saved)
      : saved_(std::move(saved)) {}

  const std::vector<SavedTensor>& saved() const { return saved_; }

  // The values of saved(), which stay as they are. Those of variables that ever
  // saw a sparse update cannot be shared and are copied in any case.
  // Errors: kFailedPrecondition when a variable has no value yet; those of a
  // run.
  absl::StatusOr<std::vector<tensorflow::Tensor>> Take(Session& session,
                                                       Values values);

  // Calls `receive` with each of saved() and its value, which is neither shared
  // nor copied: a variable is locked until the call returns.
  // Errors: the first of `receive`; those of Take().
  absl::Status Stream(Session& session,
                      absl::FunctionRef<absl::Status(const SavedTensor&,
                                                     const tensorflow::Tensor&)>
                          receive);

 private:
  // Where each value is.
  struct Sources;
  absl::StatusOr<Sources> Find(Session& session) const;

  const std::vector<SavedTensor> saved_;
  // The memory of copies, by place; those in use are not used again.
  std::vector<tensorflow::Tensor> copies_;
};

// Says in our words that a run failed with `status` because a variable has no
// value; TensorFlow's own would be taken for those of a ready op.
absl::Status ExplainFailedRead(const absl::Status& status);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_SNAPSHOT_H_

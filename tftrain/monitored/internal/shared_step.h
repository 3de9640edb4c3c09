// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_MONITORED_INTERNAL_SHARED_STEP_H_
#define TFTRAIN_MONITORED_INTERNAL_SHARED_STEP_H_

#include <vector>

#include "absl/types/span.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/request.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// One step for every set of hooks that may be due: it serves the caller and all
// requests that hooks declared, as far as running them unasked changes nothing.
// So the steps of hooks with unequal cadences need one plan, made before
// training starts, where each set of due hooks would need one of its own, made
// in the midst of training.
//
// Immutable. Thread-safe.
class SharedStep {
 public:
  // Of the `declared` requests those join that feed nothing, run no target, and
  // reach, beyond what `caller` reaches, only operations that change nothing
  // and need no feed that the caller does not bring.
  SharedStep(const Graph& graph, RequestPtr caller,
             absl::Span<const RequestPtr> declared);
  SharedStep(const SharedStep&) = delete;
  SharedStep& operator=(const SharedStep&) = delete;

  const RequestPtr& caller() const { return requests_.front(); }

  // The caller's part, then one for each request that joined; all but the
  // caller's are not wanted yet.
  const std::vector<StepPart>& parts() const { return parts_; }

  // Whether some of `parts`, a copy of parts(), is not wanted and takes
  // operations that the caller's part does not run anyway.
  bool WorksInVain(absl::Span<const StepPart> parts) const;

  // Which of parts() serves `request`, -1 when it did not join.
  int PartOf(const RequestPtr& request) const;

 private:
  std::vector<RequestPtr> requests_;
  std::vector<bool> adds_work_;  // to that of the caller, for each of parts()
  std::vector<StepPart> parts_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_MONITORED_INTERNAL_SHARED_STEP_H_

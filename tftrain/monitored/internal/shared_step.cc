// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/shared_step.h"

#include <algorithm>
#include <iterator>

#include "tftrain/session/internal/closure.h"

namespace tftrain::internal {

SharedStep::SharedStep(const Graph& graph, RequestPtr caller,
                       absl::Span<const RequestPtr> declared)
    : requests_({caller}), adds_work_({false}) {
  const Closure runs_anyway(graph, *caller, caller->feeds);
  for (const RequestPtr& request : declared) {
    if (PartOf(request) >= 0 || !request->feeds.empty() ||
        !request->targets.empty()) {
      continue;
    }
    const Closure needed(graph, *request, caller->feeds);
    std::vector<const tensorflow::Node*> added;
    std::copy_if(needed.nodes().begin(), needed.nodes().end(),
                 std::back_inserter(added), [&](const tensorflow::Node* node) {
                   return !runs_anyway.Contains(node);
                 });
    if (!std::all_of(added.begin(), added.end(), ChangesNothing)) continue;
    requests_.push_back(request);
    adds_work_.push_back(!added.empty());
  }
  for (const RequestPtr& request : requests_) {
    parts_.push_back({&request, {}, /*wanted=*/&request == &this->caller()});
  }
}

bool SharedStep::WorksInVain(absl::Span<const StepPart> parts) const {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (adds_work_[i] && !parts[i].wanted) return true;
  }
  return false;
}

int SharedStep::PartOf(const RequestPtr& request) const {
  for (size_t i = 1; i < requests_.size(); ++i) {
    if (requests_[i] == request) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace tftrain::internal

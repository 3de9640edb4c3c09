// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/shared_step.h"

#include <algorithm>
#include <utility>

#include "tftrain/session/internal/closure.h"

namespace tftrain::internal {
namespace {

bool Joins(const Graph& graph, const Request& request, const Request& caller,
           const Closure& runs_anyway) {
  if (!request.feeds.empty() || !request.targets.empty()) return false;
  const Closure needed(graph, request, caller.feeds);
  return std::all_of(needed.nodes().begin(), needed.nodes().end(),
                     [&](const tensorflow::Node* node) {
                       return runs_anyway.Contains(node) ||
                              ChangesNothing(node);
                     });
}

}  // namespace

SharedStep::SharedStep(const Graph& graph, RequestPtr caller,
                       absl::Span<const RequestPtr> declared) {
  const Closure runs_anyway(graph, *caller, caller->feeds);
  requests_.push_back(caller);
  for (const RequestPtr& request : declared) {
    if (PartOf(request) < 0 && Joins(graph, *request, *caller, runs_anyway)) {
      requests_.push_back(request);
    }
  }
  for (const RequestPtr& request : requests_) {
    parts_.push_back({&request, {}, /*wanted=*/&request == &this->caller()});
  }
}

int SharedStep::PartOf(const RequestPtr& request) const {
  for (size_t i = 1; i < requests_.size(); ++i) {
    if (requests_[i] == request) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace tftrain::internal

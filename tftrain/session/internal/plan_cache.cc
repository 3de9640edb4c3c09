// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/plan_cache.h"

namespace tftrain::internal {

PlanCache::PlanPtr PlanCache::Find(absl::Span<const StepPart> parts) {
  Key key;
  key.reserve(parts.size());
  for (const StepPart& part : parts) key.push_back(part.request->get());
  auto it = by_requests_.find(key);
  if (it == by_requests_.end()) return nullptr;
  plans_.splice(plans_.begin(), plans_, it->second);
  return plans_.front();
}

void PlanCache::Add(PlanPtr plan) {
  Key key;
  for (const RequestPtr& request : plan->requests()) {
    key.push_back(request.get());
  }
  // Two threads may have made the same plan; the first one stays.
  if (by_requests_.count(key) > 0) return;
  plans_.push_front(std::move(plan));
  by_requests_[std::move(key)] = plans_.begin();
  while (plans_.size() > max_plans_) {
    Key oldest;
    for (const RequestPtr& request : plans_.back()->requests()) {
      oldest.push_back(request.get());
    }
    by_requests_.erase(oldest);
    plans_.pop_back();
  }
}

void PlanCache::Clear() {
  by_requests_.clear();
  plans_.clear();
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_PLAN_CACHE_H_
#define TFTRAIN_SESSION_INTERNAL_PLAN_CACHE_H_

#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "tftrain/session/internal/step_plan.h"

namespace tftrain::internal {

// The plans a session keeps, by the requests they run; the one used longest
// ago is dropped first. A plan that still runs lives on until its call is over.
// Thread-compatible: the session's lock guards it.
class PlanCache {
 public:
  using PlanPtr = std::shared_ptr<const StepPlan>;

  explicit PlanCache(size_t max_plans) : max_plans_(max_plans) {}

  // The plan for `parts`, null when there is none.
  PlanPtr Find(absl::Span<const StepPart> parts);
  void Add(PlanPtr plan);
  void Clear();
  size_t size() const { return plans_.size(); }

 private:
  using Key = std::vector<const Request*>;

  const size_t max_plans_;
  std::list<PlanPtr> plans_;  // the one used last comes first
  std::map<Key, std::list<PlanPtr>::iterator> by_requests_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_PLAN_CACHE_H_

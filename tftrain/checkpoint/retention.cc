// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/retention.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"

namespace tftrain {
namespace {

template <typename Number>
absl::Status CheckPositive(std::string_view what, Number number) {
  if (number > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " is \"", number, "\" in the retention, give more than 0"));
}

absl::Status Check(const KeepNewest& policy) {
  return CheckPositive("KeepNewest::count", policy.count);
}

absl::Status Check(const KeepBest& policy) {
  if (policy.metric.empty()) {
    return absl::InvalidArgumentError(
        "KeepBest::metric is empty in the retention, give the name of a "
        "metric");
  }
  return CheckPositive("KeepBest::count", policy.count);
}

absl::Status Check(const KeepEverySteps& policy) {
  return CheckPositive("KeepEverySteps::steps", policy.steps);
}

absl::Status Check(const KeepEveryHours& policy) {
  return CheckPositive("KeepEveryHours::hours", policy.hours);
}

}  // namespace

std::vector<RetentionPolicy> ClassicRetention(int max_to_keep, double hours) {
  std::vector<RetentionPolicy> policies = {
      max_to_keep > 0 ? KeepNewest{max_to_keep} : KeepNewest{}};
  if (hours > 0) policies.emplace_back(KeepEveryHours{hours});
  return policies;
}

absl::Status CheckRetention(const std::vector<RetentionPolicy>& policies) {
  for (const RetentionPolicy& policy : policies) {
    TF_RETURN_IF_ERROR(
        std::visit([](const auto& each) { return Check(each); }, policy));
  }
  return absl::OkStatus();
}

}  // namespace tftrain

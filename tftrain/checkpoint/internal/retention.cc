// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/retention.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <optional>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/index_lock.h"
#include "tftrain/checkpoint/internal/normal_path.h"

namespace tftrain::internal {

namespace {

using Metrics = Retention::Metrics;
using MetricsOf = absl::FunctionRef<Metrics(const std::string& prefix)>;

// Which of `all`, oldest first, a policy keeps on the list.
std::vector<size_t> Listed(const KeepNewest& policy,
                           const std::vector<KeptCheckpoint>& all, MetricsOf) {
  const size_t count = std::min(static_cast<size_t>(policy.count), all.size());
  std::vector<size_t> listed(count);
  std::iota(listed.begin(), listed.end(), all.size() - count);
  return listed;
}

std::vector<size_t> Listed(const KeepBest& policy,
                           const std::vector<KeptCheckpoint>& all,
                           MetricsOf metrics_of) {
  // The smaller the better, then the later.
  std::vector<std::pair<double, size_t>> ranking;
  for (size_t i = 0; i < all.size(); ++i) {
    const Metrics metrics = metrics_of(all[i].prefix);
    const auto it = metrics.find(policy.metric);
    if (it == metrics.end() || std::isnan(it->second)) continue;
    ranking.emplace_back(
        policy.mode == KeepBest::Mode::kMax ? -it->second : it->second,
        all.size() - 1 - i);
  }
  std::sort(ranking.begin(), ranking.end());
  std::vector<size_t> listed;
  for (const auto& [value, age] : ranking) {
    if (listed.size() == static_cast<size_t>(policy.count)) break;
    listed.push_back(all.size() - 1 - age);
  }
  return listed;
}

template <typename Policy>
std::vector<size_t> Listed(const Policy&, const std::vector<KeptCheckpoint>&,
                           MetricsOf) {
  return {};
}

// Whether a policy keeps for good a checkpoint that goes off the list. May
// change `next_preserved`, the policy's own.
bool Preserves(const KeepEverySteps& policy, const KeptCheckpoint& checkpoint,
               absl::Time*) {
  const std::optional<int64_t> step = StepOfPrefix(checkpoint.prefix);
  return step.has_value() && *step % policy.steps == 0;
}

bool Preserves(const KeepEveryHours& policy, const KeptCheckpoint& checkpoint,
               absl::Time* next_preserved) {
  if (checkpoint.time <= *next_preserved) return false;
  if (checkpoint.time == absl::InfiniteFuture()) return true;
  // The next one is due at the first full interval that lies ahead of this.
  const absl::Duration every = absl::Hours(policy.hours);
  const absl::Duration behind = checkpoint.time - *next_preserved;
  *next_preserved += absl::Floor(behind, every) + every;
  return true;
}

template <typename Policy>
bool Preserves(const Policy&, const KeptCheckpoint&, absl::Time*) {
  return false;
}

}  // namespace

Retention::Retention(const std::vector<RetentionPolicy>& policies,
                     absl::Time now) {
  for (const RetentionPolicy& policy : policies) Add(policy, now);
}

void Retention::Add(const RetentionPolicy& policy, absl::Time now) {
  policies_.push_back(policy);
  const auto* hours = std::get_if<KeepEveryHours>(&policy);
  next_preserved_.push_back(hours == nullptr ? absl::InfiniteFuture()
                                             : now + absl::Hours(hours->hours));
}

void Retention::set_kept(std::vector<KeptCheckpoint> kept) {
  kept_.clear();
  undeleted_.clear();
  std::set<std::string> seen;
  for (auto it = kept.rbegin(); it != kept.rend(); ++it) {
    if (seen.insert(NormalPath(it->prefix)).second) {
      kept_.push_back(std::move(*it));
    }
  }
  std::reverse(kept_.begin(), kept_.end());
}

Retention::Change Retention::Plan(std::string_view prefix, absl::Time now,
                                  MetricsOf metrics_of) const {
  const auto without_it =
      [path = NormalPath(prefix)](const std::vector<KeptCheckpoint>& list) {
        std::vector<KeptCheckpoint> others;
        std::copy_if(
            list.begin(), list.end(), std::back_inserter(others),
            [&](const auto& each) { return NormalPath(each.prefix) != path; });
        return others;
      };
  std::vector<KeptCheckpoint> all = without_it(kept_);
  all.push_back({std::string(prefix), now, /*own=*/true});

  std::vector<bool> listed(all.size(), false);
  listed.back() = true;
  for (const RetentionPolicy& policy : policies_) {
    const auto of_policy = std::visit(
        [&](const auto& each) { return Listed(each, all, metrics_of); },
        policy);
    for (const size_t i : of_policy) listed[i] = true;
  }

  Change change;
  change.deleted = without_it(undeleted_);
  change.next_preserved = next_preserved_;
  for (size_t i = 0; i < all.size(); ++i) {
    bool preserved = false;
    for (size_t p = 0; p < policies_.size() && !listed[i]; ++p) {
      preserved |= std::visit(
          [&](const auto& each) {
            return Preserves(each, all[i], &change.next_preserved[p]);
          },
          policies_[p]);
    }
    (listed[i]   ? change.kept
     : preserved ? change.preserved
                 : change.deleted)
        .push_back(all[i]);
  }
  return change;
}

void Retention::Apply(const Change& change,
                      std::vector<KeptCheckpoint> undeleted) {
  kept_ = change.kept;
  undeleted_ = std::move(undeleted);
  // A policy may have been added since.
  std::copy(change.next_preserved.begin(), change.next_preserved.end(),
            next_preserved_.begin());
}

bool IsOurs(const KeptCheckpoint& checkpoint, std::string_view folder) {
  return checkpoint.own || DirName(checkpoint.prefix) == folder;
}

bool DeleteCheckpoint(const KeptCheckpoint& checkpoint,
                      std::string_view folder) {
  const std::string where = DirName(checkpoint.prefix);
  if (!IsOurs(checkpoint, folder)) {
    LOG(WARNING) << "The old checkpoint \"" << checkpoint.prefix
                 << "\" is not deleted: it does not lie in \"" << folder
                 << "\", where checkpoints are written now";
    return true;
  }
  const absl::StatusOr<int> lock =
      LockIndex(checkpoint.prefix, IndexLockKind::kDelete);
  if (absl::IsFailedPrecondition(lock.status())) {
    LOG(INFO) << lock.status().message();
    return false;
  }
  const absl::Cleanup unlock = [&lock] {
    if (lock.ok()) CurrentFileOps().Close(*lock);
  };
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(where);
  if (!names.ok()) {
    LOG(WARNING) << "The old checkpoint \"" << checkpoint.prefix
                 << "\" is not deleted: " << names.status().message();
    return true;
  }
  for (const std::string& name :
       FilesOfCheckpoint(BaseName(checkpoint.prefix), *names)) {
    const absl::Status status = RemoveFile(JoinPath(where, name));
    if (!status.ok()) {
      LOG(WARNING) << "A file of an old checkpoint stays: " << status.message();
    }
  }
  return true;
}

}  // namespace tftrain::internal

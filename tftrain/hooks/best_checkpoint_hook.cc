// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/best_checkpoint_hook.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/internal/checkpoint_notes.h"
#include "tftrain/hooks/internal/training_pause.h"

namespace tftrain {
namespace {

struct Ranked {
  double value;
  std::string prefix;
};

bool IsBetter(double a, double b, MetricMode mode) {
  return mode == MetricMode::kMin ? a < b : a > b;
}

// The complete checkpoints of `folder` that have the metric, best first, of
// equal ones the newest.
absl::StatusOr<std::vector<Ranked>> Rank(std::string_view folder,
                                         const std::string& metric,
                                         MetricMode mode) {
  TF_ASSIGN_OR_RETURN(const std::vector<ListedCheckpoint> checkpoints,
                      ListCheckpoints(folder));
  std::vector<Ranked> ranked;
  for (const ListedCheckpoint& checkpoint : checkpoints) {
    if (!checkpoint.complete) continue;
    const std::map<std::string, double> metrics =
        Saver::Metrics(checkpoint.prefix);
    const auto it = metrics.find(metric);
    if (it != metrics.end()) ranked.push_back({it->second, checkpoint.prefix});
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [mode](const Ranked& a, const Ranked& b) {
                     return IsBetter(a.value, b.value, mode);
                   });
  return ranked;
}

// NanLossError() if a variable in the checkpoint `prefix` is not finite.
absl::Status CheckFinite(const std::string& prefix) {
  TF_ASSIGN_OR_RETURN(const std::vector<TensorStatistics> found,
                      ScanForNonFinite(prefix));
  if (found.empty()) return absl::OkStatus();
  return NanLossError(absl::StrCat(
      "the variable \"", found.front().name, "\" in \"", prefix, "\" holds ",
      found.front().nans > 0 ? "a NaN" : "an infinity"));
}

}  // namespace

BestCheckpointHook::BestCheckpointHook(Options options)
    : options_(std::move(options)),
      metric_(options_.metric.empty() ? options_.tensor : options_.metric),
      save_path_(
          JoinPath(options_.checkpoint_dir, options_.checkpoint_basename)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()) {}

absl::Status BestCheckpointHook::Begin(BeginContext& context) {
  if (options_.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint_dir is empty, give the folder for the checkpoints");
  }
  if (metric_.empty()) {
    return absl::InvalidArgumentError(
        "neither metric nor tensor is set, say by what checkpoints are judged");
  }
  TF_RETURN_IF_ERROR(internal::CheckMetricName(metric_));
  if (options_.keep < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("keep is \"", options_.keep,
                     "\", give a positive number of checkpoints"));
  }
  if (!(options_.save_patience_secs >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("save_patience_secs is \"", options_.save_patience_secs,
                     "\", give 0 or more seconds"));
  }
  scaffold_ = context.scaffold();
  if (!is_measuring()) return absl::OkStatus();
  return watch_.Begin(context, options_.tensor, options_.source, options_.every,
                      options_.clock, "BestCheckpointHook");
}

absl::Status BestCheckpointHook::AfterCreateSession(Session& session,
                                                    Coordinator&) {
  saver_ = options_.saver != nullptr ? options_.saver : scaffold_->saver();
  if (saver_ == nullptr || saver_->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is nothing to save into \"", options_.checkpoint_dir,
        "\": the session has no saver, or one without variables"));
  }
  if (told_.lock() != saver_) {
    TF_RETURN_IF_ERROR(
        saver_->AddRetention(KeepBest{metric_, options_.keep, options_.mode}));
    told_ = saver_;
  }
  if (is_measuring()) {
    TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
    watch_.GoOnFrom(step);
  }
  best_.clear();
  TF_RETURN_IF_ERROR(CreateFolders(DirName(save_path_)));
  TF_ASSIGN_OR_RETURN(const std::vector<Ranked> ranked,
                      Rank(DirName(save_path_), metric_, options_.mode));
  for (const Ranked& each : ranked) {
    if (best_.size() == static_cast<size_t>(options_.keep)) break;
    best_.push_back(each.value);
  }
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> BestCheckpointHook::BeforeRun(
    SessionRunContext&) {
  return is_measuring() ? watch_.BeforeRun() : SessionRunArgs();
}

absl::Status BestCheckpointHook::OnUndone(SessionRunContext& context) {
  if (!is_measuring()) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  watch_.GoOnFrom(step);
  return absl::OkStatus();
}

absl::Status BestCheckpointHook::AfterRun(SessionRunContext& context,
                                          const SessionRunValues& values) {
  if (!is_measuring()) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const std::optional<Measurement> measured,
                      watch_.AfterRun(context, values));
  return KeepIfBest(context.session(), measured);
}

absl::Status BestCheckpointHook::End(Session& session) {
  TF_ASSIGN_OR_RETURN(const std::optional<Measurement> measured,
                      watch_.AskSource());
  TF_RETURN_IF_ERROR(KeepIfBest(session, measured));
  WarnIfNoneHasIt();
  return absl::OkStatus();
}

absl::Status BestCheckpointHook::KeepIfBest(
    Session& session, const std::optional<Measurement>& measured) {
  if (!measured.has_value() || !IsAmongBest(measured->value)) {
    return absl::OkStatus();
  }
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  // That of an earlier step is not the model that would be saved now.
  if (measured->step != step || session.state_rejected()) {
    return absl::OkStatus();
  }
  return Keep(session, *measured);
}

bool BestCheckpointHook::IsAmongBest(double value) const {
  if (!std::isfinite(value)) return false;
  return best_.size() < static_cast<size_t>(options_.keep) ||
         IsBetter(value, best_.back(), options_.mode);
}

absl::Status BestCheckpointHook::Save(Session& session,
                                      const Measurement& measured) {
  const std::map<std::string, double> metrics = {{metric_, measured.value}};
  const bool check_finite =
      options_.check_finite && saver_->CanCheckFinite(session);
  // A save in the background may be that of this step.
  TF_RETURN_IF_ERROR(
      saver_->AwaitSave(absl::Seconds(options_.save_patience_secs)));
  if (const std::optional<std::string> saved =
          saver_->CheckpointOf(session, save_path_, measured.step)) {
    absl::Status noted = check_finite ? CheckFinite(*saved) : absl::OkStatus();
    if (noted.ok()) noted = Saver::SetMetrics(*saved, metrics);
    // It may have been deleted meanwhile.
    if (!absl::IsNotFound(noted)) return noted;
  }
  Saver::SaveOptions options;
  options.global_step = measured.step;
  options.write_meta_graph = options_.save_graph_def;
  options.check_finite = check_finite;
  options.metrics = metrics;
  return saver_->Save(session, save_path_, options).status();
}

absl::Status BestCheckpointHook::Keep(Session& session,
                                      const Measurement& measured) {
  const internal::TrainingPause pause(clock_);
  const absl::Status saved = Save(session, measured);
  if (IsNanLoss(saved)) {
    LOG(WARNING) << "Not kept among the best, for all its \"" << metric_
                 << "\" of " << measured.value << ", is the model of step "
                 << measured.step << ": " << saved.message();
    return absl::OkStatus();
  }
  if (!saved.ok()) {
    if (++saves_failed_ == 1) {
      LOG(WARNING) << "The model of step " << measured.step
                   << ", which is among the best, is not kept because "
                   << saved.message() << "; this is not said again";
    }
    return absl::OkStatus();
  }
  LOG(INFO) << "Kept the checkpoint of step " << measured.step << ", whose \""
            << metric_ << "\" of " << measured.value << " is among the best "
            << options_.keep;
  best_.insert(std::upper_bound(best_.begin(), best_.end(), measured.value,
                                [this](double a, double b) {
                                  return IsBetter(a, b, options_.mode);
                                }),
               measured.value);
  if (best_.size() > static_cast<size_t>(options_.keep)) best_.pop_back();
  return absl::OkStatus();
}

void BestCheckpointHook::WarnIfNoneHasIt() const {
  if (!best_.empty()) return;
  const absl::StatusOr<std::vector<ListedCheckpoint>> checkpoints =
      ListCheckpoints(DirName(save_path_));
  if (!checkpoints.ok()) return;
  std::set<std::string> names;
  for (const ListedCheckpoint& checkpoint : *checkpoints) {
    for (const auto& [name, value] : Saver::Metrics(checkpoint.prefix)) {
      names.insert(name);
    }
  }
  if (names.count(metric_) > 0) return;
  LOG(WARNING) << "No checkpoint in \"" << DirName(save_path_)
               << "\" has the metric \"" << metric_
               << "\", so that none was kept for it; the metrics there are: "
               << (names.empty() ? "none" : absl::StrJoin(names, ", "));
}

absl::StatusOr<std::optional<std::string>> BestCheckpoint(
    std::string_view folder, const std::string& metric, MetricMode mode) {
  TF_ASSIGN_OR_RETURN(const std::vector<Ranked> ranked,
                      Rank(folder, metric, mode));
  if (ranked.empty()) return std::optional<std::string>();
  return std::optional<std::string>(ranked.front().prefix);
}

std::shared_ptr<BestCheckpointHook> KeepBestCheckpoints(
    std::string checkpoint_dir, std::string tensor, const Every& every,
    MetricMode mode) {
  BestCheckpointHook::Options options;
  options.checkpoint_dir = std::move(checkpoint_dir);
  options.tensor = std::move(tensor);
  options.every = every;
  options.mode = mode;
  return std::make_shared<BestCheckpointHook>(std::move(options));
}

}  // namespace tftrain

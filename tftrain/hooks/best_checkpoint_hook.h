// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Keeps the best checkpoints of a run.

#ifndef TFTRAIN_HOOKS_BEST_CHECKPOINT_HOOK_H_
#define TFTRAIN_HOOKS_BEST_CHECKPOINT_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/metric_watch.h"
#include "tftrain/hooks/metric_source.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/setup/scaffold.h"

namespace tftrain {

// Keeps the checkpoints with the best values of a metric, beside those that the
// saver keeps anyway (see KeepBest), and saves the model when it is among the
// best. All lie in the one folder of the run, with the metric beside them, so
// that nothing is copied, a later run knows them, and BestCheckpoint() finds
// the best one; the newest one is still what a session is restored from.
//
// Where the metric is one that an evaluation notes on checkpoints, as EvalHook
// does, no tensor and no source is given: the hook then saves nothing itself,
// and the best of the evaluated checkpoints are kept.
//
// A save is made in the step with which the value came, before training goes
// on, or at the end for what a source measured there; none of a state that a
// hook rejected (SessionRunHook::Judge). One that fails ends no training: it is
// warned of and counted, and the next value that is among the best of what was
// kept tries again. The value of a tensor is that of the step: for a loss,
// mostly that of the variables before their update, which that update may
// spoil. So the variables are looked at as well (`check_finite`).
//
// In the list of hooks it stands behind the one that measures. It takes the
// checkpoint of the same step that a CheckpointSaverHook before it has saved in
// place of one of its own, having waited for it if it is written in the
// background; one behind it saves such a step once more, with the metric.
//
// Confined: the session calls a hook from one thread.
// Python: tf.estimator's BestExporter; Keras's ModelCheckpoint with
// save_best_only.
//
//   options.hooks = {SaveCheckpoints("run", Every::Steps(500)),
//                    KeepBestCheckpoints("run", "loss:0", Every::Steps(50))};
class BestCheckpointHook : public SessionRunHook {
 public:
  struct Options {
    // The folder of the run's checkpoints; made if it is missing.
    std::string checkpoint_dir;

    // Checkpoints are `checkpoint_dir`/`checkpoint_basename`-STEP.
    std::string checkpoint_basename = "model.ckpt";

    // What checkpoints call the metric. Default: the tensor's name.
    std::string metric;

    // Where its values come from: a scalar of the graph by name, "loss:0"; or a
    // source, of whose measurements those of the present step count; or, with
    // neither, somebody notes them on checkpoints (Saver::SetMetrics).
    std::string tensor;
    MetricSource source;

    // When the tensor is fetched, beginning with the first step of a session;
    // in steps of this session. Not for a source.
    Every every = Every::Steps(100);

    // Whether smaller or larger values are better. Values that are not finite
    // are none of the best.
    MetricMode mode = MetricMode::kMin;

    // How many checkpoints are kept for their values.
    int keep = 1;

    // What saves; null means the saver of the session's own scaffold.
    std::shared_ptr<Saver> saver;

    // Whether a `.meta` is written beside a checkpoint.
    bool save_graph_def = true;

    // Whether a model with a NaN or an infinity in a variable of floating or
    // complex type is none of the best: it is not saved, with a warning. Where
    // that cannot be known before it is saved (Saver::CanCheckFinite()), nobody
    // looks.
    bool check_finite = true;

    // How long a save waits for one in the background, such as that of a
    // CheckpointSaverHook, before it counts as failed.
    double save_patience_secs = 600;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit BestCheckpointHook(Options options);

  // Errors: kInvalidArgument for an empty `checkpoint_dir`, without `metric`
  // and `tensor`, with both `tensor` and `source`, for a `keep` below 1, for a
  // negative `save_patience_secs`, for a tensor that the graph does not have or
  // that is no number, a metric's name that is no UTF-8, and for `every` as
  // SecondOrStepTimer::Create;
  // kFailedPrecondition without a global step; that of `source`, which is
  // kInvalidArgument for a metric that its EvalHook does not measure.
  absl::Status Begin(BeginContext& context) override;

  // Errors: kFailedPrecondition when there is no saver, or it has nothing to
  // save; those of reading the folder.
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: that of `source`.
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

  // Keeps what the source measured at the end, and warns if no checkpoint in
  // the folder has the metric.
  // Errors: that of `source`.
  absl::Status End(Session& session) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

  // How many saves have failed, since the hook was made.
  int64_t saves_failed() const { return saves_failed_; }

 private:
  bool is_measuring() const {
    return !options_.tensor.empty() || options_.source != nullptr;
  }
  bool IsAmongBest(double value) const;
  void WarnIfNoneHasIt() const;
  // Keeps the model of `session` if `measured` is of it and among the best.
  absl::Status KeepIfBest(Session& session,
                          const std::optional<Measurement>& measured);
  absl::Status Keep(Session& session, const Measurement& measured);
  // Sees that there is a checkpoint of the model with the metric.
  // Errors: NanLossError() when it is not finite; those of saving.
  absl::Status Save(Session& session, const Measurement& measured);

  const Options options_;
  const std::string metric_;
  const std::string save_path_;
  Clock* const clock_;
  std::shared_ptr<Scaffold> scaffold_;
  internal::MetricWatch watch_;
  std::shared_ptr<Saver> saver_;
  // The saver that was told what to keep.
  std::weak_ptr<Saver> told_;

  // The best values, at most `keep`, best first.
  std::vector<double> best_;
  int64_t saves_failed_ = 0;
};

// The checkpoint in `folder` with the best value of `metric`, the later of two
// that are equal; nothing when none has it.
// Errors: those of ListCheckpoints().
absl::StatusOr<std::optional<std::string>> BestCheckpoint(
    std::string_view folder, const std::string& metric,
    MetricMode mode = MetricMode::kMin);

// Keeps the best checkpoint in `checkpoint_dir` by the tensor `tensor`, looked
// at at the cadence `every`.
std::shared_ptr<BestCheckpointHook> KeepBestCheckpoints(
    std::string checkpoint_dir, std::string tensor,
    const Every& every = Every::Steps(100), MetricMode mode = MetricMode::kMin);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_BEST_CHECKPOINT_HOOK_H_

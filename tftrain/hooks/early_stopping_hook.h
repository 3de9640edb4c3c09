// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Ends training when a metric gets no better.

#ifndef TFTRAIN_HOOKS_EARLY_STOPPING_HOOK_H_
#define TFTRAIN_HOOKS_EARLY_STOPPING_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/metric_watch.h"
#include "tftrain/hooks/metric_source.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Asks for a stop when a metric has not improved in so many checks in a row. A
// check is a new measurement: of a tensor every so many steps or seconds, or of
// what another hook measures, such as an EvalHook, which stands before this one
// in the list.
//
// A value that is not finite (NaN, an infinity) is a check without an
// improvement. It is never the best value, and does not enter the smoothing.
//
// What the hook knows, it keeps from one session to the next. When training is
// taken back, by a Judge() or by a new session that begins at an earlier step
// than the last one judged, a best value of a later step is forgotten, and the
// checks are counted, and smoothed, anew. A new process knows nothing: give it
// the value to beat as `baseline`, which Saver::Metrics() of the best
// checkpoint has.
//
// Confined: the session calls a hook from one thread.
// Python: tf.estimator's stop_if_no_decrease_hook, which is silently without
// effect when its metric never appears; Keras's EarlyStopping.
//
//   options.hooks = {StopEarly("loss:0", /*patience=*/20, Every::Steps(100))};
class EarlyStoppingHook : public SessionRunHook {
 public:
  struct Options {
    // A scalar of the graph by name, "loss:0"; or a source, whose metric `name`
    // calls in messages. Exactly one of the two must be set.
    std::string tensor;
    MetricSource source;
    // Default: the tensor's name, or "metric".
    std::string name;

    // When the tensor is fetched, beginning with the first step of a session;
    // in steps of this session. Not for a source, which is asked after each
    // step.
    Every every = Every::Steps(100);

    // Whether smaller or larger values are better.
    MetricMode mode = MetricMode::kMin;

    // The stop comes with so many checks in a row without an improvement.
    int patience = 10;

    // An improvement is one by more than this, in the metric's unit.
    double min_delta = 0;

    // What of the smoothed value is the former one, from 0, no smoothing, to
    // below 1: s = smoothing * s + (1 - smoothing) * value, beginning with the
    // first value. The smoothed value is what is judged.
    double smoothing = 0;

    // Measurements of earlier global steps are not judged.
    int64_t start_from_step = 0;

    // The value that must be beaten from the start; nothing: the first one.
    std::optional<double> baseline;

    // After so many steps of a session from `start_from_step` on without any
    // measurement, the next Run(), or Close(), fails. Without this, Close()
    // fails if a tensor had no value in any of them, and warns if a source had
    // none, which may not have been due. That nobody measures such a metric, a
    // source tells at once.
    std::optional<int64_t> must_appear_within_steps;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit EarlyStoppingHook(Options options);

  // Errors: kInvalidArgument if none or both of `tensor` and `source` are set,
  // for a tensor that the graph does not have or that is no number, for
  // `every` as SecondOrStepTimer::Create, for a `patience` or
  // `must_appear_within_steps` below 1, a negative `min_delta` and a
  // `smoothing` outside [0, 1); kFailedPrecondition without a global step; that
  // of `source`, which is kInvalidArgument for a metric that its EvalHook does
  // not measure.
  absl::Status Begin(BeginContext& context) override;

  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;

  // Errors: kFailedPrecondition when the metric should have appeared.
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: that of `source`.
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

  // Judges what a source has measured since the last step, such as at the end.
  // Errors: kFailedPrecondition when the metric should have appeared; that of
  // `source`.
  absl::Status End(Session& session) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

  // The best (smoothed) value so far; nothing before the first.
  const std::optional<Measurement>& best() const { return best_; }

  // The checks in a row without an improvement.
  int checks_without_improvement() const { return waited_; }

 private:
  absl::Status CheckOptions() const;
  absl::Status NeverAppeared() const;
  // Training goes on from `step`; what is known of later steps is forgotten.
  void GoOnFrom(int64_t step);
  // Takes note of a measurement.
  void TakeNote(const Measurement& measured);
  // The same of a value; returns whether it is an improvement.
  bool Improves(const Measurement& measured);
  std::string Reason() const;

  const Options options_;
  const std::string name_;
  internal::MetricWatch watch_;

  std::optional<Measurement> best_;
  std::optional<double> smoothed_;
  int waited_ = 0;

  // In this session: whether the metric was measured, and the steps since
  // `start_from_step` before that.
  bool has_appeared_ = false;
  int64_t steps_without_ = 0;
};

// Stops when the tensor `tensor`, looked at at the cadence `every`, has not
// fallen (or, with kMax, risen) in `patience` checks in a row.
std::shared_ptr<EarlyStoppingHook> StopEarly(
    std::string tensor, int patience, const Every& every = Every::Steps(100),
    MetricMode mode = MetricMode::kMin);

// The same for what `source` measures, called `name`.
std::shared_ptr<EarlyStoppingHook> StopEarly(
    std::string name, MetricSource source, int patience,
    MetricMode mode = MetricMode::kMin);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_EARLY_STOPPING_HOOK_H_

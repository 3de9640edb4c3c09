// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Evaluates a model while it trains.

#ifndef TFTRAIN_HOOKS_EVAL_HOOK_H_
#define TFTRAIN_HOOKS_EVAL_HOOK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/hooks/checkpoint_saver_listener.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/eval_input.h"
#include "tftrain/hooks/logging_tensor_hook.h"
#include "tftrain/hooks/metric_source.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/session.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

// What an evaluation came to.
//
// Thread-compatible: const calls may run together.
struct EvalResult {
  // The global step of the model that was evaluated.
  int64_t step = 0;
  std::map<std::string, double> metrics;
  // Over how many steps of evaluation.
  int64_t num_steps = 0;
  // The checkpoint that holds this model; empty when there is none.
  std::string checkpoint;
};

// Evaluates the model every so many steps or seconds, after each checkpoint
// (see EvaluateCheckpoints), or both, on the thread that trains:
//
//   - with a `graph` of its own, in a session of its own that lives as long as
//     the training one: the folder's newest checkpoint is restored into it,
//     with a CheckpointPin on it until all is noted, and local variables,
//     tables and iterators are initialised again, for each evaluation. If the
//     graph has queue runners, they run during each evaluation, in a session
//     made for it. A checkpoint that was evaluated already is not evaluated
//     again, and without any nothing is done;
//   - without, in the graph and with the variables that are trained, as they
//     are at this moment, by runs without hooks that get their input from
//     `feeds` or from iterators of their own. What would take input away from
//     training, or set it back, is refused.
//
// An evaluation runs until its input ends or `max_steps` are reached. Its
// result goes to the log, as scalars to the event files in
// `checkpoint_dir`/eval, to the checkpoint of this very step, if there is one
// (Saver::SetMetrics; see BestCheckpointHook), to `on_result`, and to those who
// ask for it (MetricOf). An error of an evaluation is one of training: Run() or
// Close() fails with it. A disk that fails for events or for the note on a
// checkpoint ends no training: it is warned of.
//
// A stop that is asked for from outside the steps, of the Coordinator, by
// SingularMonitoredSession::RequestStop() or by a TimeLimitHook, is in a hurry:
// no evaluation begins after it, also not at the end, and one that runs ends
// with the step it is in, without a result.
//
// When training is taken back, by a Judge() or by a new session, a result of a
// later step is forgotten, and `every` counts from there.
//
// In the list of hooks it stands behind the CheckpointSaverHook, and before
// those that judge what it measures.
//
// Confined: the session calls a hook from one thread.
// Python: tf.estimator's train_and_evaluate and InMemoryEvaluatorHook.
//
//   EvalHook::Options eval;
//   eval.checkpoint_dir = "run";
//   eval.every = Every::Steps(1000);
//   eval.graph = eval_graph;
//   eval.metrics = {{"accuracy", "accuracy:0"}};
//   options.hooks = {SaveCheckpoints("run", Every::Steps(1000)),
//                    std::make_shared<EvalHook>(eval)};
class EvalHook : public SessionRunHook {
 public:
  struct Options {
    // The folder of the run's checkpoints. May be empty without `graph`;
    // nothing is noted on checkpoints then.
    std::string checkpoint_dir;

    // Tells several evaluations of a run apart: events go to eval_NAME then,
    // checkpoints call a metric NAME/TAG, and lines of the log say so. Those
    // without a name must not have tags in common: one would overwrite the
    // other's.
    std::string name;

    // When, in global steps from the session's first one on. Nothing: after
    // checkpoints only.
    std::optional<Every> every;
    // Whether to evaluate at the end as well, if `every` is set; when a step
    // asked for the end, its hooks included, or its input ended.
    bool at_end = true;

    // The graph to evaluate, whose variables have the names of those trained,
    // and which the hook finalizes; null: the graph that is trained.
    GraphPtr graph;
    // Of `graph`: its saver restores, its local_init_op runs before each
    // evaluation. Null: a default one.
    std::shared_ptr<Scaffold> scaffold;
    // How a session on `graph` is opened.
    Session::Options session;

    // Scalars whose mean over the steps of the evaluation is wanted, each step
    // counting the same.
    std::vector<LoggedTensor> metrics;
    // Operations that run in each step, such as the updates of streaming
    // metrics, and the scalars that are read after the last one. Local
    // variables of the graph that is trained must be set back by `init_ops`.
    std::vector<std::string> update_ops;
    std::vector<LoggedTensor> final_metrics;
    // Operations that run before each evaluation, in this order, each in a run
    // of its own.
    std::vector<std::string> init_ops;

    // The input of the evaluation's step `i`, counted from 0; not that of
    // `init_ops` and `final_metrics`. Ends the evaluation by EndOfInputError().
    std::function<absl::StatusOr<Feeds>(int64_t i)> feeds;
    // So many steps at most. Must be set if no input can end.
    std::optional<int64_t> max_steps;

    // Gets each result; an error of it is one of the evaluation.
    std::function<absl::Status(const EvalResult&)> on_result;

    // Where events go; null means the folder's. Without that and without
    // `checkpoint_dir` there are none.
    std::shared_ptr<EventFileWriter> summary_writer;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit EvalHook(Options options);

  // Errors: kInvalidArgument for a `graph` that is the one trained or comes
  // without a `checkpoint_dir`, without any metric, for a name that the graph
  // does not have, a metric that is no number, two of one tag, a tag that is
  // empty, a tag or `name` that is no UTF-8, a placeholder that nothing feeds,
  // a `max_steps` below 1 or missing where nothing else ends, for a queue of
  // `graph` that nothing could fill, so that reading it would wait for ever,
  // and for `every` as SecondOrStepTimer::Create; kFailedPrecondition without a
  // global step in the graph that is trained, and when the evaluation would
  // take input away from its train ops; those of Scaffold::Finalize and
  // EventFileWriterCache::Get.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;

  // Errors: kFailedPrecondition when the step reads what the evaluation would
  // take away from it.
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: those of Evaluate().
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

  // Evaluates now, unless this very model was the last one evaluated, or
  // training is to stop. `training` is the session that trains, without hooks.
  // Errors: kFailedPrecondition when the hook is not in the list of hooks of
  // that session, when the evaluation would take input away from training, and
  // when it found no input at all; those of Saver::Restore; those of its runs,
  // of which none is the end of an input.
  absl::Status Evaluate(Session& training);

  // The newest result; nothing before the first, and none of a step that was
  // undone.
  const std::optional<EvalResult>& last_result() const { return last_result_; }

  // Whether the hook has begun with a session whose graph is still there.
  bool has_begun() const { return !training_graph_.expired(); }

  // The tags of all metrics, in the order of the options.
  std::vector<std::string> MetricNames() const;

  // How often metrics could not be noted on a checkpoint, since the hook was
  // made.
  int64_t notes_failed() const { return notes_failed_; }

 private:
  friend class EvalListener;

  // The full names of the tensors in the options.
  struct Names {
    std::vector<std::string> metrics;
    std::vector<std::string> final_metrics;
  };

  // Tells a model from others: its checkpoint or none, its step, when the
  // checkpoint was written.
  struct Model {
    std::string checkpoint;
    int64_t step = 0;
    absl::Time written;
    bool operator==(const Model& other) const {
      return checkpoint == other.checkpoint && step == other.step &&
             written == other.written;
    }
  };

  absl::Status FindNames(const Graph& graph);
  // That each evaluation gets input, and ends.
  absl::Status CheckInput(const Graph& graph);
  // What each step of an evaluation runs, with the feeds if there are any.
  Request StepRequest() const;

  absl::Status EvaluateNewest();
  absl::Status EvaluateLive(Session& training);
  absl::Status RestoreAndInit(const std::string& checkpoint);
  // Starts the queue runners of the evaluation's graph, if it has any. Stopping
  // them closes their queues for good, and so the session, which frees those
  // that wait for something else.
  absl::Status StartQueueRunners();
  void StopQueueRunners();
  // Whether somebody who will not wait asked for the end of training.
  bool is_interrupted() const;
  // Runs the steps of an evaluation in `session`, which may be the one that
  // trains. Nothing when it was interrupted.
  absl::StatusOr<std::optional<EvalResult>> RunSteps(Session& session,
                                                     bool is_training);
  // Where events go; null means nowhere.
  absl::Status OpenWriter();
  absl::Status Tell(EvalResult result);
  // Notes the metrics on the checkpoint.
  void Note(const EvalResult& result);
  void NoteFailed(int64_t step, const absl::Status& status);
  // Training goes on from `step`; what was found out about later steps is
  // forgotten.
  void GoOnFrom(int64_t step);
  // The newest checkpoint, and a pin on it; nothing when there is none.
  absl::StatusOr<std::optional<std::pair<std::string, CheckpointPin>>>
  PinNewest() const;
  void CloseSession();
  void LetGo();

  const Options options_;
  Clock* const clock_;
  std::optional<SecondOrStepTimer> timer_;
  // Null in the graph that is trained.
  const std::shared_ptr<Scaffold> scaffold_;
  Names names_;
  // Of the graph that the hook has begun with.
  std::optional<internal::EvalInput> input_;

  // That of the session with which the hook has begun.
  std::weak_ptr<Graph> training_graph_;
  // Of the session that trains, as long as it does.
  Coordinator* coordinator_ = nullptr;

  // Of the evaluation, opened with the first one.
  std::shared_ptr<Session> session_;
  // While queue runners run in it.
  std::shared_ptr<Coordinator> queue_coordinator_;
  std::shared_ptr<EventFileWriter> writer_;
  bool has_begun_events_ = false;

  std::optional<Model> last_model_;
  std::optional<EvalResult> last_result_;
  int64_t notes_failed_ = 0;
};

// A listener for CheckpointSaverHook::Options that lets `eval` evaluate after
// each checkpoint. It must be in the session's list of hooks as well, or the
// first save is kFailedPrecondition. One without a `graph` evaluates the model
// as it is then, which after a save in the background is a later one.
CheckpointSaverListenerPtr EvaluateCheckpoints(std::shared_ptr<EvalHook> eval);

// The metric with the tag `name` as `eval` measures it. For one that it does
// not measure the source is kInvalidArgument from the start, and it is
// kFailedPrecondition before `eval` has begun: it must be in the list of hooks,
// before those that ask.
MetricSource MetricOf(std::shared_ptr<const EvalHook> eval, std::string name);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_EVAL_HOOK_H_

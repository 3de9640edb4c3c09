// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/eval_hook.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/checkpoint_notes.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/named_tensors.h"
#include "tftrain/hooks/internal/training_pause.h"
#include "tftrain/hooks/internal/writer_of.h"

namespace tftrain {
namespace {

// How often another checkpoint is looked for when the newest is just deleted.
constexpr int kMaxAttempts = 10;
// How long the end of an evaluation waits for threads, and for a server.
constexpr absl::Duration kEndPatience = absl::Seconds(5);

// `status`, which is not to end training as its own input's end would.
absl::Status NotTheEnd(const absl::Status& status) {
  if (!IsEndOfInput(status)) return Annotate(status, "in an evaluation");
  return absl::FailedPreconditionError(absl::StrCat(
      "input ended outside the steps of an evaluation: ", status.message()));
}

std::shared_ptr<Scaffold> ScaffoldOf(const EvalHook::Options& options) {
  if (options.graph == nullptr || options.scaffold != nullptr) {
    return options.scaffold;
  }
  return std::make_shared<Scaffold>();
}

}  // namespace

// Passes each checkpoint on.
//
// Confined: as the hook that calls it.
class EvalListener : public CheckpointSaverListener {
 public:
  explicit EvalListener(std::shared_ptr<EvalHook> eval)
      : eval_(std::move(eval)) {}

  absl::StatusOr<bool> AfterSave(Session& session, int64_t) override {
    TF_RETURN_IF_ERROR(eval_->Evaluate(session));
    return false;
  }
  // The hook's own End() may have been called before the last save.
  absl::Status End(Session&, int64_t) override {
    eval_->LetGo();
    return absl::OkStatus();
  }
  void OnAbort(const absl::Status&) override { eval_->LetGo(); }

 private:
  const std::shared_ptr<EvalHook> eval_;
};

CheckpointSaverListenerPtr EvaluateCheckpoints(std::shared_ptr<EvalHook> eval) {
  return std::make_shared<EvalListener>(std::move(eval));
}

MetricSource MetricOf(std::shared_ptr<const EvalHook> eval, std::string name) {
  absl::Status known;
  const std::vector<std::string> names = eval->MetricNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    known = absl::InvalidArgumentError(absl::StrCat(
        "the evaluation does not measure \"", name, "\", take one of \"",
        absl::StrJoin(names, "\", \""), "\""));
  }
  return [eval = std::move(eval), name = std::move(name),
          known = std::move(
              known)]() -> absl::StatusOr<std::optional<Measurement>> {
    TF_RETURN_IF_ERROR(known);
    if (!eval->has_begun()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "\"", name,
          "\" is measured by an EvalHook that has not begun; list "
          "it among the session's hooks, before those that ask it"));
    }
    const std::optional<EvalResult>& result = eval->last_result();
    if (!result.has_value()) return std::nullopt;
    return Measurement{result->step, result->metrics.at(name)};
  };
}

EvalHook::EvalHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()),
      scaffold_(ScaffoldOf(options_)) {}

absl::Status EvalHook::Begin(BeginContext& context) {
  training_graph_.reset();
  if (options_.graph != nullptr && options_.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint_dir is empty, give the folder of the checkpoints that the "
        "graph is evaluated with");
  }
  if (options_.graph == context.graph_ptr()) {
    return absl::InvalidArgumentError(
        "the graph of the evaluation is the one that is trained; leave it away "
        "to evaluate that one, or give another");
  }
  if (options_.max_steps.value_or(1) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_steps is \"", *options_.max_steps,
                     "\", give a positive number of steps"));
  }
  TF_RETURN_IF_ERROR(RequireGlobalStep(context.graph(), "EvalHook").status());
  timer_.reset();
  if (options_.every.has_value()) {
    TF_ASSIGN_OR_RETURN(
        timer_, SecondOrStepTimer::Create(*options_.every, options_.clock));
  }
  const Graph& graph =
      options_.graph != nullptr ? *options_.graph : context.graph();
  TF_RETURN_IF_ERROR(FindNames(graph));
  TF_RETURN_IF_ERROR(CheckInput(graph));
  coordinator_ = nullptr;
  last_model_.reset();
  if (options_.graph == nullptr) {
    Request train;
    for (std::string& name : graph.GetCollection(collection_keys::kTrainOp)) {
      (absl::StrContains(name, ':') ? train.fetches : train.targets)
          .push_back(std::move(name));
    }
    TF_RETURN_IF_ERROR(input_->NoteTraining(graph, train));
  } else {
    TF_RETURN_IF_ERROR(scaffold_->Finalize(*options_.graph));
  }
  TF_RETURN_IF_ERROR(OpenWriter());
  training_graph_ = context.graph_ptr();
  return absl::OkStatus();
}

std::vector<std::string> EvalHook::MetricNames() const {
  std::vector<std::string> names;
  for (const auto* metrics : {&options_.metrics, &options_.final_metrics}) {
    for (const LoggedTensor& metric : *metrics) names.push_back(metric.tag);
  }
  return names;
}

absl::Status EvalHook::FindNames(const Graph& graph) {
  if (!options_.name.empty()) {
    TF_RETURN_IF_ERROR(internal::CheckMetricName(options_.name));
  }
  std::set<std::string> tags;
  const auto find = [&](const std::vector<LoggedTensor>& tensors)
      -> absl::StatusOr<std::vector<std::string>> {
    std::vector<std::string> names;
    for (const LoggedTensor& tensor : tensors) {
      TF_RETURN_IF_ERROR(internal::CheckMetricName(tensor.tag));
      if (!tags.insert(tensor.tag).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("two metrics are called \"", tensor.tag,
                         "\"; give one of them another name"));
      }
      TF_ASSIGN_OR_RETURN(names.emplace_back(),
                          internal::NumberName(graph, tensor.tensor));
    }
    return names;
  };
  TF_ASSIGN_OR_RETURN(names_.metrics, find(options_.metrics));
  TF_ASSIGN_OR_RETURN(names_.final_metrics, find(options_.final_metrics));
  if (tags.empty()) {
    return absl::InvalidArgumentError(
        "neither metrics nor final_metrics are given, name at least one");
  }
  for (const auto* operations : {&options_.update_ops, &options_.init_ops}) {
    for (const std::string& operation : *operations) {
      TF_RETURN_IF_ERROR(graph.FindOperation(operation).status());
    }
  }
  return absl::OkStatus();
}

Request EvalHook::StepRequest() const {
  Request step;
  step.fetches = names_.metrics;
  step.targets = options_.update_ops;
  return step;
}

absl::Status EvalHook::CheckInput(const Graph& graph) {
  Request around;
  around.fetches = names_.final_metrics;
  around.targets = options_.init_ops;
  const bool is_fed = options_.feeds != nullptr;
  input_.emplace(StepRequest(), std::move(around), is_fed);
  if (!is_fed && !options_.max_steps.has_value()) {
    TF_RETURN_IF_ERROR(input_->CheckEnds(graph));
  }
  TF_RETURN_IF_ERROR(input_->CheckIsFed(graph));
  // Whatever else runs, or feeds, may well be what fills the queues.
  if (options_.graph == nullptr || options_.scaffold != nullptr || is_fed ||
      !options_.init_ops.empty() || !options_.update_ops.empty() ||
      !options_.session.target.empty()) {
    return absl::OkStatus();
  }
  return input_->CheckQueuesAreFilled(graph);
}

absl::Status EvalHook::AfterCreateSession(Session& session,
                                          Coordinator& coordinator) {
  coordinator_ = &coordinator;
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  GoOnFrom(step);
  return absl::OkStatus();
}

absl::Status EvalHook::OnUndone(SessionRunContext& context) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  GoOnFrom(step);
  return absl::OkStatus();
}

void EvalHook::GoOnFrom(int64_t step) {
  if (timer_.has_value()) timer_->UpdateLastTriggeredStep(step);
  if (last_model_.has_value() && last_model_->step > step) last_model_.reset();
  if (last_result_.has_value() && last_result_->step > step) {
    last_result_.reset();
    has_begun_events_ = false;
  }
}

absl::StatusOr<SessionRunArgs> EvalHook::BeforeRun(SessionRunContext& context) {
  if (options_.graph == nullptr) {
    TF_RETURN_IF_ERROR(input_->NoteTraining(*context.session().graph(),
                                            context.original_args()));
  }
  return SessionRunArgs();
}

absl::Status EvalHook::AfterRun(SessionRunContext& context,
                                const SessionRunValues&) {
  if (!timer_.has_value()) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (!timer_->ShouldTriggerForStep(step)) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  return Evaluate(context.session());
}

absl::Status EvalHook::Evaluate(Session& training) {
  if (training_graph_.lock() != training.graph()) {
    return absl::FailedPreconditionError(
        "an EvalHook is to evaluate that has not begun with this session; list "
        "it among the session's hooks, beside the hook that has it as a "
        "listener");
  }
  if (is_interrupted()) {
    LOG(INFO) << "Nothing is evaluated, as training is to stop";
    return absl::OkStatus();
  }
  const internal::TrainingPause pause(clock_);
  return NotTheEnd(CallUserCode([&] {
    return options_.graph != nullptr ? EvaluateNewest()
                                     : EvaluateLive(training);
  }));
}

bool EvalHook::is_interrupted() const {
  return coordinator_ != nullptr && coordinator_->ShouldStop();
}

absl::StatusOr<std::optional<std::pair<std::string, CheckpointPin>>>
EvalHook::PinNewest() const {
  absl::Status gone;
  for (int i = 0; i < kMaxAttempts; ++i) {
    TF_ASSIGN_OR_RETURN(const std::optional<std::string> newest,
                        LatestCheckpoint(options_.checkpoint_dir));
    if (!newest.has_value()) return {std::nullopt};
    absl::StatusOr<CheckpointPin> pin = CheckpointPin::Take(*newest);
    if (pin.ok()) return {std::pair{*newest, *std::move(pin)}};
    if (!absl::IsNotFound(pin.status())) return pin.status();
    gone = pin.status();
  }
  return gone;
}

absl::Status EvalHook::EvaluateNewest() {
  TF_ASSIGN_OR_RETURN(const auto pinned, PinNewest());
  if (!pinned.has_value()) {
    LOG(INFO) << "There is no checkpoint to evaluate in \""
              << options_.checkpoint_dir << "\" yet";
    return absl::OkStatus();
  }
  const std::string& checkpoint = pinned->first;
  TF_ASSIGN_OR_RETURN(const FileInfo index,
                      GetFileInfo(IndexFileName(checkpoint)));
  const Model model = {checkpoint, StepOfPrefix(checkpoint).value_or(0),
                       index.modified};
  if (last_model_ == model) return absl::OkStatus();
  TF_RETURN_IF_ERROR(RestoreAndInit(checkpoint));
  const auto stop = absl::MakeCleanup([this] { StopQueueRunners(); });
  TF_ASSIGN_OR_RETURN(std::optional<EvalResult> result,
                      RunSteps(*session_, /*is_training=*/false));
  if (!result.has_value()) return absl::OkStatus();
  result->step = model.step;
  result->checkpoint = checkpoint;
  last_model_ = model;
  return Tell(*std::move(result));
}

absl::Status EvalHook::StartQueueRunners() {
  const std::string runners(collection_keys::kQueueRunners);
  if (options_.graph->collections().count(runners) == 0) {
    return absl::OkStatus();
  }
  Coordinator::Options options;
  // Of a runner, no error is the end of the input.
  options.clean_stop = nullptr;
  queue_coordinator_ = std::make_shared<Coordinator>(options);
  return tftrain::StartQueueRunners(session_, queue_coordinator_).status();
}

void EvalHook::StopQueueRunners() {
  if (queue_coordinator_ == nullptr) return;
  queue_coordinator_->RequestStop();
  // Before they are joined: it frees them of whatever they wait in.
  CloseSession();
  Coordinator::JoinOptions join;
  join.stop_grace_period_secs = absl::ToDoubleSeconds(kEndPatience);
  join.ignore_live_threads = true;
  // What they failed with was told by the evaluation.
  queue_coordinator_->Join(join).IgnoreError();
  queue_coordinator_.reset();
}

absl::Status EvalHook::RestoreAndInit(const std::string& checkpoint) {
  if (session_ == nullptr) {
    TF_ASSIGN_OR_RETURN(session_,
                        Session::Create(options_.graph, options_.session));
  }
  TF_RETURN_IF_ERROR(scaffold_->saver()->Restore(
      *session_, checkpoint, RestorePart::kAllButIterators));
  if (!scaffold_->local_init_op().has_value()) return absl::OkStatus();
  return session_->Run(Target(*scaffold_->local_init_op()),
                       scaffold_->local_init_feed_dict());
}

absl::Status EvalHook::EvaluateLive(Session& training) {
  TF_ASSIGN_OR_RETURN(const int64_t step, training.GlobalStep());
  Model model = {"", step, absl::InfinitePast()};
  if (last_model_ == model) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(std::optional<EvalResult> result,
                      RunSteps(training, /*is_training=*/true));
  if (!result.has_value()) return absl::OkStatus();
  result->step = step;
  if (!options_.checkpoint_dir.empty()) {
    const absl::StatusOr<std::optional<std::string>> newest =
        LatestCheckpoint(options_.checkpoint_dir);
    if (!newest.ok()) {
      NoteFailed(step, newest.status());
    } else if (newest->has_value() && StepOfPrefix(**newest) == step) {
      result->checkpoint = **newest;
    }
  }
  last_model_ = std::move(model);
  return Tell(*std::move(result));
}

absl::StatusOr<std::optional<EvalResult>> EvalHook::RunSteps(Session& session,
                                                             bool is_training) {
  std::vector<FetchTree> asked = {internal::FetchAll(names_.metrics)};
  for (const std::string& operation : options_.update_ops) {
    asked.push_back(Target(operation));
  }
  const FetchTree step = List(asked);
  std::vector<double> sums(names_.metrics.size());
  EvalResult result;
  const int64_t end =
      options_.max_steps.value_or(std::numeric_limits<int64_t>::max());
  for (; result.num_steps < end; ++result.num_steps) {
    if (is_interrupted()) {
      LOG(INFO) << "An evaluation is broken off, as training is to stop";
      return {std::nullopt};
    }
    Feeds feeds;
    if (options_.feeds != nullptr) {
      absl::StatusOr<Feeds> next = options_.feeds(result.num_steps);
      if (IsEndOfInput(next.status())) break;
      TF_RETURN_IF_ERROR(next.status());
      feeds = *std::move(next);
    }
    if (result.num_steps == 0) {
      if (is_training) {
        TF_RETURN_IF_ERROR(input_->CheckStep(*session.graph(), feeds.names()));
      }
      for (const std::string& operation : options_.init_ops) {
        TF_RETURN_IF_ERROR(session.Run(Target(operation)));
      }
      if (!is_training) TF_RETURN_IF_ERROR(StartQueueRunners());
    }
    const absl::StatusOr<Value> values = session.Run(step, feeds);
    // A runner that fails closes its queue, which is no end of the input.
    if (!values.ok() && queue_coordinator_ != nullptr) {
      TF_RETURN_IF_ERROR(queue_coordinator_->status());
    }
    if (IsEndOfInput(values.status())) break;
    TF_RETURN_IF_ERROR(values.status());
    for (size_t i = 0; i < sums.size(); ++i) {
      TF_ASSIGN_OR_RETURN(
          const tensorflow::Tensor value,
          values->Get<tensorflow::Tensor>({0, static_cast<int>(i)}));
      TF_ASSIGN_OR_RETURN(const double number,
                          internal::NumberIn(value, names_.metrics[i]));
      sums[i] += number;
    }
  }
  if (result.num_steps == 0) {
    return absl::FailedPreconditionError(
        "the evaluation found no input; let init_ops set its iterators back, "
        "or look at the feeds");
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    result.metrics[options_.metrics[i].tag] =
        sums[i] / static_cast<double>(result.num_steps);
  }
  if (names_.final_metrics.empty()) return {std::move(result)};
  TF_ASSIGN_OR_RETURN(const Value values,
                      session.Run(internal::FetchAll(names_.final_metrics)));
  for (size_t i = 0; i < names_.final_metrics.size(); ++i) {
    TF_ASSIGN_OR_RETURN(const tensorflow::Tensor value,
                        values.Get<tensorflow::Tensor>({static_cast<int>(i)}));
    TF_ASSIGN_OR_RETURN(result.metrics[options_.final_metrics[i].tag],
                        internal::NumberIn(value, names_.final_metrics[i]));
  }
  return {std::move(result)};
}

absl::Status EvalHook::OpenWriter() {
  if (writer_ != nullptr) return absl::OkStatus();
  std::string folder;
  if (!options_.checkpoint_dir.empty()) {
    folder = JoinPath(
        options_.checkpoint_dir,
        options_.name.empty() ? "eval" : absl::StrCat("eval_", options_.name));
  }
  TF_ASSIGN_OR_RETURN(writer_,
                      internal::WriterOf(options_.summary_writer, folder));
  return absl::OkStatus();
}

void EvalHook::Note(const EvalResult& result) {
  std::map<std::string, double> metrics;
  for (const auto& [tag, value] : result.metrics) {
    metrics[options_.name.empty() ? tag
                                  : absl::StrCat(options_.name, "/", tag)] =
        value;
  }
  const absl::Status noted = Saver::SetMetrics(result.checkpoint, metrics);
  // It may have been deleted, as may any old one.
  if (!noted.ok() && !absl::IsNotFound(noted)) NoteFailed(result.step, noted);
}

void EvalHook::NoteFailed(int64_t step, const absl::Status& status) {
  if (++notes_failed_ > 1) return;
  LOG(WARNING) << "No checkpoint has the metrics of step " << step
               << " because " << status.message() << "; this is not said again";
}

absl::Status EvalHook::Tell(EvalResult result) {
  // It was closed if the hook's own end came before the last evaluation.
  const absl::Status opened = OpenWriter();
  if (!opened.ok()) {
    LOG(WARNING) << "There are no events of the evaluation of step "
                 << result.step << ": " << opened.message();
  }
  if (writer_ != nullptr && !std::exchange(has_begun_events_, true)) {
    // What was written before, of this step and later ones, will come again.
    writer_->AddSessionLog(EventFileWriter::SessionStatus::kStart, result.step);
  }
  std::string text;
  for (const auto& [name, value] : result.metrics) {
    absl::StrAppendFormat(&text, ", %s = %.6g", name, value);
    if (writer_ != nullptr) {
      writer_->AddScalar(name, static_cast<float>(value), result.step);
    }
  }
  if (!result.checkpoint.empty()) Note(result);
  LOG(INFO) << "Evaluated step " << result.step
            << (options_.name.empty() ? "" : " for ") << options_.name << text
            << " (" << result.num_steps << " steps)";
  last_result_ = std::move(result);
  return options_.on_result != nullptr ? options_.on_result(*last_result_)
                                       : absl::OkStatus();
}

void EvalHook::CloseSession() {
  if (session_ == nullptr) return;
  const absl::Status closed = session_->Close(kEndPatience);
  if (!closed.ok()) {
    LOG(WARNING) << "The session of an evaluation did not close well: "
                 << closed.message();
  }
  session_.reset();
}

void EvalHook::LetGo() {
  CloseSession();
  internal::LetGoOf(&writer_);
  has_begun_events_ = false;
}

absl::Status EvalHook::End(Session& session) {
  absl::Status status;
  if (timer_.has_value() && options_.at_end) status = Evaluate(session);
  coordinator_ = nullptr;
  LetGo();
  return status;
}

void EvalHook::OnAbort(const absl::Status&) {
  coordinator_ = nullptr;
  LetGo();
}

}  // namespace tftrain

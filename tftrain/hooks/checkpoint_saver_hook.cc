// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/checkpoint_saver_hook.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/folder_lock.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/training_pause.h"
#include "tftrain/hooks/internal/writer_of.h"

namespace tftrain {

CheckpointSaverHook::CheckpointSaverHook(Options options)
    : options_(std::move(options)),
      save_path_(
          JoinPath(options_.checkpoint_dir, options_.checkpoint_basename)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()) {}

absl::Status CheckpointSaverHook::Begin(BeginContext& context) {
  if (options_.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint_dir is empty, give the folder for the checkpoints");
  }
  if (options_.saver != nullptr && options_.scaffold != nullptr) {
    return absl::InvalidArgumentError(
        "both saver and scaffold are set, set at most one of them");
  }
  TF_RETURN_IF_ERROR(CheckSaving());
  TF_ASSIGN_OR_RETURN(
      timer_, SecondOrStepTimer::Create(
                  {options_.save_secs, options_.save_steps, options_.clock}));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "CheckpointSaverHook").status());
  saver_.reset();
  scaffold_ =
      options_.scaffold != nullptr ? options_.scaffold : context.scaffold();
  last_saved_step_.reset();
  saving_step_.reset();
  saving_ = Saver::PendingSave();
  put_off_since_.reset();
  failures_ = 0;
  last_saved_time_ = clock_->Monotonic();
  TF_ASSIGN_OR_RETURN(writer_,
                      EventFileWriterCache::Get(options_.checkpoint_dir));
  // A saver that is made later is one with the default.
  const Saver* const given = options_.saver != nullptr
                                 ? options_.saver.get()
                                 : scaffold_->saver().get();
  if (given != nullptr) writer_->NarrowFileMode(given->file_mode());
  const absl::Status begun = BeginListeners(context);
  if (!begun.ok()) {
    AbortListeners(begun);
    writer_.reset();
  }
  return begun;
}

absl::Status CheckpointSaverHook::CheckSaving() const {
  if (options_.async && options_.snapshot == SnapshotMode::kStream) {
    return absl::InvalidArgumentError(
        "async does not go together with the snapshot mode kStream, in which "
        "steps wait; choose one of them");
  }
  if (options_.tolerated_failures < 0) {
    return absl::InvalidArgumentError(absl::StrCat("tolerated_failures is \"",
                                                   options_.tolerated_failures,
                                                   "\", give 0 or more"));
  }
  for (const double secs :
       {options_.tolerated_secs.value_or(0), options_.save_patience_secs}) {
    if (!(secs >= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tolerated_secs or save_patience_secs is \"", secs,
                       "\", give 0 or more seconds"));
    }
  }
  for (size_t i = 0; i < options_.listeners.size(); ++i) {
    if (options_.listeners[i] != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("listener ", i + 1, " of ", options_.listeners.size(),
                     " is null; give one, or leave it out"));
  }
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::BeginListeners(BeginContext& context) {
  listeners_begun_ = 0;
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_RETURN_IF_ERROR(CallUserCode([&] { return listener->Begin(context); }));
    ++listeners_begun_;
  }
  return absl::OkStatus();
}

void CheckpointSaverHook::AbortListeners(const absl::Status& status) {
  for (size_t i = 0; i < listeners_begun_; ++i) {
    const absl::Status told = CallUserCode([&] {
      options_.listeners[i]->OnAbort(status);
      return absl::OkStatus();
    });
    if (!told.ok()) LOG(ERROR) << told << "; in a listener's OnAbort";
  }
  listeners_begun_ = 0;
}

absl::Status CheckpointSaverHook::AfterCreateSession(Session& session,
                                                     Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  TF_RETURN_IF_ERROR(FindSaver(step));
  TF_RETURN_IF_ERROR(LockFolder());
  TF_RETURN_IF_ERROR(WriteGraph(*session.graph()));
  if (IsSaved(session, step)) last_saved_step_ = step;
  if (last_saved_step_ != step) TF_RETURN_IF_ERROR(Save(session, step));
  timer_->UpdateLastTriggeredStep(step);
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::LockFolder() {
  const std::string folder = DirName(save_path_);
  TF_RETURN_IF_ERROR(CreateFolders(folder));
  TF_ASSIGN_OR_RETURN(
      folder_lock_,
      internal::FolderLock::Take(folder, internal::FolderLock::Use::kSession,
                                 saver_.get()));
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::FindSaver(int64_t step) {
  if (saver_ == nullptr) saver_ = options_.saver;
  if (saver_ == nullptr) {
    saver_ = scaffold_->saver();
    if (saver_ == nullptr) {
      return absl::FailedPreconditionError(
          "the scaffold has no saver; give the hook the scaffold of its "
          "session, or none");
    }
    if (saver_->last_checkpoints().empty()) TakeOverCheckpoints(step);
  }
  if (saver_->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is nothing to save into \"", options_.checkpoint_dir,
        "\": the saver has no variables; make it in the graph that is "
        "trained, after its variables"));
  }
  return absl::OkStatus();
}

void CheckpointSaverHook::TakeOverCheckpoints(int64_t step) {
  const absl::StatusOr<std::optional<CheckpointState>> state =
      GetCheckpointState(DirName(save_path_));
  if (step == 0 || !state.ok() || !state->has_value()) return;
  const std::vector<std::string>& paths = (*state)->all_model_checkpoint_paths;
  if (std::any_of(paths.begin(), paths.end(), [&](const std::string& path) {
        return IsOwnCheckpoint(path, step);
      })) {
    saver_->RecoverLastCheckpoints(paths);
  }
}

bool CheckpointSaverHook::IsOwnCheckpoint(const std::string& prefix,
                                          int64_t step) const {
  return StepOfPrefix(prefix) == step &&
         BaseOfPrefix(BaseName(prefix)) == BaseName(save_path_);
}

absl::Status CheckpointSaverHook::WriteGraph(const Graph& graph) {
  TF_ASSIGN_OR_RETURN(
      const std::shared_ptr<const tensorflow::GraphDef> graph_def,
      graph.ToGraphDef());
  if (options_.save_graph_def) {
    std::string text;
    if (!google::protobuf::TextFormat::PrintToString(*graph_def, &text)) {
      return absl::InternalError("the graph cannot be written as text");
    }
    WriteOptions options;
    options.durable = false;  // Written anew by each session.
    options.mode = saver_->file_mode();
    TF_RETURN_IF_ERROR(WriteFileAtomically(
        JoinPath(options_.checkpoint_dir, "graph.pbtxt"), text, options));
  }
  TF_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta_graph,
                      graph.ToMetaGraph(&saver_->saver_def()));
  writer_->AddGraph(*graph_def);
  writer_->AddMetaGraph(meta_graph);
  return absl::OkStatus();
}

bool CheckpointSaverHook::IsSaved(const Session& session, int64_t step) const {
  const std::optional<std::string> restored =
      saver_->CheckpointOf(session, save_path_, step);
  if (!restored.has_value()) return false;
  const absl::StatusOr<std::optional<std::string>> newest =
      LatestCheckpoint(DirName(save_path_));
  return newest.ok() && *newest == restored;
}

absl::Status CheckpointSaverHook::OnUndone(SessionRunContext&) {
  StartAnew();
  return absl::OkStatus();
}

void CheckpointSaverHook::StartAnew() {
  last_saved_step_.reset();
  timer_->Reset();
}

absl::Status CheckpointSaverHook::AfterRun(SessionRunContext& context,
                                           const SessionRunValues&) {
  if (saving_step_.has_value() && saving_.done()) {
    TF_RETURN_IF_ERROR(FinishInStep(context));
  }
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (last_saved_step_.has_value() &&
      (step < *last_saved_step_ ||
       (step == *last_saved_step_ &&
        !saver_->CheckpointOf(context.session(), save_path_, step)))) {
    StartAnew();
  }
  // One that is due while another is written waits for it, and one of a bad
  // state for a good one.
  if (!timer_->ShouldTriggerForStep(step) || saving_step_.has_value() ||
      context.session().state_rejected() || IsPutOff()) {
    return absl::OkStatus();
  }
  timer_->UpdateLastTriggeredStep(step);
  TF_RETURN_IF_ERROR(FindSaver(step));
  return SaveInStep(context, step);
}

bool CheckpointSaverHook::IsPutOff() {
  if (options_.async && saver_ != nullptr && saver_->saving()) {
    const absl::Duration now = clock_->Monotonic();
    if (!put_off_since_.has_value()) put_off_since_ = now;
    // A hook that comes first in the list and is due again and again would
    // leave no room.
    if (now - *put_off_since_ < absl::Seconds(options_.save_patience_secs)) {
      return true;
    }
  }
  put_off_since_.reset();
  return false;
}

absl::Status CheckpointSaverHook::SaveInStep(SessionRunContext& context,
                                             int64_t step) {
  const internal::TrainingPause pause(clock_);
  TF_RETURN_IF_ERROR(TellBeforeSave(context.session(), step));
  const absl::Status started =
      StartSave(context.session(), step, options_.async);
  if (!started.ok()) return Tolerate(started);
  return saving_.done() ? FinishInStep(context) : absl::OkStatus();
}

absl::Status CheckpointSaverHook::FinishInStep(SessionRunContext& context) {
  const internal::TrainingPause pause(clock_);
  const int64_t step = *saving_step_;
  const absl::Status saved = AwaitSave();
  if (!saved.ok()) return Tolerate(saved);
  TF_ASSIGN_OR_RETURN(const bool stop, TellAfterSave(context.session(), step));
  if (stop) {
    context.RequestStop(absl::StrCat(
        "a listener asked for it after the checkpoint of step ", step));
  }
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::SkipNonFinite(
    const absl::Status& status) const {
  if (!IsNanLoss(status) || options_.non_finite == NonFinite::kFail) {
    return status;
  }
  LOG(WARNING) << "No checkpoint of this step: " << status.message();
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::Tolerate(const absl::Status& status) {
  if (IsNanLoss(status)) return SkipNonFinite(status);
  ++failures_;
  const absl::Duration age = clock_->Monotonic() - last_saved_time_;
  if (failures_ > options_.tolerated_failures ||
      (options_.tolerated_secs.has_value() &&
       age > absl::Seconds(*options_.tolerated_secs))) {
    return status;
  }
  LOG(WARNING) << "Training goes on without a checkpoint of this step (failure "
               << failures_ << " of " << options_.tolerated_failures
               << " that are tolerated, " << absl::FormatDuration(age)
               << " after the last good one): " << status.message();
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::Save(Session& session, int64_t step) {
  TF_RETURN_IF_ERROR(TellBeforeSave(session, step));
  absl::Status saved = StartSave(session, step, /*async=*/false);
  if (saved.ok()) saved = AwaitSave();
  if (!saved.ok()) return SkipNonFinite(saved);
  return TellAfterSave(session, step).status();
}

absl::Status CheckpointSaverHook::TellBeforeSave(Session& session,
                                                 int64_t step) {
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_RETURN_IF_ERROR(
        CallUserCode([&] { return listener->BeforeSave(session, step); }));
  }
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::StartSave(Session& session, int64_t step,
                                            bool async) {
  // Another hook may be saving.
  TF_RETURN_IF_ERROR(
      saver_->AwaitSave(absl::Seconds(options_.save_patience_secs)));
  Saver::SaveOptions options;
  options.global_step = step;
  options.write_meta_graph = options_.save_graph_def;
  options.snapshot = options_.snapshot;
  if (options_.non_finite.has_value()) {
    options.check_finite = options_.non_finite != NonFinite::kSave;
  } else {
    options.check_nan =
        session.state_judged() && saver_->CanCheckFinite(session);
  }
  // Another hook may have saved this very step, and somebody measured it.
  if (const auto saved = saver_->CheckpointOf(session, save_path_, step)) {
    options.metrics = Saver::Metrics(*saved);
  }
  if (async) {
    TF_ASSIGN_OR_RETURN(saving_,
                        saver_->BeginSave(session, save_path_, options));
  } else {
    TF_RETURN_IF_ERROR(saver_->Save(session, save_path_, options).status());
  }
  saving_step_ = step;
  return absl::OkStatus();
}

absl::Status CheckpointSaverHook::AwaitSave() {
  const int64_t step = *saving_step_;
  saving_step_.reset();
  TF_RETURN_IF_ERROR(
      saver_->WaitForSave(std::exchange(saving_, Saver::PendingSave()),
                          absl::Seconds(options_.save_patience_secs)));
  last_saved_step_ = step;
  last_saved_time_ = clock_->Monotonic();
  failures_ = 0;
  LOG(INFO) << "Saved the checkpoint \"" << save_path_ << "\" of step " << step;
  writer_->AddSessionLog(EventFileWriter::SessionStatus::kCheckpoint, step,
                         save_path_);
  return absl::OkStatus();
}

absl::StatusOr<bool> CheckpointSaverHook::TellAfterSave(Session& session,
                                                        int64_t step) {
  bool stop = false;
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_RETURN_IF_ERROR(CallUserCode([&]() -> absl::Status {
      TF_ASSIGN_OR_RETURN(const bool wants_stop,
                          listener->AfterSave(session, step));
      stop = stop || wants_stop;
      return absl::OkStatus();
    }));
  }
  return stop;
}

absl::Status CheckpointSaverHook::End(Session& session) {
  // It has ended already, in its first place of the list.
  if (writer_ == nullptr) return absl::OkStatus();
  FirstError result;
  const Saver::PendingSave last = saving_;
  if (saving_step_.has_value()) {
    const int64_t saving = *saving_step_;
    const absl::Status saved = AwaitSave();
    result.Update(SkipNonFinite(saved));
    if (saved.ok()) result.Update(TellAfterSave(session, saving).status());
  }
  const absl::StatusOr<int64_t> step = session.GlobalStep();
  result.Update(step.status());
  if (session.state_rejected()) {
    LOG(WARNING) << "The end is not saved, as its state was found bad; the "
                    "newest checkpoint is of an earlier step";
    // One that is still being written has told its error above.
  } else if (step.ok() && *step != last_saved_step_ && last.done()) {
    const absl::Status found = FindSaver(*step);
    result.Update(found);
    if (found.ok()) result.Update(Save(session, *step));
  }
  if (!result.ok()) {
    AbortListeners(result.status());
  } else {
    for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
      result.Update(
          CallUserCode([&] { return listener->End(session, *step); }));
    }
  }
  listeners_begun_ = 0;
  internal::LetGoOf(&writer_);
  folder_lock_.reset();
  return result.status();
}

void CheckpointSaverHook::OnAbort(const absl::Status& status) {
  if (saving_step_.has_value()) {
    const absl::Status saved = AwaitSave();
    if (!saved.ok()) LOG(WARNING) << saved.message();
  }
  AbortListeners(status);
  internal::LetGoOf(&writer_);
  folder_lock_.reset();
}

std::shared_ptr<CheckpointSaverHook> SaveCheckpoints(std::string checkpoint_dir,
                                                     const Every& every) {
  CheckpointSaverHook::Options options;
  options.checkpoint_dir = std::move(checkpoint_dir);
  options.save_secs = every.every_secs;
  options.save_steps = every.every_steps;
  return std::make_shared<CheckpointSaverHook>(std::move(options));
}

}  // namespace tftrain

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
#include "tftrain/graph/global_step.h"
#include "tftrain/summary/event_file_writer_cache.h"

namespace tftrain {

CheckpointSaverHook::CheckpointSaverHook(Options options)
    : options_(std::move(options)),
      save_path_(
          JoinPath(options_.checkpoint_dir, options_.checkpoint_basename)) {}

absl::Status CheckpointSaverHook::Begin(BeginContext& context) {
  if (options_.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint_dir is empty, give the folder for the checkpoints");
  }
  if (options_.saver != nullptr && options_.scaffold != nullptr) {
    return absl::InvalidArgumentError(
        "both saver and scaffold are set, set at most one of them");
  }
  TF_ASSIGN_OR_RETURN(
      timer_, SecondOrStepTimer::Create(
                  {options_.save_secs, options_.save_steps, options_.clock}));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "CheckpointSaverHook").status());
  saver_.reset();
  scaffold_ =
      options_.scaffold != nullptr ? options_.scaffold : context.scaffold();
  last_saved_step_.reset();
  TF_ASSIGN_OR_RETURN(writer_,
                      EventFileWriterCache::Get(options_.checkpoint_dir));
  const absl::Status begun = BeginListeners(context);
  if (!begun.ok()) {
    AbortListeners(begun);
    writer_.reset();
  }
  return begun;
}

absl::Status CheckpointSaverHook::BeginListeners(BeginContext& context) {
  listeners_begun_ = 0;
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_RETURN_IF_ERROR(listener->Begin(context));
    ++listeners_begun_;
  }
  return absl::OkStatus();
}

void CheckpointSaverHook::AbortListeners(const absl::Status& status) {
  for (size_t i = 0; i < listeners_begun_; ++i) {
    options_.listeners[i]->OnAbort(status);
  }
  listeners_begun_ = 0;
}

absl::Status CheckpointSaverHook::AfterCreateSession(Session& session,
                                                     Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  TF_RETURN_IF_ERROR(FindSaver(step));
  TF_RETURN_IF_ERROR(WriteGraph(*session.graph()));
  if (IsSaved(step)) {
    last_saved_step_ = step;
  } else {
    TF_RETURN_IF_ERROR(Save(session, step).status());
  }
  timer_->UpdateLastTriggeredStep(step);
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
    TF_RETURN_IF_ERROR(WriteFileAtomically(
        JoinPath(options_.checkpoint_dir, "graph.pbtxt"), text, options));
  }
  TF_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta_graph,
                      graph.ToMetaGraph(&saver_->saver_def()));
  writer_->AddGraph(*graph_def);
  writer_->AddMetaGraph(meta_graph);
  return absl::OkStatus();
}

bool CheckpointSaverHook::IsSaved(int64_t step) const {
  // A new model is at step 0; one at the newest checkpoint's step was restored
  // from it.
  if (step == 0) return false;
  const absl::StatusOr<std::optional<std::string>> newest =
      LatestCheckpoint(DirName(save_path_));
  return newest.ok() && newest->has_value() && IsOwnCheckpoint(**newest, step);
}

absl::Status CheckpointSaverHook::AfterRun(SessionRunContext& context,
                                           const SessionRunValues&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (!timer_->ShouldTriggerForStep(step)) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  TF_RETURN_IF_ERROR(FindSaver(step));
  TF_ASSIGN_OR_RETURN(const bool stop, Save(context.session(), step));
  if (stop) {
    context.RequestStop(absl::StrCat(
        "a listener asked for it after the checkpoint of step ", step));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CheckpointSaverHook::Save(Session& session, int64_t step) {
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_RETURN_IF_ERROR(listener->BeforeSave(session, step));
  }
  Saver::SaveOptions options;
  options.global_step = step;
  options.write_meta_graph = options_.save_graph_def;
  TF_ASSIGN_OR_RETURN(const std::string prefix,
                      saver_->Save(session, save_path_, options));
  last_saved_step_ = step;
  LOG(INFO) << "Saved the checkpoint \"" << prefix << "\"";
  writer_->AddSessionLog(EventFileWriter::SessionStatus::kCheckpoint, step,
                         save_path_);
  bool stop = false;
  for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
    TF_ASSIGN_OR_RETURN(const bool wants_stop,
                        listener->AfterSave(session, step));
    stop = stop || wants_stop;
  }
  return stop;
}

absl::Status CheckpointSaverHook::End(Session& session) {
  FirstError result;
  const absl::StatusOr<int64_t> step = session.GlobalStep();
  result.Update(step.status());
  if (result.ok() && *step != last_saved_step_) {
    result.Update(FindSaver(*step));
    if (result.ok()) result.Update(Save(session, *step).status());
  }
  if (!result.ok()) {
    AbortListeners(result.status());
  } else {
    for (const CheckpointSaverListenerPtr& listener : options_.listeners) {
      result.Update(listener->End(session, *step));
    }
  }
  listeners_begun_ = 0;
  // A failure of the event file is told by its writer and spoils no training.
  writer_->Flush().IgnoreError();
  writer_.reset();
  return result.status();
}

void CheckpointSaverHook::OnAbort(const absl::Status& status) {
  AbortListeners(status);
  writer_.reset();
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

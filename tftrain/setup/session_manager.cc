// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/session_manager.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/base/mutex.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/graph/collection_keys.h"

namespace tftrain {
namespace {

// The operations of TensorFlow that read a variable too early say so with this
// word; readiness is judged by it, as in Python.
constexpr std::string_view kRuntimesWord = "uninitialized";

std::string BaseOf(std::string_view prefix) {
  return std::string(BaseOfPrefix(BaseName(prefix)));
}

// What the state file of `folder` says; nothing without such a file.
// Errors: kDataLoss when the file cannot be used; kInvalidArgument when it
// names no newest checkpoint.
absl::StatusOr<std::optional<CheckpointState>> UsableState(
    const std::string& folder) {
  const std::string path = JoinPath(folder, kCheckpointStateName);
  TF_ASSIGN_OR_RETURN(const bool existed, FileExists(path));
  TF_ASSIGN_OR_RETURN(std::optional<CheckpointState> state,
                      GetCheckpointState(folder));
  if (state.has_value() || !existed) return state;
  return absl::DataLossError(
      absl::StrCat("the checkpoint state \"", path,
                   "\" cannot be used, put it right or remove it"));
}

absl::Status CheckRecoverOptions(
    const SessionManager::RecoverOptions& options) {
  if (std::isnan(options.max_wait_secs)) {
    return absl::InvalidArgumentError(
        "max_wait_secs is \"nan\"; give a number of seconds");
  }
  if (!options.checkpoint_dir.empty() &&
      !options.checkpoint_filename_with_path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("both checkpoint_dir \"", options.checkpoint_dir,
                     "\" and checkpoint_filename_with_path \"",
                     options.checkpoint_filename_with_path,
                     "\" were given; give one of them"));
  }
  return absl::OkStatus();
}

// Restores all but iterators from the checkpoint at `path`, and keeps it.
absl::StatusOr<PinnedCheckpoint> PinAndRestore(Session& session, Saver& saver,
                                               const std::string& path) {
  TF_ASSIGN_OR_RETURN(PinnedCheckpoint pinned, FindAndPin(path));
  TF_RETURN_IF_ERROR(
      saver.Restore(session, pinned.prefix, RestorePart::kAllButIterators));
  return pinned;
}

// Those of `listed` that a crash cut off from the state file: a save writes the
// checkpoint, then the state file that lists it. They are newer than that file
// and of a later step than all it lists, and have the base name of its newest.
std::vector<std::string> CutOff(const std::string& folder,
                                const CheckpointState& state,
                                const std::vector<ListedCheckpoint>& listed) {
  const absl::StatusOr<FileInfo> file =
      GetFileInfo(JoinPath(folder, kCheckpointStateName));
  if (!file.ok()) return {};
  std::optional<int64_t> last = StepOfPrefix(state.model_checkpoint_path);
  for (const std::string& prefix : state.all_model_checkpoint_paths) {
    last = std::max(last, StepOfPrefix(prefix));
  }
  std::vector<std::string> found;
  for (const ListedCheckpoint& checkpoint : listed) {
    if (checkpoint.has_index && checkpoint.modified >= file->modified &&
        checkpoint.step > last &&
        BaseOf(checkpoint.prefix) == BaseOf(state.model_checkpoint_path)) {
      found.push_back(checkpoint.prefix);
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

// Where iterators were set back by their initializers, they are restored now.
absl::Status RestoreIterators(Session& session, Saver& saver,
                              const std::string& checkpoint) {
  if (!saver.restores_iterators()) return absl::OkStatus();
  return saver.Restore(session, checkpoint, RestorePart::kIterators);
}

}  // namespace

SessionManager::SessionManager(GraphPtr graph, Options options)
    : graph_(std::move(graph)),
      options_(std::move(options)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()) {}

absl::StatusOr<std::unique_ptr<SessionManager>> SessionManager::Create(
    GraphPtr graph, Options options) {
  if (options.ready_for_local_init_op.has_value() &&
      !options.local_init_op.has_value()) {
    return absl::InvalidArgumentError(
        "ready_for_local_init_op was given without a local_init_op; give both");
  }
  if (!(options.recovery_wait_secs > 0) ||
      std::isinf(options.recovery_wait_secs)) {
    return absl::InvalidArgumentError(
        absl::StrCat("recovery_wait_secs is \"", options.recovery_wait_secs,
                     "\"; give a positive number of seconds"));
  }
  return std::unique_ptr<SessionManager>(
      new SessionManager(std::move(graph), std::move(options)));
}

absl::StatusOr<std::shared_ptr<Session>> SessionManager::PrepareSession(
    const PrepareOptions& options) {
  TF_RETURN_IF_ERROR(CheckRecoverOptions(options));
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                      Session::Create(graph_, options_.session));
  absl::Status prepared = Prepare(*session, options);
  if (!prepared.ok()) {
    session->Close().IgnoreError();
    return prepared;
  }
  return session;
}

absl::StatusOr<SessionManager::Recovered> SessionManager::RecoverSession(
    const RecoverOptions& options) {
  TF_RETURN_IF_ERROR(CheckRecoverOptions(options));
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                      Session::Create(graph_, options_.session));
  absl::StatusOr<std::string> reason = Recover(*session, options);
  if (!reason.ok()) {
    session->Close().IgnoreError();
    return reason.status();
  }
  const bool initialized = reason->empty();
  return Recovered{std::move(session), initialized, *std::move(reason)};
}

absl::StatusOr<std::shared_ptr<Session>> SessionManager::WaitForSession(
    double max_wait_secs) {
  if (std::isnan(max_wait_secs)) {
    return absl::InvalidArgumentError(
        "max_wait_secs is \"nan\"; give a number of seconds");
  }
  const absl::Duration deadline =
      clock_->Monotonic() + absl::Seconds(max_wait_secs);
  while (true) {
    TF_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                        Session::Create(graph_, options_.session));
    absl::StatusOr<std::string> reason = RunLocalInit(*session);
    if (reason.ok() && reason->empty()) {
      reason = NotReady(*session, options_.ready_op);
      if (reason.ok() && reason->empty()) return session;
    }
    session->Close().IgnoreError();
    TF_RETURN_IF_ERROR(reason.status());
    if (!WaitToLookAgain(deadline, *reason)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the model was not ready within ", max_wait_secs, " seconds: ",
          *reason, "; let the chief initialise it, or wait longer"));
    }
  }
}

absl::Status SessionManager::Prepare(Session& session,
                                     const PrepareOptions& options) {
  TF_ASSIGN_OR_RETURN(const std::optional<PinnedCheckpoint> restored,
                      Restore(session, options));
  if (!restored.has_value()) {
    if (!options.init_op.has_value() && options.init_fn == nullptr &&
        !options_.local_init_op.has_value()) {
      return absl::FailedPreconditionError(
          "nothing was restored, and there is no init_op, init_fn or "
          "local_init_op to initialise the model with; give one");
    }
    if (options.init_op.has_value()) {
      TF_RETURN_IF_ERROR(
          session.Run(Target(*options.init_op), options.init_feed_dict));
    }
    if (options.warm_start.has_value()) {
      if (options.saver == nullptr) {
        return absl::InvalidArgumentError(
            "a warm_start was given without a saver to restore it; give both");
      }
      TF_RETURN_IF_ERROR(options.saver->Restore(
          session, options.warm_start->path, options.warm_start->spec));
    }
    if (options.init_fn != nullptr) {
      TF_RETURN_IF_ERROR(options.init_fn(session));
    }
  }
  TF_ASSIGN_OR_RETURN(std::string not_ready, RunLocalInit(session));
  if (!not_ready.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the model is not ready for its local_init_op: ", not_ready,
        restored.has_value()
            ? "; the checkpoint was restored, so init_op was not run: save "
              "these variables too, or take them from another collection"
            : "; let init_op or init_fn initialise them"));
  }
  if (restored.has_value()) {
    TF_RETURN_IF_ERROR(
        RestoreIterators(session, *options.saver, restored->prefix));
  }
  TF_ASSIGN_OR_RETURN(not_ready, NotReady(session, options_.ready_op));
  if (!not_ready.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the model is not ready after its initialisation: ", not_ready,
        "; let init_op, init_fn, local_init_op or the checkpoint give them "
        "values"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SessionManager::Recover(
    Session& session, const RecoverOptions& options) {
  TF_ASSIGN_OR_RETURN(const std::optional<PinnedCheckpoint> restored,
                      Restore(session, options));
  TF_ASSIGN_OR_RETURN(std::string not_ready, RunLocalInit(session));
  if (!restored.has_value()) return "there was no checkpoint to restore";
  if (!not_ready.empty()) {
    return absl::StrCat("not ready for local_init_op: ", not_ready);
  }
  TF_RETURN_IF_ERROR(
      RestoreIterators(session, *options.saver, restored->prefix));
  return NotReady(session, options_.ready_op);
}

absl::StatusOr<std::optional<PinnedCheckpoint>> SessionManager::Restore(
    Session& session, const RecoverOptions& options) {
  report_ = RestoreReport();
  const std::string& path = options.checkpoint_filename_with_path;
  if (options.saver == nullptr || options.saver->empty() ||
      (options.checkpoint_dir.empty() && path.empty())) {
    return std::nullopt;
  }
  FolderContent content;
  if (path.empty()) {
    TF_ASSIGN_OR_RETURN(content, FindCheckpoints(options));
    if (content.candidates.empty() && report_.skipped.empty()) {
      return std::nullopt;
    }
  }
  for (const std::string& op :
       graph_->GetCollection(collection_keys::kSavedModelInitializers)) {
    TF_RETURN_IF_ERROR(session.Run(Target(op)));
  }
  absl::StatusOr<PinnedCheckpoint> restored =
      path.empty() ? RestoreFirstIntact(session, options, std::move(content))
                   : PinAndRestore(session, *options.saver, path);
  TF_RETURN_IF_ERROR(restored.status());
  report_.restored = restored->prefix;
  return *std::move(restored);
}

absl::Status SessionManager::Skip(const RecoverOptions& options,
                                  const std::string& path,
                                  const absl::Status& status) {
  report_.skipped.push_back({path, status});
  return options.fall_back
             ? absl::OkStatus()
             : Annotate(status, "set fall_back to go on from an older one");
}

absl::StatusOr<PinnedCheckpoint> SessionManager::RestoreFirstIntact(
    Session& session, const RecoverOptions& options, FolderContent content) {
  // Base names of other models.
  std::set<std::string> others;
  for (const std::string& candidate : content.candidates) {
    if (others.count(BaseOf(candidate)) > 0) continue;
    absl::StatusOr<PinnedCheckpoint> restored =
        PinAndRestore(session, *options.saver, candidate);
    if (restored.ok()) {
      if (!report_.skipped.empty()) {
        LOG(WARNING) << "Restored \"" << candidate << "\" in place of \""
                     << report_.skipped.front().path
                     << "\": " << report_.skipped.front().status;
      }
      // The run goes on from this one, whatever was newer.
      content.own.push_back(candidate);
      options.saver->RecoverLastCheckpoints(content.own);
      return restored;
    }
    absl::Status status = restored.status();
    // An error in looking is none of these.
    const absl::StatusOr<bool> indexed = FileExists(IndexFileName(candidate));
    if (indexed.ok() && !CheckpointExists(candidate)) {
      status = absl::NotFoundError(absl::StrCat("the checkpoint \"", candidate,
                                                "\" was deleted meanwhile"));
    }
    if (absl::IsInvalidArgument(status) && BaseOf(candidate) != content.base) {
      others.insert(BaseOf(candidate));
    } else if (!absl::IsDataLoss(status) && !absl::IsNotFound(status)) {
      // That the run's own do not fit the graph is a mistake to tell.
      return status;
    }
    TF_RETURN_IF_ERROR(Skip(options, candidate, status));
  }
  return Annotate(
      report_.skipped.front().status,
      absl::StrCat("no checkpoint in \"", options.checkpoint_dir,
                   "\" is intact and fits; remove them to start anew"));
}

absl::StatusOr<SessionManager::FolderContent> SessionManager::LookIntoFolder(
    const RecoverOptions& options) {
  const std::string& folder = options.checkpoint_dir;
  report_.skipped.clear();
  FolderContent content;
  const absl::StatusOr<std::vector<ListedCheckpoint>> listed =
      ListCheckpoints(folder);
  // A folder that nobody made yet holds none.
  if (absl::IsNotFound(listed.status())) return content;
  TF_RETURN_IF_ERROR(listed.status());
  absl::StatusOr<std::optional<CheckpointState>> state = UsableState(folder);
  if (!state.ok()) {
    TF_RETURN_IF_ERROR(
        Skip(options, JoinPath(folder, kCheckpointStateName), state.status()));
    state = std::nullopt;
  }
  content.candidates = RankCheckpoints(*state, *listed);
  if (state->has_value()) {
    content.own = (*state)->all_model_checkpoint_paths;
    const std::vector<std::string> cut_off = CutOff(folder, **state, *listed);
    content.own.insert(content.own.end(), cut_off.begin(), cut_off.end());
    content.base = BaseOf((*state)->model_checkpoint_path);
  }
  const std::string newest =
      state->has_value() ? (*state)->model_checkpoint_path : "";
  if (!newest.empty() && CheckpointIsComplete(newest)) return content;
  // Fails where a fresh start would hide that something is missing.
  TF_ASSIGN_OR_RETURN(const std::optional<std::string> latest,
                      LatestCheckpoint(folder));
  // At a second look it may be complete, if the first one failed.
  if (newest.empty() || latest == newest) return content;
  TF_RETURN_IF_ERROR(
      Skip(options, newest,
           absl::DataLossError(absl::StrCat("the checkpoint \"", newest,
                                            "\" is named by the state file and "
                                            "lacks files, put them back"))));
  auto& candidates = content.candidates;
  candidates.erase(std::remove(candidates.begin(), candidates.end(), newest),
                   candidates.end());
  return content;
}

absl::StatusOr<SessionManager::FolderContent> SessionManager::FindCheckpoints(
    const RecoverOptions& options) {
  const absl::Duration deadline =
      clock_->Monotonic() + absl::Seconds(options.max_wait_secs);
  while (true) {
    TF_ASSIGN_OR_RETURN(FolderContent content, LookIntoFolder(options));
    if (!content.candidates.empty() || !options.wait_for_checkpoint ||
        !WaitToLookAgain(deadline,
                         absl::StrCat("there is no checkpoint in \"",
                                      options.checkpoint_dir, "\" yet"))) {
      return content;
    }
  }
}

absl::StatusOr<std::string> SessionManager::RunLocalInit(Session& session) {
  if (!options_.local_init_op.has_value()) return std::string();
  TF_ASSIGN_OR_RETURN(std::string not_ready,
                      NotReady(session, options_.ready_for_local_init_op));
  if (!not_ready.empty()) return not_ready;
  LOG(INFO) << "Running the local_init_op";
  TF_RETURN_IF_ERROR(session.Run(Target(*options_.local_init_op),
                                 options_.local_init_feed_dict,
                                 options_.local_init_run_options.has_value()
                                     ? &*options_.local_init_run_options
                                     : nullptr));
  LOG(INFO) << "The local_init_op is done";
  return not_ready;
}

bool SessionManager::WaitToLookAgain(absl::Duration deadline,
                                     std::string_view why) {
  const absl::Duration now = clock_->Monotonic();
  if (now >= deadline) return false;
  LOG(INFO) << "Waiting for the model: " << why;
  const absl::Duration next =
      std::min(deadline, now + absl::Seconds(options_.recovery_wait_secs));
  Mutex mu;
  CondVar never;
  MutexLock lock(mu);
  for (absl::Duration left = next - now; left > absl::ZeroDuration();
       left = next - clock_->Monotonic()) {
    clock_->WaitFor(mu, never, left);
  }
  return true;
}

absl::StatusOr<std::string> SessionManager::NotReady(
    Session& session, const std::optional<std::string>& ready_op) {
  if (!ready_op.has_value()) return std::string();
  // An operation, old style, is ready when it runs.
  if (!absl::StrContains(*ready_op, ':')) {
    const absl::Status status = session.Run(Target(*ready_op));
    if (absl::IsFailedPrecondition(status) &&
        absl::StrContains(status.message(), kRuntimesWord)) {
      return std::string(status.message());
    }
    if (!status.ok()) return status;
    return std::string();
  }
  absl::StatusOr<tensorflow::Tensor> report =
      session.Run(Fetch<tensorflow::Tensor>(*ready_op));
  if (!report.ok()) {
    if (absl::IsFailedPrecondition(report.status()) &&
        absl::StrContains(report.status().message(), kRuntimesWord)) {
      return std::string(report.status().message());
    }
    return report.status();
  }
  // An int32 is the old style of being ready.
  if (report->dtype() != tensorflow::DT_STRING || report->NumElements() == 0) {
    return std::string();
  }
  const auto names = report->flat<tensorflow::tstring>();
  return absl::StrCat(
      "these variables have no value: ",
      absl::StrJoin(names.data(), names.data() + names.size(), ", ",
                    [](std::string* out, const tensorflow::tstring& name) {
                      absl::StrAppend(out, std::string(name));
                    }));
}

}  // namespace tftrain

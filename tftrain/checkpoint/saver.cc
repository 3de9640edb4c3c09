// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/saver.h"

#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/base/thread.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/build_save_graph.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/bundle_writer.h"
#include "tftrain/checkpoint/internal/checkpoint_notes.h"
#include "tftrain/checkpoint/internal/checkpoint_writer.h"
#include "tftrain/checkpoint/internal/restore.h"
#include "tftrain/checkpoint/internal/restore_match.h"
#include "tftrain/checkpoint/internal/retention.h"
#include "tftrain/checkpoint/internal/save_graph.h"
#include "tftrain/checkpoint/internal/snapshot.h"
#include "tftrain/checkpoint/internal/state_hold.h"

namespace tftrain {
namespace {

using internal::KeptCheckpoint;
using tensorflow::SaverDef;
using tensorflow::Tensor;

absl::Status CheckClassic(int max_to_keep, double keep_hours) {
  if (max_to_keep < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_to_keep is \"", max_to_keep, "\", give 0 or more"));
  }
  if (std::isnan(keep_hours) || keep_hours < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("keep_checkpoint_every_n_hours is \"", keep_hours,
                     "\", give 0 or more"));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const Saver::Options& options) {
  const Saver::Options defaults;
  if (!options.retention.empty() &&
      (options.max_to_keep != defaults.max_to_keep ||
       options.keep_checkpoint_every_n_hours !=
           defaults.keep_checkpoint_every_n_hours)) {
    return absl::InvalidArgumentError(
        "retention is given beside max_to_keep or "
        "keep_checkpoint_every_n_hours, say all of it as retention policies");
  }
  TF_RETURN_IF_ERROR(CheckRetention(options.retention));
  return CheckClassic(options.max_to_keep,
                      options.keep_checkpoint_every_n_hours);
}

std::vector<RetentionPolicy> PoliciesOf(const Saver::Options& options) {
  if (!options.retention.empty()) return options.retention;
  return ClassicRetention(options.max_to_keep,
                          options.keep_checkpoint_every_n_hours);
}

}  // namespace

// A save in the background. The thread shares it, so that it may outlive the
// saver.
struct Saver::PendingSave::Running {
  internal::CheckpointJob job;
  std::weak_ptr<const void> session;
  absl::Status status;
  std::vector<KeptCheckpoint> undeleted;
  std::shared_ptr<Thread> thread;
  // Whether somebody waited as long as they would, and whether somebody knows
  // how it ended.
  bool given_up = false;
  bool told = false;
  // Whether who began it can ask for it.
  bool is_held = true;
};

bool Saver::PendingSave::done() const {
  return running_ == nullptr || running_->thread->done();
}

class Saver::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        retention_(PoliciesOf(options_), options_.clock->Now()) {}

  ~Impl() {
    if (running_ != nullptr && running_->thread->InForkedChild()) return;
    if (saving() && running_->given_up) return;
    const absl::Status status = WaitForSave(absl::InfiniteDuration());
    if (!status.ok()) {
      LOG(ERROR) << "A save in the background failed, and nobody asked: "
                 << status.message();
    }
  }

  bool built() const { return built_; }
  bool empty() const { return built_ && !save_graph_.has_value(); }
  const SaverDef& saver_def() const { return def_; }
  internal::Retention& retention() { return retention_; }
  absl::Time Now() const { return options_.clock->Now(); }
  mode_t file_mode() const { return options_.file_mode; }

  absl::Status Build(Graph& graph) {
    if (built_) return absl::OkStatus();
    TF_RETURN_IF_ERROR(CheckOptions(options_));
    TF_ASSIGN_OR_RETURN(
        std::optional<SaverDef> def,
        internal::BuildSaveGraph(graph, options_.var_list, options_.reshape));
    if (!def && !options_.allow_empty) {
      return absl::InvalidArgumentError(
          "the graph has no variables to save; add some before the saver is "
          "built, or set allow_empty");
    }
    if (def) TF_RETURN_IF_ERROR(Adopt(graph, *def));
    def_.set_version(SaverDef::V2);
    // Of policies it knows none: a saver that is made of it keeps all.
    def_.set_max_to_keep(options_.retention.empty() ? options_.max_to_keep : 0);
    def_.set_keep_checkpoint_every_n_hours(
        static_cast<float>(options_.keep_checkpoint_every_n_hours));
    built_ = true;
    return absl::OkStatus();
  }

  // Takes the operations of `def` for its own.
  absl::Status Adopt(const Graph& graph, const SaverDef& def) {
    TF_RETURN_IF_ERROR(
        CheckClassic(def.max_to_keep(), def.keep_checkpoint_every_n_hours()));
    TF_ASSIGN_OR_RETURN(save_graph_, internal::ReadSaveGraph(graph, def));
    if (save_graph_->saved.has_value()) {
      snapshotter_ =
          std::make_shared<internal::Snapshotter>(*save_graph_->saved);
    }
    def_ = def;
    built_ = true;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Save(Session& session, const std::string& path,
                                   const SaveOptions& options);
  absl::StatusOr<std::string> SaveAsync(Session& session,
                                        const std::string& path,
                                        const SaveOptions& options);
  bool saving() const {
    return running_ != nullptr && !running_->thread->done();
  }
  absl::StatusOr<PendingSave> BeginSave(Session& session,
                                        const std::string& path,
                                        const SaveOptions& options);
  absl::Status WaitForSave(absl::Duration patience);
  absl::Status WaitForSave(const PendingSave& save, absl::Duration patience) {
    if (save.running_ == nullptr) return absl::OkStatus();
    if (running_ == save.running_ && !AwaitSaveFor(patience)) {
      return GiveUp(patience);
    }
    save.running_->told = true;
    return save.running_->status;
  }
  // Waits for a save in the background, unless it was given up.
  // Errors: see Saver::AwaitSave().
  absl::Status AwaitSave(absl::Duration patience = absl::InfiniteDuration());
  std::map<std::string, ValueAccess> HowSaved(const Session& session) const;
  absl::Status Restore(Session& session, const std::string& path,
                       RestorePart part, const RestoreSpec* spec);
  absl::StatusOr<RestorePlan> PlanRestore(const std::string& path,
                                          const RestoreSpec& spec) const;
  std::optional<std::string> CheckpointOf(const Session& session,
                                          const std::string& path,
                                          int64_t step) const {
    const std::shared_ptr<const void> holder = holder_.lock();
    if (holder == nullptr || holder != session.identity().lock() ||
        StepOfPrefix(held_) != step || DirName(held_) != DirName(path) ||
        BaseOfPrefix(BaseName(held_)) != BaseName(path)) {
      return std::nullopt;
    }
    return held_;
  }
  bool CanSnapshot(const Session& session) const {
    return session.is_local() && snapshotter_ != nullptr;
  }
  bool restores_iterators() const {
    return save_graph_.has_value() && !save_graph_->restore_iterators.empty();
  }

 private:
  using RunningSave = PendingSave::Running;
  using WriteValues = std::function<absl::Status(const std::string& prefix)>;

  // Waits for a save in the background; what became of it is for
  // WaitForSave() to tell. False when it has not ended.
  bool AwaitSaveFor(absl::Duration patience);
  // The error of a save in the background that nobody was told of.
  absl::Status TellFailure();
  // Leaves the save in the background to itself, and says so.
  absl::Status GiveUp(absl::Duration patience);
  absl::Status StillWritten(absl::Duration patience) const;
  absl::Status WrittenByParent() const;
  absl::Status CheckBuilt() const;
  absl::StatusOr<std::string> CheckPath(const std::string& path,
                                        const SaveOptions& options) const;
  absl::StatusOr<internal::CheckpointJob> MakeJob(Session& session,
                                                  const std::string& path,
                                                  const SaveOptions& options);
  absl::StatusOr<WriteValues> Snapshot(Session& session,
                                       const SaveOptions& options,
                                       const internal::BundleOptions& bundle);
  internal::BundleOptions BundleOptionsOf(const SaveOptions& options) const {
    internal::BundleOptions bundle;
    bundle.write.mode = options_.file_mode;
    bundle.check_finite = options.check_finite;
    bundle.check_nan = options.check_nan;
    return bundle;
  }
  absl::Status RunSave(Session& session, const std::string& prefix);
  void NoteSaved(const internal::CheckpointJob& job,
                 const std::weak_ptr<const void>& session,
                 std::vector<KeptCheckpoint> undeleted);

  const Options options_;

  bool built_ = false;
  SaverDef def_;
  // Missing when there is nothing to save.
  std::optional<internal::SaveGraph> save_graph_;
  // Missing when the graph's own operations must save.
  std::shared_ptr<internal::Snapshotter> snapshotter_;
  internal::Retention retention_;
  std::shared_ptr<RunningSave> running_;
  // One that failed, preferably one that nobody holds.
  std::shared_ptr<RunningSave> failed_;
  // The checkpoint that was saved or restored last, and the session.
  std::string held_;
  std::weak_ptr<const void> holder_;
  // Where a save has succeeded.
  std::set<std::string> folders_;
};

absl::Status Saver::Impl::CheckBuilt() const {
  if (built_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the saver is not built yet; call Build, or finalize the Scaffold that "
      "holds it");
}

// The prefix to be written.
absl::StatusOr<std::string> Saver::Impl::CheckPath(
    const std::string& path, const SaveOptions& options) const {
  if (BaseName(path).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot save to \"", path,
                     "\", add a name such as \"model.ckpt\" to the folder"));
  }
  if (options.latest_filename.empty() ||
      absl::StrContains(options.latest_filename, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("latest_filename is \"", options.latest_filename,
                     "\", give a name without a folder, such as \"",
                     kCheckpointStateName, "\""));
  }
  std::string prefix =
      CheckpointPrefix(path, options.global_step, options_.pad_step_number);
  if (BaseName(prefix) == options.latest_filename) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot save to \"", prefix,
                     "\", which is the name of the state file; "
                     "choose another name for one of them"));
  }
  return prefix;
}

// Writes the checkpoint `prefix` by the graph's own operations, on a server or
// because they do something else than SaveV2.
absl::Status Saver::Impl::RunSave(Session& session, const std::string& prefix) {
  const std::string& tensor = def_.save_tensor_name();
  const absl::Status status =
      session.Run(Target(tensor.substr(0, tensor.find(':'))),
                  {{def_.filename_tensor_name(), prefix}});
  return internal::WithoutEndOfInput(internal::ExplainFailedRead(status),
                                     absl::StatusCode::kResourceExhausted);
}

// The values, as they are now, to be written by a job.
absl::StatusOr<Saver::Impl::WriteValues> Saver::Impl::Snapshot(
    Session& session, const SaveOptions& options,
    const internal::BundleOptions& bundle) {
  const internal::StateHold hold(session);
  absl::StatusOr<std::vector<Tensor>> taken =
      snapshotter_->Take(session, options.snapshot == SnapshotMode::kCopy
                                      ? internal::Snapshotter::Values::kCopied
                                      : internal::Snapshotter::Values::kShared);
  if (!taken.ok()) {
    return internal::WithoutEndOfInput(taken.status(),
                                       absl::StatusCode::kInternal);
  }
  // Shared, as a function must be copyable; in the order in which they are
  // written, each is let go as soon as it is.
  auto values = std::make_shared<std::vector<Tensor>>(*std::move(taken));
  return WriteValues(
      [values, snapshotter = snapshotter_, bundle](const std::string& prefix) {
        return internal::WriteBundle(
            prefix, bundle, [&](auto receive) -> absl::Status {
              for (size_t i = 0; i < values->size(); ++i) {
                const Tensor value = std::exchange((*values)[i], Tensor());
                TF_RETURN_IF_ERROR(receive(snapshotter->saved()[i], value));
              }
              return absl::OkStatus();
            });
      });
}

// All that is to be done, but for the values.
absl::StatusOr<internal::CheckpointJob> Saver::Impl::MakeJob(
    Session& session, const std::string& path, const SaveOptions& options) {
  internal::CheckpointJob job;
  TF_ASSIGN_OR_RETURN(job.prefix, CheckPath(path, options));
  const absl::Time now = options_.clock->Now();
  if (options.write_meta_graph) job.graph = session.graph();
  job.saver_def = def_;
  job.latest_filename = options.latest_filename;
  job.metrics = options.metrics;
  job.file_mode = options_.file_mode;
  if (options.write_state) {
    job.change =
        retention_.Plan(job.prefix, now, [&](const std::string& prefix) {
          return prefix == job.prefix ? options.metrics : Metrics(prefix);
        });
  }
  if (folders_.count(DirName(job.prefix)) == 0) job.first_as_of = now;
  return job;
}

absl::StatusOr<std::string> Saver::Impl::Save(Session& session,
                                              const std::string& path,
                                              const SaveOptions& options) {
  TF_RETURN_IF_ERROR(CheckBuilt());
  TF_RETURN_IF_ERROR(AwaitSave());
  TF_ASSIGN_OR_RETURN(internal::CheckpointJob job,
                      MakeJob(session, path, options));
  if (empty()) return "";
  if (!CanSnapshot(session)) {
    if (options.check_finite || options.check_nan) {
      return absl::UnimplementedError(
          "check_finite and check_nan need a session in this process, and a "
          "graph whose save operations are those that TensorFlow makes; save "
          "without them");
    }
    job.write_values = [&](const std::string& prefix) {
      const internal::StateHold hold(session);
      return RunSave(session, prefix);
    };
  } else if (options.snapshot == SnapshotMode::kStream) {
    job.write_values = [&](const std::string& prefix) {
      const internal::StateHold hold(session);
      return internal::WriteBundle(
          prefix, BundleOptionsOf(options),
          [&](auto receive) { return snapshotter_->Stream(session, receive); });
    };
  } else {
    TF_ASSIGN_OR_RETURN(job.write_values,
                        Snapshot(session, options, BundleOptionsOf(options)));
  }
  TF_ASSIGN_OR_RETURN(std::vector<KeptCheckpoint> undeleted,
                      internal::WriteCheckpoint(job));
  NoteSaved(job, session.identity(), std::move(undeleted));
  return job.prefix;
}

absl::StatusOr<std::string> Saver::Impl::SaveAsync(Session& session,
                                                   const std::string& path,
                                                   const SaveOptions& options) {
  TF_RETURN_IF_ERROR(AwaitSave());
  if (failed_ != nullptr && !failed_->is_held) {
    TF_RETURN_IF_ERROR(TellFailure());
  }
  TF_ASSIGN_OR_RETURN(const PendingSave save,
                      BeginSave(session, path, options));
  if (save.running_ != nullptr) save.running_->is_held = false;
  return save.prefix();
}

absl::StatusOr<Saver::PendingSave> Saver::Impl::BeginSave(
    Session& session, const std::string& path, const SaveOptions& options) {
  if (options.snapshot == SnapshotMode::kStream) {
    return absl::InvalidArgumentError(
        "a save in the background cannot stream, as training goes on; give "
        "another snapshot mode, or save in the foreground");
  }
  TF_RETURN_IF_ERROR(CheckBuilt());
  if (empty() || !CanSnapshot(session)) {
    TF_ASSIGN_OR_RETURN(std::string saved, Save(session, path, options));
    return PendingSave(std::move(saved));
  }
  TF_RETURN_IF_ERROR(AwaitSave());
  auto running = std::make_shared<RunningSave>();
  TF_ASSIGN_OR_RETURN(running->job, MakeJob(session, path, options));
  // Training shares the processors with it, and does not wait for the disk.
  internal::BundleOptions bundle = BundleOptionsOf(options);
  bundle.write.direct = true;
  TF_ASSIGN_OR_RETURN(running->job.write_values,
                      Snapshot(session, options, bundle));
  running->session = session.identity();
  TF_ASSIGN_OR_RETURN(running->thread, Thread::Start("checkpoint", [running] {
                        Thread::LetOthersFinish();
                        running->status = CallCatching([&]() -> absl::Status {
                          TF_ASSIGN_OR_RETURN(
                              running->undeleted,
                              internal::WriteCheckpoint(running->job));
                          return absl::OkStatus();
                        });
                        // The values, if it failed before they were written.
                        running->job.write_values = nullptr;
                      }));
  running_ = running;
  return PendingSave(running->job.prefix, running);
}

void Saver::Impl::NoteSaved(const internal::CheckpointJob& job,
                            const std::weak_ptr<const void>& session,
                            std::vector<KeptCheckpoint> undeleted) {
  held_ = job.prefix;
  holder_ = session;
  folders_.insert(DirName(job.prefix));
  if (job.change.has_value()) {
    retention_.Apply(*job.change, std::move(undeleted));
  }
}

bool Saver::Impl::AwaitSaveFor(absl::Duration patience) {
  if (running_ == nullptr) return true;
  if (!running_->thread->JoinFor(patience)) return false;
  const std::shared_ptr<RunningSave> ended = std::exchange(running_, nullptr);
  if (ended->status.ok()) {
    NoteSaved(ended->job, ended->session, std::move(ended->undeleted));
  }
  if (!ended->status.ok() &&
      (failed_ == nullptr || failed_->told || failed_->is_held)) {
    failed_ = ended;
  }
  return true;
}

absl::Status Saver::Impl::TellFailure() {
  const std::shared_ptr<RunningSave> failed = std::exchange(failed_, nullptr);
  if (failed == nullptr || failed->told) return absl::OkStatus();
  failed->told = true;
  return failed->status;
}

absl::Status Saver::Impl::WaitForSave(absl::Duration patience) {
  if (!AwaitSaveFor(patience)) return GiveUp(patience);
  return TellFailure();
}

absl::Status Saver::Impl::GiveUp(absl::Duration patience) {
  if (running_->thread->InForkedChild()) return WrittenByParent();
  running_->given_up = true;
  running_->thread->Detach();
  return StillWritten(patience);
}

absl::Status Saver::Impl::StillWritten(absl::Duration patience) const {
  return absl::DeadlineExceededError(absl::StrCat(
      "the checkpoint \"", running_->job.prefix,
      "\" is still being written after ", absl::FormatDuration(patience),
      "; wait longer, or find out why the disk is slow"));
}

absl::Status Saver::Impl::WrittenByParent() const {
  return absl::FailedPreconditionError(absl::StrCat(
      "the checkpoint \"", running_->job.prefix,
      "\" is written by the process that this one was forked from; wait for it "
      "there"));
}

absl::Status Saver::Impl::AwaitSave(absl::Duration patience) {
  const bool given_up = running_ != nullptr && running_->given_up;
  if (AwaitSaveFor(given_up ? absl::ZeroDuration() : patience)) {
    return absl::OkStatus();
  }
  if (running_->thread->InForkedChild()) return WrittenByParent();
  if (!given_up) return StillWritten(patience);
  return absl::FailedPreconditionError(
      absl::StrCat("the checkpoint \"", running_->job.prefix,
                   "\", for which nobody waited to the end, is still being "
                   "written; find out why the disk is slow"));
}

absl::Status Saver::Impl::Restore(Session& session, const std::string& path,
                                  RestorePart part, const RestoreSpec* spec) {
  TF_RETURN_IF_ERROR(CheckBuilt());
  TF_RETURN_IF_ERROR(AwaitSave());
  if (empty() || (part == RestorePart::kIterators && !restores_iterators())) {
    return absl::OkStatus();
  }
  TF_ASSIGN_OR_RETURN(const PinnedCheckpoint pinned, FindAndPin(path));
  const std::string& prefix = pinned.prefix;
  LOG(INFO) << "Restoring from \"" << prefix << "\"";
  holder_.reset();
  TF_RETURN_IF_ERROR(internal::RestoreCheckpoint(session, *save_graph_, def_,
                                                 prefix, part, spec));
  // With a spec, something else may have come of it than the checkpoint.
  if (spec != nullptr) return absl::OkStatus();
  held_ = prefix;
  holder_ = session.identity();
  return absl::OkStatus();
}

absl::StatusOr<RestorePlan> Saver::Impl::PlanRestore(
    const std::string& path, const RestoreSpec& spec) const {
  TF_RETURN_IF_ERROR(CheckBuilt());
  if (empty() || !save_graph_->restored.has_value()) {
    return absl::FailedPreconditionError(
        "the saver has nothing to restore, or the graph's restore operations "
        "are not those that TensorFlow makes");
  }
  TF_ASSIGN_OR_RETURN(const PinnedCheckpoint pinned, FindAndPin(path));
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<internal::Bundle> bundle,
                      internal::Bundle::Open(pinned.prefix));
  return internal::PlanRestore(*bundle, *save_graph_->restored, spec);
}

std::map<std::string, ValueAccess> Saver::Impl::HowSaved(
    const Session& session) const {
  std::map<std::string, ValueAccess> access;
  if (!CanSnapshot(session)) return access;
  for (const internal::SavedTensor& tensor : snapshotter_->saved()) {
    access[tensor.key] = tensor.variable.has_value() ? ValueAccess::kVariable
                                                     : ValueAccess::kFetched;
  }
  return access;
}

Saver::Saver(Options options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

Saver::~Saver() = default;

std::shared_ptr<Saver> Saver::Deferred() { return Deferred(Options()); }

std::shared_ptr<Saver> Saver::Deferred(Options options) {
  return std::shared_ptr<Saver>(new Saver(std::move(options)));
}

absl::StatusOr<std::shared_ptr<Saver>> Saver::Create(Graph& graph) {
  return Create(graph, Options());
}

absl::StatusOr<std::shared_ptr<Saver>> Saver::Create(Graph& graph,
                                                     Options options) {
  std::shared_ptr<Saver> saver = Deferred(std::move(options));
  TF_RETURN_IF_ERROR(saver->Build(graph));
  return saver;
}

absl::StatusOr<std::shared_ptr<Saver>> Saver::FromSaverDef(const Graph& graph,
                                                           const SaverDef& def,
                                                           Clock* clock) {
  Options options;
  options.max_to_keep = def.max_to_keep();
  options.keep_checkpoint_every_n_hours = def.keep_checkpoint_every_n_hours();
  options.clock = clock;
  std::shared_ptr<Saver> saver = Deferred(std::move(options));
  TF_RETURN_IF_ERROR(saver->impl_->Adopt(graph, def));
  return saver;
}

absl::Status Saver::Build(Graph& graph) { return impl_->Build(graph); }

bool Saver::built() const { return impl_->built(); }

bool Saver::empty() const { return impl_->empty(); }

absl::StatusOr<std::string> Saver::Save(Session& session,
                                        const std::string& path) {
  return Save(session, path, SaveOptions());
}

absl::StatusOr<std::string> Saver::Save(Session& session,
                                        const std::string& path,
                                        const SaveOptions& options) {
  return impl_->Save(session, path, options);
}

absl::StatusOr<std::string> Saver::SaveAsync(Session& session,
                                             const std::string& path,
                                             const SaveOptions& options) {
  return impl_->SaveAsync(session, path, options);
}

absl::Status Saver::SetMetrics(const std::string& prefix,
                               const std::map<std::string, double>& metrics) {
  return internal::SetMetrics(prefix, metrics);
}

std::map<std::string, double> Saver::Metrics(const std::string& prefix) {
  return internal::ReadNotes(prefix).metrics;
}

absl::StatusOr<Saver::PendingSave> Saver::BeginSave(
    Session& session, const std::string& path, const SaveOptions& options) {
  return impl_->BeginSave(session, path, options);
}

absl::Status Saver::AwaitSave(absl::Duration patience) {
  return impl_->AwaitSave(patience);
}

bool Saver::saving() const { return impl_->saving(); }

absl::Status Saver::WaitForSave(absl::Duration patience) {
  return impl_->WaitForSave(patience);
}

absl::Status Saver::WaitForSave(const PendingSave& save,
                                absl::Duration patience) {
  return impl_->WaitForSave(save, patience);
}

std::map<std::string, ValueAccess> Saver::HowSaved(
    const Session& session) const {
  return impl_->HowSaved(session);
}

absl::Status Saver::Restore(Session& session, const std::string& path,
                            RestorePart part) {
  return impl_->Restore(session, path, part, /*spec=*/nullptr);
}

absl::Status Saver::Restore(Session& session, const std::string& path,
                            const RestoreSpec& spec) {
  return impl_->Restore(session, path, RestorePart::kAll, &spec);
}

absl::StatusOr<RestorePlan> Saver::PlanRestore(const std::string& path,
                                               const RestoreSpec& spec) const {
  return impl_->PlanRestore(path, spec);
}

absl::Status Saver::AddRetention(const RetentionPolicy& policy) {
  TF_RETURN_IF_ERROR(CheckRetention({policy}));
  impl_->retention().Add(policy, impl_->Now());
  return absl::OkStatus();
}

std::optional<std::string> Saver::CheckpointOf(const Session& session,
                                               const std::string& path,
                                               int64_t step) const {
  return impl_->CheckpointOf(session, path, step);
}

mode_t Saver::file_mode() const { return impl_->file_mode(); }

bool Saver::CanCheckFinite(const Session& session) const {
  return impl_->CanSnapshot(session);
}

bool Saver::restores_iterators() const { return impl_->restores_iterators(); }

std::vector<std::string> Saver::last_checkpoints() const {
  std::vector<std::string> prefixes;
  for (const KeptCheckpoint& checkpoint : impl_->retention().kept()) {
    prefixes.push_back(checkpoint.prefix);
  }
  return prefixes;
}

void Saver::RecoverLastCheckpoints(const std::vector<std::string>& prefixes) {
  std::vector<Checkpoint> found;
  for (const std::string& prefix : prefixes) {
    absl::StatusOr<FileInfo> info = GetFileInfo(IndexFileName(prefix));
    if (!info.ok() && CheckpointExists(prefix)) info = GetFileInfo(prefix);
    if (info.ok() && !internal::ReadNotes(prefix).kept) {
      found.push_back({prefix, info->modified});
    }
  }
  SetLastCheckpointsWithTime(std::move(found));
}

void Saver::SetLastCheckpointsWithTime(std::vector<Checkpoint> checkpoints) {
  std::vector<KeptCheckpoint> kept;
  for (Checkpoint& checkpoint : checkpoints) {
    kept.push_back({std::move(checkpoint.prefix), checkpoint.time});
  }
  impl_->retention().set_kept(std::move(kept));
}

const SaverDef& Saver::saver_def() const {
  CHECK(built()) << "the saver is not built yet";
  return impl_->saver_def();
}

}  // namespace tftrain

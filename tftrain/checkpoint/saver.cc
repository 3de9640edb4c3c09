// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/saver.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/build_save_graph.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/pending_checkpoint.h"
#include "tftrain/checkpoint/internal/restore_match.h"
#include "tftrain/checkpoint/internal/retention.h"
#include "tftrain/checkpoint/internal/save_graph.h"

namespace tftrain {
namespace {

using internal::KeptCheckpoint;
using internal::PendingCheckpoint;
using internal::SavedTensor;
using tensorflow::SaverDef;
using tensorflow::Tensor;

// `status` with another code instead of those that mean something else to a
// session: the end of the input, or a lost process.
absl::Status AsFileError(const absl::Status& status, absl::StatusCode code) {
  if (absl::IsOutOfRange(status)) return absl::Status(code, status.message());
  if (absl::IsAborted(status) || absl::IsUnavailable(status)) {
    return absl::UnknownError(status.message());
  }
  return status;
}

// `status` of the graph's own operations: their files, too, end early.
absl::Status WithoutEndOfInput(const absl::Status& status,
                               absl::StatusCode code) {
  return absl::IsOutOfRange(status) ? absl::Status(code, status.message())
                                    : status;
}

// Says in our words that reading failed with `status` because a variable has
// no value; TensorFlow's own would be taken for those of a ready op.
absl::Status ExplainFailedRead(const absl::Status& status) {
  if (!absl::IsFailedPrecondition(status)) return status;
  for (const std::string_view before :
       {"Could not find variable ", "reading resource variable ",
        "Attempting to use uninitialized value "}) {
    const size_t found = status.message().find(before);
    if (found == std::string_view::npos) continue;
    std::string_view name = status.message().substr(found + before.size());
    name = name.substr(0, name.find_first_of(" \n"));
    absl::ConsumeSuffix(&name, ".");
    return absl::FailedPreconditionError(
        absl::StrCat("the variable \"", name,
                     "\" has no value yet; run the init op or restore first"));
  }
  return status;
}

// The values that a checkpoint is made of, as they are in one step.
absl::StatusOr<std::vector<Tensor>> FetchValues(
    Session& session, const std::vector<SavedTensor>& saved) {
  std::vector<FetchTree> fetches;
  fetches.reserve(saved.size());
  for (const SavedTensor& tensor : saved) {
    fetches.emplace_back(Fetch<Tensor>(tensor.tensor));
  }
  const absl::StatusOr<Value> answer = session.Run(List(std::move(fetches)));
  if (!answer.ok()) {
    return WithoutEndOfInput(ExplainFailedRead(answer.status()),
                             absl::StatusCode::kInternal);
  }
  std::vector<Tensor> values;
  values.reserve(saved.size());
  for (int i = 0; i < static_cast<int>(saved.size()); ++i) {
    TF_ASSIGN_OR_RETURN(values.emplace_back(), answer->Get<Tensor>({i}));
  }
  return values;
}

absl::Status AddTensor(const SavedTensor& tensor, const Tensor& value,
                       tensorflow::BundleWriter* writer) {
  if (tensor.slice.empty()) return writer->Add(tensor.key, value);
  tensorflow::TensorShape whole, part;
  tensorflow::TensorSlice slice;
  TF_RETURN_IF_ERROR(tensorflow::checkpoint::ParseShapeAndSlice(
      tensor.slice, &whole, &slice, &part));
  if (part != value.shape()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", tensor.tensor, "\" has the shape ", value.shape().DebugString(),
        " and is to be saved as the part \"", tensor.slice, "\" of \"",
        tensor.key, "\"; make the graph's saver anew"));
  }
  return writer->AddSlice(tensor.key, whole, slice, value);
}

absl::Status WriteBundle(const std::string& prefix,
                         const std::vector<SavedTensor>& saved,
                         const std::vector<Tensor>& values) {
  tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix);
  TF_RETURN_IF_ERROR(writer.status());
  for (size_t i = 0; i < saved.size(); ++i) {
    const absl::Status status = AddTensor(saved[i], values[i], &writer);
    if (!status.ok()) {
      // Closes the file; its error would be a consequence of this one.
      writer.Finish().IgnoreError();
      return status;
    }
  }
  return writer.Finish();
}

// The file is forced to the disk together with the others.
absl::Status WriteMeta(const Graph& graph, const SaverDef& def,
                       const std::string& path) {
  TF_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta_graph,
                      graph.ToMetaGraph(&def));
  std::string bytes;
  if (!meta_graph.SerializeToString(&bytes)) {
    return absl::InvalidArgumentError(
        "the graph is larger than the 2 GiB of a meta file; set "
        "write_meta_graph to false");
  }
  WriteOptions options;
  options.durable = false;
  return WriteFileAtomically(path, bytes, options);
}

absl::Status CheckPolicy(int max_to_keep, double keep_hours) {
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

// Puts back what the state file said before a failed attempt to write it.
// Returns whether it says that now.
bool PutBack(const std::string& state_path,
             const absl::StatusOr<std::string>& former) {
  constexpr int64_t kLimit = CheckpointStateLimits().max_bytes;
  const absl::StatusOr<std::string> now = ReadFile(state_path, kLimit);
  if (absl::IsNotFound(former.status())) {
    return absl::IsNotFound(now.status()) || RemoveFile(state_path).ok();
  }
  if (!former.ok()) return false;
  return (now.ok() && *now == *former) ||
         WriteFileAtomically(state_path, *former).ok();
}

}  // namespace

class Saver::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        retention_(options_.max_to_keep,
                   absl::Hours(options_.keep_checkpoint_every_n_hours),
                   options_.clock->Now()) {}

  bool built() const { return built_; }
  bool empty() const { return built_ && !save_graph_.has_value(); }
  const SaverDef& saver_def() const { return def_; }
  internal::Retention& retention() { return retention_; }

  absl::Status Build(Graph& graph) {
    if (built_) return absl::OkStatus();
    TF_RETURN_IF_ERROR(CheckPolicy(options_.max_to_keep,
                                   options_.keep_checkpoint_every_n_hours));
    TF_ASSIGN_OR_RETURN(std::optional<SaverDef> def,
                        internal::BuildSaveGraph(graph, options_.var_list));
    if (!def && !options_.allow_empty) {
      return absl::InvalidArgumentError(
          "the graph has no variables to save; add some before the saver is "
          "built, or set allow_empty");
    }
    if (def) TF_RETURN_IF_ERROR(Adopt(graph, *def));
    def_.set_version(SaverDef::V2);
    def_.set_max_to_keep(options_.max_to_keep);
    def_.set_keep_checkpoint_every_n_hours(
        static_cast<float>(options_.keep_checkpoint_every_n_hours));
    built_ = true;
    return absl::OkStatus();
  }

  // Takes the operations of `def` for its own.
  absl::Status Adopt(const Graph& graph, const SaverDef& def) {
    TF_RETURN_IF_ERROR(
        CheckPolicy(def.max_to_keep(), def.keep_checkpoint_every_n_hours()));
    TF_ASSIGN_OR_RETURN(save_graph_, internal::ReadSaveGraph(graph, def));
    def_ = def;
    built_ = true;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Save(Session& session, const std::string& path,
                                   const SaveOptions& options);
  absl::Status Restore(Session& session, const std::string& path,
                       RestorePart part);
  bool restores_iterators() const {
    return save_graph_.has_value() && !save_graph_->restore_iterators.empty();
  }

 private:
  absl::Status CheckBuilt() const;
  absl::StatusOr<std::string> CheckPath(const std::string& path,
                                        const SaveOptions& options) const;
  absl::Status Write(Session& session, const std::string& prefix);
  absl::Status WriteState(const std::string& folder,
                          const internal::Retention::Change& change,
                          const SaveOptions& options,
                          PendingCheckpoint* pending);
  // Lets the graph's own operations read the checkpoint.
  absl::Status RunRestore(Session& session, const std::string& prefix,
                          RestorePart part);
  absl::Status RunRestoreOps(Session& session, RestorePart part,
                             const Feeds& feeds);

  const Options options_;

  bool built_ = false;
  SaverDef def_;
  // Missing when there is nothing to save.
  std::optional<internal::SaveGraph> save_graph_;
  internal::Retention retention_;
  // Where leftovers were looked for.
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

absl::StatusOr<std::string> Saver::Impl::Save(Session& session,
                                              const std::string& path,
                                              const SaveOptions& options) {
  TF_RETURN_IF_ERROR(CheckBuilt());
  TF_ASSIGN_OR_RETURN(const std::string prefix, CheckPath(path, options));
  if (empty()) return "";
  const std::string folder = DirName(prefix);
  if (!folder.empty()) TF_RETURN_IF_ERROR(CreateFolders(folder));

  internal::FolderMark mark(folder);
  if (folders_.insert(folder).second) {
    mark.RemoveLeftovers(options_.clock->Now());
  }
  PendingCheckpoint pending(prefix);
  const auto write = [&]() -> absl::Status {
    TF_RETURN_IF_ERROR(Write(session, pending.temporary()));
    if (options.write_meta_graph) {
      TF_RETURN_IF_ERROR(
          WriteMeta(*session.graph(), def_, pending.temporary_meta()));
    }
    return pending.Commit();
  };
  if (const absl::Status status = write(); !status.ok()) {
    return AnnotateBefore(
        status, absl::StrCat("cannot save the checkpoint \"", prefix, "\""));
  }
  if (!options.write_state) {
    pending.Finish();
    return prefix;
  }
  const internal::Retention::Change change =
      retention_.Plan(prefix, options_.clock->Now());
  TF_RETURN_IF_ERROR(WriteState(folder, change, options, &pending));
  retention_.Apply(change);
  for (const KeptCheckpoint& checkpoint : change.deleted) {
    internal::DeleteCheckpoint(checkpoint, folder);
  }
  return prefix;
}

// Writes the files of a checkpoint under the temporary `prefix`.
absl::Status Saver::Impl::Write(Session& session, const std::string& prefix) {
  constexpr auto kTooLarge = absl::StatusCode::kResourceExhausted;
  std::optional<StepHold> hold(session);
  if (!hold->complete()) {
    LOG(WARNING) << "Saving while another thread's step runs on; the "
                    "checkpoint may hold half of it";
  }
  if (session.is_local() && save_graph_->saved) {
    TF_ASSIGN_OR_RETURN(const std::vector<Tensor> values,
                        FetchValues(session, *save_graph_->saved));
    hold.reset();
    return AsFileError(WriteBundle(prefix, *save_graph_->saved, values),
                       kTooLarge);
  }
  const std::string& tensor = def_.save_tensor_name();
  const absl::Status status =
      session.Run(Target(tensor.substr(0, tensor.find(':'))),
                  {{def_.filename_tensor_name(), prefix}});
  return WithoutEndOfInput(ExplainFailedRead(status), kTooLarge);
}

// Names the new checkpoint in the state file, or takes it back.
absl::Status Saver::Impl::WriteState(const std::string& folder,
                                     const internal::Retention::Change& change,
                                     const SaveOptions& options,
                                     PendingCheckpoint* pending) {
  const std::string state_path = JoinPath(folder, options.latest_filename);
  const absl::StatusOr<std::string> former =
      ReadFile(state_path, CheckpointStateLimits().max_bytes);
  CheckpointState state;
  state.model_checkpoint_path = change.kept.back().prefix;
  for (const KeptCheckpoint& checkpoint : change.kept) {
    state.all_model_checkpoint_paths.push_back(checkpoint.prefix);
  }
  UpdateCheckpointStateOptions state_options;
  state_options.latest_filename = options.latest_filename;
  const absl::Status status =
      UpdateCheckpointState(folder, state, state_options);
  // A checkpoint that the state file may name stays, though the save failed.
  if (status.ok() || !PutBack(state_path, former)) pending->Finish();
  return status;
}

absl::Status Saver::Impl::Restore(Session& session, const std::string& path,
                                  RestorePart part) {
  TF_RETURN_IF_ERROR(CheckBuilt());
  if (empty() || (part == RestorePart::kIterators && !restores_iterators())) {
    return absl::OkStatus();
  }
  const absl::StatusOr<std::string> prefix = ResolveCheckpoint(path);
  if (absl::IsNotFound(prefix.status())) {
    return absl::InvalidArgumentError(prefix.status().message());
  }
  TF_RETURN_IF_ERROR(prefix.status());
  LOG(INFO) << "Restoring from \"" << *prefix << "\"";
  TF_ASSIGN_OR_RETURN(const bool has_index, FileExists(IndexFileName(*prefix)));
  if (!has_index) return RunRestore(session, *prefix, part);

  TF_ASSIGN_OR_RETURN(const std::unique_ptr<internal::Bundle> bundle,
                      internal::Bundle::Open(*prefix));
  if (!save_graph_->restored) return RunRestore(session, *prefix, part);
  std::vector<internal::RestoredTensor> wanted;
  for (const internal::RestoredTensor& tensor : *save_graph_->restored) {
    if (part == RestorePart::kAll ||
        tensor.is_iterator == (part == RestorePart::kIterators)) {
      wanted.push_back(tensor);
    }
  }
  TF_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      internal::MatchTensors(*bundle, wanted));
  if (!session.is_local()) return RunRestore(session, *prefix, part);
  TF_ASSIGN_OR_RETURN(const std::vector<Tensor> values,
                      internal::ReadTensors(*bundle, wanted, names));
  Feeds feeds;
  for (size_t i = 0; i < wanted.size(); ++i) {
    feeds.Add(wanted[i].tensor, values[i]);
  }
  const absl::Status status = RunRestoreOps(session, part, feeds);
  return AnnotateBefore(
      WithoutEndOfInput(status, absl::StatusCode::kInternal),
      absl::StrCat("cannot restore the checkpoint \"", *prefix, "\""));
}

absl::Status Saver::Impl::RunRestore(Session& session,
                                     const std::string& prefix,
                                     RestorePart part) {
  const absl::Status status =
      RunRestoreOps(session, part, {{def_.filename_tensor_name(), prefix}});
  return AnnotateBefore(
      WithoutEndOfInput(status, absl::StatusCode::kDataLoss),
      absl::StrCat("cannot restore the checkpoint \"", prefix, "\""));
}

absl::Status Saver::Impl::RunRestoreOps(Session& session, RestorePart part,
                                        const Feeds& feeds) {
  const StepHold hold(session);
  if (!hold.complete()) {
    LOG(WARNING) << "Restoring while another thread's step runs on, which may "
                    "change what is restored";
  }
  if (part == RestorePart::kAll || !restores_iterators()) {
    return session.Run(Target(def_.restore_op_name()), feeds);
  }
  std::vector<FetchTree> targets;
  for (const std::string& op : part == RestorePart::kIterators
                                   ? save_graph_->restore_iterators
                                   : save_graph_->restore_others) {
    targets.push_back(Target(op));
  }
  return session.Run(List(std::move(targets)), feeds).status();
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

absl::Status Saver::Restore(Session& session, const std::string& path,
                            RestorePart part) {
  return impl_->Restore(session, path, part);
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
    if (info.ok()) found.push_back({prefix, info->modified});
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

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/checkpoint_writer.h"

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/internal/bundle_files.h"
#include "tftrain/checkpoint/internal/pending_checkpoint.h"

namespace tftrain::internal {
namespace {

using tensorflow::SaverDef;
using tensorflow::Tensor;

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

// Names the new checkpoint in the state file, or takes it back.
absl::Status WriteState(const CheckpointJob& job, const std::string& folder,
                        PendingCheckpoint* pending) {
  const std::string state_path = JoinPath(folder, job.latest_filename);
  const absl::StatusOr<std::string> former =
      ReadFile(state_path, CheckpointStateLimits().max_bytes);
  CheckpointState state;
  state.model_checkpoint_path = job.change->kept.back().prefix;
  for (const KeptCheckpoint& checkpoint : job.change->kept) {
    state.all_model_checkpoint_paths.push_back(checkpoint.prefix);
  }
  UpdateCheckpointStateOptions options;
  options.latest_filename = job.latest_filename;
  const absl::Status status = UpdateCheckpointState(folder, state, options);
  // A checkpoint that the state file may name stays, though the save failed.
  if (status.ok() || !PutBack(state_path, former)) pending->Finish();
  return status;
}

absl::Status WriteAll(const CheckpointJob& job) {
  const std::string folder = DirName(job.prefix);
  if (!folder.empty()) TF_RETURN_IF_ERROR(CreateFolders(folder));
  FolderMark mark(folder);
  if (job.clean_up_as_of.has_value()) {
    mark.RemoveLeftovers(*job.clean_up_as_of);
  }
  PendingCheckpoint pending(job.prefix);
  TF_RETURN_IF_ERROR(job.write_values(pending.temporary()));
  if (job.graph != nullptr) {
    TF_RETURN_IF_ERROR(
        WriteMeta(*job.graph, job.saver_def, pending.temporary_meta()));
  }
  TF_RETURN_IF_ERROR(pending.Commit());
  if (!job.change.has_value()) {
    pending.Finish();
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(WriteState(job, folder, &pending));
  for (const KeptCheckpoint& checkpoint : job.change->deleted) {
    DeleteCheckpoint(checkpoint, folder);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteBundle(const std::string& prefix, ValueSource source) {
  tensorflow::BundleWriter writer(BundleFiles(), prefix);
  TF_RETURN_IF_ERROR(writer.status());
  const absl::Status status =
      source([&](const SavedTensor& tensor, const Tensor& value) {
        return AddTensor(tensor, value, &writer);
      });
  if (!status.ok()) {
    // Closes the file; its error would be a consequence of this one.
    writer.Finish().IgnoreError();
    return status;
  }
  return writer.Finish();
}

absl::Status WriteCheckpoint(const CheckpointJob& job) {
  const absl::Status status = WriteAll(job);
  return AnnotateBefore(
      status, absl::StrCat("cannot save the checkpoint \"", job.prefix, "\""));
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/checkpoint_writer.h"

#include <unistd.h>

#include <memory>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/internal/checkpoint_notes.h"
#include "tftrain/checkpoint/internal/folder_lock.h"
#include "tftrain/checkpoint/internal/pending_checkpoint.h"

namespace tftrain::internal {
namespace {

WriteOptions OptionsOf(const CheckpointJob& job, bool durable) {
  WriteOptions options;
  options.durable = durable;
  options.mode = job.file_mode;
  return options;
}

// The file is forced to the disk together with the others.
absl::Status WriteMeta(const CheckpointJob& job, const std::string& path) {
  TF_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta_graph,
                      job.graph->ToMetaGraph(&job.saver_def));
  std::string bytes;
  if (!meta_graph.SerializeToString(&bytes)) {
    return absl::InvalidArgumentError(
        "the graph is larger than the 2 GiB of a meta file; set "
        "write_meta_graph to false");
  }
  return WriteFileAtomically(path, bytes, OptionsOf(job, /*durable=*/false));
}

// Puts back what the state file said before a failed attempt to write it.
// Returns whether it says that now.
bool PutBack(const std::string& state_path, const WriteOptions& options,
             const absl::StatusOr<std::string>& former) {
  constexpr int64_t kLimit = CheckpointStateLimits().max_bytes;
  const absl::StatusOr<std::string> now = ReadFile(state_path, kLimit);
  if (absl::IsNotFound(former.status())) {
    // For certain, before the checkpoint that it names goes.
    return absl::IsNotFound(now.status()) ||
           (RemoveFile(state_path).ok() &&
            SyncFolder(DirName(state_path)).ok());
  }
  if (!former.ok()) return false;
  return (now.ok() && *now == *former) ||
         WriteFileAtomically(state_path, *former, options).ok();
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
  options.write = OptionsOf(job, /*durable=*/true);
  const absl::Status status = UpdateCheckpointState(folder, state, options);
  // A checkpoint that the state file may name stays, though the save failed.
  if (status.ok() || !PutBack(state_path, options.write, former)) {
    pending->Finish();
  }
  return status;
}

// Those are not for later runs to delete.
void MarkPreserved(const CheckpointJob& job, const std::string& folder) {
  for (const KeptCheckpoint& checkpoint : job.change->preserved) {
    if (!IsOurs(checkpoint, folder)) continue;
    const absl::Status status = MarkKept(checkpoint.prefix);
    if (!status.ok()) {
      LOG(WARNING) << "The checkpoint \"" << checkpoint.prefix
                   << "\" is kept for good, but a later run may delete it: "
                   << status.message();
    }
  }
}

// Forces the names of `folder` and of those it lies in to the disk. What this
// user may not look into, this user made nothing in.
absl::Status SyncNamesAbove(std::string folder) {
  while (!folder.empty() && folder != DirName(folder)) {
    folder = DirName(folder);
    const char* const path = folder.empty() ? "." : folder.c_str();
    if (::access(path, R_OK) == 0) TF_RETURN_IF_ERROR(SyncFolder(path));
  }
  return absl::OkStatus();
}

// Writes all files of the checkpoint under hidden names.
absl::Status WriteFiles(const CheckpointJob& job,
                        const PendingCheckpoint& pending) {
  TF_RETURN_IF_ERROR(job.write_values(pending.temporary()));
  if (job.graph != nullptr) {
    TF_RETURN_IF_ERROR(WriteMeta(job, pending.temporary_meta()));
  }
  if (job.metrics.empty()) return absl::OkStatus();
  CheckpointNotes notes;
  notes.metrics = job.metrics;
  return WriteNotes(notes, pending.temporary_notes(),
                    OptionsOf(job, /*durable=*/false));
}

// Puts them into place, and deletes what goes for them.
absl::Status Commit(const CheckpointJob& job, const std::string& folder,
                    PendingCheckpoint* pending,
                    std::vector<KeptCheckpoint>* undeleted) {
  TF_RETURN_IF_ERROR(pending->Commit());
  if (!job.change.has_value()) {
    pending->Finish();
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(WriteState(job, folder, pending));
  MarkPreserved(job, folder);
  for (const KeptCheckpoint& checkpoint : job.change->deleted) {
    if (!DeleteCheckpoint(checkpoint, folder)) undeleted->push_back(checkpoint);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<KeptCheckpoint>> WriteAll(const CheckpointJob& job) {
  const std::string folder = DirName(job.prefix);
  if (!folder.empty()) TF_RETURN_IF_ERROR(CreateFolders(folder));
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<FolderLock> lock,
                      FolderLock::Take(folder, FolderLock::Use::kWrite));
  if (job.first_as_of.has_value()) {
    lock->RemoveLeftovers(*job.first_as_of);
    TF_RETURN_IF_ERROR(SyncNamesAbove(folder));
  }
  auto pending = std::make_unique<PendingCheckpoint>(job.prefix, job.file_mode);
  TF_RETURN_IF_ERROR(WriteFiles(job, *pending));
  std::vector<KeptCheckpoint> undeleted;
  TF_RETURN_IF_ERROR(lock->Alone([&] {
    absl::Status status = Commit(job, folder, pending.get(), &undeleted);
    // What is taken back must not be another's by then.
    pending.reset();
    return status;
  }));
  return undeleted;
}

}  // namespace

absl::StatusOr<std::vector<KeptCheckpoint>> WriteCheckpoint(
    const CheckpointJob& job) {
  absl::StatusOr<std::vector<KeptCheckpoint>> undeleted = WriteAll(job);
  if (undeleted.ok()) return undeleted;
  return AnnotateBefore(
      undeleted.status(),
      absl::StrCat("cannot save the checkpoint \"", job.prefix, "\""));
}

}  // namespace tftrain::internal

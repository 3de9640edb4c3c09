// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_list.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain {
namespace {

using Kind = CheckpointFile::Kind;

// The files of one checkpoint seen so far.
struct Found {
  bool has_index = false;
  // By the number of shards that their names speak of.
  std::map<int, std::set<int>> shards;

  void Add(const CheckpointFile& file) {
    if (file.kind == Kind::kIndex) has_index = true;
    if (file.kind == Kind::kData) shards[file.num_shards].insert(file.shard);
  }

  bool complete() const {
    return has_index &&
           std::any_of(shards.begin(), shards.end(), [](const auto& entry) {
             return static_cast<int>(entry.second.size()) == entry.first;
           });
  }
};

bool IsRegularFile(const std::string& path) {
  const absl::StatusOr<FileInfo> info = GetFileInfo(path);
  return info.ok() && info->is_regular;
}

bool V1Exists(std::string_view prefix) {
  const std::vector<std::string> shards = ShardsOfV1Pattern(prefix);
  return IsRegularFile(std::string(prefix)) ||
         (!shards.empty() &&
          std::all_of(shards.begin(), shards.end(), IsRegularFile));
}

// By the name of the checkpoint in its folder.
std::map<std::string, Found> GroupByCheckpoint(
    const std::vector<std::string>& names) {
  std::map<std::string, Found> found;
  for (const std::string& name : names) {
    const std::optional<CheckpointFile> file = ParseCheckpointFile(name);
    if (file && (file->kind == Kind::kIndex || file->kind == Kind::kData)) {
      found[file->prefix].Add(*file);
    }
  }
  return found;
}

bool IsNewer(const ListedCheckpoint& a, const ListedCheckpoint& b) {
  return std::tie(a.step, a.modified, a.prefix) >
         std::tie(b.step, b.modified, b.prefix);
}

}  // namespace

bool CheckpointExists(std::string_view prefix) {
  return IsRegularFile(IndexFileName(prefix)) || V1Exists(prefix);
}

bool CheckpointIsComplete(std::string_view prefix) {
  if (!IsRegularFile(IndexFileName(prefix))) return V1Exists(prefix);
  const absl::StatusOr<std::vector<std::string>> names =
      ListFolder(DirName(prefix));
  if (!names.ok()) return false;
  const std::map<std::string, Found> found = GroupByCheckpoint(*names);
  const auto it = found.find(BaseName(prefix));
  return it != found.end() && it->second.complete();
}

absl::StatusOr<std::vector<ListedCheckpoint>> ListCheckpoints(
    std::string_view folder) {
  TF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  std::vector<ListedCheckpoint> checkpoints;
  for (const auto& [name, found] : GroupByCheckpoint(names)) {
    if (absl::StartsWith(name, ".")) continue;
    ListedCheckpoint checkpoint;
    checkpoint.prefix = JoinPath(folder, name);
    checkpoint.step = StepOfPrefix(name);
    checkpoint.has_index = found.has_index;
    checkpoint.complete = found.complete();
    const auto info = GetFileInfo(IndexFileName(checkpoint.prefix));
    if (info.ok()) checkpoint.modified = info->modified;
    checkpoints.push_back(std::move(checkpoint));
  }
  std::sort(checkpoints.begin(), checkpoints.end(), IsNewer);
  return checkpoints;
}

}  // namespace tftrain

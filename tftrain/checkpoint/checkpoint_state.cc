// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_state.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/internal/normal_path.h"

namespace tftrain {
namespace {

using internal::NormalPath;

bool IsAbsolute(std::string_view path) { return absl::StartsWith(path, "/"); }

bool HasDotDot(std::string_view path) {
  for (const std::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") return true;
  }
  return false;
}

std::string RelativeTo(std::string_view folder, std::string_view path) {
  return std::filesystem::path(NormalPath(path))
      .lexically_relative(NormalPath(folder))
      .string();
}

bool IsInside(std::string_view folder, std::string_view path) {
  const std::string relative = RelativeTo(folder, path);
  return !relative.empty() && relative != "." && !HasDotDot(relative);
}

bool HaveOneBase(std::string_view a, std::string_view b) {
  return BaseOfPrefix(BaseName(a)) == BaseOfPrefix(BaseName(b));
}

absl::Status CheckFilename(std::string_view latest_filename) {
  if (latest_filename.empty() || absl::StrContains(latest_filename, '/')) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the state file's name \"%s\" must be a name without a folder, such "
        "as \"%s\"",
        latest_filename, kCheckpointStateName));
  }
  return absl::OkStatus();
}

// Where the file says a checkpoint lies, or nothing if it may not lie there.
// What lies in the folder has one spelling, whatever the file's is.
std::optional<std::string> Locate(std::string_view folder,
                                  const std::string& entry,
                                  bool allow_outside) {
  const std::string name = BaseName(entry);
  if (name.empty() || name == "." || name == ".." ||
      absl::StrContains(entry, '\0')) {
    return std::nullopt;
  }
  const bool may_be_followed = allow_outside || !HasDotDot(entry);
  const std::string path = IsAbsolute(entry) ? entry : JoinPath(folder, entry);
  if (may_be_followed && IsInside(folder, path)) {
    return JoinPath(folder, RelativeTo(folder, path));
  }
  if (!IsAbsolute(entry)) {
    return may_be_followed ? std::make_optional(path) : std::nullopt;
  }
  if (allow_outside && CheckpointExists(entry)) return entry;
  std::string moved = JoinPath(folder, name);
  if (CheckpointExists(moved)) return moved;
  return allow_outside ? std::make_optional(entry) : std::nullopt;
}

// Replaces the paths of `state` by where they lie and leaves out those that
// may not be followed. Returns false if none is left.
bool LocateAll(std::string_view folder, const std::string& state_path,
               const CheckpointStateOptions& options, CheckpointState* state) {
  CheckpointState located;
  located.last_preserved_timestamp = state->last_preserved_timestamp;
  std::vector<std::string> refused;
  const auto& timestamps = state->all_model_checkpoint_timestamps;
  const auto& paths = state->all_model_checkpoint_paths;
  for (size_t i = 0; i < paths.size(); ++i) {
    auto path = Locate(folder, paths[i], options.allow_outside);
    if (!path) {
      refused.push_back(paths[i]);
      continue;
    }
    located.all_model_checkpoint_paths.push_back(*std::move(path));
    if (timestamps.size() == paths.size()) {
      located.all_model_checkpoint_timestamps.push_back(timestamps[i]);
    }
  }
  auto newest =
      Locate(folder, state->model_checkpoint_path, options.allow_outside);
  if (!newest) {
    refused.push_back(state->model_checkpoint_path);
    if (!located.all_model_checkpoint_paths.empty()) {
      newest = located.all_model_checkpoint_paths.back();
    }
  }
  if (!refused.empty()) {
    LOG(WARNING) << "The checkpoint state \"" << state_path << "\" names "
                 << refused.size()
                 << " paths outside of its folder, which are ignored, such as "
                    "\""
                 << absl::CHexEscape(refused.back())
                 << "\"; the newest checkpoint it may name is "
                 << (newest ? absl::StrCat("\"", *newest, "\"") : "none")
                 << "; set allow_outside if you trust the file's writer";
  }
  if (!newest) return false;
  located.model_checkpoint_path = *std::move(newest);
  *state = std::move(located);
  return true;
}

// How `path` is written into the state file of `folder`.
std::string StoredPath(std::string_view folder, const std::string& path,
                       bool save_relative_paths) {
  if (!IsAbsolute(path)) {
    return IsAbsolute(folder) ? path : RelativeTo(folder, path);
  }
  const bool shorten = save_relative_paths && IsInside(folder, path);
  return shorten ? RelativeTo(folder, path) : path;
}

absl::Status CheckState(const CheckpointState& state) {
  if (state.model_checkpoint_path.empty()) {
    return absl::InvalidArgumentError(
        "cannot write a checkpoint state without model_checkpoint_path, give "
        "the prefix of the newest checkpoint");
  }
  const size_t paths = state.all_model_checkpoint_paths.size();
  const size_t timestamps = state.all_model_checkpoint_timestamps.size();
  if (timestamps != 0 && timestamps != paths) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cannot write a checkpoint state with %d paths and %d timestamps, "
        "give one for each path or none",
        paths, timestamps));
  }
  return absl::OkStatus();
}

void DropOldest(size_t count, CheckpointState* state) {
  const auto drop = [count](auto& list) {
    list.erase(list.begin(), list.begin() + std::min(count, list.size()));
  };
  drop(state->all_model_checkpoint_paths);
  drop(state->all_model_checkpoint_timestamps);
}

// The text of `state`, without its oldest entries as far as they do not fit.
std::string FormatWithin(const CheckpointStateLimits& limits,
                         CheckpointState state) {
  const size_t most = std::max<size_t>(limits.max_entries, 1);
  size_t entries = state.all_model_checkpoint_paths.size();
  if (entries > most) DropOldest(entries - most, &state);
  std::string text = FormatCheckpointState(state);
  while (text.size() > limits.max_bytes &&
         state.all_model_checkpoint_paths.size() > 1) {
    entries = state.all_model_checkpoint_paths.size();
    const size_t excess = text.size() - limits.max_bytes;
    const size_t share = entries * excess / text.size();
    DropOldest(std::clamp<size_t>(share, 1, entries - 1), &state);
    text = FormatCheckpointState(state);
  }
  return text;
}

// What is at `path`; nothing if there is nothing.
absl::StatusOr<std::optional<FileInfo>> LookAt(std::string_view path) {
  TF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists) return std::nullopt;
  const absl::StatusOr<FileInfo> info = GetFileInfo(path);
  // Deleted meanwhile.
  if (absl::IsNotFound(info.status())) return std::nullopt;
  TF_RETURN_IF_ERROR(info.status());
  return *info;
}

// Whether `folder` has anything of that name, a link that leads nowhere
// included.
bool HasName(std::string_view folder, const std::string& name) {
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  return names.ok() && std::binary_search(names->begin(), names->end(), name);
}

// The first complete checkpoint of `list` with the base name of `wanted`, or
// else the first complete one.
const ListedCheckpoint* ChooseComplete(
    const std::vector<ListedCheckpoint>& list, const std::string& wanted) {
  const ListedCheckpoint* choice = nullptr;
  for (const ListedCheckpoint& checkpoint : list) {
    if (!checkpoint.complete) continue;
    if (choice == nullptr) choice = &checkpoint;
    if (HaveOneBase(checkpoint.prefix, wanted)) return &checkpoint;
  }
  return choice;
}

// Whoever saves so often that a reader is overtaken each time is not waited
// for.
constexpr int kMostLooks = 100;

absl::StatusOr<std::string> ReadState(const std::string& state_path,
                                      const CheckpointStateOptions& options) {
  return ReadFile(state_path, static_cast<int64_t>(options.limits.max_bytes));
}

// What the state file says, `text` being what was read of it; nothing if it is
// not there or cannot be used.
absl::StatusOr<std::optional<CheckpointState>> UseState(
    std::string_view folder, const std::string& state_path,
    const absl::StatusOr<std::string>& text,
    const CheckpointStateOptions& options) {
  if (absl::IsNotFound(text.status())) return std::nullopt;
  absl::StatusOr<CheckpointState> state =
      text.ok() ? ParseCheckpointState(*text, options.limits) : text.status();
  if (!state.ok()) {
    LOG(WARNING) << "The checkpoint state \"" << state_path
                 << "\" is ignored: " << state.status().message();
    return std::nullopt;
  }
  if (state->model_checkpoint_path.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the checkpoint state \"%s\" has no model_checkpoint_path, move it "
        "away to use what its folder holds",
        state_path));
  }
  if (!LocateAll(folder, state_path, options, &*state)) return std::nullopt;
  return *std::move(state);
}

// What a folder holds whose state file does not lead to a complete checkpoint.
struct Content {
  // Whether it has anything by the name of the state file.
  bool has_state = false;
  std::vector<ListedCheckpoint> listed;
  std::vector<std::string> ranked;
  std::optional<std::string> best;  // of `ranked`, the complete ones
};

absl::StatusOr<Content> LookInto(std::string_view folder,
                                 const std::string& latest_filename,
                                 const std::optional<CheckpointState>& state) {
  Content content;
  content.has_state = HasName(folder, latest_filename);
  absl::StatusOr<std::vector<ListedCheckpoint>> list = ListCheckpoints(folder);
  if (absl::IsNotFound(list.status())) list.emplace();
  TF_RETURN_IF_ERROR(list.status());
  content.listed = *std::move(list);
  content.ranked = RankCheckpoints(state, content.listed);
  const auto best = std::find_if(content.ranked.begin(), content.ranked.end(),
                                 CheckpointIsComplete);
  if (best != content.ranked.end()) content.best = *best;
  return content;
}

// The best complete checkpoint of a folder with this `content`. `state` is what
// its state file says, if that can be used.
absl::StatusOr<std::optional<std::string>> ChooseLatest(
    const std::string& state_path, const std::optional<CheckpointState>& state,
    const Content& content) {
  if (content.best.has_value()) {
    if (!state.has_value()) {
      LOG(WARNING) << "No usable checkpoint state \"" << state_path
                   << "\"; the newest complete checkpoint in its folder is \""
                   << *content.best << "\"";
    } else {
      LOG(WARNING) << "The checkpoint \"" << state->model_checkpoint_path
                   << "\" named by \"" << state_path
                   << "\" is missing or not complete; the newest complete one "
                      "is \""
                   << *content.best << "\"";
    }
    return content.best;
  }
  if (!content.ranked.empty()) {
    const std::string& first = content.ranked.front();
    return absl::DataLossError(absl::StrFormat(
        "the checkpoint \"%s\" lacks data files and there is no complete one "
        "in its folder, put the files back, or move \"%s\" away to start anew",
        first, IndexFileName(first)));
  }
  if (state.has_value()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the checkpoint state \"%s\" names \"%s\", but there is no checkpoint, "
        "put its files back, or move the state away to start anew",
        state_path, state->model_checkpoint_path));
  }
  if (content.has_state) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the checkpoint state \"%s\" is damaged or names checkpoints outside "
        "of its folder only, and there is none in the folder, put it right, "
        "give the folder it names, or move it away to start anew",
        state_path));
  }
  if (!content.listed.empty()) {
    LOG(WARNING) << "The data of \"" << content.listed.front().prefix
                 << "\" has no index: it was never committed and is ignored";
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> RankCheckpoints(
    const std::optional<CheckpointState>& state,
    const std::vector<ListedCheckpoint>& listed) {
  std::vector<std::string> ranked;
  std::set<std::string> seen;
  const auto add = [&](const std::string& prefix) {
    if (seen.insert(prefix).second) ranked.push_back(prefix);
  };
  const auto add_if_there = [&](const std::string& prefix) {
    if (CheckpointExists(prefix)) add(prefix);
  };
  if (state.has_value()) {
    add_if_there(state->model_checkpoint_path);
    std::for_each(state->all_model_checkpoint_paths.rbegin(),
                  state->all_model_checkpoint_paths.rend(), add_if_there);
  }
  for (const bool same_base : {true, false}) {
    for (const ListedCheckpoint& checkpoint : listed) {
      if (!checkpoint.has_index) continue;
      if (!state.has_value() ||
          HaveOneBase(checkpoint.prefix, state->model_checkpoint_path) ==
              same_base) {
        add(checkpoint.prefix);
      }
    }
  }
  return ranked;
}

absl::StatusOr<std::optional<CheckpointState>> GetCheckpointState(
    std::string_view folder, const CheckpointStateOptions& options) {
  TF_RETURN_IF_ERROR(CheckFilename(options.latest_filename));
  const std::string state_path = JoinPath(folder, options.latest_filename);
  return UseState(folder, state_path, ReadState(state_path, options), options);
}

absl::Status UpdateCheckpointState(
    std::string_view folder, const CheckpointState& state,
    const UpdateCheckpointStateOptions& options) {
  TF_RETURN_IF_ERROR(CheckFilename(options.latest_filename));
  CheckpointState stored = state;
  auto& paths = stored.all_model_checkpoint_paths;
  const std::string& newest = state.model_checkpoint_path;
  if (!newest.empty() && (paths.empty() || paths.back() != newest)) {
    LOG(INFO) << "The newest checkpoint \"" << newest
              << "\" is appended to the list of all";
    paths.push_back(newest);
  }
  TF_RETURN_IF_ERROR(CheckState(stored));
  const std::string state_path = JoinPath(folder, options.latest_filename);
  for (std::string& path : paths) {
    path = StoredPath(folder, path, options.save_relative_paths);
  }
  stored.model_checkpoint_path = paths.back();
  if (NormalPath(JoinPath(folder, stored.model_checkpoint_path)) ==
      NormalPath(state_path)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the checkpoint \"%s\" has the path of the state file, choose another "
        "name for one of them",
        newest));
  }
  return WriteFileAtomically(state_path,
                             FormatWithin(options.limits, std::move(stored)),
                             options.write);
}

absl::StatusOr<std::optional<std::string>> LatestCheckpoint(
    std::string_view folder, const CheckpointStateOptions& options) {
  TF_RETURN_IF_ERROR(CheckFilename(options.latest_filename));
  const std::string state_path = JoinPath(folder, options.latest_filename);
  absl::StatusOr<std::string> text = ReadState(state_path, options);
  for (int look = 1;; ++look) {
    absl::StatusOr<std::optional<CheckpointState>> state =
        UseState(folder, state_path, text, options);
    if (!state.ok()) {
      LOG(WARNING) << state.status().message();
      state = std::nullopt;
    }
    if (state->has_value() &&
        CheckpointIsComplete((*state)->model_checkpoint_path)) {
      return (*state)->model_checkpoint_path;
    }
    TF_ASSIGN_OR_RETURN(const Content content,
                        LookInto(folder, options.latest_filename, *state));
    // A folder that is saved into meanwhile shows parts of a checkpoint that
    // comes and of one that goes.
    absl::StatusOr<std::string> now = ReadState(state_path, options);
    if (now == text || look == kMostLooks) {
      return ChooseLatest(state_path, *state, content);
    }
    text = std::move(now);
  }
}

absl::StatusOr<std::string> ResolveCheckpoint(
    std::string_view path, const CheckpointStateOptions& options) {
  TF_ASSIGN_OR_RETURN(const std::optional<FileInfo> info, LookAt(path));
  const bool is_folder = info && info->is_folder;
  const bool is_state = info && BaseName(path) == options.latest_filename;
  if (is_folder || is_state) {
    const std::string folder = is_folder ? std::string(path) : DirName(path);
    TF_ASSIGN_OR_RETURN(std::optional<std::string> latest,
                        LatestCheckpoint(folder, options));
    if (latest) return *std::move(latest);
    return absl::NotFoundError(
        absl::StrFormat("there is no checkpoint in \"%s\", check the path or "
                        "train first",
                        folder));
  }
  std::string prefix = PrefixOfPath(path);
  TF_ASSIGN_OR_RETURN(const std::optional<FileInfo> index,
                      LookAt(IndexFileName(prefix)));
  if ((index && index->is_regular) || CheckpointExists(prefix)) return prefix;
  if (prefix == path || !info) {
    const auto list = ListCheckpoints(DirName(path));
    const ListedCheckpoint* choice =
        list.ok() ? ChooseComplete(*list, prefix) : nullptr;
    return absl::InvalidArgumentError(absl::StrFormat(
        "\"%s\" is no checkpoint, %s", path,
        choice == nullptr ? "give its prefix, one of its files or its folder"
                          : absl::StrCat("the newest one there is \"",
                                         choice->prefix, "\"")));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("\"%s\" belongs to no checkpoint: there is no \"%s\"",
                      path, IndexFileName(prefix)));
}

}  // namespace tftrain

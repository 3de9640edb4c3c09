// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/filename.h"

#include <algorithm>
#include <random>
#include <tuple>

#include "absl/log/check.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "tftrain/base/file.h"

namespace tftrain {
namespace {

constexpr std::string_view kIndexSuffix = ".index";
constexpr std::string_view kMetaSuffix = ".meta";
constexpr std::string_view kNotesSuffix = ".tftrain.json";
constexpr std::string_view kDataInfix = ".data-";
constexpr std::string_view kOf = "-of-";
constexpr std::string_view kAnyShard = "?????";
constexpr size_t kShardDigits = 5;
constexpr int kMaxShards = 99999;

constexpr std::string_view kTemporaryStart = ".tftrain.ckpt-";
constexpr size_t kTemporaryDigits = 32;

bool AllDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// The number that `text` writes with five digits or, beyond 99,999, with as
// many as it needs.
std::optional<int> ParseShardNumber(std::string_view text) {
  int number = 0;
  if (text.size() < kShardDigits || !AllDigits(text) ||
      (text.size() > kShardDigits && text.front() == '0') ||
      !absl::SimpleAtoi(text, &number)) {
    return std::nullopt;
  }
  return number;
}

// `text` before and behind its last `-of-`.
std::optional<std::pair<std::string_view, std::string_view>> SplitAtOf(
    std::string_view text) {
  const size_t of = text.rfind(kOf);
  if (of == std::string_view::npos) return std::nullopt;
  return std::make_pair(text.substr(0, of), text.substr(of + kOf.size()));
}

// `prefix` without a shard suffix of TensorFlow's first format.
std::string_view StripShardSuffix(std::string_view prefix) {
  const auto parts = SplitAtOf(prefix);
  if (!parts || !AllDigits(parts->second)) return prefix;
  const size_t dash = parts->first.rfind('-');
  if (dash == std::string_view::npos) return prefix;
  const std::string_view shard = parts->first.substr(dash + 1);
  const bool is_shard =
      !shard.empty() && std::all_of(shard.begin(), shard.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '?';
      });
  return is_shard ? prefix.substr(0, dash) : prefix;
}

std::optional<CheckpointFile> ParseDataFile(std::string_view path) {
  const size_t infix = path.rfind(kDataInfix);
  if (infix == std::string_view::npos || infix == 0) return std::nullopt;
  const auto parts = SplitAtOf(path.substr(infix + kDataInfix.size()));
  if (!parts) return std::nullopt;
  const std::optional<int> shard = ParseShardNumber(parts->first);
  const std::optional<int> num_shards = ParseShardNumber(parts->second);
  if (!shard || !num_shards || *shard >= *num_shards) return std::nullopt;
  return CheckpointFile{CheckpointFile::Kind::kData,
                        std::string(path.substr(0, infix)), *shard,
                        *num_shards};
}

std::string_view LastComponent(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::string CheckpointPrefix(std::string_view base, std::optional<int64_t> step,
                             bool pad) {
  if (!step) return std::string(base);
  return pad ? absl::StrFormat("%s-%08d", base, *step)
             : absl::StrCat(base, "-", *step);
}

std::optional<int64_t> StepOfPrefix(std::string_view prefix) {
  const std::string_view name = LastComponent(prefix);
  const size_t dash = name.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view digits = name.substr(dash + 1);
  int64_t step = 0;
  if (!AllDigits(digits) || !absl::SimpleAtoi(digits, &step)) {
    return std::nullopt;
  }
  return step;
}

std::string_view BaseOfPrefix(std::string_view prefix) {
  return StepOfPrefix(prefix) ? prefix.substr(0, prefix.rfind('-')) : prefix;
}

std::string IndexFileName(std::string_view prefix) {
  return absl::StrCat(prefix, kIndexSuffix);
}

std::string DataFileName(std::string_view prefix, int shard, int num_shards) {
  CHECK(shard >= 0 && shard < num_shards)
      << absl::StrCat("shard ", shard, " of ", num_shards);
  return absl::StrFormat("%s%s%05d%s%05d", prefix, kDataInfix, shard, kOf,
                         num_shards);
}

std::string MetaFileName(std::string_view prefix, std::string_view suffix) {
  return absl::StrCat(StripShardSuffix(prefix), ".", suffix);
}

std::string NotesFileName(std::string_view prefix) {
  return absl::StrCat(prefix, kNotesSuffix);
}

std::optional<CheckpointFile> ParseCheckpointFile(std::string_view path) {
  using Kind = CheckpointFile::Kind;
  std::string_view prefix = path;
  std::optional<CheckpointFile> file;
  if (absl::ConsumeSuffix(&prefix, kIndexSuffix)) {
    file = CheckpointFile{Kind::kIndex, std::string(prefix)};
  } else if (absl::ConsumeSuffix(&prefix, kMetaSuffix)) {
    file = CheckpointFile{Kind::kMeta, std::string(prefix)};
  } else if (absl::ConsumeSuffix(&prefix, kNotesSuffix)) {
    file = CheckpointFile{Kind::kNotes, std::string(prefix)};
  } else {
    file = ParseDataFile(path);
  }
  if (!file || LastComponent(file->prefix).empty()) return std::nullopt;
  return file;
}

std::string PrefixOfPath(std::string_view path) {
  std::optional<CheckpointFile> file = ParseCheckpointFile(path);
  return file ? std::move(file->prefix) : std::string(path);
}

std::vector<std::string> FilesOfCheckpoint(
    std::string_view prefix, const std::vector<std::string>& names) {
  using Kind = CheckpointFile::Kind;
  const std::string meta = MetaFileName(prefix);
  std::vector<std::string> metas, notes, indexes, data;
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, StripShardSuffix(prefix))) continue;
    const std::optional<CheckpointFile> file = ParseCheckpointFile(name);
    if (!file) continue;
    if (file->kind == Kind::kMeta && name == meta) metas.push_back(name);
    if (file->prefix != prefix) continue;
    if (file->kind == Kind::kNotes) notes.push_back(name);
    if (file->kind == Kind::kIndex) indexes.push_back(name);
    if (file->kind == Kind::kData) data.push_back(name);
  }
  std::sort(data.begin(), data.end());
  std::vector<std::string> files = std::move(metas);
  files.insert(files.end(), notes.begin(), notes.end());
  files.insert(files.end(), indexes.begin(), indexes.end());
  files.insert(files.end(), data.begin(), data.end());
  return files;
}

std::vector<std::string> ShardsOfV1Pattern(std::string_view prefix) {
  const auto parts = SplitAtOf(prefix);
  if (!parts) return {};
  std::string_view stem = parts->first;
  const std::optional<int> num_shards = ParseShardNumber(parts->second);
  if (!num_shards || *num_shards > kMaxShards ||
      !absl::ConsumeSuffix(&stem, kAnyShard) || !absl::EndsWith(stem, "-")) {
    return {};
  }
  std::vector<std::string> shards;
  shards.reserve(*num_shards);
  for (int shard = 0; shard < *num_shards; ++shard) {
    shards.push_back(
        absl::StrFormat("%s%05d%s%05d", stem, shard, kOf, *num_shards));
  }
  return shards;
}

std::string TemporaryPrefix(std::string_view folder) {
  std::random_device random;
  std::string name(kTemporaryStart);
  while (name.size() < kTemporaryStart.size() + kTemporaryDigits) {
    absl::StrAppendFormat(&name, "%08x", random());
  }
  return JoinPath(folder, name);
}

bool IsTemporaryCheckpointName(std::string_view name) {
  if (!absl::ConsumePrefix(&name, kTemporaryStart) ||
      name.size() < kTemporaryDigits) {
    return false;
  }
  const std::string_view digits = name.substr(0, kTemporaryDigits);
  const bool random_part =
      std::all_of(digits.begin(), digits.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
               (c >= 'a' && c <= 'f');
      });
  const std::string_view rest = name.substr(kTemporaryDigits);
  return random_part && (rest.empty() || rest.front() == '.') &&
         rest.find('/') == std::string_view::npos;
}

}  // namespace tftrain

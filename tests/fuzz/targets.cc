// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/fuzz/targets.h"

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/util/tensor_slice_reader.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_state_text.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/index_table.h"
#include "tftrain/checkpoint/internal/v1_checkpoint.h"
#include "tftrain/graph/graph.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

// The values of a tensor beyond this are not read, to be quick.
constexpr int64_t kMaxElements = int64_t{1} << 16;

// Files in memory, in the place of the system's while it lives; the millions of
// inputs would wear out a disk.
//
// Confined: use from the thread that created it.
class FilesInMemory : public internal::FileOps {
 public:
  FilesInMemory() : former_(internal::ExchangeFileOps(this)) {}
  FilesInMemory(const FilesInMemory&) = delete;
  FilesInMemory& operator=(const FilesInMemory&) = delete;
  ~FilesInMemory() override { internal::ExchangeFileOps(former_); }

  void Add(const std::string& path, std::string_view bytes) {
    files_[path] = bytes;
  }

  int Open(const char* path, int, mode_t) override {
    const auto it = files_.find(path);
    if (it == files_.end()) return Missing();
    opened_.push_back({it->second, 0});
    return static_cast<int>(opened_.size()) - 1;
  }
  ssize_t Read(int fd, void* data, size_t size) override {
    auto& [bytes, place] = opened_[fd];
    const ssize_t count = Pread(fd, data, size, place);
    place += count;
    return count;
  }
  ssize_t Pread(int fd, void* data, size_t size, off_t offset) override {
    std::string_view rest = opened_[fd].first;
    CHECK(offset >= 0 && static_cast<size_t>(offset) <= rest.size());
    rest.remove_prefix(offset);
    rest = rest.substr(0, size);
    if (!rest.empty()) std::memcpy(data, rest.data(), rest.size());
    return static_cast<ssize_t>(rest.size());
  }
  int Close(int) override { return 0; }
  int StatOpen(int fd, struct stat* result) override {
    return Describe(opened_[fd].first, result);
  }
  int Stat(const char* path, struct stat* result) override {
    const auto it = files_.find(path);
    return it == files_.end() ? Missing() : Describe(it->second, result);
  }

 private:
  static int Missing() {
    errno = ENOENT;
    return -1;
  }
  static int Describe(std::string_view bytes, struct stat* result) {
    *result = {};
    result->st_mode = S_IFREG | 0600;
    result->st_size = static_cast<off_t>(bytes.size());
    return 0;
  }

  internal::FileOps* const former_;
  std::map<std::string, std::string_view, std::less<>> files_;
  std::vector<std::pair<std::string_view, off_t>> opened_;
};

std::string_view Bytes(const uint8_t* data, size_t size) {
  return std::string_view(reinterpret_cast<const char*>(data), size);
}

void CheckCode(const absl::Status& status) {
  CHECK(status.ok() || absl::IsDataLoss(status) ||
        absl::IsResourceExhausted(status))
      << status;
}

// TensorFlow's own reader, which parts and variants need, sees files only.
void WriteFiles(const std::string& prefix, std::string_view index,
                std::string_view data) {
  CHECK(WriteFileAtomically(IndexFileName(prefix), index, {false}).ok());
  CHECK(WriteFileAtomically(DataFileName(prefix, 0, 1), data, {false}).ok());
}

void ReadEverything(internal::Bundle& bundle) {
  for (const auto& [key, entry] : bundle.entries()) {
    CHECK(bundle.entries().count(key) == 1);
    CheckCode(bundle.CheckValues(key));
    if (entry.shape.num_elements() > kMaxElements) continue;
    const auto tensor = bundle.Read(key);
    if (absl::IsInvalidArgument(tensor.status())) {
      CHECK(entry.in_slices);
      continue;
    }
    CheckCode(tensor.status());
    if (!tensor.ok()) continue;
    CHECK(tensor->dtype() == entry.dtype && tensor->shape() == entry.shape);
  }
}

bool NeedsFiles(const internal::Bundle& bundle) {
  for (const auto& [key, entry] : bundle.entries()) {
    if (entry.in_slices || entry.dtype == tensorflow::DT_VARIANT) return true;
  }
  return false;
}

}  // namespace

int FuzzIndexTable(const uint8_t* data, size_t size) {
  const auto table =
      internal::IndexTable::Parse(std::string(Bytes(data, size)));
  if (!table.ok()) {
    CHECK(absl::IsDataLoss(table.status())) << table.status();
    return 0;
  }
  size_t rows = 0;
  std::optional<std::string> former;
  for (auto row = (*table)->begin(); row.valid(); row.Next()) {
    CHECK(!former || *former < row.key());
    former = std::string(row.key());
    const auto found = (*table)->LowerBound(row.key());
    CHECK(found.valid() && found.key() == row.key() &&
          found.value() == row.value());
    ++rows;
  }
  CHECK(rows == (*table)->size());
  return 0;
}

int FuzzBundle(const uint8_t* data, size_t size) {
  static const TempDir* const dir = new TempDir;
  const std::string prefix = *dir / "m";
  std::string_view bytes = Bytes(data, size);
  if (bytes.size() < 4) return 0;
  uint32_t index_size = 0;
  std::memcpy(&index_size, bytes.data(), 4);
  bytes.remove_prefix(4);
  const std::string_view index = bytes.substr(0, index_size);
  bytes.remove_prefix(index.size());

  bool needs_files = false;
  {
    FilesInMemory files;
    files.Add(IndexFileName(prefix), index);
    files.Add(DataFileName(prefix, 0, 1), bytes);
    const auto bundle = internal::Bundle::Open(prefix);
    CheckCode(bundle.status());
    if (!bundle.ok()) return 0;
    needs_files = NeedsFiles(**bundle);
    if (!needs_files) ReadEverything(**bundle);
  }
  if (!needs_files) return 0;
  WriteFiles(prefix, index, bytes);
  const auto bundle = internal::Bundle::Open(prefix);
  CHECK(bundle.ok()) << bundle.status();
  ReadEverything(**bundle);
  return 0;
}

int FuzzV1Checkpoint(const uint8_t* data, size_t size) {
  static const TempDir* const dir = new TempDir;
  const std::string path = *dir / "m";
  CHECK(WriteFileAtomically(path, Bytes(data, size), {false}).ok());
  const absl::Status checked = internal::CheckV1Checkpoint(path);
  CheckCode(checked);
  if (!checked.ok()) return 0;
  const tensorflow::checkpoint::TensorSliceReader reader(path);
  for (const auto& [name, shape] : reader.GetVariableToShapeMap()) {
    std::unique_ptr<tensorflow::Tensor> tensor;
    reader.GetTensor(name, &tensor).IgnoreError();
    CHECK(tensor == nullptr || tensor->shape() == shape) << name;
  }
  return 0;
}

int FuzzStateText(const uint8_t* data, size_t size) {
  const std::string_view text = Bytes(data, size);
  const auto state = ParseCheckpointState(text);
  if (state.ok()) {
    const auto again = ParseCheckpointState(FormatCheckpointState(*state));
    CHECK(again.ok() &&
          FormatCheckpointState(*again) == FormatCheckpointState(*state));
  }
  FilesInMemory files;
  files.Add("/folder/checkpoint", text);
  const auto resolved = GetCheckpointState("/folder");
  if (!resolved.ok() || !*resolved) return 0;
  std::vector<std::string> paths = (*resolved)->all_model_checkpoint_paths;
  paths.push_back((*resolved)->model_checkpoint_path);
  for (const std::string& path : paths) {
    CHECK(absl::StartsWith(path, "/folder/")) << path;
    int depth = 0;
    for (const std::string_view part : absl::StrSplit(path.substr(8), '/')) {
      if (part.empty() || part == ".") continue;
      depth += part == ".." ? -1 : 1;
      CHECK(depth >= 0) << path;
    }
  }
  return 0;
}

int FuzzFileName(const uint8_t* data, size_t size) {
  const std::string path(Bytes(data, size));
  const auto file = ParseCheckpointFile(path);
  if (file) {
    using Kind = CheckpointFile::Kind;
    const std::string made =
        file->kind == Kind::kIndex ? IndexFileName(file->prefix)
        : file->kind == Kind::kMeta
            ? MetaFileName(file->prefix)
            : DataFileName(file->prefix, file->shard, file->num_shards);
    // A meta file's name leaves shards out.
    CHECK(made == path || file->kind == Kind::kMeta) << path;
    CHECK(PrefixOfPath(path) == file->prefix) << path;
    CHECK(FilesOfCheckpoint(file->prefix, {path}).size() <= 1);
  } else {
    CHECK(PrefixOfPath(path) == path) << path;
  }
  const auto step = StepOfPrefix(path);
  CHECK(!step || *step >= 0);
  CHECK(BaseOfPrefix(path).size() <= path.size());
  CHECK(ShardsOfV1Pattern(path).size() <= 99999);
  CHECK(!IsTemporaryName(path) || !IsTemporaryCheckpointName(path));
  CHECK(!absl::StrContains(BaseName(path), '/'));
  CHECK(BaseName(JoinPath(DirName(path), BaseName(path))) == BaseName(path));
  return 0;
}

int FuzzMetaGraph(const uint8_t* data, size_t size) {
  tensorflow::MetaGraphDef meta_graph;
  if (!meta_graph.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto graph = Graph::FromMetaGraph(std::move(meta_graph));
  CHECK(graph.ok() || absl::IsInvalidArgument(graph.status()))
      << graph.status();
  return 0;
}

const std::vector<FuzzTarget>& FuzzTargets() {
  static const auto* const targets = new std::vector<FuzzTarget>{
      {"index_table", 1'000'000, FuzzIndexTable, MakeIndexTable},
      {"bundle", 100'000, FuzzBundle, MakeBundle},
      {"v1_checkpoint", 50'000, FuzzV1Checkpoint, MakeV1Checkpoint},
      {"state_text", 1'000'000, FuzzStateText, MakeStateText},
      {"file_name", 1'000'000, FuzzFileName, MakeFileName},
      {"meta_graph", 1'000'000, FuzzMetaGraph, MakeMetaGraph},
  };
  return *targets;
}

}  // namespace tftrain

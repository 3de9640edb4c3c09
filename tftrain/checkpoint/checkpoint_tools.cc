// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_tools.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/checkpoint_notes.h"

namespace tftrain {
namespace {

using internal::Bundle;
using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorSlice;

constexpr int64_t kMaxMetaBytes = int64_t{1} << 31;
// How TensorFlow names what it has not finished: a folder for the parts of a
// sharded checkpoint, and files beside their final place.
constexpr std::string_view kShardFolderSuffix = "_temp";
constexpr std::string_view kUnfinishedMark = ".tempstate";

// The rows as columns, the first one on the left, all others on the right.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const int width = static_cast<int>(widths[i]);
      absl::StrAppendFormat(&line, "%s%*s", i == 0 ? "" : "  ",
                            i == 0 ? -width : width, row[i]);
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return text;
}

std::string Number(double value) { return absl::StrFormat("%.6g", value); }

std::string TypeName(DataType dtype) {
  return tensorflow::DataTypeString(dtype);
}

// Whether a checkpoint is damaged, rather than this machine in trouble.
bool IsDamage(const absl::Status& status) { return absl::IsDataLoss(status); }

// Calls `call` with the elements of `tensor` as `const T*`, where T is any type
// of numbers. False for other tensors.
template <typename Call>
bool WithElements(const Tensor& tensor, Call call) {
  switch (tensor.dtype()) {
#define TFTRAIN_CASE(T)                         \
  case tensorflow::DataTypeToEnum<T>::value:    \
    call(static_cast<const T*>(tensor.data())); \
    return true;
    TFTRAIN_CASE(float)
    TFTRAIN_CASE(double)
    TFTRAIN_CASE(Eigen::half)
    TFTRAIN_CASE(tensorflow::bfloat16)
    TFTRAIN_CASE(bool)
    TFTRAIN_CASE(int8_t)
    TFTRAIN_CASE(uint8_t)
    TFTRAIN_CASE(int16_t)
    TFTRAIN_CASE(uint16_t)
    TFTRAIN_CASE(int32_t)
    TFTRAIN_CASE(uint32_t)
    TFTRAIN_CASE(int64_t)
    TFTRAIN_CASE(uint64_t)
    TFTRAIN_CASE(std::complex<float>)
    TFTRAIN_CASE(std::complex<double>)
#undef TFTRAIN_CASE
    default:
      return false;
  }
}

// Numbers as the widest kind there is, so that integers keep all digits.
template <typename T>
long double Wide(const T& value) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<long double>(value);
  } else {
    return static_cast<double>(value);
  }
}
template <typename T>
std::complex<long double> Wide(const std::complex<T>& value) {
  return {value.real(), value.imag()};
}

template <typename T>
double AsDouble(const T& value) {
  return static_cast<double>(value);
}
template <typename T>
double AsDouble(const std::complex<T>& value) {
  return static_cast<double>(std::abs(value));
}

// Collects the figures of a tensor, part by part.
//
// Confined: use from the thread that created it.
class Statistics {
 public:
  void Add(const Tensor& tensor) {
    numeric_ &= WithElements(tensor, [&](const auto* elements) {
      for (int64_t i = 0; i < tensor.NumElements(); ++i) {
        AddNumber(AsDouble(elements[i]));
      }
    });
  }

  void Finish(TensorStatistics* result) const {
    result->numeric = numeric_;
    if (!numeric_) return;
    result->nans = nans_;
    result->infinities = infinities_;
    result->zeros = zeros_;
    if (count_ == 0) return;
    result->min = min_;
    result->max = max_;
    result->mean = static_cast<double>(mean_);
    result->standard_deviation =
        std::sqrt(static_cast<double>(squares_ / count_));
    result->norm =
        std::sqrt(static_cast<double>(squares_ + count_ * mean_ * mean_));
  }

 private:
  void AddNumber(double value) {
    if (std::isnan(value)) {
      ++nans_;
      return;
    }
    if (std::isinf(value)) {
      ++infinities_;
      return;
    }
    if (value == 0) ++zeros_;
    min_ = count_ == 0 ? value : std::min(min_, value);
    max_ = count_ == 0 ? value : std::max(max_, value);
    // Welford's way, which does not lose digits where the mean is large.
    ++count_;
    const long double from_mean = value - mean_;
    mean_ += from_mean / count_;
    squares_ += from_mean * (value - mean_);
  }

  bool numeric_ = true;
  int64_t nans_ = 0;
  int64_t infinities_ = 0;
  int64_t zeros_ = 0;
  double min_ = 0;
  double max_ = 0;
  long double count_ = 0;
  long double mean_ = 0;
  long double squares_ = 0;  // of the distances from the mean
};

// The distance of two numbers, and that relative to the larger one.
template <typename T>
void AddDistance(const T& a, const T& b, TensorDifference* difference) {
  // Not so for two NaN, alone or in a pair.
  if (a == b || (a != a && b != b)) return;
  ++difference->elements;
  const auto wide_a = Wide(a);
  const auto wide_b = Wide(b);
  const long double distance = std::abs(wide_a - wide_b);
  const long double size = std::max(std::abs(wide_a), std::abs(wide_b));
  const bool finite = std::isfinite(distance) && std::isfinite(size);
  const double infinity = std::numeric_limits<double>::infinity();
  difference->max_absolute =
      std::max(difference->max_absolute,
               finite ? static_cast<double>(distance) : infinity);
  difference->max_relative =
      std::max(difference->max_relative,
               finite ? static_cast<double>(distance / size) : infinity);
}

void AddOther(const Tensor& a, const Tensor& b, TensorDifference* difference) {
  if (a.dtype() == tensorflow::DT_STRING) {
    const auto strings_a = a.flat<tensorflow::tstring>();
    const auto strings_b = b.flat<tensorflow::tstring>();
    for (int64_t i = 0; i < a.NumElements(); ++i) {
      if (strings_a(i) != strings_b(i)) ++difference->elements;
    }
    return;
  }
  tensorflow::TensorProto proto_a;
  tensorflow::TensorProto proto_b;
  a.AsProtoField(&proto_a);
  b.AsProtoField(&proto_b);
  if (proto_a.SerializeAsString() != proto_b.SerializeAsString()) {
    difference->elements += a.NumElements();
  }
}

// Compares two tensors of one type and shape.
void Compare(const Tensor& a, const Tensor& b, TensorDifference* difference) {
  const bool numeric = WithElements(a, [&](const auto* elements) {
    const auto* const others =
        static_cast<decltype(elements)>(static_cast<const void*>(b.data()));
    for (int64_t i = 0; i < a.NumElements(); ++i) {
      AddDistance(elements[i], others[i], difference);
    }
  });
  if (!numeric) AddOther(a, b, difference);
}

// The slices in which a tensor is best read: its parts, or all of it.
std::vector<TensorSlice> PartsOrWhole(const Bundle& bundle,
                                      const std::string& name, int rank) {
  std::vector<TensorSlice> parts = bundle.Parts(name);
  if (parts.empty()) parts.emplace_back(rank);
  return parts;
}

absl::Status CompareValues(Bundle& first, Bundle& second,
                           TensorDifference* difference) {
  const std::string& name = difference->name;
  const int rank = difference->shapes[0].dims();
  Bundle& cut = first.Parts(name).empty() ? second : first;
  for (const TensorSlice& part : PartsOrWhole(cut, name, rank)) {
    TF_ASSIGN_OR_RETURN(const Tensor a, first.ReadSlice(name, part));
    TF_ASSIGN_OR_RETURN(const Tensor b, second.ReadSlice(name, part));
    Compare(a, b, difference);
  }
  return absl::OkStatus();
}

std::string Described(const TensorDifference& difference, int side) {
  return absl::StrCat(TypeName(difference.dtypes[side]), " ",
                      difference.shapes[side].DebugString());
}

std::string CheckMeta(const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxMetaBytes);
  if (absl::IsNotFound(bytes.status())) return "";
  if (!bytes.ok()) return std::string(bytes.status().message());
  tensorflow::MetaGraphDef meta_graph;
  if (meta_graph.ParseFromString(*bytes)) return "";
  return absl::StrCat("\"", path, "\" is no MetaGraphDef");
}

// A checkpoint that no saver deletes while it is read.
//
// Confined: use from the thread that created it.
struct PinnedBundle {
  std::optional<CheckpointPin> pin;
  std::unique_ptr<Bundle> bundle;
};

// Errors: kNotFound when there is no checkpoint or it is being deleted; those
// of Bundle::Open.
absl::StatusOr<PinnedBundle> OpenPinned(std::string_view prefix) {
  absl::StatusOr<CheckpointPin> pin = CheckpointPin::Take(std::string(prefix));
  if (absl::IsNotFound(pin.status())) return pin.status();
  PinnedBundle pinned;
  // What else keeps it from being opened, the bundle will tell.
  if (pin.ok()) pinned.pin = *std::move(pin);
  TF_ASSIGN_OR_RETURN(pinned.bundle, Bundle::Open(prefix));
  return pinned;
}

// Looks at a folder; see VerifyFolder.
//
// Confined: use from the thread that created it.
class FolderVerifier {
 public:
  FolderVerifier(std::string_view folder, const VerifyFolderOptions& options)
      : folder_(folder), options_(options) {}

  absl::StatusOr<FolderReport> Verify() {
    report_.folder = folder_;
    TF_ASSIGN_OR_RETURN(names_, ListFolder(folder_));
    TF_ASSIGN_OR_RETURN(checkpoints_, ListCheckpoints(folder_));
    TF_RETURN_IF_ERROR(LookAtState());
    for (const ListedCheckpoint& checkpoint : checkpoints_) {
      TF_RETURN_IF_ERROR(LookAtCheckpoint(checkpoint));
    }
    for (const std::string& name : names_) LookForLeftover(name);
    return std::move(report_);
  }

 private:
  using Kind = FolderProblem::Kind;

  void Add(Kind kind, std::string path, std::string what) {
    report_.problems.push_back({kind, std::move(path), std::move(what)});
  }

  absl::Status LookAtState() {
    const std::string path = JoinPath(folder_, options_.state.latest_filename);
    const absl::StatusOr<std::string> text =
        ReadFile(path, static_cast<int64_t>(options_.state.limits.max_bytes));
    if (absl::IsNotFound(text.status())) return absl::OkStatus();
    const absl::StatusOr<CheckpointState> written =
        text.ok() ? ParseCheckpointState(*text, options_.state.limits)
                  : text.status();
    if (!written.ok() || written->model_checkpoint_path.empty()) {
      Add(Kind::kStateUnreadable, path,
          written.ok() ? "it names no newest checkpoint"
                       : std::string(written.status().message()));
      return absl::OkStatus();
    }
    TF_ASSIGN_OR_RETURN(state_, GetCheckpointState(folder_, options_.state));
    std::vector<std::string> listed;
    if (state_) listed = state_->all_model_checkpoint_paths;
    if (listed.size() < written->all_model_checkpoint_paths.size()) {
      Add(Kind::kOutside, path, "it names checkpoints outside of the folder");
    }
    if (!state_) return absl::OkStatus();
    for (const std::string& prefix : listed) {
      if (!CheckpointIsComplete(prefix)) {
        Add(Kind::kDangling, prefix,
            "the state file names it, but it is not there as a whole");
      }
    }
    LookForNewer();
    return absl::OkStatus();
  }

  // The list of checkpoints begins with the newest.
  void LookForNewer() {
    for (const ListedCheckpoint& checkpoint : checkpoints_) {
      if (!checkpoint.complete) continue;
      if (checkpoint.step > StepOfPrefix(state_->model_checkpoint_path)) {
        Add(Kind::kStale, checkpoint.prefix,
            absl::StrCat("it is newer than \"", state_->model_checkpoint_path,
                         "\", which the state file names as the newest"));
      }
      return;
    }
  }

  absl::Status LookAtCheckpoint(const ListedCheckpoint& checkpoint) {
    if (!checkpoint.has_index) {
      Add(Kind::kOrphaned, checkpoint.prefix, "there is data without an index");
      return absl::OkStatus();
    }
    if (!checkpoint.complete) {
      Add(Kind::kIncomplete, checkpoint.prefix,
          "there is an index without all of its data");
      return absl::OkStatus();
    }
    if (state_ && !IsListed(checkpoint.prefix) &&
        !internal::ReadNotes(checkpoint.prefix).kept) {
      Add(Kind::kUnlisted, checkpoint.prefix,
          "the state file does not name it");
    }
    if (options_.contents) {
      const absl::StatusOr<CheckpointReport> found =
          VerifyCheckpoint(checkpoint.prefix);
      // A saver has deleted it since the folder was listed.
      if (absl::IsNotFound(found.status())) return absl::OkStatus();
      TF_RETURN_IF_ERROR(found.status());
      for (const std::string& problem : found->problems) {
        Add(Kind::kDamaged, checkpoint.prefix, problem);
      }
      if (!found->intact()) return absl::OkStatus();
      LookForOtherShards(checkpoint.prefix, found->shards);
    }
    report_.intact.push_back(checkpoint.prefix);
    return absl::OkStatus();
  }

  // Data of an earlier checkpoint of the same name.
  void LookForOtherShards(const std::string& prefix, int shards) {
    for (const std::string& name :
         FilesOfCheckpoint(BaseName(prefix), names_)) {
      const std::optional<CheckpointFile> file = ParseCheckpointFile(name);
      if (file->kind == CheckpointFile::Kind::kData &&
          file->num_shards != shards) {
        Add(Kind::kOrphaned, JoinPath(folder_, name),
            "its index does not point to it");
      }
    }
  }

  bool IsListed(const std::string& prefix) const {
    const auto& listed = state_->all_model_checkpoint_paths;
    return std::any_of(listed.begin(), listed.end(), [&](const auto& path) {
      return BaseName(path) == BaseName(prefix);
    });
  }

  void LookForLeftover(const std::string& name) {
    const bool is_folder_of_shards =
        absl::EndsWith(name, kShardFolderSuffix) &&
        GetFileInfo(JoinPath(folder_, name)).value_or(FileInfo()).is_folder;
    if (IsTemporaryName(name) || IsTemporaryCheckpointName(name) ||
        is_folder_of_shards || absl::StrContains(name, kUnfinishedMark)) {
      Add(Kind::kLeftover, JoinPath(folder_, name),
          "a save that was interrupted left it, or one is under way");
    }
  }

  const std::string folder_;
  const VerifyFolderOptions& options_;
  std::vector<std::string> names_;
  std::vector<ListedCheckpoint> checkpoints_;
  std::optional<CheckpointState> state_;
  FolderReport report_;
};

}  // namespace

std::string CheckpointReport::ToString() const {
  std::string text =
      absl::StrCat(prefix, ": ", intact() ? "intact" : "damaged", ", ", tensors,
                   " tensors in ", shards, " data files\n");
  for (const std::string& problem : problems) {
    absl::StrAppend(&text, "  ", problem, "\n");
  }
  return text;
}

absl::StatusOr<CheckpointReport> VerifyCheckpoint(std::string_view prefix,
                                                  bool with_meta) {
  CheckpointReport report;
  report.prefix = prefix;
  const auto add = [&](const absl::Status& status) {
    report.problems.emplace_back(status.message());
  };
  if (with_meta) {
    const std::string problem = CheckMeta(MetaFileName(prefix));
    if (!problem.empty()) report.problems.push_back(problem);
  }
  const absl::StatusOr<PinnedBundle> pinned = OpenPinned(prefix);
  if (!pinned.ok()) {
    if (!IsDamage(pinned.status())) return pinned.status();
    add(pinned.status());
    return report;
  }
  Bundle& bundle = *pinned->bundle;
  report.shards = bundle.num_shards();
  for (const auto& [name, entry] : bundle.entries()) {
    const absl::Status status = bundle.CheckValues(name);
    if (!status.ok() && !IsDamage(status)) return status;
    if (!status.ok()) add(status);
    ++report.tensors;
  }
  return report;
}

std::string_view ToString(FolderProblem::Kind kind) {
  switch (kind) {
    case FolderProblem::Kind::kStateUnreadable:
      return "unreadable";
    case FolderProblem::Kind::kOutside:
      return "outside";
    case FolderProblem::Kind::kDangling:
      return "dangling";
    case FolderProblem::Kind::kStale:
      return "stale";
    case FolderProblem::Kind::kUnlisted:
      return "unlisted";
    case FolderProblem::Kind::kIncomplete:
      return "incomplete";
    case FolderProblem::Kind::kOrphaned:
      return "orphaned";
    case FolderProblem::Kind::kDamaged:
      return "damaged";
    case FolderProblem::Kind::kLeftover:
      return "leftover";
  }
  return "unknown";
}

std::string FolderReport::ToString() const {
  std::string text =
      absl::StrCat(folder, ": ", intact.size(), " checkpoints are good, ",
                   problems.size(), " problems\n");
  for (const FolderProblem& problem : problems) {
    absl::StrAppend(&text, "  ", tftrain::ToString(problem.kind), " ",
                    problem.path, ": ", problem.what, "\n");
  }
  return text;
}

absl::StatusOr<FolderReport> VerifyFolder(std::string_view folder,
                                          const VerifyFolderOptions& options) {
  return FolderVerifier(folder, options).Verify();
}

std::string CheckpointComparison::ToString() const {
  using Kind = TensorDifference::Kind;
  std::vector<std::vector<std::string>> rows;
  if (!differences.empty()) {
    rows = {{"tensor", "difference", "elements", "absolute", "relative"}};
  }
  for (const TensorDifference& difference : differences) {
    std::vector<std::string> row = {difference.name};
    switch (difference.kind) {
      case Kind::kOnlyInFirst:
        row.push_back("only in the first");
        break;
      case Kind::kOnlyInSecond:
        row.push_back("only in the second");
        break;
      case Kind::kDtype:
      case Kind::kShape:
        row.push_back(absl::StrCat(Described(difference, 0), ", ",
                                   Described(difference, 1)));
        break;
      case Kind::kValues:
        row.insert(row.end(), {"values", absl::StrCat(difference.elements),
                               Number(difference.max_absolute),
                               Number(difference.max_relative)});
        break;
    }
    rows.push_back(std::move(row));
  }
  return absl::StrCat(prefixes[0], ", ", prefixes[1], ": ", equal,
                      " tensors are equal, ", differences.size(), " differ\n",
                      FormatTable(rows));
}

absl::StatusOr<CheckpointComparison> CompareCheckpoints(
    std::string_view first, std::string_view second) {
  using Kind = TensorDifference::Kind;
  CheckpointComparison comparison;
  comparison.prefixes[0] = first;
  comparison.prefixes[1] = second;
  TF_ASSIGN_OR_RETURN(const PinnedBundle pinned_a, OpenPinned(first));
  TF_ASSIGN_OR_RETURN(const PinnedBundle pinned_b, OpenPinned(second));
  Bundle& bundle_a = *pinned_a.bundle;
  Bundle& bundle_b = *pinned_b.bundle;
  const Bundle::Entries entries_a = bundle_a.entries();
  const Bundle::Entries entries_b = bundle_b.entries();
  auto a = entries_a.begin();
  auto b = entries_b.begin();
  while (a != entries_a.end() || b != entries_b.end()) {
    const bool has_a =
        a != entries_a.end() && (b == entries_b.end() || a->first <= b->first);
    const bool has_b =
        b != entries_b.end() && (a == entries_a.end() || b->first <= a->first);
    TensorDifference difference;
    difference.name = has_a ? a->first : b->first;
    if (has_a) {
      difference.dtypes[0] = a->second.dtype;
      difference.shapes[0] = a->second.shape;
    }
    if (has_b) {
      difference.dtypes[1] = b->second.dtype;
      difference.shapes[1] = b->second.shape;
    }
    bool differs = true;
    if (!has_a || !has_b) {
      difference.kind = has_a ? Kind::kOnlyInFirst : Kind::kOnlyInSecond;
    } else if (difference.dtypes[0] != difference.dtypes[1]) {
      difference.kind = Kind::kDtype;
    } else if (difference.shapes[0] != difference.shapes[1]) {
      difference.kind = Kind::kShape;
    } else {
      difference.kind = Kind::kValues;
      TF_RETURN_IF_ERROR(CompareValues(bundle_a, bundle_b, &difference));
      differs = difference.elements > 0;
    }
    if (differs) comparison.differences.push_back(std::move(difference));
    if (!differs) ++comparison.equal;
    if (has_a) ++a;
    if (has_b) ++b;
  }
  return comparison;
}

absl::StatusOr<std::vector<TensorStatistics>> CheckpointStatistics(
    std::string_view prefix) {
  TF_ASSIGN_OR_RETURN(const PinnedBundle pinned, OpenPinned(prefix));
  Bundle& bundle = *pinned.bundle;
  std::vector<TensorStatistics> all;
  for (const auto& [name, entry] : bundle.entries()) {
    TensorStatistics& statistics = all.emplace_back();
    statistics.name = name;
    statistics.dtype = entry.dtype;
    statistics.shape = entry.shape;
    const std::vector<TensorSlice> parts =
        PartsOrWhole(bundle, name, entry.shape.dims());
    statistics.parts = parts.size();
    Statistics figures;
    for (const TensorSlice& part : parts) {
      TF_ASSIGN_OR_RETURN(const Tensor tensor, bundle.ReadSlice(name, part));
      statistics.bytes += static_cast<int64_t>(tensor.TotalBytes());
      figures.Add(tensor);
    }
    figures.Finish(&statistics);
  }
  return all;
}

absl::StatusOr<std::vector<TensorStatistics>> ScanForNonFinite(
    std::string_view prefix) {
  TF_ASSIGN_OR_RETURN(std::vector<TensorStatistics> all,
                      CheckpointStatistics(prefix));
  all.erase(std::remove_if(all.begin(), all.end(),
                           [](const TensorStatistics& statistics) {
                             return statistics.nans == 0 &&
                                    statistics.infinities == 0;
                           }),
            all.end());
  return all;
}

std::string ToString(const std::vector<TensorStatistics>& statistics) {
  std::vector<std::vector<std::string>> rows = {
      {"tensor", "type", "shape", "bytes", "min", "max", "mean", "deviation",
       "norm", "NaN", "infinite", "zero"}};
  for (const TensorStatistics& tensor : statistics) {
    rows.push_back({tensor.name, TypeName(tensor.dtype),
                    tensor.shape.DebugString(), absl::StrCat(tensor.bytes)});
    if (!tensor.numeric) continue;
    for (const double figure : {tensor.min, tensor.max, tensor.mean,
                                tensor.standard_deviation, tensor.norm}) {
      rows.back().push_back(Number(figure));
    }
    for (const int64_t count : {tensor.nans, tensor.infinities, tensor.zeros}) {
      rows.back().push_back(absl::StrCat(count));
    }
  }
  return FormatTable(rows);
}

}  // namespace tftrain

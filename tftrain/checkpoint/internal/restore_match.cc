// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/restore_match.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/trackable_object_graph.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"

namespace tftrain::internal {
namespace {

using tensorflow::TensorShape;
using tensorflow::TensorSlice;

// Where tf.train.Checkpoint describes its objects.
constexpr char kObjectGraphKey[] = "_CHECKPOINTABLE_OBJECT_GRAPH";

constexpr size_t kMaxListed = 20;

// A part of a tensor, as RestoreV2 asks for it.
struct Part {
  TensorShape whole;
  TensorSlice slice;
  TensorShape shape;
};

absl::StatusOr<Part> ParsePart(const RestoredTensor& tensor) {
  Part part;
  TF_RETURN_IF_ERROR(tensorflow::checkpoint::ParseShapeAndSlice(
      tensor.slice, &part.whole, &part.slice, &part.shape));
  return part;
}

// The names that a name-based saver uses -> those in `bundle`, for a
// checkpoint of tf.train.Checkpoint; empty for any other.
absl::StatusOr<std::map<std::string, std::string>> ObjectNames(Bundle& bundle) {
  std::map<std::string, std::string> names;
  auto it = bundle.entries().find(kObjectGraphKey);
  if (it == bundle.entries().end() || it->second.shape.dims() != 0 ||
      it->second.dtype != tensorflow::DT_STRING) {
    return names;
  }
  TF_ASSIGN_OR_RETURN(const tensorflow::Tensor text,
                      bundle.Read(kObjectGraphKey));
  tensorflow::TrackableObjectGraph objects;
  if (!objects.ParseFromString(text.scalar<tensorflow::tstring>()())) {
    return names;
  }
  for (const auto& node : objects.nodes()) {
    for (const auto& attribute : node.attributes()) {
      names[attribute.full_name()] = attribute.checkpoint_key();
    }
  }
  return names;
}

std::string Listed(const std::set<std::string>& items) {
  const size_t count = std::min(items.size(), kMaxListed);
  std::string text =
      absl::StrJoin(items.begin(), std::next(items.begin(), count), ", ");
  if (items.size() > count) {
    absl::StrAppend(&text, " and ", items.size() - count, " more");
  }
  return text;
}

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", text, "\"");
}

// Everything in which a checkpoint and a graph differ.
class Differences {
 public:
  void AddMissing(const std::string& key) { missing_.insert(Quoted(key)); }

  // Compares the entry with what is `wanted`.
  absl::Status Compare(const RestoredTensor& wanted,
                       const Bundle::Entry& entry) {
    if (entry.dtype != wanted.dtype) {
      dtypes_.insert(absl::StrCat(
          Quoted(wanted.key), " (", tensorflow::DataType_Name(entry.dtype),
          ", not ", tensorflow::DataType_Name(wanted.dtype), ")"));
    }
    if (!wanted.slice.empty()) {
      TF_ASSIGN_OR_RETURN(const Part part, ParsePart(wanted));
      if (part.whole != entry.shape) {
        AddShape(wanted.key, entry.shape, part.whole.DebugString());
      }
    } else if (!Fits(wanted, entry.shape)) {
      AddShape(wanted.key, entry.shape, wanted.shape.DebugString());
    }
    return absl::OkStatus();
  }

  bool empty() const {
    return missing_.empty() && dtypes_.empty() && shapes_.empty();
  }

  // `unused` are the names in the checkpoint that nobody asked for.
  absl::Status ToStatus(const std::string& prefix, size_t wanted,
                        const std::set<std::string>& unused) const {
    std::vector<std::string> parts;
    if (!missing_.empty()) {
      parts.push_back(absl::StrCat("it lacks ", missing_.size(), " of ", wanted,
                                   " names: ", Listed(missing_)));
    }
    if (!dtypes_.empty()) {
      parts.push_back(absl::StrCat("another type have ", dtypes_.size(), ": ",
                                   Listed(dtypes_)));
    }
    if (!shapes_.empty()) {
      parts.push_back(absl::StrCat("another shape have ", shapes_.size(), ": ",
                                   Listed(shapes_)));
    }
    if (!missing_.empty() && !unused.empty()) {
      parts.push_back(absl::StrCat("only the checkpoint has ", unused.size(),
                                   ": ", Listed(unused)));
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "the checkpoint \"", prefix,
        "\" does not fit the graph: ", absl::StrJoin(parts, "; "),
        "; restore a checkpoint of this model, or list what to restore in a "
        "Saver's var_list"));
  }

 private:
  static bool Fits(const RestoredTensor& wanted, const TensorShape& shape) {
    if (!wanted.reshaped) return wanted.shape.IsCompatibleWith(shape);
    return !wanted.shape.IsFullyDefined() ||
           wanted.shape.num_elements() == shape.num_elements();
  }

  void AddShape(const std::string& key, const TensorShape& stored,
                const std::string& wanted) {
    shapes_.insert(absl::StrCat(Quoted(key), " (", stored.DebugString(),
                                ", not ", wanted, ")"));
  }

  std::set<std::string> missing_;
  std::set<std::string> dtypes_;
  std::set<std::string> shapes_;
};

std::set<std::string> UnusedNames(const Bundle& bundle,
                                  const std::vector<std::string>& used) {
  const std::set<std::string> used_names(used.begin(), used.end());
  std::set<std::string> unused;
  for (const auto& [name, entry] : bundle.entries()) {
    if (used_names.count(name) == 0) unused.insert(Quoted(name));
  }
  return unused;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> MatchTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted) {
  const auto has = [&](const std::string& name) {
    return bundle.entries().count(name) > 0;
  };
  std::vector<std::string> names;
  for (const RestoredTensor& tensor : wanted) names.push_back(tensor.key);
  if (!std::all_of(names.begin(), names.end(), has)) {
    TF_ASSIGN_OR_RETURN(const auto objects, ObjectNames(bundle));
    bool replaced = false;
    for (std::string& name : names) {
      auto it = objects.find(name);
      if (has(name) || it == objects.end() || !has(it->second)) continue;
      name = it->second;
      replaced = true;
    }
    if (replaced) {
      LOG(WARNING) << "The checkpoint \"" << bundle.prefix()
                   << "\" was written by tf.train.Checkpoint; its tensors are "
                      "found by the names of the variables they had";
    }
  }

  Differences differences;
  for (size_t i = 0; i < wanted.size(); ++i) {
    auto it = bundle.entries().find(names[i]);
    if (it == bundle.entries().end()) {
      differences.AddMissing(wanted[i].key);
    } else {
      TF_RETURN_IF_ERROR(differences.Compare(wanted[i], it->second));
    }
  }
  if (differences.empty()) return names;
  return differences.ToStatus(bundle.prefix(), wanted.size(),
                              UnusedNames(bundle, names));
}

absl::StatusOr<std::vector<tensorflow::Tensor>> ReadTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const std::vector<std::string>& names) {
  std::vector<tensorflow::Tensor> tensors;
  tensors.reserve(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].slice.empty()) {
      TF_ASSIGN_OR_RETURN(tensors.emplace_back(), bundle.Read(names[i]));
    } else {
      TF_ASSIGN_OR_RETURN(const Part part, ParsePart(wanted[i]));
      TF_ASSIGN_OR_RETURN(tensors.emplace_back(),
                          bundle.ReadSlice(names[i], part.slice));
    }
  }
  return tensors;
}

}  // namespace tftrain::internal

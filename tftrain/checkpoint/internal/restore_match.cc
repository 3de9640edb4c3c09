// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/restore_match.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/trackable_object_graph.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/thread.h"

namespace tftrain::internal {
namespace {

using tensorflow::TensorShape;
using tensorflow::TensorSlice;

// Where tf.train.Checkpoint describes its objects.
constexpr char kObjectGraphKey[] = "_CHECKPOINTABLE_OBJECT_GRAPH";

constexpr size_t kMaxListed = 20;

constexpr int64_t kBytesPerReader = int64_t{8} << 20;
constexpr int64_t kMaxReaders = 8;

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

absl::StatusOr<tensorflow::Tensor> ReadTensor(Bundle& bundle,
                                              const RestoredTensor& wanted,
                                              const std::string& name) {
  if (wanted.slice.empty()) return bundle.Read(name);
  TF_ASSIGN_OR_RETURN(const Part part, ParsePart(wanted));
  return bundle.ReadSlice(name, part.slice);
}

// How many threads are worth their while.
int64_t NumReaders(const Bundle& bundle, size_t num_tensors) {
  return std::min({bundle.num_bytes() / kBytesPerReader, kMaxReaders,
                   static_cast<int64_t>(std::thread::hardware_concurrency()),
                   static_cast<int64_t>(num_tensors)});
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

// "float32 [3,4]".
template <typename Shape>
std::string TypeText(tensorflow::DataType dtype, const Shape& shape) {
  return absl::StrCat(tensorflow::DataTypeString(dtype), " ",
                      shape.DebugString());
}

// The names of a graph as a spec sees them.
class NameRules {
 public:
  static absl::StatusOr<NameRules> Create(const RestoreSpec& spec) {
    NameRules rules;
    for (const std::string& pattern : spec.include) {
      TF_ASSIGN_OR_RETURN(rules.include_.emplace_back(), Compile(pattern));
    }
    for (const std::string& pattern : spec.exclude) {
      TF_ASSIGN_OR_RETURN(rules.exclude_.emplace_back(), Compile(pattern));
    }
    for (const auto& [pattern, replacement] : spec.rename) {
      TF_ASSIGN_OR_RETURN(std::regex regex, Compile(pattern));
      rules.rename_.emplace_back(std::move(regex), replacement);
    }
    return rules;
  }

  bool Includes(const std::string& name) const {
    const auto matches = [&](const std::regex& pattern) {
      return std::regex_match(name, pattern);
    };
    return (include_.empty() ||
            std::any_of(include_.begin(), include_.end(), matches)) &&
           std::none_of(exclude_.begin(), exclude_.end(), matches);
  }

  std::string StoredName(const std::string& name) const {
    for (const auto& [pattern, replacement] : rename_) {
      std::smatch match;
      if (std::regex_match(name, match, pattern)) {
        return match.format(replacement);
      }
    }
    return name;
  }

 private:
  static absl::StatusOr<std::regex> Compile(const std::string& pattern) {
    try {
      return std::regex(pattern);
    } catch (const std::regex_error& error) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", pattern,
                       "\" in a RestoreSpec is no regular "
                       "expression: ",
                       error.what()));
    }
  }

  std::vector<std::regex> include_;
  std::vector<std::regex> exclude_;
  std::vector<std::pair<std::regex, std::string>> rename_;
};

bool ShapeFits(const RestoredTensor& wanted, const TensorShape& shape) {
  if (!wanted.reshaped) return wanted.shape.IsCompatibleWith(shape);
  return !wanted.shape.IsFullyDefined() ||
         wanted.shape.num_elements() == shape.num_elements();
}

// Compares what is stored with what is `wanted`, in `item`.
absl::Status Compare(const RestoredTensor& wanted, const Bundle::Entry& stored,
                     RestorePlan::Item* item) {
  bool fits = ShapeFits(wanted, stored.shape);
  item->wanted = TypeText(wanted.dtype, wanted.shape);
  if (!wanted.slice.empty()) {
    TF_ASSIGN_OR_RETURN(const Part part, ParsePart(wanted));
    fits = part.whole == stored.shape;
    item->wanted = TypeText(wanted.dtype, part.whole);
  }
  item->stored = TypeText(stored.dtype, stored.shape);
  if (!fits || stored.dtype != wanted.dtype) {
    item->action = RestorePlan::Action::kMismatched;
  }
  return absl::OkStatus();
}

// All in `plan` that `spec` does not allow.
absl::Status Judge(const RestorePlan& plan, const RestoreSpec& spec) {
  std::set<std::string> missing, mismatched, extra;
  for (const RestorePlan::Item& item : plan.items) {
    if (item.action == RestorePlan::Action::kMissing) {
      missing.insert(Quoted(item.name));
    } else if (item.action == RestorePlan::Action::kMismatched) {
      mismatched.insert(absl::StrCat(Quoted(item.name), " (", item.stored,
                                     ", not ", item.wanted, ")"));
    }
  }
  for (const std::string& name : plan.extra) extra.insert(Quoted(name));
  const bool lacks = !missing.empty() && !spec.allow_missing;
  const bool differs = !mismatched.empty() && !spec.allow_mismatched;
  const bool exceeds = !extra.empty() && !spec.allow_extra;
  if (!lacks && !differs && !exceeds) return absl::OkStatus();
  std::vector<std::string> parts;
  if (lacks) {
    parts.push_back(absl::StrCat("it lacks ", missing.size(), " of ",
                                 plan.items.size(),
                                 " names: ", Listed(missing)));
  }
  if (differs) {
    parts.push_back(absl::StrCat("another type or shape have ",
                                 mismatched.size(), ": ", Listed(mismatched)));
  }
  // Beside missing names, as the same may be there under another one.
  if (!extra.empty() && (lacks || exceeds)) {
    parts.push_back(absl::StrCat("only the checkpoint has ", extra.size(), ": ",
                                 Listed(extra)));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the checkpoint \"", plan.prefix,
      "\" does not fit the graph: ", absl::StrJoin(parts, "; "),
      "; restore a checkpoint of this model, or say in a RestoreSpec what to "
      "leave out or how it is called"));
}

// Looks for `wanted` under the name that `item` has for it.
absl::Status Match(const Bundle::Entries& entries, const RestoredTensor& wanted,
                   RestorePlan::Item* item) {
  const auto it = entries.find(item->stored_name);
  if (it != entries.end()) {
    item->action = RestorePlan::Action::kRestore;
    return Compare(wanted, it->second, item);
  }
  item->action = RestorePlan::Action::kMissing;
  item->wanted = TypeText(wanted.dtype, wanted.shape);
  return absl::OkStatus();
}

// Looks for what is missing under the names of a checkpoint of
// tf.train.Checkpoint.
absl::Status MatchObjects(Bundle& bundle,
                          const std::vector<RestoredTensor>& wanted,
                          RestorePlan* plan) {
  TF_ASSIGN_OR_RETURN(const auto objects, ObjectNames(bundle));
  bool found = false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    RestorePlan::Item& item = plan->items[i];
    if (item.action != RestorePlan::Action::kMissing) continue;
    const auto it = objects.find(item.stored_name);
    if (it == objects.end() || bundle.entries().count(it->second) == 0) {
      continue;
    }
    item.stored_name = it->second;
    TF_RETURN_IF_ERROR(Match(bundle.entries(), wanted[i], &item));
    found = true;
  }
  if (found) {
    LOG(WARNING) << "The checkpoint \"" << bundle.prefix()
                 << "\" was written by tf.train.Checkpoint; its tensors are "
                    "found by the names of the variables they had";
  }
  return absl::OkStatus();
}

// The names of `entries` that `plan` does not use.
std::vector<std::string> NamesNotIn(const RestorePlan& plan,
                                    const Bundle::Entries& entries) {
  std::unordered_set<std::string_view> used;
  for (const RestorePlan::Item& item : plan.items) {
    if (item.action == RestorePlan::Action::kRestore ||
        item.action == RestorePlan::Action::kMismatched) {
      used.insert(item.stored_name);
    }
  }
  std::vector<std::string> names;
  // Most often all of them are used.
  if (used.size() == entries.size()) return names;
  for (const auto& [name, entry] : entries) {
    if (used.count(name) == 0) names.push_back(name);
  }
  return names;
}

}  // namespace

absl::StatusOr<RestorePlan> PlanRestore(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const RestoreSpec& spec) {
  TF_ASSIGN_OR_RETURN(const NameRules rules, NameRules::Create(spec));
  RestorePlan plan;
  plan.prefix = bundle.prefix();
  plan.items.reserve(wanted.size());
  bool complete = true;
  for (const RestoredTensor& tensor : wanted) {
    RestorePlan::Item& item = plan.items.emplace_back();
    item.name = tensor.key;
    item.stored_name = rules.StoredName(tensor.key);
    if (!rules.Includes(tensor.key)) {
      item.action = RestorePlan::Action::kExcluded;
      continue;
    }
    TF_RETURN_IF_ERROR(Match(bundle.entries(), tensor, &item));
    if (item.action == RestorePlan::Action::kMissing) complete = false;
  }
  if (!complete) TF_RETURN_IF_ERROR(MatchObjects(bundle, wanted, &plan));
  plan.extra = NamesNotIn(plan, bundle.entries());
  plan.status = Judge(plan, spec);
  return plan;
}

absl::StatusOr<std::vector<tensorflow::Tensor>> ReadTensors(
    Bundle& bundle, const std::vector<RestoredTensor>& wanted,
    const std::vector<std::string>& names) {
  std::vector<absl::StatusOr<tensorflow::Tensor>> tensors(wanted.size());
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  const auto read_some = [&](Bundle& from) {
    while (!failed) {
      const size_t i = next++;
      if (i >= wanted.size()) return;
      tensors[i] = ReadTensor(from, wanted[i], names[i]);
      if (!tensors[i].ok()) failed = true;
    }
  };
  std::vector<std::shared_ptr<Thread>> helpers;
  for (int64_t i = 1; i < NumReaders(bundle, wanted.size()); ++i) {
    auto helper = Thread::Start(
        "restore", [&read_some,
                    from = std::shared_ptr<Bundle>(bundle.ForAnotherThread())] {
          read_some(*from);
        });
    // Fewer will do.
    if (!helper.ok()) break;
    helpers.push_back(*std::move(helper));
  }
  read_some(bundle);
  for (const auto& helper : helpers) helper->Join();

  // What was begun was finished, and in order: the first error is one of these.
  std::vector<tensorflow::Tensor> values;
  values.reserve(tensors.size());
  for (absl::StatusOr<tensorflow::Tensor>& tensor : tensors) {
    TF_ASSIGN_OR_RETURN(values.emplace_back(), std::move(tensor));
  }
  return values;
}

}  // namespace tftrain::internal

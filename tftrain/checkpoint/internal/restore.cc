// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/restore.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/restore_match.h"
#include "tftrain/checkpoint/internal/state_hold.h"
#include "tftrain/checkpoint/internal/v1_checkpoint.h"
#include "tftrain/checkpoint/internal/variable_store.h"

namespace tftrain::internal {
namespace {

using tensorflow::Tensor;

// What a message to a server may hold, with some room for names.
constexpr int64_t kMaxSentBytes = (int64_t{1} << 31) - (int64_t{64} << 20);

absl::Status RunOps(Session& session, const std::vector<std::string>& ops,
                    const Feeds& feeds) {
  if (ops.empty()) return absl::OkStatus();
  std::vector<FetchTree> targets;
  for (const std::string& op : ops) targets.push_back(Target(op));
  return session.Run(List(std::move(targets)), feeds).status();
}

// `status` of a run that restores `prefix`; `code` in the place of an end of
// input.
absl::Status Explained(const absl::Status& status, absl::StatusCode code,
                       const std::string& prefix) {
  return AnnotateBefore(
      WithoutEndOfInput(status, code),
      absl::StrCat("cannot restore the checkpoint \"", prefix, "\""));
}

// Lets the graph's own operations read the checkpoint.
absl::Status RunRestore(Session& session, const SaveGraph& graph,
                        const tensorflow::SaverDef& def,
                        const std::string& prefix, RestorePart part) {
  const StateHold hold(session);
  std::vector<std::string> ops = {def.restore_op_name()};
  if (!graph.restore_iterators.empty() && part != RestorePart::kAll) {
    ops = part == RestorePart::kIterators ? graph.restore_iterators
                                          : graph.restore_others;
  }
  return Explained(RunOps(session, ops, {{def.filename_tensor_name(), prefix}}),
                   absl::StatusCode::kDataLoss, prefix);
}

// Makes `values` those of `wanted`. What can fail comes first. On a server,
// all are sent there.
absl::Status SetValues(Session& session,
                       const std::vector<RestoredTensor>& wanted,
                       std::vector<Tensor> values) {
  const StateHold hold(session);
  std::optional<VariableStore> store = VariableStore::Of(session);
  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> variables(
      wanted.size());
  Feeds feeds;
  std::set<std::string> ops;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::optional<VariableName>& name = wanted[i].variable;
    if (store.has_value() && name.has_value() &&
        (store->can_make() || store->Find(*name) != nullptr)) {
      TF_ASSIGN_OR_RETURN(variables[i],
                          store->FindOrMake(*name, wanted[i].dtype));
    } else {
      ops.insert(wanted[i].setters.begin(), wanted[i].setters.end());
      feeds.Add(wanted[i].tensor, std::exchange(values[i], Tensor()));
    }
  }
  TF_RETURN_IF_ERROR(RunOps(session, {ops.begin(), ops.end()}, feeds));
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (variables[i] == nullptr) continue;
    Assign(std::move(values[i]), variables[i].get());
  }
  return absl::OkStatus();
}

std::vector<RestoredTensor> TensorsOf(
    const std::vector<RestoredTensor>& restored, RestorePart part) {
  std::vector<RestoredTensor> tensors;
  for (const RestoredTensor& tensor : restored) {
    if (part == RestorePart::kAll ||
        tensor.is_iterator == (part == RestorePart::kIterators)) {
      tensors.push_back(tensor);
    }
  }
  return tensors;
}

// Reads here what `plan` restores of `wanted`, and sets it.
absl::Status ReadAndSet(Session& session, Bundle& bundle,
                        const RestorePlan& plan,
                        std::vector<RestoredTensor> wanted) {
  std::vector<RestoredTensor> found;
  std::vector<std::string> names;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (plan.items[i].action != RestorePlan::Action::kRestore) continue;
    found.push_back(std::move(wanted[i]));
    names.push_back(plan.items[i].stored_name);
  }
  TF_ASSIGN_OR_RETURN(std::vector<Tensor> values,
                      ReadTensors(bundle, found, names));
  int64_t bytes = 0;
  for (const Tensor& value : values) {
    bytes += static_cast<int64_t>(value.TotalBytes());
  }
  if (!session.is_local() && bytes > kMaxSentBytes) {
    return absl::UnimplementedError(absl::StrCat(
        "a RestoreSpec takes \"", bytes,
        "\" bytes, and a server can be sent "
        "2 GiB at once; include less of the checkpoint at a time"));
  }
  return Explained(SetValues(session, found, std::move(values)),
                   absl::StatusCode::kInternal, bundle.prefix());
}

}  // namespace

absl::Status RestoreCheckpoint(Session& session, const SaveGraph& graph,
                               const tensorflow::SaverDef& def,
                               const std::string& prefix, RestorePart part,
                               const RestoreSpec* spec) {
  TF_ASSIGN_OR_RETURN(const bool has_index, FileExists(IndexFileName(prefix)));
  const bool readable = has_index && graph.restored.has_value();
  if (spec != nullptr && !readable) {
    return absl::UnimplementedError(
        "a RestoreSpec needs a checkpoint of TensorFlow's second format, and a "
        "graph whose restore operations are those that TensorFlow makes");
  }
  if (!has_index) {
    TF_RETURN_IF_ERROR(CheckV1Checkpoint(prefix));
    return RunRestore(session, graph, def, prefix, part);
  }
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<Bundle> bundle,
                      Bundle::Open(prefix));
  if (!readable) {
    for (const auto& [name, entry] : bundle->entries()) {
      TF_RETURN_IF_ERROR(bundle->CheckValues(name));
    }
    return RunRestore(session, graph, def, prefix, part);
  }
  std::vector<RestoredTensor> wanted = TensorsOf(*graph.restored, part);
  TF_ASSIGN_OR_RETURN(
      const RestorePlan plan,
      PlanRestore(*bundle, wanted, spec != nullptr ? *spec : RestoreSpec()));
  TF_RETURN_IF_ERROR(plan.status);
  if (session.is_local() || spec != nullptr) {
    return ReadAndSet(session, *bundle, plan, std::move(wanted));
  }
  for (const RestorePlan::Item& item : plan.items) {
    TF_RETURN_IF_ERROR(bundle->CheckValues(item.stored_name));
  }
  return RunRestore(session, graph, def, prefix, part);
}

}  // namespace tftrain::internal

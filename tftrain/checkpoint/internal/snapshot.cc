// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/snapshot.h"

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain::internal {
namespace {

using tensorflow::Tensor;
using tensorflow::Var;

absl::Status HasNoValue(std::string_view variable) {
  return absl::FailedPreconditionError(
      absl::StrCat("the variable \"", variable,
                   "\" has no value yet; run the init op or restore first"));
}

// Copies `from` into `to`, whose memory is used again if it fits and nobody
// else holds it.
absl::Status Copy(const Tensor& from, Tensor* to) {
  if (to->dtype() != from.dtype() || to->shape() != from.shape() ||
      !to->RefCountIsOne()) {
    *to = Tensor(from.dtype(), from.shape());
    if (!to->IsInitialized() && from.NumElements() > 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("there is no memory for a copy of ", from.TotalBytes(),
                       " bytes; snapshot = stream needs less"));
    }
  }
  if (tensorflow::DataTypeCanUseMemcpy(from.dtype())) {
    if (from.TotalBytes() > 0) {
      std::memcpy(to->data(), from.data(), from.TotalBytes());
    }
  } else {
    tensorflow::tensor::DeepCopy(from, to);
  }
  return absl::OkStatus();
}

// What `variable` holds, shared, or copied by way of `copy`.
absl::StatusOr<Tensor> ValueOf(Var* variable, Snapshotter::Values values,
                               std::string_view name, Tensor* copy) {
  tensorflow::mutex_lock lock(*variable->mu());
  if (!variable->is_initialized) return HasNoValue(name);
  if (values == Snapshotter::Values::kShared &&
      !variable->copy_on_read_mode.load()) {
    return *variable->tensor();
  }
  TF_RETURN_IF_ERROR(Copy(*variable->tensor(), copy));
  return *copy;
}

}  // namespace

absl::Status ExplainFailedRead(const absl::Status& status) {
  if (!absl::IsFailedPrecondition(status)) return status;
  for (const std::string_view before :
       {"Could not find variable ", "reading resource variable ",
        "Attempting to use uninitialized value "}) {
    const size_t found = status.message().find(before);
    if (found == std::string_view::npos) continue;
    std::string_view name = status.message().substr(found + before.size());
    name = name.substr(0, name.find_first_of(" \n"));
    absl::ConsumeSuffix(&name, ".");
    return HasNoValue(name);
  }
  return status;
}

struct Snapshotter::Sources {
  // By place: a variable to look at, or the value.
  std::vector<tensorflow::core::RefCountPtr<Var>> variables;
  std::vector<Tensor> values;
};

absl::StatusOr<Snapshotter::Sources> Snapshotter::Find(Session& session) const {
  Sources sources;
  sources.variables.resize(saved_.size());
  sources.values.resize(saved_.size());
  const std::optional<VariableStore> store = VariableStore::Of(session);
  std::vector<FetchTree> fetches;
  std::vector<size_t> fetched;
  for (size_t i = 0; i < saved_.size(); ++i) {
    if (store.has_value() && saved_[i].variable.has_value()) {
      sources.variables[i] = store->Find(*saved_[i].variable);
      if (sources.variables[i] == nullptr) return HasNoValue(saved_[i].key);
    } else {
      fetches.emplace_back(Fetch<Tensor>(saved_[i].tensor));
      fetched.push_back(i);
    }
  }
  if (fetches.empty()) return sources;
  absl::StatusOr<Value> answer = session.Run(List(std::move(fetches)));
  if (!answer.ok()) return ExplainFailedRead(answer.status());
  for (size_t i = 0; i < fetched.size(); ++i) {
    TF_ASSIGN_OR_RETURN(sources.values[fetched[i]],
                        answer->Get<Tensor>({static_cast<int>(i)}));
  }
  return sources;
}

absl::StatusOr<std::vector<Tensor>> Snapshotter::Take(Session& session,
                                                      Values values) {
  TF_ASSIGN_OR_RETURN(Sources sources, Find(session));
  copies_.resize(saved_.size());
  for (size_t i = 0; i < saved_.size(); ++i) {
    if (sources.variables[i] == nullptr) continue;
    TF_ASSIGN_OR_RETURN(sources.values[i],
                        ValueOf(sources.variables[i].get(), values,
                                saved_[i].key, &copies_[i]));
  }
  return std::move(sources.values);
}

absl::Status Snapshotter::Stream(
    Session& session,
    absl::FunctionRef<absl::Status(const SavedTensor&, const Tensor&)>
        receive) {
  TF_ASSIGN_OR_RETURN(Sources sources, Find(session));
  for (size_t i = 0; i < saved_.size(); ++i) {
    const Tensor value = std::move(sources.values[i]);
    Var* const variable = sources.variables[i].get();
    if (variable == nullptr) {
      TF_RETURN_IF_ERROR(receive(saved_[i], value));
      continue;
    }
    tensorflow::tf_shared_lock lock(*variable->mu());
    if (!variable->is_initialized) return HasNoValue(saved_[i].key);
    TF_RETURN_IF_ERROR(receive(saved_[i], *variable->tensor()));
  }
  return absl::OkStatus();
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/step_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/session/internal/closure.h"

namespace tftrain::internal {
namespace {

using tensorflow::Node;
using tensorflow::Tensor;

// What a fetched slot holds until the runtime fills it. The runtime leaves a
// slot as it was when the fetch lies on a branch not taken, and no tensor it
// makes has this type.
const Tensor& NoValue() {
  static const Tensor* const tensor = new Tensor(tensorflow::DT_INVALID);
  return *tensor;
}

constexpr int kCallingThreadPool = -1;

// Whether `tensor` may be the buffer of a reference variable. Most operations
// can hand on the buffer of an input: Identity and Slice always, Sum when there
// is nothing to sum, x * 1 once the runtime has simplified it. So everything
// computed from a reference may.
bool MayShareReference(const TensorRef& tensor) {
  if (tensor.is_ref()) return true;
  std::vector<const Node*> to_visit = {tensor.node};
  std::unordered_set<const Node*> seen = {tensor.node};
  while (!to_visit.empty()) {
    const Node* node = to_visit.back();
    to_visit.pop_back();
    for (const tensorflow::Edge* input : node->in_edges()) {
      if (input->IsControlEdge()) continue;
      if (TensorRef{input->src(), input->src_output()}.is_ref()) return true;
      if (seen.insert(input->src()).second) to_visit.push_back(input->src());
    }
  }
  return false;
}

// What the status of a step that ran means: OUT_OF_RANGE is the end of the
// input, as names and ports were checked before, unless it comes from reading
// a checkpoint that was cut short.
absl::Status WithoutDoubt(const Graph& graph, absl::Status status) {
  static const auto* const kRestores = new std::set<std::string>{
      "Restore", "RestoreSlice", "RestoreV2", "MergeV2Checkpoints"};
  if (!absl::IsOutOfRange(status)) return status;
  // The runtime names what failed as {{node save/RestoreV2}}.
  const std::vector<std::string> parts =
      absl::StrSplit(status.message(), "{{node ");
  for (size_t i = 1; i < parts.size(); ++i) {
    const auto node =
        graph.FindOperation(parts[i].substr(0, parts[i].find("}}")));
    if (node.ok() && kRestores->count((*node)->type_string()) > 0) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint is cut short, restore another one: ",
                       status.message()));
    }
  }
  return MarkEndOfInput(std::move(status));
}

absl::Status FedTwice(const std::string& name, bool by_caller) {
  return absl::FailedPreconditionError(
      absl::StrCat("\"", name, "\" is fed by ",
                   by_caller ? "a hook and by the caller" : "two hooks",
                   "; only one of them may feed a tensor"));
}

}  // namespace

StepValues StepBuffers::Values(size_t index) {
  return plan == nullptr ? StepValues()
                         : plan->Values(index, this, /*may_take=*/false);
}

StepValues StepBuffers::CallerValues() {
  return plan == nullptr ? StepValues()
                         : plan->Values(0, this, /*may_take=*/true);
}

void StepBuffers::Release() {
  for (Tensor& tensor : fetched) tensor = NoValue();
  for (Tensor& tensor : fed) tensor = NoValue();
  is_released = true;
}

absl::StatusOr<std::shared_ptr<const StepPlan>> StepPlan::Make(
    const GraphPtr& graph, absl::Span<const RequestPtr> requests,
    std::shared_ptr<Engine> engine, ThreadMode thread_mode) {
  std::shared_ptr<StepPlan> plan(new StepPlan);
  plan->requests_.assign(requests.begin(), requests.end());
  plan->graph_ = graph;
  plan->engine_ = std::move(engine);
  plan->thread_mode_ = thread_mode;
  TF_RETURN_IF_ERROR(plan->AddFeeds(*graph));
  TF_RETURN_IF_ERROR(plan->AddFetches(*graph));
  plan->FindChanges(*graph);
  TF_RETURN_IF_ERROR(plan->MakeCallable());
  return plan;
}

absl::Status StepPlan::Check(const Graph& graph,
                             absl::Span<const RequestPtr> requests) {
  StepPlan plan;
  plan.requests_.assign(requests.begin(), requests.end());
  TF_RETURN_IF_ERROR(plan.AddFeeds(graph));
  return plan.AddFetches(graph);
}

StepPlan::~StepPlan() {
  if (has_callable_ && !engine_->is_inherited()) {
    engine_->session()->ReleaseCallable(callable_).IgnoreError();
  }
}

absl::Status StepPlan::AddFeeds(const Graph& graph) {
  for (size_t part = 0; part < requests_.size(); ++part) {
    const std::vector<std::string>& names = requests_[part]->feeds;
    for (size_t i = 0; i < names.size(); ++i) {
      TF_ASSIGN_OR_RETURN(const TensorRef tensor, graph.FindTensor(names[i]));
      for (const FeedSlot& other : feeds_) {
        if (!(other.tensor == tensor)) continue;
        if (other.part == part) {
          return absl::InvalidArgumentError(absl::StrCat(
              "\"", names[i], "\" is fed twice; feed each tensor once"));
        }
        return FedTwice(names[i], other.part == 0);
      }
      feeds_.push_back(
          {part, i, tensor, tensor.name(), graph.ShapeOf(AsOutput(tensor))});
    }
  }
  return absl::OkStatus();
}

absl::Status StepPlan::AddFetches(const Graph& graph) {
  std::map<std::pair<const Node*, int>, int> slot_of;
  for (size_t i = 0; i < feeds_.size(); ++i) {
    slot_of[{feeds_[i].tensor.node, feeds_[i].tensor.port}] =
        -1 - static_cast<int>(i);
  }
  std::vector<bool> may_be_reference;  // each fetched tensor
  std::set<const Node*> targets;
  for (const RequestPtr& request : requests_) {
    std::vector<int>& slots = slots_.emplace_back();
    std::vector<size_t>& references = may_be_references_.emplace_back();
    for (size_t i = 0; i < request->fetches.size(); ++i) {
      TF_ASSIGN_OR_RETURN(const TensorRef tensor,
                          graph.FindTensor(request->fetches[i]));
      const tensorflow::DataType wanted = request->dtypes[i];
      if (wanted != tensorflow::DT_INVALID && wanted != tensor.dtype()) {
        return WrongType(request->fetches[i], tensor.dtype(), wanted);
      }
      auto [slot, is_new] =
          slot_of.emplace(std::make_pair(tensor.node, tensor.port),
                          static_cast<int>(fetch_names_.size()));
      if (is_new) {
        may_be_reference.push_back(MayShareReference(tensor));
        fetch_names_.push_back(tensor.name());
      }
      slots.push_back(slot->second);
      const size_t fetched = static_cast<size_t>(slot->second);
      if (slot->second >= 0 && may_be_reference[fetched]) {
        references.push_back(fetched);
      }
    }
    std::vector<char>& last_uses = last_uses_.emplace_back(slots.size());
    std::set<int> used;
    for (size_t i = slots.size(); i-- > 0;) {
      last_uses[i] = slots[i] >= 0 && used.insert(slots[i]).second;
    }
    for (const std::string& target : request->targets) {
      TF_ASSIGN_OR_RETURN(const Node* node, graph.FindOperation(target));
      if (targets.insert(node).second) target_names_.push_back(target);
    }
  }
  return absl::OkStatus();
}

void StepPlan::FindChanges(const Graph& graph) {
  Request all;
  all.fetches = fetch_names_;
  all.targets = target_names_;
  std::vector<std::string> feeds;
  for (const FeedSlot& feed : feeds_) feeds.push_back(feed.name);
  const Closure runs(graph, all, feeds);
  // A step that fills a queue may wait for the very thread that saves, and what
  // it changes (the count of epochs) belongs to the input.
  changes_variables_ =
      std::any_of(runs.nodes().begin(), runs.nodes().end(), ChangesVariables) &&
      std::none_of(runs.nodes().begin(), runs.nodes().end(), FillsQueue);
}

absl::Status StepPlan::MakeCallable() {
  // The runtime refuses to run nothing, and callables over gRPC bring a server
  // down when a feed is missing; those steps run by name.
  const bool runs_something = !fetch_names_.empty() || !target_names_.empty();
  if (!runs_something || !engine_->is_local()) return absl::OkStatus();
  tensorflow::CallableOptions options;
  for (const FeedSlot& feed : feeds_) options.add_feed(feed.name);
  for (const std::string& name : fetch_names_) options.add_fetch(name);
  for (const std::string& name : target_names_) options.add_target(name);
  if (thread_mode_ == ThreadMode::kCallingThread) {
    options.mutable_run_options()->set_inter_op_thread_pool(kCallingThreadPool);
  }
  TF_RETURN_IF_ERROR(engine_->session()->MakeCallable(options, &callable_));
  has_callable_ = true;
  return absl::OkStatus();
}

absl::Status StepPlan::TakeFeeds(absl::Span<const StepPart> parts,
                                 StepBuffers* buffers) const {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].feeds.size() != requests_[i]->feeds.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the step feeds ", requests_[i]->feeds.size(),
                       " tensors and was "
                       "given ",
                       parts[i].feeds.size(), " values"));
    }
  }
  buffers->fed.resize(feeds_.size());
  for (size_t i = 0; i < feeds_.size(); ++i) {
    const FeedSlot& slot = feeds_[i];
    const FeedValue& value = parts[slot.part].feeds[slot.index];
    if (value.tensor().dtype() == slot.tensor.dtype()) {
      buffers->fed[i] = value.tensor();
    } else {
      TF_ASSIGN_OR_RETURN(buffers->fed[i],
                          value.As(slot.tensor.dtype(), slot.name));
    }
    if (!slot.shape.IsCompatibleWith(buffers->fed[i].shape())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", slot.name, "\" has the shape ", slot.shape.DebugString(),
          " and is fed ", buffers->fed[i].shape().DebugString(),
          "; feed a tensor of its shape"));
    }
  }
  return absl::OkStatus();
}

absl::Status StepPlan::Run(absl::Span<const StepPart> parts,
                           const tensorflow::RunOptions* options,
                           tensorflow::RunMetadata* metadata,
                           StepBuffers* buffers) const {
  TF_RETURN_IF_ERROR(TakeFeeds(parts, buffers));
  if (!buffers->is_released || buffers->fetched.size() != fetch_names_.size()) {
    buffers->fetched.assign(fetch_names_.size(), NoValue());
  }
  buffers->is_released = false;
  if (metadata != nullptr) metadata->Clear();
  absl::Status status;
  if (fetch_names_.empty() && target_names_.empty()) return status;
  if (has_callable_ && options == nullptr && metadata == nullptr) {
    status = engine_->session()->RunCallable(callable_, buffers->fed,
                                             &buffers->fetched, nullptr);
  } else {
    status = RunByName(options, metadata, buffers);
  }
  if (!status.ok()) return WithoutDoubt(*graph_, std::move(status));
  return FinishFetches(parts, buffers);
}

absl::Status StepPlan::RunByName(const tensorflow::RunOptions* options,
                                 tensorflow::RunMetadata* metadata,
                                 StepBuffers* buffers) const {
  tensorflow::RunOptions run_options;
  if (options != nullptr) run_options = *options;
  if (thread_mode_ == ThreadMode::kCallingThread &&
      run_options.inter_op_thread_pool() == 0) {
    run_options.set_inter_op_thread_pool(kCallingThreadPool);
  }
  if (run_options.inter_op_thread_pool() == kCallingThreadPool &&
      run_options.timeout_in_ms() > 0) {
    return absl::InvalidArgumentError(
        "a step on the calling thread cannot have a timeout; run it on the "
        "pool (ThreadMode::kPool), or leave the timeout out");
  }
  std::vector<std::pair<std::string, Tensor>> inputs;
  for (size_t i = 0; i < feeds_.size(); ++i) {
    inputs.emplace_back(feeds_[i].name, buffers->fed[i]);
  }
  tensorflow::RunMetadata ignored;
  return engine_->session()->Run(run_options, inputs, fetch_names_,
                                 target_names_, &buffers->fetched,
                                 metadata == nullptr ? &ignored : metadata);
}

absl::Status StepPlan::FinishFetches(absl::Span<const StepPart> parts,
                                     StepBuffers* buffers) const {
  for (size_t part = 0; part < parts.size(); ++part) {
    if (!parts[part].wanted) continue;
    for (const int slot : slots_[part]) {
      if (slot < 0) continue;
      const size_t i = static_cast<size_t>(slot);
      if (buffers->fetched[i].dtype() == tensorflow::DT_INVALID) {
        return absl::InvalidArgumentError(absl::StrCat(
            "\"", fetch_names_[i],
            "\" has no value: it lies on a branch that "
            "this step did not take; fetch what joins the branches"));
      }
    }
    for (const size_t i : may_be_references_[part]) {
      Tensor& value = buffers->fetched[i];
      if (!value.RefCountIsOne()) value = tensorflow::tensor::DeepCopy(value);
    }
  }
  return absl::OkStatus();
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_STEP_PLAN_H_
#define TFTRAIN_SESSION_INTERNAL_STEP_PLAN_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/internal/engine.h"
#include "tftrain/session/request.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

class StepPlan;

// What a step needs while it runs, kept from step to step by whoever runs many
// so that nothing is allocated again.
struct StepBuffers {
  std::shared_ptr<const StepPlan> plan;  // of the last step
  std::vector<tensorflow::Tensor> fed;
  std::vector<tensorflow::Tensor> fetched;
  bool is_released = false;

  // What the part at `index` of the last step was given.
  StepValues Values(size_t index);
  // The same for the caller, who is the last to look at the values and may take
  // them away.
  StepValues CallerValues();
  // Lets go of the values, so that variables read need no copy when they are
  // updated next.
  void Release();
};

// How a set of requests runs as one step: names resolved and checked, each
// tensor fetched once, who gets which of the fetched values, and the callable
// that runs it.
//
// Immutable, shared by the cache and by running calls; the callable is
// released with the last of them.
// Thread-safe.
class StepPlan {
 public:
  // Errors: kInvalidArgument for names the graph lacks, types a fetch does not
  // have, and a tensor that one request feeds twice; kFailedPrecondition when
  // two requests feed the same tensor.
  static absl::StatusOr<std::shared_ptr<const StepPlan>> Make(
      const GraphPtr& graph, absl::Span<const RequestPtr> requests,
      std::shared_ptr<Engine> engine, ThreadMode thread_mode);
  // Only the checks.
  static absl::Status Check(const Graph& graph,
                            absl::Span<const RequestPtr> requests);

  ~StepPlan();
  StepPlan(const StepPlan&) = delete;
  StepPlan& operator=(const StepPlan&) = delete;

  const std::vector<RequestPtr>& requests() const { return requests_; }
  const Engine& engine() const { return *engine_; }
  // The gate to go through; null for a step that changes no variable.
  StepGate* gate() const {
    return changes_variables_ ? &engine_->gate() : nullptr;
  }
  bool Matches(absl::Span<const StepPart> parts) const {
    if (parts.size() != requests_.size()) return false;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].request->get() != requests_[i].get()) return false;
    }
    return true;
  }

  // Runs the step: takes the parts' feeds into `buffers`, runs, and checks
  // that every fetch of a wanted part has a value.
  absl::Status Run(absl::Span<const StepPart> parts,
                   const tensorflow::RunOptions* options,
                   tensorflow::RunMetadata* metadata,
                   StepBuffers* buffers) const;

  StepValues Values(size_t part, StepBuffers* buffers, bool may_take) const {
    return StepValues(requests_[part].get(), slots_[part].data(), &buffers->fed,
                      &buffers->fetched,
                      may_take ? last_uses_[part].data() : nullptr);
  }

 private:
  // One tensor to feed: which part brings it, and what it must be.
  struct FeedSlot {
    size_t part;
    size_t index;
    TensorRef tensor;
    std::string name;
    tensorflow::PartialTensorShape shape;
  };

  StepPlan() = default;

  absl::Status AddFeeds(const Graph& graph);
  absl::Status AddFetches(const Graph& graph);
  void FindChanges(const Graph& graph);
  absl::Status MakeCallable();
  absl::Status TakeFeeds(absl::Span<const StepPart> parts,
                         StepBuffers* buffers) const;
  absl::Status RunByName(const tensorflow::RunOptions* options,
                         tensorflow::RunMetadata* metadata,
                         StepBuffers* buffers) const;
  absl::Status FinishFetches(absl::Span<const StepPart> parts,
                             StepBuffers* buffers) const;

  std::vector<RequestPtr> requests_;
  GraphPtr graph_;
  std::shared_ptr<Engine> engine_;
  ThreadMode thread_mode_ = ThreadMode::kPool;

  std::vector<FeedSlot> feeds_;
  std::vector<std::string> fetch_names_;
  std::vector<std::string> target_names_;
  // For each request, for each of its fetches: the index of a fetched tensor,
  // or -1 - the index of a fed one.
  std::vector<std::vector<int>> slots_;
  // As `slots_`: whether it is fetched, and no later fetch of the request has
  // the same place.
  std::vector<std::vector<char>> last_uses_;
  // For each request the fetched tensors that may be buffers of reference
  // variables; those that are get copied, as the next step may write into them.
  std::vector<std::vector<size_t>> may_be_references_;

  bool changes_variables_ = false;
  bool has_callable_ = false;
  tensorflow::Session::CallableHandle callable_ = 0;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_STEP_PLAN_H_

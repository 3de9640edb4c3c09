// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/session.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/session/internal/engine.h"
#include "tftrain/session/internal/global_step_reader.h"
#include "tftrain/session/internal/plan_cache.h"
#include "tftrain/session/internal/step_plan.h"

namespace tftrain {

using internal::StepPart;

namespace {

// The graph optimizer takes milliseconds for each variable, in every plan.
constexpr int kVariablesToOptimize = 2000;

bool HasManyVariables(const Graph& graph) {
  int variables = 0;
  for (const tensorflow::Node* node : graph.engine_graph().op_nodes()) {
    if (node->IsVariable() || node->type_string() == "VarHandleOp") {
      ++variables;
    }
  }
  return variables > kVariablesToOptimize;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> Session::Create(GraphPtr graph) {
  return Create(std::move(graph), Options());
}

absl::StatusOr<std::shared_ptr<Session>> Session::Create(
    GraphPtr graph, const Options& options) {
  if (options.thread_mode == ThreadMode::kCallingThread &&
      options.config.operation_timeout_in_ms() > 0) {
    return absl::InvalidArgumentError(
        "operation_timeout_in_ms does not work on the calling thread; use "
        "ThreadMode::kPool, or leave the timeout out");
  }
  tensorflow::SessionOptions session_options;
  session_options.target = options.target;
  session_options.config = options.config;
  if (!options.config.graph_options().has_rewrite_options() &&
      HasManyVariables(*graph)) {
    session_options.config.mutable_graph_options()
        ->mutable_rewrite_options()
        ->set_disable_meta_optimizer(true);
  }
  TF_RETURN_IF_ERROR(graph->Finalize());
  auto open = [&]() -> absl::StatusOr<std::shared_ptr<Session>> {
    TF_ASSIGN_OR_RETURN(std::shared_ptr<const tensorflow::GraphDef> graph_def,
                        graph->ToGraphDef());
    TF_ASSIGN_OR_RETURN(const std::optional<Variable> step,
                        GetGlobalStep(*graph));
    TF_ASSIGN_OR_RETURN(std::shared_ptr<internal::Engine> engine,
                        internal::Engine::Create(session_options, *graph_def));
    std::shared_ptr<Session> session(new Session(graph, options, engine));
    if (step.has_value()) {
      session->global_step_ =
          std::make_unique<internal::GlobalStepReader>(*step, engine);
    }
    return session;
  };
  absl::StatusOr<std::shared_ptr<Session>> session = open();
  if (!session.ok()) graph->Unfinalize();
  return session;
}

Session::Session(GraphPtr graph, const Options& options,
                 std::shared_ptr<internal::Engine> engine)
    : graph_(std::move(graph)),
      options_(options),
      engine_(std::move(engine)),
      plans_(std::make_unique<internal::PlanCache>(options.max_plans)) {}

Session::~Session() { Close().IgnoreError(); }

absl::Status Session::Close(absl::Duration patience) {
  if (closed_.exchange(true, std::memory_order_acq_rel)) {
    return absl::OkStatus();
  }
  graph_->Unfinalize();
  if (engine_->is_inherited()) return absl::OkStatus();
  absl::Status status = engine_->Close(patience);
  MutexLock lock(mu_);
  plans_->Clear();
  interned_.clear();
  return status;
}

tensorflow::Session* Session::engine() const { return engine_->session(); }

bool Session::is_local() const { return engine_->is_local(); }

std::weak_ptr<const void> Session::identity() const { return engine_; }

absl::Status Session::CheckUsable() const {
  if (closed()) {
    return absl::FailedPreconditionError(
        "the session is closed; create a new one");
  }
  if (engine_->is_inherited()) {
    return absl::FailedPreconditionError(
        "the session was made before this process was forked, and the "
        "runtime's threads are not in the child; create a session there");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Session::GlobalStep(
    const tensorflow::RunOptions* options) {
  TF_RETURN_IF_ERROR(CheckUsable());
  if (global_step_ == nullptr) {
    return RequireGlobalStep(*graph_, "GlobalStep").status();
  }
  if (global_step_->is_direct()) {
    if (std::optional<int64_t> step = global_step_->Read()) return *step;
    return absl::FailedPreconditionError(
        "the global step has no value yet; run the init op or restore first");
  }
  TF_ASSIGN_OR_RETURN(
      const tensorflow::Tensor step,
      Run(Fetch<tensorflow::Tensor>(global_step_->value_name()), {}, options));
  return step.dtype() == tensorflow::DT_INT32
             ? int64_t{step.scalar<int32_t>()()}
             : step.scalar<int64_t>()();
}

RequestPtr Session::Intern(Request request) {
  std::string key = absl::StrJoin(request.dtypes, ",");
  for (const auto* names :
       {&request.fetches, &request.targets, &request.feeds}) {
    absl::StrAppend(&key, ";", names->size());
    // A name may hold anything, so its length tells where it ends.
    for (const std::string& name : *names) {
      absl::StrAppend(&key, ",", name.size(), ":", name);
    }
  }
  constexpr size_t kMaxInterned = 4096;
  MutexLock lock(mu_);
  auto it = interned_.find(key);
  if (it != interned_.end()) return it->second;
  // Plans keep their own requests alive, so forgetting costs a new plan only.
  if (interned_.size() >= kMaxInterned) interned_.clear();
  auto shared = std::make_shared<const Request>(std::move(request));
  interned_.emplace(std::move(key), shared);
  return shared;
}

absl::Status Session::CheckRequest(const RequestPtr& request) const {
  return internal::StepPlan::Check(*graph_, {request});
}

absl::Status Session::PlanRequest(const RequestPtr& request) {
  return PlanParts({StepPart{&request, {}}});
}

absl::Status Session::PlanParts(absl::Span<const StepPart> parts) {
  TF_RETURN_IF_ERROR(CheckUsable());
  return FindOrMakePlan(parts).status();
}

absl::StatusOr<std::shared_ptr<const internal::StepPlan>>
Session::FindOrMakePlan(absl::Span<const StepPart> parts) {
  {
    MutexLock lock(mu_);
    if (auto plan = plans_->Find(parts)) return plan;
  }
  std::vector<RequestPtr> requests;
  requests.reserve(parts.size());
  for (const StepPart& part : parts) requests.push_back(*part.request);
  TF_ASSIGN_OR_RETURN(auto plan,
                      internal::StepPlan::Make(graph_, requests, engine_,
                                               options_.thread_mode));
  plans_made_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mu_);
  if (!closed()) plans_->Add(plan);
  return plan;
}

absl::Status Session::RunParts(absl::Span<const StepPart> parts,
                               const tensorflow::RunOptions* options,
                               tensorflow::RunMetadata* metadata,
                               internal::StepBuffers* buffers) {
  TF_RETURN_IF_ERROR(CheckUsable());
  // Requests and buffers may outlive a session, a plan must not leave its own.
  if (buffers->plan == nullptr || &buffers->plan->engine() != engine_.get() ||
      !buffers->plan->Matches(parts)) {
    buffers->plan.reset();
    TF_ASSIGN_OR_RETURN(buffers->plan, FindOrMakePlan(parts));
  }
  // The plan keeps the gate, also when this session is dropped meanwhile.
  const internal::GatePass pass(buffers->plan->gate());
  return buffers->plan->Run(parts, options, metadata, buffers);
}

absl::Status Session::RunRequest(const RequestPtr& request,
                                 absl::Span<const FeedValue> feeds,
                                 const tensorflow::RunOptions* options,
                                 tensorflow::RunMetadata* metadata,
                                 Receive receive) {
  internal::StepBuffers buffers;
  const StepPart part{&request, feeds};
  TF_RETURN_IF_ERROR(RunParts({part}, options, metadata, &buffers));
  return receive(buffers.CallerValues());
}

StepHold::StepHold(Session& session, absl::Duration patience)
    : engine_(session.engine_), complete_(engine_->gate().Close(patience)) {}

StepHold::~StepHold() { engine_->gate().Open(); }

}  // namespace tftrain

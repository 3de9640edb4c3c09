// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/eval_input.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/session/internal/closure.h"

namespace tftrain::internal {
namespace {

using tensorflow::Node;

// The requests of training that are remembered.
constexpr size_t kMaxRequests = 16;

// What holds the input that `consumer` takes from.
std::vector<const Node*> InputsOf(const Node* consumer) {
  std::vector<const Node*> inputs;
  for (const tensorflow::Edge* edge : consumer->in_edges()) {
    if (edge->IsControlEdge()) continue;
    const tensorflow::DataType type =
        edge->src()->output_type(edge->src_output());
    if (type != tensorflow::DT_RESOURCE && !tensorflow::IsRefType(type)) {
      continue;
    }
    const Node* holder = edge->src();
    while (holder->type_string() == "Identity" ||
           holder->type_string() == "RefIdentity") {
      if (!holder->input_node(0, &holder).ok()) break;
    }
    inputs.push_back(holder);
  }
  return inputs;
}

// The same for all operations that hold the same thing.
std::string IdentityOf(const Node* holder) {
  std::string container, name;
  tensorflow::TryGetNodeAttr(holder->attrs(), "container", &container);
  tensorflow::TryGetNodeAttr(holder->attrs(), "shared_name", &name);
  return absl::StrJoin(
      {std::string_view(holder->type_string()), std::string_view(container),
       std::string_view(name.empty() ? holder->name() : name)},
      "\n");
}

// Both requests as one that runs once.
Request Joined(Request a, const Request& b) {
  a.fetches.insert(a.fetches.end(), b.fetches.begin(), b.fetches.end());
  a.targets.insert(a.targets.end(), b.targets.begin(), b.targets.end());
  return a;
}

}  // namespace

EvalInput::EvalInput(Request step, Request around, bool is_fed)
    : step_(std::move(step)),
      unfed_(is_fed ? std::move(around) : Joined(std::move(around), step_)) {}

std::vector<const Node*> EvalInput::NodesWithoutFeeds(
    const Graph& graph) const {
  return Closure(graph, unfed_, {}).nodes();
}

absl::Status EvalInput::CheckIsFed(const Graph& graph) const {
  for (const Node* node : NodesWithoutFeeds(graph)) {
    if (!NeedsFeed(node)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the evaluation reads \"", node->name(),
        "\", which nothing feeds; give feeds, which are those of metrics and "
        "update_ops alone"));
  }
  return absl::OkStatus();
}

absl::Status EvalInput::CheckEnds(const Graph& graph) const {
  const Closure closure(graph, step_, {});
  if (std::any_of(closure.nodes().begin(), closure.nodes().end(),
                  ConsumesInput)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "max_steps is not set, and the metrics read no input that could end; set "
      "it, or give feeds");
}

absl::Status EvalInput::CheckQueuesAreFilled(const Graph& graph) const {
  TF_ASSIGN_OR_RETURN(const std::vector<tensorflow::QueueRunnerDef> runners,
                      graph.GetProtoCollection<tensorflow::QueueRunnerDef>(
                          collection_keys::kQueueRunners));
  std::vector<const Node*> nodes = NodesWithoutFeeds(graph);
  std::set<std::string> found;
  // Runners, whose nodes are added, may read from queues as well.
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!ConsumesInput(nodes[i])) continue;
    for (const Node* input : InputsOf(nodes[i])) {
      if (!absl::StrContains(input->type_string(), "Queue") ||
          !found.insert(input->name()).second) {
        continue;
      }
      Request filling;
      for (const tensorflow::QueueRunnerDef& runner : runners) {
        if (runner.queue_name() != input->name()) continue;
        filling.targets.insert(filling.targets.end(),
                               runner.enqueue_op_name().begin(),
                               runner.enqueue_op_name().end());
      }
      if (filling.targets.empty()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the evaluation would wait for ever in \"", nodes[i]->name(),
            "\", as nothing fills \"", input->name(),
            "\"; give its graph a queue runner, or init_ops that do"));
      }
      const Closure more(graph, filling, {});
      nodes.insert(nodes.end(), more.nodes().begin(), more.nodes().end());
    }
  }
  return absl::OkStatus();
}

absl::Status EvalInput::NoteTraining(const Graph& graph,
                                     const Request& request) {
  if (std::find(training_requests_.begin(), training_requests_.end(),
                request) != training_requests_.end()) {
    return absl::OkStatus();
  }
  const Closure closure(graph, request, request.feeds);
  for (const Node* node : closure.nodes()) {
    if (!ConsumesInput(node)) continue;
    for (const Node* input : InputsOf(node)) {
      training_inputs_.insert(IdentityOf(input));
    }
  }
  TF_RETURN_IF_ERROR(CheckTakesNothing(NodesWithoutFeeds(graph)));
  if (training_requests_.size() == kMaxRequests) {
    training_requests_.erase(training_requests_.begin());
  }
  training_requests_.push_back(request);
  return absl::OkStatus();
}

absl::Status EvalInput::CheckStep(const Graph& graph,
                                  const std::vector<std::string>& feeds) const {
  return CheckTakesNothing(Closure(graph, step_, feeds).nodes());
}

absl::Status EvalInput::CheckTakesNothing(
    const std::vector<const Node*>& nodes) const {
  for (const Node* node : nodes) {
    if (ChangesNothing(node)) continue;
    for (const Node* input : InputsOf(node)) {
      if (training_inputs_.count(IdentityOf(input)) == 0) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "the evaluation runs \"", node->name(), "\", which would change \"",
          input->name(),
          "\", the input of training; feed the evaluation, or give it an "
          "input of its own"));
    }
  }
  return absl::OkStatus();
}

}  // namespace tftrain::internal

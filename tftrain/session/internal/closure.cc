// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/closure.h"

#include <set>
#include <unordered_set>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"

namespace tftrain::internal {

using tensorflow::Node;

Closure::Closure(const Graph& graph, const Request& request,
                 const std::vector<std::string>& feeds)
    : reached_(static_cast<size_t>(graph.engine_graph().num_node_ids())) {
  std::set<std::pair<const Node*, int>> fed;
  for (const std::string& name : feeds) {
    const absl::StatusOr<TensorRef> tensor = graph.FindTensor(name);
    if (tensor.ok()) fed.emplace(tensor->node, tensor->port);
  }
  std::vector<const Node*> pending;
  const auto visit = [&](const Node* node, int port) {
    // What waits for a placeholder waits for what is fed in its place.
    if (port == tensorflow::Graph::kControlSlot && NeedsFeed(node)) port = 0;
    if (fed.count({node, port}) > 0 || Contains(node)) return;
    reached_[static_cast<size_t>(node->id())] = true;
    pending.push_back(node);
  };
  for (const std::string& name : request.fetches) {
    const absl::StatusOr<TensorRef> tensor = graph.FindTensor(name);
    if (tensor.ok()) visit(tensor->node, tensor->port);
  }
  for (const std::string& name : request.targets) {
    const absl::StatusOr<const Node*> node = graph.FindOperation(name);
    if (node.ok()) visit(*node, tensorflow::Graph::kControlSlot);
  }
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    nodes_.push_back(node);
    for (const tensorflow::Edge* edge : node->in_edges()) {
      visit(edge->src(), edge->src_output());
    }
  }
}

bool NeedsFeed(const Node* node) {
  return node->type_string() == "Placeholder" ||
         node->type_string() == "PlaceholderV2";
}

bool ConsumesInput(const Node* node) {
  const std::string& type = node->type_string();
  return absl::StartsWith(type, "IteratorGetNext") ||
         absl::StartsWith(type, "QueueDequeue") ||
         absl::StartsWith(type, "ReaderRead");
}

bool ChangesNothing(const Node* node) {
  // Stateful for the runtime, as what they read may change.
  static const auto* const kReads = new std::unordered_set<std::string>{
      "VarHandleOp",       "ReadVariableOp",     "VarIsInitializedOp",
      "VariableShape",     "ResourceGather",     "ResourceGatherNd",
      "Variable",          "VariableV2",         "IsVariableInitialized",
      "HashTableV2",       "MutableHashTableV2", "LookupTableFindV2",
      "LookupTableSizeV2", "QueueSizeV2",        "FIFOQueueV2",
      "IteratorV2",        "OneShotIterator"};
  // Pure, but made to fail.
  static const auto* const kChecks = new std::unordered_set<std::string>{
      "CheckNumerics", "CheckNumericsV2", "EnsureShape", "HistogramSummary"};
  if (NeedsFeed(node) || kChecks->count(node->type_string()) > 0) return false;
  return !node->op_def().is_stateful() ||
         kReads->count(node->type_string()) > 0;
}

bool ChangesVariables(const Node* node) {
  const std::string& type = node->type_string();
  for (const char* blocking : {"Queue", "Iterator", "Reader"}) {
    if (absl::StartsWith(type, blocking)) return false;
  }
  for (int i = 0; i < node->num_inputs(); ++i) {
    if (tensorflow::IsRefType(node->input_type(i)) ||
        node->input_type(i) == tensorflow::DT_RESOURCE) {
      return !ChangesNothing(node);
    }
  }
  return false;
}

bool FillsQueue(const Node* node) {
  return absl::StartsWith(node->type_string(), "QueueEnqueue");
}

}  // namespace tftrain::internal

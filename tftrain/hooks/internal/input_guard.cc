// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/input_guard.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/strings/match.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain::internal {
namespace {

using tensorflow::Node;

bool IsPlaceholder(const Node* node) {
  return node->type_string() == "Placeholder" ||
         node->type_string() == "PlaceholderV2";
}

// Operations whose every run takes something away from an input.
bool IsConsumer(const Node* node) {
  const std::string& type = node->type_string();
  return absl::StartsWith(type, "IteratorGetNext") ||
         absl::StartsWith(type, "QueueDequeue") ||
         absl::StartsWith(type, "ReaderRead");
}

}  // namespace

absl::StatusOr<InputGuard> InputGuard::Create(GraphPtr graph, Request request) {
  for (const std::string& name : request.fetches) {
    TF_RETURN_IF_ERROR(graph->FindTensor(name).status());
  }
  for (const std::string& name : request.targets) {
    TF_RETURN_IF_ERROR(graph->FindOperation(name).status());
  }
  return InputGuard(std::move(graph), std::move(request));
}

InputGuard::InputGuard(GraphPtr graph, Request request)
    : graph_(std::move(graph)),
      request_(std::move(request)),
      inputs_(Reach(request_, request_.feeds)) {}

InputGuard::Nodes InputGuard::Reach(
    const Request& request, const std::vector<std::string>& feeds) const {
  std::set<std::pair<const Node*, int>> fed;
  for (const std::string& name : feeds) {
    const absl::StatusOr<TensorRef> tensor = graph_->FindTensor(name);
    if (tensor.ok()) fed.emplace(tensor->node, tensor->port);
  }
  std::unordered_set<const Node*> seen;
  Nodes pending;
  const auto visit = [&](const Node* node, int port) {
    if (fed.count({node, port}) > 0) return;
    if (seen.insert(node).second) pending.push_back(node);
  };
  for (const std::string& name : request.fetches) {
    const absl::StatusOr<TensorRef> tensor = graph_->FindTensor(name);
    if (tensor.ok()) visit(tensor->node, tensor->port);
  }
  for (const std::string& name : request.targets) {
    const absl::StatusOr<const Node*> node = graph_->FindOperation(name);
    if (node.ok()) visit(*node, tensorflow::Graph::kControlSlot);
  }
  Nodes inputs;
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (IsPlaceholder(node) || IsConsumer(node)) inputs.push_back(node);
    for (const tensorflow::Edge* edge : node->in_edges()) {
      visit(edge->src(), edge->src_output());
    }
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

bool InputGuard::Brings(const Request& original) const {
  std::vector<std::string> feeds = request_.feeds;
  feeds.insert(feeds.end(), original.feeds.begin(), original.feeds.end());
  const Nodes needed = Reach(request_, feeds);
  if (needed.empty()) return true;
  if (std::any_of(needed.begin(), needed.end(), IsPlaceholder)) return false;
  const Nodes read = Reach(original, original.feeds);
  return std::includes(read.begin(), read.end(), needed.begin(), needed.end());
}

bool InputGuard::Allows(const Request& original) {
  if (inputs_.empty()) return true;
  if (!last_.has_value() || !(*last_ == original)) {
    last_ = original;
    last_brings_ = Brings(original);
  }
  was_brought_ = was_brought_ || last_brings_;
  return last_brings_ || !was_brought_;
}

std::vector<std::string> InputGuard::inputs() const {
  std::vector<std::string> names;
  for (const Node* node : inputs_) names.push_back(node->name());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tftrain::internal

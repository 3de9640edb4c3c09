// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/internal/input_guard.h"

#include <algorithm>
#include <utility>

#include "tftrain/session/internal/closure.h"

namespace tftrain::internal {
namespace {

constexpr size_t kMaxAnswers = 16;

}  // namespace

InputGuard::InputGuard(GraphPtr graph, RequestPtr request)
    : graph_(std::move(graph)),
      request_(std::move(request)),
      inputs_(Reach(*request_, request_->feeds)) {}

InputGuard::Nodes InputGuard::Reach(
    const Request& request, const std::vector<std::string>& feeds) const {
  Nodes inputs;
  const Closure closure(*graph_, request, feeds);
  for (const tensorflow::Node* node : closure.nodes()) {
    if (NeedsFeed(node) || ConsumesInput(node)) inputs.push_back(node);
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

bool InputGuard::Walk(const Request& original) const {
  std::vector<std::string> feeds = request_->feeds;
  feeds.insert(feeds.end(), original.feeds.begin(), original.feeds.end());
  const Nodes needed = Reach(*request_, feeds);
  if (needed.empty()) return true;
  if (std::any_of(needed.begin(), needed.end(), NeedsFeed)) return false;
  const Nodes read = Reach(original, original.feeds);
  return std::includes(read.begin(), read.end(), needed.begin(), needed.end());
}

bool InputGuard::Brings(const RequestPtr& original) {
  if (inputs_.empty()) return true;
  for (const Answer& answer : answers_) {
    if (answer.original == original) return answer.brings;
  }
  if (answers_.size() == kMaxAnswers) answers_.pop_back();
  answers_.push_front({original, Walk(*original)});
  return answers_.front().brings;
}

bool InputGuard::Allows(const RequestPtr& original) {
  const bool brings = Brings(original);
  was_brought_ = was_brought_ || brings;
  return brings || !was_brought_;
}

std::vector<std::string> InputGuard::inputs() const {
  std::vector<std::string> names;
  for (const tensorflow::Node* node : inputs_) names.push_back(node->name());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tftrain::internal

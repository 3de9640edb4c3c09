// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/optimizers/gradient_path.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/cc/framework/grad_op_registry.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/graph/graph.h"

namespace tftrain {
namespace {

using tensorflow::DataType;
using tensorflow::Edge;
using tensorflow::Node;
using tensorflow::Output;
using NodeSet = std::unordered_set<const Node*>;

constexpr size_t kMaxNamed = 8;

// Whether a gradient can flow along `edge`: integers and the like have none.
bool CarriesGradient(const Edge& edge) {
  if (edge.IsControlEdge()) return false;
  const DataType type =
      tensorflow::BaseType(edge.src()->output_type(edge.src_output()));
  return tensorflow::DataTypeIsFloating(type) ||
         tensorflow::DataTypeIsComplex(type) || type == tensorflow::DT_RESOURCE;
}

enum class Gradient { kDefined, kZero, kMissing };

Gradient GradientOf(const Node& node) {
  if (node.IsControlFlow()) return Gradient::kDefined;  // loops are unrolled
  tensorflow::ops::GradFunc function = nullptr;
  if (!tensorflow::ops::GradOpRegistry::Global()
           ->Lookup(node.type_string(), &function)
           .ok()) {
    return Gradient::kMissing;
  }
  return function == nullptr ? Gradient::kZero : Gradient::kDefined;
}

bool IsRead(const Node& node) { return node.type_string() == "ReadVariableOp"; }

// What the loss is computed from, as far as gradients flow.
NodeSet NodesBefore(const Node* loss) {
  NodeSet found = {loss};
  std::vector<const Node*> queue = {loss};
  while (!queue.empty()) {
    const Node* node = queue.back();
    queue.pop_back();
    if (IsRead(*node) || GradientOf(*node) == Gradient::kZero) continue;
    for (const Edge* edge : node->in_edges()) {
      if (CarriesGradient(*edge) && found.insert(edge->src()).second) {
        queue.push_back(edge->src());
      }
    }
  }
  return found;
}

// Those of `within` that are computed from `start`, which is among them.
NodeSet NodesAfter(std::vector<const Node*> start, const NodeSet& within) {
  NodeSet found(start.begin(), start.end());
  while (!start.empty()) {
    const Node* node = start.back();
    start.pop_back();
    if (GradientOf(*node) == Gradient::kZero) continue;
    for (const Edge* edge : node->out_edges()) {
      if (CarriesGradient(*edge) && within.count(edge->dst()) > 0 &&
          found.insert(edge->dst()).second) {
        start.push_back(edge->dst());
      }
    }
  }
  return found;
}

absl::Status NoGradient(const Output& loss, const std::set<std::string>& ops) {
  std::vector<std::string> named(ops.begin(), ops.end());
  if (named.size() > kMaxNamed) {
    const size_t more = named.size() - kMaxNamed;
    named.resize(kMaxNamed);
    named.push_back(absl::StrCat("and ", more, " more"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the loss \"", loss.name(),
      "\" cannot be differentiated, as these "
      "operations have no gradient in TensorFlow's C++ runtime: ",
      absl::StrJoin(named, ", "),
      "; build the model of others (GatherV2 of Variable::value() for lookups,"
      " SoftmaxCrossEntropyWithLogits with one-hot labels), or put a "
      "StopGradient behind them"));
}

}  // namespace

absl::StatusOr<std::vector<std::vector<Output>>> FindReads(
    const Output& loss, const std::vector<Variable>& variables) {
  const NodeSet before = NodesBefore(loss.node());
  std::vector<std::vector<Output>> reads(variables.size());
  std::vector<const Node*> users;
  for (size_t i = 0; i < variables.size(); ++i) {
    for (const Edge* edge : variables[i].handle().node()->out_edges()) {
      if (edge->IsControlEdge() || before.count(edge->dst()) == 0) continue;
      users.push_back(edge->dst());
      if (IsRead(*edge->dst())) reads[i].emplace_back(edge->dst(), 0);
    }
    std::sort(reads[i].begin(), reads[i].end(),
              [](const Output& a, const Output& b) {
                return a.node()->id() < b.node()->id();
              });
  }
  std::set<std::string> missing;
  for (const Node* node : NodesAfter(users, before)) {
    if (GradientOf(*node) == Gradient::kMissing) {
      missing.insert(
          absl::StrCat("\"", node->name(), "\" (", node->type_string(), ")"));
    }
  }
  if (!missing.empty()) return NoGradient(loss, missing);
  return reads;
}

}  // namespace tftrain

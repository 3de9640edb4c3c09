// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/graph.h"

#include <algorithm>
#include <functional>
#include <regex>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/framework/scope_internal.h"
#include "tensorflow/cc/ops/no_op.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/near_names.h"
#include "tftrain/graph/internal/meta_graph_edits.h"

namespace tftrain {
namespace {

using tensorflow::CollectionDef;
using tensorflow::GraphDef;
using tensorflow::Node;

absl::Status IsFinalized() {
  return absl::FailedPreconditionError(
      "the graph is finalized and cannot be modified; change it before the "
      "session is created, or in a hook's Begin");
}

}  // namespace

tensorflow::DataType TensorRef::dtype() const {
  return tensorflow::BaseType(node->output_type(port));
}

bool TensorRef::is_ref() const {
  return tensorflow::IsRefType(node->output_type(port));
}

std::string TensorRef::name() const {
  return absl::StrCat(node->name(), ":", port);
}

Graph::Graph()
    : graph_(tensorflow::OpRegistry::Global()),
      refiner_(graph_.versions(), graph_.op_registry()) {
  // Functions may be used before they are defined, and imported graphs hold
  // shapes that inference alone cannot prove.
  refiner_.set_require_shape_inference_fns(false);
}

std::shared_ptr<Graph> Graph::Create() {
  std::shared_ptr<Graph> graph(new Graph);
  graph->root_ =
      std::make_unique<tensorflow::Scope>(tensorflow::NewInternalScope(
          &graph->graph_, &graph->scope_status_, &graph->refiner_));
  graph->first_new_node_ = graph->graph_.num_node_ids();
  return graph;
}

absl::Status Graph::status() const { return scope_status_; }

void Graph::RefreshIndex() const {
  for (; indexed_nodes_ < graph_.num_node_ids(); ++indexed_nodes_) {
    const Node* node = graph_.FindNodeId(indexed_nodes_);
    if (node == nullptr || !node->IsOp()) continue;
    by_name_[node->name()] = node;
    lower_names_.insert(absl::AsciiStrToLower(node->name()));
  }
}

std::string Graph::UniqueName(std::string_view name) {
  MutexLock lock(mu_);
  RefreshIndex();
  std::string unique(name);
  for (int i = 1; lower_names_.count(absl::AsciiStrToLower(unique)) > 0; ++i) {
    unique = absl::StrCat(name, "_", i);
  }
  return unique;
}

absl::StatusOr<const Node*> Graph::FindOperation(std::string_view name) const {
  MutexLock lock(mu_);
  RefreshIndex();
  auto it = by_name_.find(std::string(name));
  if (it != by_name_.end()) return it->second;
  std::vector<std::string> known;
  known.reserve(by_name_.size());
  for (const auto& [known_name, node] : by_name_) known.push_back(known_name);
  std::sort(known.begin(), known.end());
  return absl::InvalidArgumentError(
      absl::StrCat("the graph has no operation named \"", name, "\"",
                   DidYouMean(name, known)));
}

absl::StatusOr<TensorRef> Graph::FindTensor(std::string_view name) const {
  const size_t colon = name.rfind(':');
  if (colon == std::string_view::npos) {
    TF_ASSIGN_OR_RETURN(const Node* node, FindOperation(name));
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", name, "\" names an operation where a tensor is wanted; ",
        node->num_outputs() > 0
            ? absl::StrCat("its first output is \"", name, ":0\"")
            : "it has no outputs, run it as a Target"));
  }
  int port = 0;
  if (!absl::SimpleAtoi(
          absl::string_view(name.data() + colon + 1, name.size() - colon - 1),
          &port)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", name,
                     "\" is no tensor name; write operation:output,"
                     " as in \"loss:0\""));
  }
  TF_ASSIGN_OR_RETURN(const Node* node, FindOperation(name.substr(0, colon)));
  if (port < 0 || port >= node->num_outputs()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "operation \"", node->name(), "\" has ", node->num_outputs(),
        " outputs, so there is no tensor \"", name, "\""));
  }
  return TensorRef{node, port};
}

tensorflow::PartialTensorShape Graph::ShapeOf(
    const tensorflow::Output& output) const {
  auto* context = refiner_.GetContext(output.node());
  if (context == nullptr || output.index() >= context->num_outputs()) {
    return tensorflow::PartialTensorShape();
  }
  tensorflow::TensorShapeProto shape;
  context->ShapeHandleToProto(context->output(output.index()), &shape);
  return tensorflow::PartialTensorShape(shape);
}

absl::Status Graph::CheckNotFinalized() const {
  return finalized() ? IsFinalized() : absl::OkStatus();
}

absl::Status Graph::AddToCollection(std::string_view key,
                                    std::string_view name) {
  TF_RETURN_IF_ERROR(CheckNotFinalized());
  CollectionDef& collection = collections_[std::string(key)];
  if (collection.kind_case() != CollectionDef::kNodeList &&
      collection.kind_case() != CollectionDef::KIND_NOT_SET) {
    return absl::InvalidArgumentError(absl::StrCat(
        "collection \"", key, "\" does not hold names of operations"));
  }
  collection.mutable_node_list()->add_value(std::string(name));
  return absl::OkStatus();
}

absl::Status Graph::AddToCollection(
    std::string_view key, const google::protobuf::MessageLite& proto) {
  TF_RETURN_IF_ERROR(CheckNotFinalized());
  CollectionDef& collection = collections_[std::string(key)];
  if (collection.kind_case() != CollectionDef::kBytesList &&
      collection.kind_case() != CollectionDef::KIND_NOT_SET) {
    return absl::InvalidArgumentError(
        absl::StrCat("collection \"", key, "\" does not hold protos"));
  }
  collection.mutable_bytes_list()->add_value(proto.SerializeAsString());
  return absl::OkStatus();
}

const CollectionDef* Graph::FindCollection(std::string_view key) const {
  auto it = collections_.find(std::string(key));
  return it == collections_.end() ? nullptr : &it->second;
}

std::vector<std::string> Graph::GetCollection(std::string_view key) const {
  const CollectionDef* collection = FindCollection(key);
  if (collection == nullptr) return {};
  const auto& names = collection->node_list().value();
  return {names.begin(), names.end()};
}

absl::StatusOr<std::vector<std::string>> Graph::GetCollection(
    std::string_view key, std::string_view scope) const {
  TF_ASSIGN_OR_RETURN(const auto is_in_scope, internal::ScopeFilter(scope));
  std::vector<std::string> names = GetCollection(key);
  names.erase(
      std::remove_if(names.begin(), names.end(), std::not_fn(is_in_scope)),
      names.end());
  return names;
}

absl::Status Graph::CheckVariablesHaveOwnStorage() const {
  std::map<std::string, std::string> first_in_container;
  for (const Node* node : graph_.op_nodes()) {
    if (node->type_string() != "VarHandleOp") continue;
    std::string shared_name, container;
    TF_RETURN_IF_ERROR(
        tensorflow::GetNodeAttr(node->attrs(), "shared_name", &shared_name));
    TF_RETURN_IF_ERROR(
        tensorflow::GetNodeAttr(node->attrs(), "container", &container));
    if (!shared_name.empty()) continue;
    auto [it, is_first] = first_in_container.emplace(container, node->name());
    if (!is_first) {
      return absl::InvalidArgumentError(absl::StrCat(
          "variables \"", it->second, "\" and \"", node->name(),
          "\" would share one storage, as their VarHandleOps have no "
          "shared_name; make them with tftrain::Variable, or set shared_name "
          "to the name of each"));
    }
  }
  return absl::OkStatus();
}

bool Graph::finalized() const {
  MutexLock lock(mu_);
  return finalize_count_ > 0;
}

absl::Status Graph::Finalize() {
  MutexLock lock(mu_);
  if (finalize_count_ == 0) {
    if (!scope_status_.ok()) {
      return Annotate(scope_status_, "while the graph was built");
    }
    TF_RETURN_IF_ERROR(CheckVariablesHaveOwnStorage());
    RefreshIndex();
    scope_status_ = IsFinalized();
  }
  ++finalize_count_;
  return absl::OkStatus();
}

void Graph::Unfinalize() {
  MutexLock lock(mu_);
  if (finalize_count_ == 0) return;
  if (--finalize_count_ == 0) scope_status_ = absl::OkStatus();
}

void Graph::AddOutputShapes(int first_node, GraphDef* graph_def) const {
  std::unordered_map<std::string, const Node*> nodes;
  for (int id = first_node; id < graph_.num_node_ids(); ++id) {
    const Node* node = graph_.FindNodeId(id);
    if (node != nullptr && node->IsOp()) nodes[node->name()] = node;
  }
  for (tensorflow::NodeDef& def : *graph_def->mutable_node()) {
    const Node* node = nodes[def.name()];
    auto* context = node ? refiner_.GetContext(node) : nullptr;
    if (context == nullptr || context->num_outputs() == 0) continue;
    auto* shapes = (*def.mutable_attr())["_output_shapes"].mutable_list();
    for (int i = 0; i < context->num_outputs(); ++i) {
      context->ShapeHandleToProto(context->output(i), shapes->add_shape());
    }
  }
}

absl::StatusOr<std::shared_ptr<const GraphDef>> Graph::ToGraphDef() const {
  MutexLock lock(mu_);
  if (graph_def_ != nullptr && graph_def_nodes_ == graph_.num_node_ids()) {
    return graph_def_;
  }
  auto graph_def = std::make_shared<GraphDef>();
  graph_.ToGraphDefSubRange(graph_def.get(), first_new_node_);
  AddOutputShapes(first_new_node_, graph_def.get());
  if (loaded_graph_def_.node_size() > 0) {
    auto whole = std::make_shared<GraphDef>(loaded_graph_def_);
    for (auto& node : *graph_def->mutable_node()) {
      *whole->add_node() = std::move(node);
    }
    internal::AddNewFunctions(graph_.flib_def().ToProto(), whole.get());
    graph_def = std::move(whole);
  }
  graph_def_nodes_ = graph_.num_node_ids();
  graph_def_ = std::move(graph_def);
  return graph_def_;
}

tensorflow::Operation Group(const tensorflow::Scope& scope,
                            const std::vector<tensorflow::Operation>& after) {
  return tensorflow::ops::NoOp(scope.WithControlDependencies(after)).operation;
}

tensorflow::Output AsOutput(const TensorRef& tensor) {
  return tensorflow::Output(const_cast<Node*>(tensor.node), tensor.port);
}

tensorflow::Operation AsOperation(const Node* node) {
  return tensorflow::Operation(const_cast<Node*>(node));
}

namespace internal {

absl::StatusOr<std::function<bool(const std::string&)>> ScopeFilter(
    std::string_view scope) {
  try {
    return [pattern = std::regex(scope.begin(), scope.end())](
               const std::string& name) {
      return std::regex_search(name, pattern,
                               std::regex_constants::match_continuous);
    };
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scope \"", scope, "\" is no regular expression (", error.what(),
        "); write \"\\\" before signs that stand for "
        "themselves"));
  }
}

absl::Status BadCollectionItem(std::string_view key, std::string_view type) {
  return absl::InvalidArgumentError(absl::StrCat(
      "collection \"", key, "\" holds an item that is not a ", type,
      "; the MetaGraph is damaged or was made by another program"));
}

}  // namespace internal
}  // namespace tftrain

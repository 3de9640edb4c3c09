// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/meta_graph.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/log.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/core/common_runtime/graph_constructor.h"
#include "tensorflow/core/graph/tensor_id.h"
#include "tensorflow/core/lib/strings/proto_serialization.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/internal/meta_graph_edits.h"

namespace tftrain {
namespace {

using tensorflow::CollectionDef;
using tensorflow::GraphDef;
using tensorflow::MetaGraphDef;
using tensorflow::Node;

constexpr int64_t kMaxProtoBytes = (int64_t{1} << 31) - 1;

// Text-format errors are told in our own status, not printed. The function
// that takes them has a name in new versions of protobuf and one in old ones.
class SilentErrors : public google::protobuf::io::ErrorCollector {
 public:
  void RecordError(int, google::protobuf::io::ColumnNumber, absl::string_view) {
  }
  void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) {}
};

bool ParseMetaGraph(const std::string& bytes, MetaGraphDef* meta_graph) {
  if (meta_graph->ParseFromString(bytes) &&
      meta_graph->graph_def().node_size() > 0) {
    return true;
  }
  SilentErrors errors;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  return parser.ParseFromString(bytes, meta_graph);
}

}  // namespace

absl::StatusOr<MetaGraphDef> ReadMetaGraph(const std::string& path) {
  TF_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxProtoBytes));
  MetaGraphDef meta_graph;
  if (!ParseMetaGraph(bytes, &meta_graph)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", path,
        "\" is not a MetaGraph, or it is damaged; give a file that "
        "export_meta_graph or Saver wrote, which ends in .meta"));
  }
  return meta_graph;
}

absl::StatusOr<std::shared_ptr<Graph>> Graph::Load(
    const std::string& path, const ImportOptions& options) {
  TF_ASSIGN_OR_RETURN(MetaGraphDef meta_graph, ReadMetaGraph(path));
  absl::StatusOr<std::shared_ptr<Graph>> graph =
      FromMetaGraph(std::move(meta_graph), options);
  if (!graph.ok()) {
    return Annotate(graph.status(), absl::StrCat("in \"", path, "\""));
  }
  return graph;
}

absl::StatusOr<std::shared_ptr<Graph>> Graph::FromMetaGraph(
    MetaGraphDef meta_graph, const ImportOptions& options) {
  std::shared_ptr<Graph> graph = Create();
  TF_RETURN_IF_ERROR(graph->Import(std::move(meta_graph), options).status());
  return graph;
}

std::string Graph::UniqueScope(std::string_view wanted) {
  if (wanted.empty() || absl::ConsumeSuffix(&wanted, "/")) {
    return std::string(wanted);
  }
  MutexLock lock(mu_);
  RefreshIndex();
  const auto is_used =
      [this](const std::string& scope) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        const std::string lower = absl::AsciiStrToLower(scope);
        return std::any_of(lower_names_.begin(), lower_names_.end(),
                           [&](std::string_view name) {
                             return absl::ConsumePrefix(&name, lower) &&
                                    (name.empty() || name[0] == '/');
                           });
      };
  // A scope without operations is known to the root scope only.
  std::string unique;
  do {
    unique = root_->GetUniqueNameForOp(std::string(wanted));
  } while (is_used(unique));
  return unique;
}

absl::StatusOr<internal::InputNames> Graph::NamesOfInputs(
    const std::map<std::string, tensorflow::Output>& input_map) const {
  internal::InputNames names;
  for (const auto& [input, output] : input_map) {
    const Node* node = output.node();
    const bool is_ours = node != nullptr && node->id() >= 0 &&
                         node->id() < graph_.num_node_ids() &&
                         graph_.FindNodeId(node->id()) == node;
    const bool is_control = absl::StartsWith(input, "^");
    if (!is_ours || (!is_control && (output.index() < 0 ||
                                     output.index() >= node->num_outputs()))) {
      return absl::InvalidArgumentError(
          absl::StrCat("input_map maps \"", input,
                       "\" to what is no tensor of this graph; give one that "
                       "AsOutput or a scope of the graph made"));
    }
    names[internal::InputName(input)] = internal::InputName(
        is_control ? absl::StrCat("^", node->name()) : output.name());
  }
  return names;
}

absl::Status Graph::CheckNewNames(const GraphDef& graph_def) const {
  MutexLock lock(mu_);
  RefreshIndex();
  for (const auto& node : graph_def.node()) {
    if (by_name_.count(node.name()) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the graph has an operation \"", node.name(),
                       "\" already; give another import_scope"));
    }
  }
  return absl::OkStatus();
}

void Graph::ReserveNames(const GraphDef& graph_def, const std::string& scope) {
  std::set<std::string> names;
  for (const auto& node : graph_def.node()) {
    names.insert(node.name());
    for (size_t slash = node.name().find('/'); slash != std::string::npos;
         slash = node.name().find('/', slash + 1)) {
      names.insert(node.name().substr(0, slash));
    }
  }
  names.erase(scope);  // reserved when it was chosen
  for (const std::string& name : names) root_->GetUniqueNameForOp(name);
}

void Graph::MergeCollections(
    google::protobuf::Map<std::string, CollectionDef>* imported,
    const std::function<bool(std::string_view)>& wanted) {
  for (auto& [key, collection] : *imported) {
    if (wanted && !wanted(key)) continue;
    CollectionDef& mine = collections_[key];
    if (mine.kind_case() == CollectionDef::KIND_NOT_SET) {
      mine = std::move(collection);
    } else if (mine.kind_case() == collection.kind_case()) {
      mine.MergeFrom(collection);
    } else {
      LOG(WARNING) << "The collection \"" << key
                   << "\" of the MetaGraph is left out; it holds other things "
                      "than the graph's own";
    }
  }
}

absl::StatusOr<Graph::Imported> Graph::Import(MetaGraphDef meta_graph,
                                              const ImportOptions& options) {
  TF_RETURN_IF_ERROR(CheckNotFinalized());
  GraphDef& graph_def = *meta_graph.mutable_graph_def();
  if (graph_def.node_size() == 0) {
    return absl::InvalidArgumentError(
        "the MetaGraph has no operations; export it again, with its graph");
  }
  TF_ASSIGN_OR_RETURN(const internal::InputNames inputs,
                      NamesOfInputs(options.input_map));
  Imported imported;
  imported.scope = UniqueScope(options.import_scope);
  TF_RETURN_IF_ERROR(
      internal::PrependScope(imported.scope, inputs, &meta_graph));
  if (options.clear_devices) internal::ClearDevices(&graph_def);
  TF_RETURN_IF_ERROR(CheckNewNames(graph_def));

  std::shared_ptr<const GraphDef> former;
  if (graph_.num_op_nodes() > 0) {
    TF_ASSIGN_OR_RETURN(former, ToGraphDef());
  }
  tensorflow::ImportGraphDefOptions import;
  for (const auto& [input, name] : inputs) {
    const tensorflow::SafeTensorId id(tensorflow::ParseTensorName(name));
    import.input_map[id] = id;
  }
  const int first_node = graph_.num_node_ids();
  const absl::Status status =
      tensorflow::ImportGraphDef(import, graph_def, &graph_, &refiner_);
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the graph cannot be loaded: ", status.message(),
        inputs.empty() ? "" : "; map inputs to tensors of their types",
        "; export it with a TensorFlow that this program's ", TF_Version(),
        " can read, without operations of your own"));
  }
  if (!inputs.empty()) AddOutputShapes(first_node, &graph_def);
  first_new_node_ = graph_.num_node_ids();
  ReserveNames(graph_def, imported.scope);
  MergeCollections(meta_graph.mutable_collection_def(),
                   options.restore_collections_predicate);
  if (meta_graph.has_saver_def()) imported.saver_def = meta_graph.saver_def();
  if (former != nullptr) {
    loaded_graph_def_ = *former;
    for (auto& node : *graph_def.mutable_node()) {
      *loaded_graph_def_.add_node() = std::move(node);
    }
    internal::AddNewFunctions(graph_def.library(), &loaded_graph_def_);
    *loaded_graph_def_.mutable_versions() = graph_.versions();
    loaded_rest_.mutable_meta_info_def()->clear_stripped_op_list();
    return imported;
  }
  saver_def_ = imported.saver_def;
  loaded_graph_def_ = std::move(graph_def);
  meta_graph.clear_graph_def();
  meta_graph.clear_saver_def();
  meta_graph.clear_collection_def();
  loaded_rest_ = std::move(meta_graph);
  return imported;
}

absl::StatusOr<MetaGraphDef> Graph::ToMetaGraph(
    const tensorflow::SaverDef* saver_def, const ExportOptions& options) const {
  TF_ASSIGN_OR_RETURN(std::shared_ptr<const GraphDef> graph_def, ToGraphDef());
  MetaGraphDef meta_graph = loaded_rest_;
  *meta_graph.mutable_graph_def() = *graph_def;
  if (saver_def != nullptr) {
    *meta_graph.mutable_saver_def() = *saver_def;
  } else if (saver_def_.has_value()) {
    *meta_graph.mutable_saver_def() = *saver_def_;
  }
  for (const auto& [key, collection] : collections_) {
    (*meta_graph.mutable_collection_def())[key] = collection;
  }
  if (options.clear_extraneous_savers) {
    TF_RETURN_IF_ERROR(internal::RemoveOtherSavers(&meta_graph));
  }
  if (!options.export_scope.empty()) {
    TF_RETURN_IF_ERROR(internal::KeepScope(options.export_scope, &meta_graph));
  }
  if (options.clear_devices) {
    internal::ClearDevices(meta_graph.mutable_graph_def());
  }
  const bool changed = graph_.num_node_ids() > first_new_node_ ||
                       options.clear_extraneous_savers ||
                       !options.export_scope.empty();
  if (changed || !loaded_rest_.meta_info_def().has_stripped_op_list()) {
    internal::FillMetaInfo(meta_graph.graph_def(),
                           meta_graph.mutable_meta_info_def());
  }
  if (options.strip_default_attrs) {
    internal::StripDefaultAttributes(&meta_graph);
  }
  return meta_graph;
}

absl::Status Graph::Save(const std::string& path,
                         const tensorflow::SaverDef* saver_def,
                         const ExportOptions& options) const {
  TF_ASSIGN_OR_RETURN(const MetaGraphDef meta_graph,
                      ToMetaGraph(saver_def, options));
  return internal::WriteGraphProto(meta_graph, path, options.as_text);
}

absl::StatusOr<std::string> WriteGraph(const tensorflow::GraphDef& graph_def,
                                       const std::string& folder,
                                       const std::string& name, bool as_text) {
  if (!folder.empty()) TF_RETURN_IF_ERROR(CreateFolders(folder));
  std::string path = JoinPath(folder, name);
  TF_RETURN_IF_ERROR(internal::WriteGraphProto(graph_def, path, as_text));
  return path;
}

absl::StatusOr<std::string> CopyScope(const Graph& from,
                                      const std::string& from_scope, Graph& to,
                                      const ImportOptions& options) {
  if (&from == &to && absl::StripSuffix(from_scope, "/") ==
                          absl::StripSuffix(options.import_scope, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot copy the scope \"", from_scope,
                     "\" onto itself; give another import_scope"));
  }
  ExportOptions only_scope;
  only_scope.export_scope = from_scope;
  TF_ASSIGN_OR_RETURN(MetaGraphDef meta_graph,
                      from.ToMetaGraph(nullptr, only_scope));
  TF_ASSIGN_OR_RETURN(Graph::Imported imported,
                      to.Import(std::move(meta_graph), options));
  return std::move(imported.scope);
}

namespace internal {

absl::Status WriteGraphProto(const google::protobuf::Message& graph,
                             const std::string& path, bool as_text) {
  std::string content;
  const bool fits =
      graph.ByteSizeLong() <= static_cast<size_t>(kMaxProtoBytes) &&
      (as_text ? google::protobuf::TextFormat::PrintToString(graph, &content)
               : tensorflow::SerializeToStringDeterministic(graph, &content));
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the graph is too large for \"", path,
        "\": a file of it holds 2 GiB at most; keep large constants in "
        "variables or files"));
  }
  return WriteFileAtomically(path, content);
}

}  // namespace internal
}  // namespace tftrain

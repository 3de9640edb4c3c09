// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/internal/meta_graph_edits.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/core/framework/graph_def_util.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_def_util.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/graph/tensor_id.h"
#include "tensorflow/core/lib/strings/proto_serialization.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/protobuf/control_flow.pb.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/graph.h"

namespace tftrain::internal {
namespace {

using tensorflow::CollectionDef;
using tensorflow::CondContextDef;
using tensorflow::MetaGraphDef;
using tensorflow::NodeDef;
using tensorflow::QueueRunnerDef;
using tensorflow::SaverDef;
using tensorflow::VariableDef;
using tensorflow::WhileContextDef;

// What stands before the name of an input from outside an exported scope.
constexpr std::string_view kUnboundMark = "$unbound_inputs_";

constexpr std::string_view kControlMark = "^";
constexpr std::string_view kColocationMark = "loc:@";

// How names change, and whether what has a name stays.
struct NameEdit {
  std::function<bool(std::string_view)> keeps;
  std::function<std::string(std::string_view)> rename;

  void Apply(std::string* name) const {
    if (!name->empty()) *name = rename(*name);
  }
  void Apply(google::protobuf::RepeatedPtrField<std::string>* names) const {
    for (std::string& name : *names) Apply(&name);
  }
};

// The operation that a name stands for: "x" for "x:0" and "^x".
std::string_view OperationName(std::string_view name) {
  absl::ConsumePrefix(&name, kControlMark);
  return name.substr(0, name.find(':'));
}

// Whether `name` is in the scope `prefix`, which ends in "/".
bool IsIn(std::string_view name, std::string_view prefix) {
  return absl::StartsWith(name, prefix);
}

// Each Edit answers whether the thing stays.
bool Edit(const NameEdit& edit, VariableDef* def) {
  if (!edit.keeps(def->variable_name())) return false;
  edit.Apply(def->mutable_variable_name());
  edit.Apply(def->mutable_initial_value_name());
  edit.Apply(def->mutable_initializer_name());
  edit.Apply(def->mutable_snapshot_name());
  if (def->has_save_slice_info_def()) {
    edit.Apply(def->mutable_save_slice_info_def()->mutable_full_name());
  }
  return true;
}

bool Edit(const NameEdit& edit, SaverDef* def) {
  if (!edit.keeps(def->filename_tensor_name()) ||
      !edit.keeps(def->save_tensor_name()) ||
      !edit.keeps(def->restore_op_name())) {
    return false;
  }
  edit.Apply(def->mutable_filename_tensor_name());
  edit.Apply(def->mutable_save_tensor_name());
  edit.Apply(def->mutable_restore_op_name());
  return true;
}

bool Edit(const NameEdit& edit, QueueRunnerDef* def) {
  if (!edit.keeps(def->queue_name())) return false;
  edit.Apply(def->mutable_queue_name());
  edit.Apply(def->mutable_enqueue_op_name());
  edit.Apply(def->mutable_close_op_name());
  edit.Apply(def->mutable_cancel_op_name());
  return true;
}

void EditValues(const NameEdit& edit, tensorflow::ValuesDef* def) {
  edit.Apply(def->mutable_values());
  const auto outside = std::exchange(*def->mutable_external_values(), {});
  for (const auto& [inner, outer] : outside) {
    (*def->mutable_external_values())[edit.rename(inner)] = edit.rename(outer);
  }
}

bool Edit(const NameEdit& edit, WhileContextDef* def);

bool Edit(const NameEdit& edit, CondContextDef* def);

// Contexts inside of others go where those go.
template <typename Contexts>
void EditNested(const NameEdit& edit, Contexts* contexts) {
  for (tensorflow::ControlFlowContextDef& nested : *contexts) {
    if (nested.has_cond_ctxt()) Edit(edit, nested.mutable_cond_ctxt());
    if (nested.has_while_ctxt()) Edit(edit, nested.mutable_while_ctxt());
  }
}

bool Edit(const NameEdit& edit, CondContextDef* def) {
  if (!edit.keeps(def->context_name())) return false;
  edit.Apply(def->mutable_context_name());
  edit.Apply(def->mutable_pred_name());
  edit.Apply(def->mutable_pivot_name());
  if (def->has_values_def()) EditValues(edit, def->mutable_values_def());
  EditNested(edit, def->mutable_nested_contexts());
  return true;
}

bool Edit(const NameEdit& edit, WhileContextDef* def) {
  if (!edit.keeps(def->context_name())) return false;
  edit.Apply(def->mutable_context_name());
  edit.Apply(def->mutable_pivot_name());
  edit.Apply(def->mutable_pivot_for_pred_name());
  edit.Apply(def->mutable_pivot_for_body_name());
  edit.Apply(def->mutable_maximum_iterations_name());
  edit.Apply(def->mutable_loop_exit_names());
  edit.Apply(def->mutable_loop_enter_names());
  if (def->has_values_def()) EditValues(edit, def->mutable_values_def());
  EditNested(edit, def->mutable_nested_contexts());
  return true;
}

template <typename Proto>
absl::Status EditProtos(const NameEdit& edit, const std::string& key,
                        CollectionDef::BytesList* items) {
  CollectionDef::BytesList kept;
  for (const std::string& bytes : items->value()) {
    Proto proto;
    if (!proto.ParseFromString(bytes)) {
      return BadCollectionItem(key, Proto::descriptor()->name());
    }
    if (!Edit(edit, &proto)) continue;
    tensorflow::SerializeToStringDeterministic(proto, kept.add_value());
  }
  *items = std::move(kept);
  return absl::OkStatus();
}

// Edits the protos of the collection `key`; those of unknown collections, and
// texts, need not hold names, and stay.
absl::Status EditBytes(const NameEdit& edit, const std::string& key,
                       CollectionDef::BytesList* items) {
  namespace keys = collection_keys;
  static const auto* const edits =
      new std::map<std::string_view,
                   absl::Status (*)(const NameEdit&, const std::string&,
                                    CollectionDef::BytesList*)>{
          {keys::kGlobalVariables, EditProtos<VariableDef>},
          {keys::kLocalVariables, EditProtos<VariableDef>},
          {keys::kTrainableVariables, EditProtos<VariableDef>},
          {keys::kModelVariables, EditProtos<VariableDef>},
          {keys::kMetricVariables, EditProtos<VariableDef>},
          {keys::kMovingAverageVariables, EditProtos<VariableDef>},
          {keys::kGlobalStep, EditProtos<VariableDef>},
          {keys::kSavers, EditProtos<SaverDef>},
          {keys::kQueueRunners, EditProtos<QueueRunnerDef>},
          {keys::kCondContext, EditProtos<CondContextDef>},
          {keys::kWhileContext, EditProtos<WhileContextDef>},
      };
  const auto it = edits->find(key);
  return it == edits->end() ? absl::OkStatus() : it->second(edit, key, items);
}

void EditNames(const NameEdit& edit, CollectionDef::NodeList* names) {
  CollectionDef::NodeList kept;
  for (const std::string& name : names->value()) {
    if (edit.keeps(name)) edit.Apply(&(*kept.add_value() = name));
  }
  *names = std::move(kept);
}

// Edits all collections; those that have nothing left go.
absl::Status EditCollections(const NameEdit& edit, MetaGraphDef* meta_graph) {
  std::vector<std::string> emptied;
  for (auto& [key, collection] : *meta_graph->mutable_collection_def()) {
    bool is_empty = false;
    if (collection.has_node_list()) {
      EditNames(edit, collection.mutable_node_list());
      is_empty = collection.node_list().value().empty();
    } else if (collection.has_bytes_list()) {
      TF_RETURN_IF_ERROR(EditBytes(edit, key, collection.mutable_bytes_list()));
      is_empty = collection.bytes_list().value().empty();
    }
    if (is_empty) emptied.push_back(key);
  }
  for (const std::string& key : emptied) {
    meta_graph->mutable_collection_def()->erase(key);
  }
  return absl::OkStatus();
}

// Edits everything that has names but the operations.
absl::Status EditAround(const NameEdit& edit, MetaGraphDef* meta_graph) {
  if (meta_graph->has_saver_def() &&
      !Edit(edit, meta_graph->mutable_saver_def())) {
    meta_graph->clear_saver_def();
  }
  meta_graph->clear_signature_def();
  meta_graph->clear_asset_file_def();
  meta_graph->clear_object_graph_def();
  return EditCollections(edit, meta_graph);
}

// Edits the names of an operation but for those of its inputs.
void EditNode(const NameEdit& edit, NodeDef* node) {
  edit.Apply(node->mutable_name());
  auto& attributes = *node->mutable_attr();
  if (auto it = attributes.find("_class"); it != attributes.end()) {
    tensorflow::AttrValue edited;
    edited.mutable_list();
    for (std::string_view group : it->second.list().s()) {
      const bool is_marked = absl::ConsumePrefix(&group, kColocationMark);
      if (is_marked && !edit.keeps(group)) continue;
      edited.mutable_list()->add_s(
          is_marked ? absl::StrCat(kColocationMark, edit.rename(group))
                    : std::string(group));
    }
    it->second = std::move(edited);
  }
  if (node->op() == "Enter" || node->op() == "RefEnter") {
    if (auto it = attributes.find("frame_name"); it != attributes.end()) {
      edit.Apply(it->second.mutable_s());
    }
  }
}

// The input `name` with another name behind its mark, if it has one.
std::string EditInput(
    std::string_view name,
    const std::function<std::string(std::string_view)>& edit) {
  const bool is_control = absl::ConsumePrefix(&name, kControlMark);
  return absl::StrCat(is_control ? kControlMark : "", edit(name));
}

// `scope` as its names begin: with one "/" at the end.
std::string PrefixOf(std::string_view scope) {
  while (absl::ConsumeSuffix(&scope, "/")) {
  }
  return absl::StrCat(scope, "/");
}

absl::Status CheckAllBound(const MetaGraphDef& meta_graph,
                           const InputNames& inputs) {
  const auto it = meta_graph.collection_def().find(std::string(kUnboundInputs));
  if (it == meta_graph.collection_def().end()) return absl::OkStatus();
  std::set<std::string> missing;
  for (const std::string& name : it->second.bytes_list().value()) {
    if (inputs.count(InputName(name)) == 0) {
      missing.insert(absl::StrCat("\"", name, "\""));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the MetaGraph is a part of a graph and needs inputs from outside: ",
      absl::StrJoin(missing, ", "), "; map each of them in input_map"));
}

// The scopes in which something saves or restores, but for that of `saver`.
std::set<std::string> OtherSaverScopes(const MetaGraphDef& meta_graph) {
  static const auto* const types = new std::set<std::string>{
      "SaveV2",          "Save",          "SaveSlice",         "SaveSlices",
      "RestoreV2",       "Restore",       "RestoreSlice",      "LegacySave",
      "LegacySaveSlice", "LegacyRestore", "LegacyRestoreSlice"};
  const auto scope_of = [](std::string_view name) {
    const size_t slash = name.rfind('/');
    return std::string(
        slash == std::string_view::npos ? "" : name.substr(0, slash + 1));
  };
  std::set<std::string> scopes;
  for (const NodeDef& node : meta_graph.graph_def().node()) {
    if (types->count(node.op()) > 0) scopes.insert(scope_of(node.name()));
  }
  scopes.erase("");
  scopes.erase(scope_of(meta_graph.saver_def().save_tensor_name()));
  scopes.erase(scope_of(meta_graph.saver_def().restore_op_name()));
  return scopes;
}

// The outermost of `scopes` that `name` is in; empty if there is none.
std::string ScopeOf(std::string_view name,
                    const std::set<std::string>& scopes) {
  for (size_t slash = name.find('/'); slash != std::string_view::npos;
       slash = name.find('/', slash + 1)) {
    const auto it = scopes.find(std::string(name.substr(0, slash + 1)));
    if (it != scopes.end()) return *it;
  }
  return "";
}

// A scope whose operations others need; empty if there is none.
std::string NeededScope(const tensorflow::GraphDef& graph_def,
                        const std::set<std::string>& scopes) {
  for (const NodeDef& node : graph_def.node()) {
    for (const std::string& input : node.input()) {
      const std::string scope = ScopeOf(OperationName(input), scopes);
      if (!scope.empty() && ScopeOf(node.name(), scopes) != scope) {
        return scope;
      }
    }
  }
  return "";
}

}  // namespace

std::string InputName(const std::string& name) {
  const tensorflow::TensorId id = tensorflow::ParseTensorName(name);
  return id.index() == 0 ? std::string(id.node()) : id.ToString();
}

absl::Status PrependScope(const std::string& scope, const InputNames& inputs,
                          MetaGraphDef* meta_graph) {
  TF_RETURN_IF_ERROR(CheckAllBound(*meta_graph, inputs));
  meta_graph->mutable_collection_def()->erase(std::string(kUnboundInputs));
  if (scope.empty() && inputs.empty()) return absl::OkStatus();
  NameEdit edit;
  edit.keeps = [](std::string_view) { return true; };
  edit.rename = [&](std::string_view name) {
    return scope.empty() ? std::string(name) : absl::StrCat(scope, "/", name);
  };
  std::set<std::string> unused;
  for (const auto& [name, instead] : inputs) unused.insert(name);
  for (NodeDef& node : *meta_graph->mutable_graph_def()->mutable_node()) {
    if (!inputs.empty()) node.mutable_attr()->erase("_output_shapes");
    for (std::string& input : *node.mutable_input()) {
      const auto it = inputs.find(InputName(input));
      if (it != inputs.end()) unused.erase(it->first);
      input = it == inputs.end() ? EditInput(input, edit.rename) : it->second;
    }
    if (scope.empty()) continue;
    EditNode(edit, &node);
    auto storage = node.mutable_attr()->find("shared_name");
    if (node.op() == "VarHandleOp" && storage != node.mutable_attr()->end()) {
      edit.Apply(storage->second.mutable_s());
    }
  }
  if (!unused.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input_map names \"", *unused.begin(),
        "\", which no operation of the MetaGraph takes; write it as the "
        "MetaGraph does"));
  }
  return scope.empty() ? absl::OkStatus() : EditAround(edit, meta_graph);
}

absl::Status KeepScope(const std::string& scope, MetaGraphDef* meta_graph) {
  const std::string prefix = PrefixOf(scope);
  NameEdit edit;
  edit.keeps = [&](std::string_view name) { return IsIn(name, prefix); };
  edit.rename = [&](std::string_view name) {
    absl::ConsumePrefix(&name, prefix);
    return std::string(name);
  };
  CollectionDef unbound;
  std::set<std::string> listed;
  google::protobuf::RepeatedPtrField<NodeDef> kept;
  for (NodeDef& node : *meta_graph->mutable_graph_def()->mutable_node()) {
    if (!edit.keeps(node.name())) continue;
    for (std::string& input : *node.mutable_input()) {
      if (IsIn(OperationName(input), prefix)) {
        input = EditInput(input, edit.rename);
        continue;
      }
      input = EditInput(input, [](std::string_view name) {
        return absl::StrCat(kUnboundMark, name);
      });
      if (listed.insert(input).second) {
        unbound.mutable_bytes_list()->add_value(input);
      }
    }
    EditNode(edit, &node);
    *kept.Add() = std::move(node);
  }
  if (kept.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the graph has no operations in the scope \"", scope,
                     "\"; give a name that theirs begin with"));
  }
  *meta_graph->mutable_graph_def()->mutable_node() = std::move(kept);
  TF_RETURN_IF_ERROR(EditAround(edit, meta_graph));
  auto& collections = *meta_graph->mutable_collection_def();
  collections.erase(std::string(kUnboundInputs));
  if (!listed.empty()) collections[std::string(kUnboundInputs)] = unbound;
  return absl::OkStatus();
}

absl::Status RemoveOtherSavers(MetaGraphDef* meta_graph) {
  std::set<std::string> scopes = OtherSaverScopes(*meta_graph);
  tensorflow::GraphDef* graph_def = meta_graph->mutable_graph_def();
  for (std::string needed = NeededScope(*graph_def, scopes); !needed.empty();
       needed = NeededScope(*graph_def, scopes)) {
    scopes.erase(needed);
  }
  NameEdit edit;
  edit.keeps = [&](std::string_view name) {
    return ScopeOf(OperationName(name), scopes).empty();
  };
  edit.rename = [](std::string_view name) { return std::string(name); };
  auto* nodes = graph_def->mutable_node();
  nodes->erase(std::remove_if(nodes->begin(), nodes->end(),
                              [&](const NodeDef& node) {
                                return !edit.keeps(node.name());
                              }),
               nodes->end());
  return EditCollections(edit, meta_graph);
}

void ClearDevices(tensorflow::GraphDef* graph_def) {
  for (NodeDef& node : *graph_def->mutable_node()) node.clear_device();
}

void StripDefaultAttributes(MetaGraphDef* meta_graph) {
  const auto& registry = *tensorflow::OpRegistry::Global();
  tensorflow::GraphDef* graph_def = meta_graph->mutable_graph_def();
  tensorflow::StripDefaultAttributes(registry, graph_def->mutable_node());
  for (auto& function : *graph_def->mutable_library()->mutable_function()) {
    tensorflow::StripDefaultAttributes(registry, function.mutable_node_def());
  }
  meta_graph->mutable_meta_info_def()->set_stripped_default_attrs(true);
}

void AddNewFunctions(const tensorflow::FunctionDefLibrary& functions,
                     tensorflow::GraphDef* graph_def) {
  std::set<std::string> known;
  std::set<std::string> known_gradients;
  for (const auto& function : graph_def->library().function()) {
    known.insert(function.signature().name());
  }
  for (const auto& gradient : graph_def->library().gradient()) {
    known_gradients.insert(gradient.function_name());
  }
  for (const auto& function : functions.function()) {
    if (known.count(function.signature().name()) == 0) {
      *graph_def->mutable_library()->add_function() = function;
    }
  }
  for (const auto& gradient : functions.gradient()) {
    if (known_gradients.count(gradient.function_name()) == 0) {
      *graph_def->mutable_library()->add_gradient() = gradient;
    }
  }
}

void FillMetaInfo(const tensorflow::GraphDef& graph_def,
                  MetaGraphDef::MetaInfoDef* info) {
  if (info->tensorflow_version().empty()) {
    info->set_tensorflow_version(TF_Version());
  }
  std::set<std::string> used;
  for (const auto& node : graph_def.node()) used.insert(node.op());
  for (const auto& function : graph_def.library().function()) {
    for (const auto& node : function.node_def()) used.insert(node.op());
  }
  info->clear_stripped_op_list();
  for (const std::string& name : used) {
    const tensorflow::OpDef* op = nullptr;
    if (!tensorflow::OpRegistry::Global()->LookUpOpDef(name, &op).ok()) {
      continue;  // a function of the graph's own library
    }
    auto* stripped = info->mutable_stripped_op_list()->add_op();
    *stripped = *op;
    tensorflow::RemoveDescriptionsFromOpDef(stripped);
  }
}

}  // namespace tftrain::internal

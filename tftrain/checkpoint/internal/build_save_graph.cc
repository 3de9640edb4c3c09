// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/build_save_graph.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/graph/node_builder.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/near_names.h"
#include "tftrain/graph/variable.h"

namespace tftrain::internal {
namespace {

using tensorflow::DataType;
using tensorflow::Node;
using tensorflow::Output;
using tensorflow::Scope;
using tensorflow::VariableDef;

// How an iterator meets state outside of it when it is saved: it fails.
// Python: the default of make_saveable_from_iterator.
constexpr int kFailOnExternalState = 2;

// Where checkpoints are read.
constexpr char kCpu[] = "/device:CPU:0";

// One tensor of a checkpoint.
struct Piece {
  std::string key;
  std::string slice;
  DataType dtype = tensorflow::DT_INVALID;
};

// Something with a state that checkpoints keep.
struct Saveable {
  enum class Kind { kResourceVariable, kReferenceVariable, kTable, kIterator };

  Kind kind = Kind::kResourceVariable;
  Output handle;
  Output value;  // for variables only
  std::vector<Piece> pieces;

  bool is_variable() const {
    return kind == Kind::kResourceVariable || kind == Kind::kReferenceVariable;
  }
};

struct NamedVariable {
  Variable variable;
  tensorflow::SaveSliceInfoDef slice;  // empty for a whole variable

  // The name under which a checkpoint keeps it by default.
  const std::string& key() const {
    return slice.full_name().empty() ? variable.name() : slice.full_name();
  }
};

// The place of a part in the text that SaveV2 and RestoreV2 take.
std::string SliceText(const tensorflow::SaveSliceInfoDef& slice) {
  if (slice.full_name().empty()) return "";
  std::vector<std::string> spans;
  for (int i = 0; i < slice.var_shape_size(); ++i) {
    const int64_t offset =
        i < slice.var_offset_size() ? slice.var_offset(i) : 0;
    spans.push_back(absl::StrCat(offset, ",", slice.var_shape(i)));
  }
  return absl::StrCat(absl::StrJoin(slice.full_shape(), " "), " ",
                      absl::StrJoin(spans, ":"));
}

// The variables of `collections`, each once.
absl::StatusOr<std::vector<NamedVariable>> FindVariables(
    const Graph& graph, const std::vector<std::string_view>& collections) {
  std::vector<NamedVariable> variables;
  std::set<const Node*> seen;
  for (const std::string_view collection : collections) {
    TF_ASSIGN_OR_RETURN(const std::vector<VariableDef> defs,
                        graph.GetProtoCollection<VariableDef>(collection));
    for (const VariableDef& def : defs) {
      TF_ASSIGN_OR_RETURN(Variable variable, Variable::FromDef(graph, def));
      if (!seen.insert(variable.handle().node()).second) continue;
      variables.push_back({std::move(variable), def.save_slice_info_def()});
    }
  }
  return variables;
}

Saveable SaveableOf(const NamedVariable& named, const std::string& key) {
  Saveable saveable;
  saveable.kind = named.variable.is_resource()
                      ? Saveable::Kind::kResourceVariable
                      : Saveable::Kind::kReferenceVariable;
  saveable.handle = named.variable.handle();
  saveable.value = named.variable.is_resource() ? named.variable.value()
                                                : named.variable.handle();
  saveable.pieces = {{key, SliceText(named.slice), named.variable.dtype()}};
  return saveable;
}

// The table or iterator `name` of the collection "saveable_objects".
absl::StatusOr<Saveable> SaveableObject(const Graph& graph,
                                        const std::string& name) {
  TF_ASSIGN_OR_RETURN(const Node* node,
                      graph.FindOperation(name.substr(0, name.find(':'))));
  Saveable saveable;
  saveable.handle = AsOutput({node, 0});
  DataType keys, values;
  if (node->type_string() == "IteratorV2") {
    saveable.kind = Saveable::Kind::kIterator;
    saveable.pieces = {{absl::StrCat(saveable.handle.name(), "_STATE"), "",
                        tensorflow::DT_VARIANT}};
    return saveable;
  }
  if (tensorflow::GetNodeAttr(node->attrs(), "key_dtype", &keys).ok() &&
      tensorflow::GetNodeAttr(node->attrs(), "value_dtype", &values).ok() &&
      node->num_outputs() == 1 &&
      node->output_type(0) == tensorflow::DT_RESOURCE) {
    saveable.kind = Saveable::Kind::kTable;
    saveable.pieces = {{node->name() + "-keys", "", keys},
                       {node->name() + "-values", "", values}};
    return saveable;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot save \"", name, "\" of the collection \"",
      collection_keys::kSaveableObjects, "\", which is a ", node->type_string(),
      "; export the MetaGraph with a saver that knows how to save it"));
}

absl::StatusOr<std::vector<Saveable>> DefaultSaveables(const Graph& graph) {
  TF_ASSIGN_OR_RETURN(
      const std::vector<NamedVariable> variables,
      FindVariables(graph, {collection_keys::kGlobalVariables}));
  std::vector<Saveable> saveables;
  std::set<std::string> handles;
  for (const NamedVariable& variable : variables) {
    saveables.push_back(SaveableOf(variable, variable.key()));
    handles.insert(variable.variable.name());
  }
  for (const std::string& name :
       graph.GetCollection(collection_keys::kSaveableObjects)) {
    if (!handles.insert(name.substr(0, name.find(':'))).second) continue;
    TF_ASSIGN_OR_RETURN(Saveable object, SaveableObject(graph, name));
    saveables.push_back(std::move(object));
  }
  return saveables;
}

absl::StatusOr<std::vector<Saveable>> ListedSaveables(
    const Graph& graph, const std::map<std::string, std::string>& var_list) {
  TF_ASSIGN_OR_RETURN(
      const std::vector<NamedVariable> variables,
      FindVariables(graph, {collection_keys::kGlobalVariables,
                            collection_keys::kLocalVariables,
                            collection_keys::kTrainableVariables}));
  std::vector<Saveable> saveables;
  std::map<const Node*, std::string> key_of;
  for (const auto& [key, name] : var_list) {
    bool found = false;
    for (const NamedVariable& variable : variables) {
      if (variable.variable.name() != name && variable.key() != name) continue;
      found = true;
      auto [it, is_first] =
          key_of.emplace(variable.variable.handle().node(), key);
      if (!is_first) {
        return absl::InvalidArgumentError(
            absl::StrCat("variable \"", variable.variable.name(),
                         "\" would be saved twice,"
                         " as \"",
                         it->second, "\" and as \"", key, "\"; keep one name"));
      }
      saveables.push_back(SaveableOf(variable, key));
    }
    if (found) continue;
    std::vector<std::string> known;
    for (const NamedVariable& variable : variables) {
      known.push_back(variable.variable.name());
    }
    return absl::InvalidArgumentError(
        absl::StrCat("cannot save \"", name,
                     "\": the graph's collections have"
                     " no such variable",
                     DidYouMean(name, known)));
  }
  return saveables;
}

// Two things may share a name only when they are parts of one tensor.
absl::Status CheckNames(const std::vector<Saveable>& saveables) {
  std::map<std::string, std::set<std::string>> slices;
  for (const Saveable& saveable : saveables) {
    for (const Piece& piece : saveable.pieces) {
      std::set<std::string>& former = slices[piece.key];
      const bool mixed =
          !former.empty() && (piece.slice.empty() || former.count("") > 0);
      if (mixed || !former.insert(piece.slice).second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "two things would be saved as \"", piece.key,
            "\", which are not different parts of one; rename one of them"));
      }
    }
  }
  return absl::OkStatus();
}

// Adds an operation that has no class of its own in TensorFlow's C++ API.
absl::StatusOr<Node*> AddNode(
    const Scope& scope, const std::string& type,
    const std::vector<Output>& inputs,
    absl::FunctionRef<void(tensorflow::NodeBuilder&)> set_attrs =
        [](tensorflow::NodeBuilder&) {}) {
  tensorflow::NodeBuilder builder(scope.GetUniqueNameForOp(type), type);
  for (const Output& input : inputs) builder.Input(input.node(), input.index());
  set_attrs(builder);
  scope.UpdateBuilder(&builder);
  Node* node = nullptr;
  TF_RETURN_IF_ERROR(builder.Finalize(scope.graph(), &node));
  TF_RETURN_IF_ERROR(scope.DoShapeInference(node));
  return node;
}

// The tensors that hold what `saveable` is now, one for each piece.
absl::StatusOr<std::vector<Output>> ValuesOf(const Scope& scope,
                                             const Saveable& saveable) {
  if (saveable.kind == Saveable::Kind::kTable) {
    TF_ASSIGN_OR_RETURN(
        Node * node, AddNode(scope, "LookupTableExportV2", {saveable.handle},
                             [&](tensorflow::NodeBuilder& builder) {
                               builder.Attr("Tkeys", saveable.pieces[0].dtype)
                                   .Attr("Tvalues", saveable.pieces[1].dtype);
                             }));
    return std::vector<Output>{Output(node, 0), Output(node, 1)};
  }
  if (saveable.kind == Saveable::Kind::kIterator) {
    TF_ASSIGN_OR_RETURN(Node * node,
                        AddNode(scope, "SerializeIterator", {saveable.handle},
                                [](tensorflow::NodeBuilder& builder) {
                                  builder.Attr("external_state_policy",
                                               kFailOnExternalState);
                                }));
    return std::vector<Output>{Output(node, 0)};
  }
  return std::vector<Output>{saveable.value};
}

// `read` in the shape that the variable has now, as far as the graph knows it,
// else when it is restored.
Output Reshaped(const Graph& graph, const Scope& scope,
                const Saveable& saveable, const Output& read) {
  namespace ops = tensorflow::ops;
  const Scope on_cpu = scope.WithDevice(kCpu);
  const tensorflow::PartialTensorShape known = graph.ShapeOf(saveable.value);
  Output shape;
  if (known.IsFullyDefined()) {
    tensorflow::Tensor sizes(tensorflow::DT_INT64,
                             tensorflow::TensorShape({known.dims()}));
    for (int i = 0; i < known.dims(); ++i) {
      sizes.vec<int64_t>()(i) = known.dim_size(i);
    }
    shape = ops::Const(on_cpu.WithOpName("Reshape/shape"), sizes);
  } else {
    shape = ops::Shape(on_cpu.WithOpName("Shape"), saveable.value);
  }
  return ops::Reshape(on_cpu.WithOpName("Reshape"), read, shape);
}

// The operation that sets `saveable` to what was read.
absl::StatusOr<tensorflow::Operation> AddRestore(
    const Scope& scope, const Saveable& saveable,
    const std::vector<Output>& read) {
  std::vector<Output> inputs = {saveable.handle};
  inputs.insert(inputs.end(), read.begin(), read.end());
  std::string type;
  switch (saveable.kind) {
    case Saveable::Kind::kReferenceVariable:
      return tensorflow::ops::Assign(
                 scope.WithOpName("Assign").ColocateWith(saveable.handle.op()),
                 saveable.handle, read[0])
          .operation;
    case Saveable::Kind::kResourceVariable:
      type = "AssignVariableOp";
      inputs[1] =
          tensorflow::ops::Identity(scope.WithOpName("Identity"), read[0]);
      break;
    case Saveable::Kind::kTable:
      type = "LookupTableImportV2";
      break;
    case Saveable::Kind::kIterator:
      type = "DeserializeIterator";
      break;
  }
  TF_ASSIGN_OR_RETURN(Node * node, AddNode(scope, type, inputs));
  return AsOperation(node);
}

Output TextVector(const Scope& scope, const std::string& name,
                  const std::vector<std::string>& texts) {
  tensorflow::Tensor tensor(
      tensorflow::DT_STRING,
      tensorflow::TensorShape({static_cast<int64_t>(texts.size())}));
  for (size_t i = 0; i < texts.size(); ++i) {
    tensor.vec<tensorflow::tstring>()(static_cast<int64_t>(i)) = texts[i];
  }
  return tensorflow::ops::Const(scope.WithOpName(name), tensor);
}

// Adds everything under `scope` and names it in the answer.
absl::StatusOr<tensorflow::SaverDef> AddOperations(
    const Graph& graph, const Scope& scope,
    const std::vector<Saveable>& saveables, bool reshape) {
  namespace ops = tensorflow::ops;
  std::vector<std::string> keys, slices;
  std::vector<Output> values;
  tensorflow::DataTypeVector dtypes;
  for (const Saveable& saveable : saveables) {
    TF_ASSIGN_OR_RETURN(const std::vector<Output> now,
                        ValuesOf(scope, saveable));
    values.insert(values.end(), now.begin(), now.end());
    for (const Piece& piece : saveable.pieces) {
      keys.push_back(piece.key);
      slices.push_back(piece.slice);
      dtypes.push_back(piece.dtype);
    }
  }

  const auto model =
      ops::Const(scope.WithOpName("filename/input"), std::string("model"));
  const ops::PlaceholderWithDefault named(scope.WithOpName("filename"), model,
                                          tensorflow::PartialTensorShape({}));
  const ops::PlaceholderWithDefault filename(
      scope.WithOpName("Const"), named, tensorflow::PartialTensorShape({}));
  const ops::SaveV2 save(scope.WithOpName("SaveV2"), filename,
                         TextVector(scope, "SaveV2/tensor_names", keys),
                         TextVector(scope, "SaveV2/shape_and_slices", slices),
                         tensorflow::OutputList(values.begin(), values.end()));
  const ops::Identity saved(scope.WithOpName("control_dependency")
                                .WithControlDependencies({save.operation}),
                            filename);
  const Scope on_cpu = scope.WithDevice(kCpu);
  const ops::RestoreV2 restore(
      on_cpu.WithOpName("RestoreV2"), filename,
      TextVector(on_cpu, "RestoreV2/tensor_names", keys),
      TextVector(on_cpu, "RestoreV2/shape_and_slices", slices), dtypes);
  TF_RETURN_IF_ERROR(scope.status());

  std::vector<tensorflow::Operation> restored;
  auto next = restore.tensors.begin();
  for (const Saveable& saveable : saveables) {
    const auto end = next + static_cast<int>(saveable.pieces.size());
    std::vector<Output> read(next, end);
    if (reshape && saveable.is_variable()) {
      read[0] = Reshaped(graph, scope, saveable, read[0]);
    }
    TF_ASSIGN_OR_RETURN(restored.emplace_back(),
                        AddRestore(scope, saveable, read));
    next = end;
  }
  const tensorflow::Operation all =
      Group(scope.WithOpName("restore_all"), restored);
  TF_RETURN_IF_ERROR(scope.status());

  tensorflow::SaverDef def;
  def.set_filename_tensor_name(Output(filename).name());
  def.set_save_tensor_name(Output(saved).name());
  def.set_restore_op_name(all.node()->name());
  def.set_version(tensorflow::SaverDef::V2);
  return def;
}

}  // namespace

absl::StatusOr<std::optional<tensorflow::SaverDef>> BuildSaveGraph(
    Graph& graph, const std::map<std::string, std::string>& var_list,
    bool reshape) {
  TF_ASSIGN_OR_RETURN(std::vector<Saveable> saveables,
                      var_list.empty() ? DefaultSaveables(graph)
                                       : ListedSaveables(graph, var_list));
  if (saveables.empty()) return std::nullopt;
  TF_RETURN_IF_ERROR(CheckNames(saveables));
  std::stable_sort(saveables.begin(), saveables.end(),
                   [](const Saveable& a, const Saveable& b) {
                     return a.pieces[0].key < b.pieces[0].key;
                   });
  // The first error of the graph's scopes; also that it is finalized.
  TF_RETURN_IF_ERROR(graph.status());
  return AddOperations(graph, graph.scope().NewSubScope("save"), saveables,
                       reshape);
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/save_graph.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"

namespace tftrain::internal {
namespace {

using tensorflow::Edge;
using tensorflow::Node;
using tensorflow::PartialTensorShape;

// Where the inputs of SaveV2, SaveSlices and RestoreV2 lie.
constexpr int kNamesInput = 1;
constexpr int kSlicesInput = 2;
constexpr int kFirstValueInput = 3;

constexpr std::string_view kSetsIterator = "DeserializeIterator";

bool IsOneOf(const Node& node, std::initializer_list<std::string_view> types) {
  for (const std::string_view type : types) {
    if (node.type_string() == type) return true;
  }
  return false;
}

// Where `tensor` comes from when operations that hand it on are passed over.
TensorRef Origin(TensorRef tensor) {
  const Edge* input = nullptr;
  while (tensor.node->IsIdentity() && tensor.node->input_edge(0, &input).ok()) {
    tensor = TensorRef{input->src(), input->src_output()};
  }
  return tensor;
}

// What comes into `node`, with the operations that hand it on passed over.
std::optional<TensorRef> OriginOfInput(const Node& node, int input) {
  const Edge* edge = nullptr;
  if (!node.input_edge(input, &edge).ok()) return std::nullopt;
  return Origin({edge->src(), edge->src_output()});
}

// The variable to which `input` of `node` is the handle.
std::optional<VariableName> VariableOf(const Node& node, int input) {
  const std::optional<TensorRef> handle = OriginOfInput(node, input);
  VariableName variable;
  if (!handle.has_value() || handle->node->type_string() != "VarHandleOp" ||
      !tensorflow::TryGetNodeAttr(handle->node->attrs(), "container",
                                  &variable.container) ||
      !tensorflow::TryGetNodeAttr(handle->node->attrs(), "shared_name",
                                  &variable.name) ||
      variable.name == tensorflow::ResourceHandle::ANONYMOUS_NAME) {
    return std::nullopt;
  }
  return variable;
}

// The texts of a constant vector that is an input of `node`.
std::optional<std::vector<std::string>> ConstantTexts(const Node& node,
                                                      int input) {
  const std::optional<TensorRef> source = OriginOfInput(node, input);
  tensorflow::Tensor value;
  if (!source.has_value() || !source->node->IsConstant() ||
      !tensorflow::GetNodeAttr(source->node->attrs(), "value", &value).ok() ||
      value.dtype() != tensorflow::DT_STRING || value.dims() != 1) {
    return std::nullopt;
  }
  const auto texts = value.vec<tensorflow::tstring>();
  return std::vector<std::string>(texts.data(), texts.data() + texts.size());
}

// Calls `visit` with `last` and everything upstream of it, once each; what
// lies before a node counts only if `visit` says so.
void VisitUpstream(const Node* last,
                   const std::function<bool(const Node&)>& visit) {
  std::vector<const Node*> waiting = {last};
  std::set<const Node*> seen = {last};
  while (!waiting.empty()) {
    const Node* node = waiting.back();
    waiting.pop_back();
    if (!visit(*node)) continue;
    for (const Edge* edge : node->in_edges()) {
      if (edge->src()->IsOp() && seen.insert(edge->src()).second) {
        waiting.push_back(edge->src());
      }
    }
  }
}

bool HasControlInputs(const Node& node) {
  for (const Edge* edge : node.in_edges()) {
    if (edge->IsControlEdge() && edge->src()->IsOp()) return true;
  }
  return false;
}

// The variable of which `node` is the value, if nothing runs before it.
std::optional<VariableName> VariableRead(const Node& node) {
  if (HasControlInputs(node)) return std::nullopt;
  if (node.type_string() == "ReadVariableOp") return VariableOf(node, 0);
  const Edge* input = nullptr;
  if (!node.IsIdentity() || !node.input_edge(0, &input).ok()) {
    return std::nullopt;
  }
  return VariableRead(*input->src());
}

// Appends what `save` writes; false if that cannot be told.
bool AddSaved(const Node& save, std::vector<SavedTensor>* saved) {
  const auto keys = ConstantTexts(save, kNamesInput);
  const auto slices = ConstantTexts(save, kSlicesInput);
  if (!keys || !slices || keys->size() != slices->size() ||
      save.num_inputs() != kFirstValueInput + static_cast<int>(keys->size())) {
    return false;
  }
  for (size_t i = 0; i < keys->size(); ++i) {
    const int input = kFirstValueInput + static_cast<int>(i);
    const Edge* edge = nullptr;
    if (!save.input_edge(input, &edge).ok()) return false;
    SavedTensor tensor;
    tensor.key = (*keys)[i];
    tensor.slice = (*slices)[i];
    tensor.tensor = TensorRef{edge->src(), edge->src_output()}.name();
    tensor.variable = VariableRead(*edge->src());
    saved->push_back(std::move(tensor));
  }
  return true;
}

std::optional<std::vector<SavedTensor>> FindSaved(const Node* last) {
  std::vector<SavedTensor> saved;
  bool readable = true;
  VisitUpstream(last, [&](const Node& node) {
    if (IsOneOf(node, {"SaveV2", "SaveSlices"})) {
      // What must run before it may change the values.
      readable = readable && !HasControlInputs(node) && AddSaved(node, &saved);
      return false;
    }
    // Anything else with an effect would be left out.
    const bool harmless =
        !node.op_def().is_stateful() || IsOneOf(node, {"MergeV2Checkpoints"});
    readable = readable && harmless;
    return true;
  });
  if (!readable || saved.empty()) return std::nullopt;
  // The graph keeps its edges in no order; files are to be equal.
  std::sort(saved.begin(), saved.end(),
            [](const SavedTensor& a, const SavedTensor& b) {
              return std::tie(a.key, a.slice) < std::tie(b.key, b.slice);
            });
  return saved;
}

// The operations that use an output, and by which of their inputs; those that
// hand it on are passed over.
using Users = std::vector<const Edge*>;

void AddUsers(const Edge& edge, Users* users) {
  if (!edge.dst()->IsIdentity()) {
    users->push_back(&edge);
    return;
  }
  for (const Edge* next : edge.dst()->out_edges()) {
    if (!next->IsControlEdge()) AddUsers(*next, users);
  }
}

// By output of `node`.
std::map<int, Users> UsersOf(const Node& node) {
  std::map<int, Users> users;
  for (const Edge* edge : node.out_edges()) {
    if (!edge->IsControlEdge()) AddUsers(*edge, &users[edge->src_output()]);
  }
  return users;
}

// Notes what `user` does with the tensor: sets an iterator, or a variable of
// some shape.
void NoteUser(const Edge& user, RestoredTensor* restored) {
  const Node& node = *user.dst();
  if (node.type_string() == kSetsIterator) {
    restored->is_iterator = true;
  } else if (node.type_string() == "Reshape" && user.dst_input() == 0) {
    restored->reshaped = true;
    for (const auto& [port, users] : UsersOf(node)) {
      for (const Edge* next : users) NoteUser(*next, restored);
    }
  } else if (IsOneOf(node, {"Assign", "AssignVariableOp"}) &&
             user.dst_input() == 1) {
    const std::optional<TensorRef> holder = OriginOfInput(node, 0);
    PartialTensorShape shape;
    if (!holder.has_value()) return;
    if (tensorflow::GetNodeAttr(holder->node->attrs(), "shape", &shape).ok()) {
      restored->shape = shape;
    }
    restored->variable = VariableOf(node, 0);
  }
}

// Appends what `restore` reads; false if that cannot be told.
bool AddRestored(const Node& restore, std::vector<RestoredTensor>* restored) {
  const auto keys = ConstantTexts(restore, kNamesInput);
  const auto slices = ConstantTexts(restore, kSlicesInput);
  if (!keys || !slices || keys->size() != slices->size() ||
      restore.num_outputs() != static_cast<int>(keys->size())) {
    return false;
  }
  std::map<int, Users> users_of = UsersOf(restore);
  for (size_t i = 0; i < keys->size(); ++i) {
    const TensorRef output{&restore, static_cast<int>(i)};
    RestoredTensor tensor;
    tensor.key = (*keys)[i];
    tensor.slice = (*slices)[i];
    tensor.tensor = output.name();
    tensor.dtype = output.dtype();
    const Users& users = users_of[output.port];
    for (const Edge* user : users) NoteUser(*user, &tensor);
    if (tensor.reshaped || users.size() != 1) tensor.variable.reset();
    restored->push_back(std::move(tensor));
  }
  return true;
}

std::optional<std::vector<RestoredTensor>> FindRestored(const Node* last) {
  std::vector<RestoredTensor> restored;
  bool readable = true;
  VisitUpstream(last, [&](const Node& node) {
    if (node.type_string() == "RestoreV2") {
      readable = readable && AddRestored(node, &restored);
      return false;
    }
    readable = readable && !IsOneOf(node, {"Restore", "RestoreSlice"});
    return true;
  });
  if (!readable || restored.empty()) return std::nullopt;
  return restored;
}

// The operations that set something, behind the groups that end in `last`.
std::vector<const Node*> FindSetters(const Node* last) {
  std::vector<const Node*> setters;
  VisitUpstream(last, [&](const Node& node) {
    if (node.type_string() == "NoOp") return true;
    setters.push_back(&node);
    return false;
  });
  return setters;
}

// Notes in `restored` which of `setters` uses which tensor.
void NoteSetters(const std::vector<const Node*>& setters,
                 std::vector<RestoredTensor>* restored) {
  std::map<std::string, RestoredTensor*> by_tensor;
  for (RestoredTensor& tensor : *restored) by_tensor[tensor.tensor] = &tensor;
  for (const Node* setter : setters) {
    std::set<RestoredTensor*> used;
    VisitUpstream(setter, [&](const Node& node) {
      if (node.type_string() == "RestoreV2") return false;
      for (const Edge* edge : node.in_edges()) {
        if (edge->IsControlEdge()) continue;
        auto it =
            by_tensor.find(TensorRef{edge->src(), edge->src_output()}.name());
        if (it != by_tensor.end()) used.insert(it->second);
      }
      return true;
    });
    for (RestoredTensor* tensor : used) {
      tensor->setters.push_back(setter->name());
    }
  }
}

absl::Status CheckNamed(std::string_view what, const std::string& name) {
  if (!name.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the SaverDef has no ", what,
                   "; export the MetaGraph again, with its saver"));
}

}  // namespace

absl::StatusOr<SaveGraph> ReadSaveGraph(const Graph& graph,
                                        const tensorflow::SaverDef& def) {
  TF_RETURN_IF_ERROR(
      CheckNamed("filename_tensor_name", def.filename_tensor_name()));
  TF_RETURN_IF_ERROR(CheckNamed("save_tensor_name", def.save_tensor_name()));
  TF_RETURN_IF_ERROR(CheckNamed("restore_op_name", def.restore_op_name()));
  const absl::Status has_filename =
      graph.FindTensor(def.filename_tensor_name()).status();
  const absl::StatusOr<TensorRef> save =
      graph.FindTensor(def.save_tensor_name());
  const absl::StatusOr<const Node*> restore =
      graph.FindOperation(def.restore_op_name());
  for (const absl::Status& status :
       {has_filename, save.status(), restore.status()}) {
    if (!status.ok()) return Annotate(status, "as the SaverDef says");
  }
  SaveGraph save_graph;
  save_graph.saved = FindSaved(save->node);
  save_graph.restored = FindRestored(*restore);
  const std::vector<const Node*> setters = FindSetters(*restore);
  for (const Node* setter : setters) {
    (setter->type_string() == kSetsIterator ? save_graph.restore_iterators
                                            : save_graph.restore_others)
        .push_back(setter->name());
  }
  if (save_graph.restored) NoteSetters(setters, &*save_graph.restored);
  return save_graph;
}

}  // namespace tftrain::internal

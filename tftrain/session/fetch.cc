// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/fetch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tftrain {

using internal::FetchNode;

std::string Value::PathText(std::initializer_list<Key> path) {
  return absl::StrJoin(path, "/", [](std::string* out, const Key& key) {
    if (const int* index = std::get_if<int>(&key.key_)) {
      absl::StrAppend(out, *index);
    } else {
      absl::StrAppend(out, std::get<std::string>(key.key_));
    }
  });
}

absl::StatusOr<Value> Value::At(std::initializer_list<Key> path) const {
  Value at = *this;
  for (const Key& key : path) {
    size_t item = at.size();
    if (const int* index = std::get_if<int>(&key.key_)) {
      if (at.is_list() && *index >= 0) item = static_cast<size_t>(*index);
    } else if (at.is_map()) {
      const std::vector<std::string>& keys = at.node_->keys;
      const auto& wanted = std::get<std::string>(key.key_);
      const auto it = std::lower_bound(keys.begin(), keys.end(), wanted);
      if (it != keys.end() && *it == wanted) {
        item = static_cast<size_t>(it - keys.begin());
      }
    }
    if (item >= at.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the fetched value has nothing at \"", PathText(path),
                       "\"; use the structure that was asked for"));
    }
    at.first_ += at.node_->before[item];
    at.node_ = std::shared_ptr<const FetchNode>(at.node_->items[item]);
  }
  return at;
}

absl::StatusOr<const tensorflow::Tensor*> Value::FindTensor(
    std::initializer_list<Key> path) const {
  const absl::StatusOr<Value> at = At(path);
  if (!at.ok()) return at.status();
  if (!at->is_tensor()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the fetched value at \"", PathText(path), "\" is ",
                     at->is_list()  ? "a list"
                     : at->is_map() ? "a map"
                                    : "an operation",
                     ", not a tensor"));
  }
  return &(*tensors_)[at->first_];
}

FetchTree::FetchTree(const Target& target) {
  FetchNode node;
  node.name = target.name();
  node_ = std::make_shared<const FetchNode>(std::move(node));
}

FetchTree FetchTree::Tensor(std::string name, tensorflow::DataType dtype) {
  FetchNode node;
  node.kind = FetchNode::Kind::kTensor;
  node.name = std::move(name);
  node.dtype = dtype;
  node.tensors = 1;
  return FetchTree(std::make_shared<const FetchNode>(std::move(node)));
}

FetchTree FetchTree::Of(FetchNode::Kind kind,
                        const std::vector<FetchTree>& items,
                        std::vector<std::string> keys) {
  FetchNode node;
  node.kind = kind;
  node.keys = std::move(keys);
  for (const FetchTree& item : items) {
    node.before.push_back(node.tensors);
    node.tensors += item.node_->tensors;
    node.items.push_back(item.node_);
  }
  return FetchTree(std::make_shared<const FetchNode>(std::move(node)));
}

FetchTree List(const std::vector<FetchTree>& items) {
  return FetchTree::Of(FetchNode::Kind::kList, items, {});
}

FetchTree Map(const std::map<std::string, FetchTree>& items) {
  std::vector<std::string> keys;
  std::vector<FetchTree> values;
  for (const auto& [key, item] : items) {
    keys.push_back(key);
    values.push_back(item);
  }
  return FetchTree::Of(FetchNode::Kind::kMap, values, std::move(keys));
}

void FetchTree::AppendTo(Request* request) const {
  if (node_->kind == FetchNode::Kind::kTensor) {
    request->fetches.push_back(node_->name);
    request->dtypes.push_back(node_->dtype);
  } else if (node_->kind == FetchNode::Kind::kTarget) {
    request->targets.push_back(node_->name);
  }
  for (const auto& item : node_->items) FetchTree(item).AppendTo(request);
}

Value FetchTree::Take(const StepValues& values, size_t* next) const {
  auto tensors = std::make_shared<const Value::Tensors>(
      values.Take(*next, node_->tensors));
  *next += node_->tensors;
  return Value(node_, std::move(tensors), 0);
}

}  // namespace tftrain

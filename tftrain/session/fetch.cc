// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/fetch.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tftrain {

size_t Value::size() const {
  if (is_list()) return std::get<List>(content_).size();
  if (is_map()) return std::get<Map>(content_).size();
  return 0;
}

std::string Value::PathText(std::initializer_list<Key> path) {
  return absl::StrJoin(path, "/", [](std::string* out, const Key& key) {
    if (const int* index = std::get_if<int>(&key.key_)) {
      absl::StrAppend(out, *index);
    } else {
      absl::StrAppend(out, std::get<std::string>(key.key_));
    }
  });
}

absl::StatusOr<const tensorflow::Tensor*> Value::FindTensor(
    std::initializer_list<Key> path) const {
  const Value* at = this;
  for (const Key& key : path) {
    const Value* next = nullptr;
    if (const int* index = std::get_if<int>(&key.key_)) {
      const List* list = std::get_if<List>(&at->content_);
      if (list != nullptr && *index >= 0 &&
          static_cast<size_t>(*index) < list->size()) {
        next = &(*list)[static_cast<size_t>(*index)];
      }
    } else if (const Map* map = std::get_if<Map>(&at->content_)) {
      auto it = map->find(std::get<std::string>(key.key_));
      if (it != map->end()) next = &it->second;
    }
    if (next == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the fetched value has nothing at \"", PathText(path),
                       "\"; use the structure that was asked for"));
    }
    at = next;
  }
  const auto* tensor = std::get_if<tensorflow::Tensor>(&at->content_);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the fetched value at \"", PathText(path), "\" is ",
                     at->is_list()  ? "a list"
                     : at->is_map() ? "a map"
                                    : "an operation",
                     ", not a tensor"));
  }
  return tensor;
}

FetchTree List(std::vector<FetchTree> items) {
  FetchTree tree(FetchTree::Kind::kList);
  tree.items_ = std::move(items);
  return tree;
}

FetchTree Map(std::map<std::string, FetchTree> items) {
  FetchTree tree(FetchTree::Kind::kMap);
  for (auto& [key, item] : items) {
    tree.keys_.push_back(key);
    tree.items_.push_back(item);
  }
  return tree;
}

void FetchTree::AppendTo(Request* request) const {
  if (kind_ == Kind::kTensor) {
    request->fetches.push_back(name_);
    request->dtypes.push_back(dtype_);
  } else if (kind_ == Kind::kTarget) {
    request->targets.push_back(name_);
  }
  for (const FetchTree& item : items_) item.AppendTo(request);
}

Value FetchTree::Take(const StepValues& values, size_t* next) const {
  switch (kind_) {
    case Kind::kTarget:
      return Value();
    case Kind::kTensor:
      return Value(values[(*next)++]);
    case Kind::kList: {
      Value::List list;
      list.reserve(items_.size());
      for (const FetchTree& item : items_) {
        list.push_back(item.Take(values, next));
      }
      return Value(std::move(list));
    }
    case Kind::kMap: {
      Value::Map map;
      for (size_t i = 0; i < items_.size(); ++i) {
        map.emplace(keys_[i], items_[i].Take(values, next));
      }
      return Value(std::move(map));
    }
  }
  return Value();
}

}  // namespace tftrain

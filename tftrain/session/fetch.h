// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a run is asked for. The type of the question is the type of the answer:
//
//   Fetch<float>("loss:0")                     -> float
//   Target("train")                            -> nothing but a Status
//   std::tuple{Target("train"), Fetch<float>("loss:0"), Fetch<Tensor>("y:0")}
//                                              -> std::tuple<float, Tensor>
//   List({Fetch<float>("loss:0"), Map({{"y", Fetch<Tensor>("y:0")}})})
//                                              -> Value, nested the same way

#ifndef TFTRAIN_SESSION_FETCH_H_
#define TFTRAIN_SESSION_FETCH_H_

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/ops.h"
#include "tftrain/session/request.h"
#include "tftrain/session/tensor_values.h"

namespace tftrain {

// A tensor of the graph whose value is wanted as a T: a number, bool or
// std::string for a scalar, a std::vector of those for a vector, or a
// tensorflow::Tensor for anything.
// Thread-compatible: const calls may run together.
template <typename T>
class Fetch {
 public:
  using value_type = T;

  // A tensor by its name, "loss:0".
  explicit Fetch(std::string name) : name_(std::move(name)) {}
  explicit Fetch(const tensorflow::Output& output) : name_(output.name()) {}

  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

// An operation that shall run, and has no value.
// Thread-compatible: const calls may run together.
class Target {
 public:
  // An operation by its name, "train".
  explicit Target(std::string name) : name_(std::move(name)) {}
  explicit Target(const tensorflow::Operation& operation)
      : name_(operation.node()->name()) {}

  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

namespace internal {

// What a FetchTree is made of. Immutable.
struct FetchNode {
  enum class Kind { kTensor, kTarget, kList, kMap };

  Kind kind = Kind::kTarget;
  std::string name;  // of a tensor or an operation
  tensorflow::DataType dtype = tensorflow::DT_INVALID;
  // The items of a list, or of a map in the order of its keys.
  std::vector<std::shared_ptr<const FetchNode>> items;
  std::vector<std::string> keys;

  // How many tensors this asks for, and how many come before each item.
  size_t tensors = 0;
  std::vector<size_t> before;
};

}  // namespace internal

// The answer to a List or Map: nothing (for a Target), a Tensor, a list or a
// map of Values. Copies share the tensors.
// Thread-compatible: const calls may run together.
class Value {
 public:
  // A step into the structure: an index into a list or a key of a map.
  class Key {
   public:
    Key(int index) : key_(index) {}  // NOLINT: implicit by design
    Key(const char* key) : key_(std::string(key)) {}  // NOLINT
    Key(std::string key) : key_(std::move(key)) {}    // NOLINT

   private:
    friend class Value;
    std::variant<int, std::string> key_;
  };

  // Nothing.
  Value() = default;

  // Whether this answers a Target.
  bool empty() const { return kind() == internal::FetchNode::Kind::kTarget; }
  bool is_list() const { return kind() == internal::FetchNode::Kind::kList; }
  bool is_map() const { return kind() == internal::FetchNode::Kind::kMap; }
  bool is_tensor() const {
    return kind() == internal::FetchNode::Kind::kTensor;
  }
  // The number of items of a list or map, 0 otherwise.
  size_t size() const { return node_ == nullptr ? 0 : node_->items.size(); }
  // The keys of a map, in order; none otherwise.
  std::vector<std::string> keys() const {
    return node_ == nullptr ? std::vector<std::string>() : node_->keys;
  }

  // The part of the answer at `path`.
  // Errors: kInvalidArgument when the path leads nowhere.
  absl::StatusOr<Value> At(std::initializer_list<Key> path) const;

  // The value at `path`, as a T (see Fetch):
  //   value.Get<float>({"metrics", 0})
  // Errors: kInvalidArgument when the path leads nowhere or the value there is
  // no T.
  template <typename T>
  absl::StatusOr<T> Get(std::initializer_list<Key> path = {}) const {
    absl::StatusOr<const tensorflow::Tensor*> tensor = FindTensor(path);
    if (!tensor.ok()) return tensor.status();
    return internal::TensorReader<T>::Read(**tensor, PathText(path));
  }

 private:
  friend class FetchTree;

  using Tensors = std::vector<tensorflow::Tensor>;
  Value(std::shared_ptr<const internal::FetchNode> node,
        std::shared_ptr<const Tensors> tensors, size_t first)
      : node_(std::move(node)), tensors_(std::move(tensors)), first_(first) {}

  internal::FetchNode::Kind kind() const {
    return node_ == nullptr ? internal::FetchNode::Kind::kTarget : node_->kind;
  }
  absl::StatusOr<const tensorflow::Tensor*> FindTensor(
      std::initializer_list<Key> path) const;
  static std::string PathText(std::initializer_list<Key> path);

  std::shared_ptr<const internal::FetchNode> node_;
  // All tensors of the question, this part's from `first_` on.
  std::shared_ptr<const Tensors> tensors_;
  size_t first_ = 0;
};

// A Fetch, a Target, a List or a Map, chosen at run time. Copies share what
// they are made of.
// Thread-compatible: const calls may run together.
class FetchTree {
 public:
  template <typename T>
  FetchTree(const Fetch<T>& fetch)  // NOLINT: implicit by design
      : FetchTree(Tensor(fetch.name(), internal::TensorReader<T>::dtype())) {}
  FetchTree(const Target& target);  // NOLINT: implicit by design

 private:
  friend FetchTree List(const std::vector<FetchTree>& items);
  friend FetchTree Map(const std::map<std::string, FetchTree>& items);
  template <typename F>
  friend struct FetchTraits;

  explicit FetchTree(std::shared_ptr<const internal::FetchNode> node)
      : node_(std::move(node)) {}
  static FetchTree Tensor(std::string name, tensorflow::DataType dtype);
  // A list or a map of `items`.
  static FetchTree Of(internal::FetchNode::Kind kind,
                      const std::vector<FetchTree>& items,
                      std::vector<std::string> keys);

  void AppendTo(Request* request) const;
  Value Take(const StepValues& values, size_t* next) const;

  std::shared_ptr<const internal::FetchNode> node_;
};

// Fetches that are answered by a list, or by a map with the same keys.
// Python: fetches that are a list or tuple, or a dict.
FetchTree List(const std::vector<FetchTree>& items);
FetchTree Map(const std::map<std::string, FetchTree>& items);

// How a question becomes names and how its answer is read. `Result` is the
// type of the answer, void when there is none.
template <typename F>
struct FetchTraits;

template <typename T>
struct FetchTraits<Fetch<T>> {
  using Result = T;
  static void AppendTo(const Fetch<T>& fetch, Request* request) {
    request->fetches.push_back(fetch.name());
    request->dtypes.push_back(internal::TensorReader<T>::dtype());
  }
  static absl::StatusOr<T> Take(const Fetch<T>&, const StepValues& values,
                                size_t* next) {
    const size_t i = (*next)++;
    return internal::TensorReader<T>::Read(values[i], values.name(i));
  }
};

template <>
struct FetchTraits<Target> {
  using Result = void;
  static void AppendTo(const Target& target, Request* request) {
    request->targets.push_back(target.name());
  }
  static absl::Status Take(const Target&, const StepValues&, size_t*) {
    return absl::OkStatus();
  }
};

template <>
struct FetchTraits<FetchTree> {
  using Result = Value;
  static void AppendTo(const FetchTree& tree, Request* request) {
    tree.AppendTo(request);
  }
  static absl::StatusOr<Value> Take(const FetchTree& tree,
                                    const StepValues& values, size_t* next) {
    return tree.Take(values, next);
  }
};

namespace internal {

// The values of a tuple's items as a tuple, without those that have none.
template <typename F>
using AsTuple = std::conditional_t<
    std::is_void_v<typename FetchTraits<F>::Result>, std::tuple<>,
    std::tuple<
        std::conditional_t<std::is_void_v<typename FetchTraits<F>::Result>, int,
                           typename FetchTraits<F>::Result>>>;

// std::tuple<> -> void, std::tuple<T> -> T, others as they are.
template <typename Tuple>
struct Unwrapped {
  using type = Tuple;
  static type Of(Tuple tuple) { return tuple; }
};
template <>
struct Unwrapped<std::tuple<>> {
  using type = void;
};
template <typename T>
struct Unwrapped<std::tuple<T>> {
  using type = T;
  static type Of(std::tuple<T> tuple) { return std::get<0>(std::move(tuple)); }
};

}  // namespace internal

template <typename... Fs>
struct FetchTraits<std::tuple<Fs...>> {
  using Tuple =
      decltype(std::tuple_cat(std::declval<internal::AsTuple<Fs>>()...));
  using Result = typename internal::Unwrapped<Tuple>::type;

  static void AppendTo(const std::tuple<Fs...>& fetches, Request* request) {
    std::apply(
        [&](const Fs&... fetch) {
          (FetchTraits<Fs>::AppendTo(fetch, request), ...);
        },
        fetches);
  }

  static auto Take(const std::tuple<Fs...>& fetches, const StepValues& values,
                   size_t* next) {
    if constexpr (std::is_void_v<Result>) {
      return absl::OkStatus();
    } else {
      return TakeFrom<0>(fetches, values, next, std::tuple<>());
    }
  }

 private:
  template <size_t I, typename Taken>
  static absl::StatusOr<Result> TakeFrom(const std::tuple<Fs...>& fetches,
                                         const StepValues& values, size_t* next,
                                         Taken taken) {
    if constexpr (I == sizeof...(Fs)) {
      return internal::Unwrapped<Tuple>::Of(std::move(taken));
    } else {
      using F = std::tuple_element_t<I, std::tuple<Fs...>>;
      auto item = FetchTraits<F>::Take(std::get<I>(fetches), values, next);
      if constexpr (std::is_void_v<typename FetchTraits<F>::Result>) {
        return TakeFrom<I + 1>(fetches, values, next, std::move(taken));
      } else {
        if (!item.ok()) return item.status();
        return TakeFrom<I + 1>(
            fetches, values, next,
            std::tuple_cat(std::move(taken),
                           std::make_tuple(*std::move(item))));
      }
    }
  }
};

// What a run of fetches of type F returns: the value or the error, or a Status
// where there is no value.
template <typename F>
using RunResult = std::conditional_t<
    std::is_void_v<typename FetchTraits<F>::Result>, absl::Status,
    absl::StatusOr<
        std::conditional_t<std::is_void_v<typename FetchTraits<F>::Result>, int,
                           typename FetchTraits<F>::Result>>>;

// The request that asks for `fetches` when `feeds` are fed.
template <typename F>
Request MakeRequest(const F& fetches, std::vector<std::string> feeds = {}) {
  Request request;
  FetchTraits<F>::AppendTo(fetches, &request);
  request.feeds = std::move(feeds);
  return request;
}

}  // namespace tftrain

#endif  // TFTRAIN_SESSION_FETCH_H_

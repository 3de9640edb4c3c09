// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a run of the graph is asked for, by name, and what it answers.

#ifndef TFTRAIN_SESSION_REQUEST_H_
#define TFTRAIN_SESSION_REQUEST_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.pb.h"

namespace tftrain {

// The names one party (the caller, or a hook) wants fetched, run and fed in a
// step. Immutable once it is shared; two requests are the same for the planner
// when they are the same object, so a request that comes back is kept and
// reused.
struct Request {
  std::vector<std::string> fetches;  // tensors, "loss:0"
  // The type each fetch must have, DT_INVALID for any; as long as `fetches`.
  std::vector<tensorflow::DataType> dtypes;
  std::vector<std::string> targets;  // operations, "train"
  std::vector<std::string> feeds;    // tensors, in the order of their values

  bool empty() const { return fetches.empty() && targets.empty(); }
  friend bool operator==(const Request& a, const Request& b) {
    return a.fetches == b.fetches && a.dtypes == b.dtypes &&
           a.targets == b.targets && a.feeds == b.feeds;
  }
};

using RequestPtr = std::shared_ptr<const Request>;

// The values one request got, in the order of its fetches. A view: valid until
// the step that made it is over, so copy what is to be kept (copying a Tensor
// shares its buffer).
// Confined: use from one thread.
class StepValues {
 public:
  StepValues() = default;
  // `slots` tells for each fetch its place in `fetched`, or -1 - its place in
  // `fed`. `last_uses`, unless null, tells for each fetch whether no later one
  // has the same place, so that the value may be taken away.
  StepValues(const Request* request, const int* slots,
             const std::vector<tensorflow::Tensor>* fed,
             std::vector<tensorflow::Tensor>* fetched,
             const char* last_uses = nullptr)
      : request_(request),
        slots_(slots),
        fed_(fed),
        fetched_(fetched),
        last_uses_(last_uses) {}

  size_t size() const {
    return request_ == nullptr ? 0 : request_->fetches.size();
  }
  const tensorflow::Tensor& operator[](size_t i) const {
    const int slot = slots_[i];
    // A tensor that was fed is not computed: its value is the one fed.
    return slot >= 0 ? (*fetched_)[static_cast<size_t>(slot)]
                     : (*fed_)[static_cast<size_t>(-slot - 1)];
  }
  const std::string& name(size_t i) const { return request_->fetches[i]; }

  // The `count` values from number `first` on, for good; all are taken in
  // order, each once.
  std::vector<tensorflow::Tensor> Take(size_t first, size_t count) const {
    std::vector<tensorflow::Tensor> taken;
    if (last_uses_ != nullptr && IsAllThatWasFetched(first, count)) {
      taken.swap(*fetched_);
      return taken;
    }
    taken.reserve(count);
    for (size_t i = first; i < first + count; ++i) {
      if (last_uses_ == nullptr || !last_uses_[i]) {
        taken.push_back((*this)[i]);
      } else {
        taken.push_back(std::move((*fetched_)[static_cast<size_t>(slots_[i])]));
      }
    }
    return taken;
  }

 private:
  const Request* request_ = nullptr;
  const int* slots_ = nullptr;
  const std::vector<tensorflow::Tensor>* fed_ = nullptr;
  std::vector<tensorflow::Tensor>* fetched_ = nullptr;
  const char* last_uses_ = nullptr;

  bool IsAllThatWasFetched(size_t first, size_t count) const {
    if (first != 0 || count != size() || count != fetched_->size()) {
      return false;
    }
    for (size_t i = 0; i < count; ++i) {
      if (slots_[i] != static_cast<int>(i)) return false;
    }
    return true;
  }
};

}  // namespace tftrain

#endif  // TFTRAIN_SESSION_REQUEST_H_

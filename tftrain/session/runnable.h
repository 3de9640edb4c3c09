// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Running steps with typed fetches and feeds: what every session offers.

#ifndef TFTRAIN_SESSION_RUNNABLE_H_
#define TFTRAIN_SESSION_RUNNABLE_H_

#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/session/fetch.h"
#include "tftrain/session/request.h"
#include "tftrain/session/tensor_values.h"

namespace tftrain {

// Tensors and what they are fed: `{{"x:0", batch}, {"rate:0", 0.1}}`.
// Python: feed_dict.
class Feeds {
 public:
  struct Feed {
    std::string name;
    FeedValue value;
  };

  Feeds() = default;
  Feeds(std::initializer_list<Feed> feeds) {  // NOLINT: implicit by design
    for (const Feed& feed : feeds) Add(feed.name, feed.value);
  }
  void Add(std::string name, FeedValue value) {
    names_.push_back(std::move(name));
    values_.push_back(std::move(value));
  }

  const std::vector<std::string>& names() const { return names_; }
  absl::Span<const FeedValue> values() const { return values_; }
  bool empty() const { return names_.empty(); }

 private:
  std::vector<std::string> names_;
  std::vector<FeedValue> values_;
};

template <typename F>
class PreparedStep;

// Something that runs steps of a graph: a Session (plain), a monitored session
// (with its hooks), a StepContext.
//
// Errors of Run(), beside those of the operations themselves:
//   kInvalidArgument     a name the graph does not have (the message names
//                        some that come near), a type or shape that does not
//                        fit a feed, a tensor fed twice, a type a fetch does
//                        not have, or a fetch on a branch that was not taken
//                        (kInternal from a server)
//   kFailedPrecondition  the session is closed, or this process was forked
//                        from the one that made it
//   kDataLoss            an operation read a checkpoint that was cut short
// kOutOfRange is the end of the input and nothing else: IsEndOfInput() holds.
class Runnable {
 public:
  virtual ~Runnable() = default;

  // Runs the graph once and returns the values of `fetches` (see fetch.h).
  // Nothing but empty fetches runs nothing. A tensor both fed and fetched
  // returns what was fed.
  //
  // `options` and `metadata` may be null. Statistics come back in `metadata`
  // only when the options ask for tracing; a timeout ends the step with
  // kDeadlineExceeded. Options are never changed.
  // Python: Session.run.
  template <typename F>
  RunResult<F> Run(const F& fetches, const Feeds& feeds = {},
                   const tensorflow::RunOptions* options = nullptr,
                   tensorflow::RunMetadata* metadata = nullptr) {
    return RunAndTake(fetches, Intern(MakeRequest(fetches, feeds.names())),
                      feeds.values(), options, metadata);
  }

  // Binds `fetches` and the names of what will be fed, to be called like a
  // function with the values: cheaper than Run() when a step comes back, and
  // planned now instead of within its first step.
  //
  //   TF_ASSIGN_OR_RETURN(auto step, session->Prepare(loss, {"x:0"}));
  //   TF_ASSIGN_OR_RETURN(float now, step(batch));
  //
  // The prepared step must not outlive this object.
  // Errors: kInvalidArgument and kFailedPrecondition as for Run(), found now.
  // Python: Session.make_callable.
  template <typename F>
  absl::StatusOr<PreparedStep<F>> Prepare(F fetches,
                                          std::vector<std::string> feeds = {}) {
    const RequestPtr request = Intern(MakeRequest(fetches, std::move(feeds)));
    if (absl::Status status = PlanRequest(request); !status.ok()) return status;
    return PreparedStep<F>(this, std::move(fetches), request);
  }

 protected:
  template <typename F>
  friend class PreparedStep;

  // Called with the values of a request while they are valid.
  using Receive = absl::FunctionRef<absl::Status(const StepValues&)>;

  // Runs `request` with a value for each of its feeds.
  virtual absl::Status RunRequest(const RequestPtr& request,
                                  absl::Span<const FeedValue> feeds,
                                  const tensorflow::RunOptions* options,
                                  tensorflow::RunMetadata* metadata,
                                  Receive receive) = 0;

  // The one shared request that equals `request`.
  virtual RequestPtr Intern(Request request) = 0;

  // Checks the interned `request`, and plans its steps before the first runs.
  virtual absl::Status PlanRequest(const RequestPtr& request) = 0;

 private:
  template <typename F>
  RunResult<F> RunAndTake(const F& fetches, const RequestPtr& request,
                          absl::Span<const FeedValue> feeds,
                          const tensorflow::RunOptions* options,
                          tensorflow::RunMetadata* metadata) {
    size_t next = 0;
    if constexpr (std::is_void_v<typename FetchTraits<F>::Result>) {
      return RunRequest(request, feeds, options, metadata,
                        [](const StepValues&) { return absl::OkStatus(); });
    } else {
      std::optional<typename FetchTraits<F>::Result> result;
      absl::Status status = RunRequest(
          request, feeds, options, metadata,
          [&](const StepValues& values) -> absl::Status {
            auto taken = FetchTraits<F>::Take(fetches, values, &next);
            if (!taken.ok()) return taken.status();
            result.emplace(*std::move(taken));
            return absl::OkStatus();
          });
      if (!status.ok()) return status;
      return *std::move(result);
    }
  }
};

// A step that was bound by Runnable::Prepare().
// Confined: use from one thread at a time.
template <typename F>
class PreparedStep {
 public:
  // Runs the step, feeding `values` in the order the names were given.
  // Errors: those of Runnable::Run(); kInvalidArgument when there are more or
  // fewer values than names.
  template <typename... Values>
  RunResult<F> operator()(const Values&... values) const {
    const std::array<FeedValue, sizeof...(Values)> feeds = {
        FeedValue(values)...};
    return RunWith(feeds);
  }

  // The same with values made elsewhere, and with options for this run.
  RunResult<F> RunWith(absl::Span<const FeedValue> feeds,
                       const tensorflow::RunOptions* options = nullptr,
                       tensorflow::RunMetadata* metadata = nullptr) const {
    return runner_->RunAndTake(fetches_, request_, feeds, options, metadata);
  }

 private:
  friend class Runnable;
  PreparedStep(Runnable* runner, F fetches, RequestPtr request)
      : runner_(runner),
        fetches_(std::move(fetches)),
        request_(std::move(request)) {}

  Runnable* runner_;
  F fetches_;
  RequestPtr request_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SESSION_RUNNABLE_H_

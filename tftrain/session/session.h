// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A plain session: runs a graph on TensorFlow's runtime, without hooks.

#ifndef TFTRAIN_SESSION_SESSION_H_
#define TFTRAIN_SESSION_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/base/mutex.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/runnable.h"

namespace tftrain {

namespace internal {
class Engine;
class GlobalStepReader;
class PlanCache;
class StepPlan;
struct StepBuffers;

// One party's share in a step: its request and what it feeds.
struct StepPart {
  const RequestPtr* request = nullptr;
  absl::Span<const FeedValue> feeds;
  // Whether the values will be looked at; those of other parts may be missing.
  bool wanted = true;
};
}  // namespace internal

// Where the operations of a step run.
enum class ThreadMode {
  // TensorFlow's thread pool: parallel branches run side by side, and timeouts
  // work. Python's default, and ours.
  kPool,
  // The thread that calls Run(): a small step takes a fraction of the time, but
  // branches run one after the other, and a timeout cannot stop the step (so it
  // is refused).
  kCallingThread,
};

// How long closing waits for a server's answer, unless told otherwise.
// Python: the same, where a session is left because of an error.
inline constexpr absl::Duration kSessionClosePatience = absl::Seconds(30);

// Runs a graph, and owns its variables' values while it lives.
//
// States: open -> closed. The graph is finalized while the session is open.
//
//   TF_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
//                       Session::Create(graph));
//   TF_RETURN_IF_ERROR(session->Run(Target("init")));
//   TF_ASSIGN_OR_RETURN(float loss, session->Run(Fetch<float>("loss:0")));
//
// Each running call keeps the runtime's session alive, so a Session may be
// closed or dropped while others run; their steps end with an error.
//
// Thread-safe.
// Python: tf.compat.v1.Session.
class Session : public Runnable {
 public:
  struct Options {
    // "" for the runtime in this process, else a server, "grpc://host:port".
    std::string target;
    // A graph of more than 2,000 variables is not optimized unless
    // graph_options.rewrite_options is set: that takes milliseconds for each
    // variable in every plan, a minute for ten thousand.
    // Python: every graph is.
    tensorflow::ConfigProto config;
    ThreadMode thread_mode = ThreadMode::kPool;
    // How many plans (one for each set of fetches, targets and feeds in use)
    // are kept; the one used longest ago goes first. Each owns the kernels of
    // its part of the graph.
    size_t max_plans = 64;
  };

  // Opens a session on `graph` and finalizes the graph while it is open.
  // Errors: those of Graph::Finalize() and of the runtime; kInvalidArgument
  // for a timeout in the config together with ThreadMode::kCallingThread;
  // kFailedPrecondition when no runtime is linked in.
  static absl::StatusOr<std::shared_ptr<Session>> Create(
      GraphPtr graph, const Options& options);
  static absl::StatusOr<std::shared_ptr<Session>> Create(GraphPtr graph);

  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Closes the session: blocked operations of running steps are cancelled, and
  // later runs fail with kFailedPrecondition. Closing again does nothing, and
  // so does closing in a forked child, where the runtime is its parent's.
  // Errors: kDeadlineExceeded when a server does not answer within `patience`;
  // the session is closed all the same.
  absl::Status Close(absl::Duration patience = kSessionClosePatience);
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  const GraphPtr& graph() const { return graph_; }

  // TensorFlow's own session, for what this class does not offer; valid while
  // this object lives.
  tensorflow::Session* engine() const;
  // Whether the runtime is in this process.
  bool is_local() const;
  // Tells this session from every other one, also after its end.
  std::weak_ptr<const void> identity() const;

  // The global step as it is now. Read from the variable itself where that is
  // possible (a resource variable in this process), else by a run.
  // Errors: kFailedPrecondition when the graph has no global step or it has no
  // value yet.
  // Python: tf.compat.v1.train.global_step.
  // `options`, which may be null, are for that run.
  absl::StatusOr<int64_t> GlobalStep(
      const tensorflow::RunOptions* options = nullptr);

  // Whether what the last step made of the variables is not to be kept, as
  // somebody found who looked at it (SessionRunHook::Judge()). Whoever saves by
  // themselves, such as a hook, should leave such a state out; nothing else
  // depends on it.
  bool state_rejected() const {
    return state_rejected_.load(std::memory_order_acquire);
  }
  // Whether somebody looks for that, in every step.
  bool state_judged() const {
    return state_judged_.load(std::memory_order_acquire);
  }
  // For the layers above. That no step can be run any more, if so.
  // Errors: kFailedPrecondition when it is closed, and in a forked child.
  absl::Status CheckUsable() const;
  void set_state_rejected(bool rejected) {
    state_rejected_.store(rejected, std::memory_order_release);
  }
  void set_state_judged(bool judged) {
    state_judged_.store(judged, std::memory_order_release);
  }

  // Runs all `parts` as one step, into `buffers`, which may be used again for
  // the next step and is fastest then. For the layers above: a caller's part
  // comes first, then one for each hook.
  absl::Status RunParts(absl::Span<const internal::StepPart> parts,
                        const tensorflow::RunOptions* options,
                        tensorflow::RunMetadata* metadata,
                        internal::StepBuffers* buffers);

  // Makes what RunParts() needs for `parts` now.
  absl::Status PlanParts(absl::Span<const internal::StepPart> parts);

  RequestPtr Intern(Request request) override;

  // Whether the graph has what `request` names, in types that fit.
  absl::Status CheckRequest(const RequestPtr& request) const;

  // The number of plans made so far, those that were dropped included.
  int64_t plans_made() const {
    return plans_made_.load(std::memory_order_relaxed);
  }

 protected:
  absl::Status RunRequest(const RequestPtr& request,
                          absl::Span<const FeedValue> feeds,
                          const tensorflow::RunOptions* options,
                          tensorflow::RunMetadata* metadata,
                          Receive receive) override;
  absl::Status PlanRequest(const RequestPtr& request) override;

 private:
  friend class StepHold;

  Session(GraphPtr graph, const Options& options,
          std::shared_ptr<internal::Engine> engine);

  absl::StatusOr<std::shared_ptr<const internal::StepPlan>> FindOrMakePlan(
      absl::Span<const internal::StepPart> parts);

  const GraphPtr graph_;
  const Options options_;
  const std::shared_ptr<internal::Engine> engine_;
  std::unique_ptr<internal::GlobalStepReader> global_step_;

  std::atomic<bool> closed_{false};
  std::atomic<bool> state_rejected_{false};
  std::atomic<bool> state_judged_{false};
  std::atomic<int64_t> plans_made_{0};

  Mutex mu_;
  std::unique_ptr<internal::PlanCache> plans_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<std::string, RequestPtr> interned_ ABSL_GUARDED_BY(mu_);
};

// Keeps the variables of a session as they are while it lives: steps of other
// threads that may change variables or tables wait. Those that only fill or
// read queues and iterators do not, so that what feeds a step goes on. The
// thread that holds may step itself, and may hold again. Saver::Save() and
// Saver::Restore() hold while they look at the variables, so that a checkpoint
// is the state between two steps.
//
// Works for steps of this object's session only: other processes on the same
// server, and steps through Session::engine(), are not seen.
//
// Confined: use from one thread.
class StepHold {
 public:
  // Waits for the steps that run, but not longer than `patience`, since one of
  // them may wait for this thread.
  explicit StepHold(Session& session,
                    absl::Duration patience = absl::Seconds(10));
  ~StepHold();
  StepHold(const StepHold&) = delete;
  StepHold& operator=(const StepHold&) = delete;

  // Whether all steps were over in time. Those that were not may still change
  // variables.
  bool complete() const { return complete_; }

 private:
  const std::shared_ptr<internal::Engine> engine_;
  const bool complete_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SESSION_SESSION_H_

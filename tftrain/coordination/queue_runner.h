// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Threads that keep a queue of the graph filled.

#ifndef TFTRAIN_COORDINATION_QUEUE_RUNNER_H_
#define TFTRAIN_COORDINATION_QUEUE_RUNNER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tftrain/base/thread.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"

namespace tftrain {

// Runs the enqueue operations of one queue, each in a thread of its own, until
// the input ends, a stop is requested or an operation fails.
//
// When the input ends (an error of a queue-closed code), the thread ends in
// silence, and the last one closes the queue, so that its consumers see the end
// after the elements that are left. Any other error stops the Coordinator with
// it. When a stop is requested, pending enqueues are cancelled.
//
// Thread-safe. The threads own what they use: the session, the Coordinator and
// this runner's state.
// Python: tf.compat.v1.train.QueueRunner.
class QueueRunner {
 public:
  struct Options {
    // The operations that close the queue, and that close it and cancel
    // pending enqueues. Made when they are not given.
    std::optional<tensorflow::Operation> close_op;
    std::optional<tensorflow::Operation> cancel_op;
    // The errors of an enqueue operation that mean the end of the input.
    std::vector<absl::StatusCode> queue_closed_exception_types = {
        absl::StatusCode::kOutOfRange};
  };

  // A runner as a MetaGraph describes it; one without error types has the
  // default ones.
  // Errors: kInvalidArgument when it names no queue, no enqueue operation or
  // one the graph lacks.
  static absl::StatusOr<std::shared_ptr<QueueRunner>> FromDef(
      const Graph& graph, const tensorflow::QueueRunnerDef& def);

  // A new runner for the queue behind the handle `queue`. The same operation
  // may stand in `enqueue_ops` several times, for as many threads.
  // Errors: kInvalidArgument when `enqueue_ops` or the error types are empty,
  // or kOk is among these; kFailedPrecondition when an operation must be made
  // and the graph is finalized.
  static absl::StatusOr<std::shared_ptr<QueueRunner>> Create(
      Graph& graph, const tensorflow::Output& queue,
      const std::vector<tensorflow::Operation>& enqueue_ops,
      const Options& options);
  static absl::StatusOr<std::shared_ptr<QueueRunner>> Create(
      Graph& graph, const tensorflow::Output& queue,
      const std::vector<tensorflow::Operation>& enqueue_ops) {
    return Create(graph, queue, enqueue_ops, Options());
  }

  // Starts the threads on `session`, registered with `coordinator` (which may
  // be null): one for each enqueue operation, and one that cancels on a stop.
  // Returns none while threads of an earlier call still run on that session.
  // Errors: kResourceExhausted when the system refuses another thread.
  // Python: create_threads(start=True).
  absl::StatusOr<std::vector<std::shared_ptr<Thread>>> Start(
      std::shared_ptr<Session> session,
      std::shared_ptr<Coordinator> coordinator);

  // The name of the queue.
  const std::string& name() const { return def_.queue_name(); }
  const tensorflow::QueueRunnerDef& ToProto() const { return def_; }

  // Errors of threads that had no Coordinator; cleared by the next Start().
  std::vector<absl::Status> exceptions_raised() const;

 private:
  struct State;
  explicit QueueRunner(tensorflow::QueueRunnerDef def);

  const tensorflow::QueueRunnerDef def_;
  const std::shared_ptr<State> state_;
};

// Adds `runner` to a collection, for StartQueueRunners().
// Python: tf.compat.v1.train.add_queue_runner.
absl::Status AddQueueRunner(
    Graph& graph, const QueueRunner& runner,
    std::string_view collection = collection_keys::kQueueRunners);

// Starts every runner of a collection; returns all their threads. Warns when
// there is none.
// Errors: those of QueueRunner; kInvalidArgument for a null session and for a
// damaged collection.
// Python: tf.compat.v1.train.start_queue_runners.
absl::StatusOr<std::vector<std::shared_ptr<Thread>>> StartQueueRunners(
    const std::shared_ptr<Session>& session,
    const std::shared_ptr<Coordinator>& coordinator,
    std::string_view collection = collection_keys::kQueueRunners);

}  // namespace tftrain

#endif  // TFTRAIN_COORDINATION_QUEUE_RUNNER_H_

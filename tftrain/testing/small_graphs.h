// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Graphs for tests.

#ifndef TFTRAIN_TESTING_SMALL_GRAPHS_H_
#define TFTRAIN_TESTING_SMALL_GRAPHS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"

namespace tftrain {

// A model that counts, with these operations and tensors:
//
//   train        adds increment:0 to the global step and 1 to w; in the
//                collection "train_op"
//   increment:0  what one step counts as: 1 unless it is fed
//   w            a float variable, 0 at first, read as w_value:0
//   w_summary:0  w's summary "w", in the collection "summaries"
//   constant:0   1.5
//   pair         an operation with two outputs
//   x:0          a float placeholder; x_summary:0 its summary "x"
//   fill         puts 0, 1, ... 99 into a queue
//   next:0       takes one out of it; next_summary:0 its summary "next"
//   train_next   as train, for a step that takes one out of the queue
//   left:0       how many are in the queue
//
// Ends the program if the graph cannot be built.
inline GraphPtr CountingGraph() {
  namespace ops = tensorflow::ops;
  using tensorflow::Output;
  using tensorflow::Scope;

  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const absl::StatusOr<Variable> step = CreateGlobalStep(*graph);
  CHECK(step.ok()) << step.status();
  const absl::StatusOr<Variable> w = Variable::Create(
      *graph, scope, "w", ops::Const(scope.WithOpName("w_initial"), 0.0f));
  CHECK(w.ok()) << w.status();

  const Output increment = ops::PlaceholderWithDefault(
      scope.WithOpName("increment"),
      ops::Const(scope.WithOpName("one"), int64_t{1}), {});
  const auto add_train = [&](const std::string& name, const Scope& when) {
    const std::vector<tensorflow::Operation> updates = {
        ops::AssignAddVariableOp(when.WithOpName(name + "_step"),
                                 step->handle(), increment)
            .operation,
        ops::AssignAddVariableOp(when.WithOpName(name + "_w"), w->handle(),
                                 ops::Const(scope, 1.0f))
            .operation};
    Group(scope.WithOpName(name), updates);
    CHECK(graph->AddToCollection(collection_keys::kTrainOp, name).ok());
  };
  add_train("train", scope);

  const Output value = ops::Identity(scope.WithOpName("w_value"), w->value());
  ops::ScalarSummary(scope.WithOpName("w_summary"), std::string("w"), value);
  CHECK(
      graph->AddToCollection(collection_keys::kSummaries, "w_summary:0").ok());
  ops::Const(scope.WithOpName("constant"), 1.5f);
  ops::Split(scope.WithOpName("pair"), ops::Const(scope, 0),
             ops::Const(scope, {1.0f, 2.0f}), 2);

  const Output x = ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT,
                                    ops::Placeholder::Shape({}));
  ops::ScalarSummary(scope.WithOpName("x_summary"), std::string("x"), x);

  const ops::FIFOQueue queue(
      scope.WithOpName("queue"), {tensorflow::DT_FLOAT},
      ops::FIFOQueue::Shapes({tensorflow::PartialTensorShape({})}));
  ops::QueueEnqueueMany(
      scope.WithOpName("fill"), queue.handle,
      tensorflow::InputList({Output(ops::Range(scope, ops::Const(scope, 0.0f),
                                               ops::Const(scope, 100.0f),
                                               ops::Const(scope, 1.0f)))}));
  const ops::QueueDequeue next(scope.WithOpName("next"), queue.handle,
                               {tensorflow::DT_FLOAT});
  ops::ScalarSummary(scope.WithOpName("next_summary"), std::string("next"),
                     next.components[0]);
  add_train("train_next", scope.WithControlDependencies({next.operation}));
  ops::QueueSize(scope.WithOpName("left"), queue.handle);
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_SMALL_GRAPHS_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A graph for tests of what happens when training diverges.

#ifndef TFTRAIN_TESTING_DIVERGING_GRAPH_H_
#define TFTRAIN_TESTING_DIVERGING_GRAPH_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/non_finite.h"  // IWYU pragma: export

namespace tftrain {

// A model that a feed can spoil, with these operations and tensors:
//
//   x:0         what a step reads: 1 unless it is fed
//   gradient:0  what a step adds to w: x:0 unless it is fed
//   w           a float variable, 0 at first, read as w_value:0
//   loss:0      w, before the step, plus x:0; losses:0 is the vector of both
//   train       adds gradient:0 to w and 1 to the global step
//
// So w is the number of good steps. NaN in x:0 spoils loss and w in this step,
// NaN in gradient:0 w in this step and the loss in the next.
//
// Ends the program if the graph cannot be built.
inline GraphPtr DivergingGraph() {
  namespace ops = tensorflow::ops;
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const absl::StatusOr<Variable> step = CreateGlobalStep(*graph);
  CHECK(step.ok()) << step.status();
  const absl::StatusOr<Variable> w = Variable::Create(
      *graph, scope, "w", ops::Const(scope.WithOpName("w_initial"), 0.0f));
  CHECK(w.ok()) << w.status();

  const tensorflow::Output value =
      ops::Identity(scope.WithOpName("w_value"), w->value());
  const tensorflow::Output x = ops::PlaceholderWithDefault(
      scope.WithOpName("x"), ops::Const(scope.WithOpName("one"), 1.0f), {});
  const ops::PlaceholderWithDefault gradient(scope.WithOpName("gradient"), x,
                                             {});
  const ops::AddV2 loss(scope.WithOpName("loss"), value, x);
  ops::Stack(scope.WithOpName("losses"), tensorflow::OutputList{value, x});

  const tensorflow::Scope then = scope.WithControlDependencies({loss.z.op()});
  Group(scope.WithOpName("train"),
        {ops::AssignAddVariableOp(then, step->handle(),
                                  ops::Const(scope, int64_t{1}))
             .operation,
         ops::AssignAddVariableOp(then, w->handle(), gradient).operation});
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_DIVERGING_GRAPH_H_

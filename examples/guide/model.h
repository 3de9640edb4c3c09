// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The model of the guide's programs.

#ifndef TFTRAIN_EXAMPLES_GUIDE_MODEL_H_
#define TFTRAIN_EXAMPLES_GUIDE_MODEL_H_

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/tftrain.h"

// Fits w to the numbers fed to x: "x:0", "loss:0", and the operation "train",
// which also counts the global step. The variable w is read as
// "w/Read/ReadVariableOp:0".
inline absl::StatusOr<tftrain::GraphPtr> MakeModel() {
  namespace ops = tensorflow::ops;
  tftrain::GraphPtr graph = tftrain::Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto x = ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT,
                                  ops::Placeholder::Shape({}));
  TF_ASSIGN_OR_RETURN(auto w, tftrain::Variable::Create(
                                  *graph, scope, "w", ops::Const(scope, 0.0f)));
  const auto loss =
      ops::Square(scope.WithOpName("loss"), ops::Sub(scope, w.value(), x));
  tftrain::Optimizer::MinimizeOptions minimize;
  minimize.name = "train";
  TF_ASSIGN_OR_RETURN(minimize.global_step, tftrain::CreateGlobalStep(*graph));
  TF_RETURN_IF_ERROR(tftrain::GradientDescentOptimizer(0.25)
                         .Minimize(*graph, scope, loss, minimize)
                         .status());
  return graph;
}

#endif  // TFTRAIN_EXAMPLES_GUIDE_MODEL_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Operations that make summaries for TensorBoard, and their collection. The
// functions change the graph and need it for their thread alone.

#ifndef TFTRAIN_GRAPH_SUMMARY_OPS_H_
#define TFTRAIN_GRAPH_SUMMARY_OPS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/scope.h"
#include "tftrain/graph/graph.h"

namespace tftrain {

// Adds an operation that summarises the scalar `value` under `tag`, to the
// collection "summaries", and returns the serialized Summary's tensor.
// Errors: those of `scope`; kFailedPrecondition when the graph is finalized.
// Python: tf.compat.v1.summary.scalar.
absl::StatusOr<tensorflow::Output> ScalarSummary(Graph& graph,
                                                 const tensorflow::Scope& scope,
                                                 const std::string& tag,
                                                 tensorflow::Output value);

// The same for the distribution of `values`, a tensor of any shape.
// Python: tf.compat.v1.summary.histogram.
absl::StatusOr<tensorflow::Output> HistogramSummary(
    Graph& graph, const tensorflow::Scope& scope, const std::string& tag,
    tensorflow::Output values);

// One tensor with every summary of the collection "summaries"; nothing when
// the collection is empty.
// Errors: kInvalidArgument when the collection names a tensor the graph lacks.
// Python: tf.compat.v1.summary.merge_all.
absl::StatusOr<std::optional<tensorflow::Output>> MergeAllSummaries(
    Graph& graph);

}  // namespace tftrain

#endif  // TFTRAIN_GRAPH_SUMMARY_OPS_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/graph/summary_ops.h"

#include "absl/strings/ascii.h"
#include "tensorflow/cc/ops/logging_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/collection_keys.h"

namespace tftrain {
namespace {

// The tag as the name of an operation, which may hold less.
std::string OperationName(const std::string& tag) {
  std::string name = tag;
  for (char& c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' &&
        c != '-' && c != '/') {
      c = '_';
    }
  }
  if (name.empty() ||
      !absl::ascii_isalnum(static_cast<unsigned char>(name[0]))) {
    name.insert(0, "summary");
  }
  return name;
}

absl::StatusOr<tensorflow::Output> Collect(Graph& graph,
                                           const tensorflow::Scope& scope,
                                           tensorflow::Output summary) {
  TF_RETURN_IF_ERROR(scope.status());
  TF_RETURN_IF_ERROR(
      graph.AddToCollection(collection_keys::kSummaries, summary.name()));
  return summary;
}

}  // namespace

absl::StatusOr<tensorflow::Output> ScalarSummary(Graph& graph,
                                                 const tensorflow::Scope& scope,
                                                 const std::string& tag,
                                                 tensorflow::Output value) {
  return Collect(graph, scope,
                 tensorflow::ops::ScalarSummary(
                     scope.WithOpName(OperationName(tag)), tag, value));
}

absl::StatusOr<tensorflow::Output> HistogramSummary(
    Graph& graph, const tensorflow::Scope& scope, const std::string& tag,
    tensorflow::Output values) {
  return Collect(graph, scope,
                 tensorflow::ops::HistogramSummary(
                     scope.WithOpName(OperationName(tag)), tag, values));
}

absl::StatusOr<std::optional<tensorflow::Output>> MergeAllSummaries(
    Graph& graph) {
  std::vector<tensorflow::Output> summaries;
  for (const std::string& name :
       graph.GetCollection(collection_keys::kSummaries)) {
    TF_ASSIGN_OR_RETURN(const TensorRef summary, graph.FindTensor(name));
    summaries.push_back(AsOutput(summary));
  }
  if (summaries.empty()) return std::nullopt;
  const tensorflow::Scope scope = graph.scope().NewSubScope("Merge");
  const tensorflow::Output merged = tensorflow::ops::MergeSummary(
      scope.WithOpName("MergeSummary"),
      tensorflow::OutputList(summaries.begin(), summaries.end()));
  TF_RETURN_IF_ERROR(scope.status());
  return merged;
}

}  // namespace tftrain

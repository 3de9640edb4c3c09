// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Shows that an installed tftrain compiles, links and runs in a project that
// says no more than that it wants it: it walks the edges of a graph, whose
// layout must be that of TensorFlow's library, and trains three steps.

#include <cstdlib>
#include <iostream>
#include <memory>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/tftrain.h"

namespace tft = tftrain;
namespace ops = tensorflow::ops;

namespace {

absl::Status Train() {
  const tft::GraphPtr graph = tft::Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  TF_ASSIGN_OR_RETURN(auto w, tft::Variable::Create(*graph, scope, "w",
                                                    ops::Const(scope, 4.0f)));
  const auto loss = ops::L2Loss(scope, w.value());
  tft::Optimizer::MinimizeOptions minimize;
  TF_ASSIGN_OR_RETURN(minimize.global_step, tft::CreateGlobalStep(*graph));
  TF_ASSIGN_OR_RETURN(auto train, tft::GradientDescentOptimizer(0.5).Minimize(
                                      *graph, scope, loss, minimize));

  int edges = 0;
  int inputs = 0;
  for (const tensorflow::Node* node : scope.graph()->nodes()) {
    for (const tensorflow::Edge* edge : node->in_edges()) {
      edges += edge->dst() == node;
    }
    inputs += static_cast<int>(node->in_edges().size());
  }
  if (edges == 0 || edges != inputs) {
    return absl::InternalError("the edges of the graph are not readable");
  }

  tft::SingularMonitoredSession::Options options;
  options.hooks = {tft::StopAtStep(3)};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  TF_ASSIGN_OR_RETURN(auto step, session->Prepare(tft::Target(train)));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary,
                      session->RunUntilStop([&] { return step(); }));
  std::cout << *summary.last_step << " steps were run\n";
  return absl::OkStatus();
}

}  // namespace

int main() {
  const absl::Status status = Train();
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << status << "\n";
  return EXIT_FAILURE;
}

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The smallest program: fits y = w x + b, and keeps a checkpoint of it.

#include <cstdio>
#include <string>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/tftrain.h"

namespace tft = tftrain;
namespace ops = tensorflow::ops;

absl::Status Train(const std::string& run_dir) {
  const tft::GraphPtr graph = tft::Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  TF_ASSIGN_OR_RETURN(auto w, tft::Variable::Create(*graph, scope, "w",
                                                    ops::Const(scope, 0.0f)));
  TF_ASSIGN_OR_RETURN(auto b, tft::Variable::Create(*graph, scope, "b",
                                                    ops::Const(scope, 0.0f)));
  auto x = ops::Const(scope, {0.0f, 1.0f, 2.0f, 3.0f});
  auto y = ops::Const(scope, {1.0f, 3.0f, 5.0f, 7.0f});
  auto guess = ops::Add(scope, ops::Mul(scope, w.value(), x), b.value());
  auto loss = ops::L2Loss(scope, ops::Sub(scope, guess, y));

  tft::Optimizer::MinimizeOptions minimize;
  TF_ASSIGN_OR_RETURN(minimize.global_step, tft::CreateGlobalStep(*graph));
  TF_ASSIGN_OR_RETURN(auto train, tft::GradientDescentOptimizer(0.05).Minimize(
                                      *graph, scope, loss, minimize));

  tft::SingularMonitoredSession::Options options;
  options.checkpoint_dir = run_dir;
  options.hooks = {
      tft::StopAtStep(500),
      tft::SaveCheckpoints(run_dir, tft::Every::Steps(100)),
      tft::LogTensors({{"w", w.value().name()}, {"b", b.value().name()}},
                      tft::Every::Steps(100))};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  TF_ASSIGN_OR_RETURN(auto step, session->Prepare(tft::Target(train)));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary,
                      session->RunUntilStop([&] { return step(); }));
  std::printf("step %ld is saved in %s\n", *summary.last_step, run_dir.c_str());
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  const absl::Status status = Train(argc > 1 ? argv[1] : "runs/smallest");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

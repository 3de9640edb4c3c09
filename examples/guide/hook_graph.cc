// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A hook that adds to the graph, and whose state is saved with the model.

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "examples/guide/model.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"

namespace tft = tftrain;

// Keeps the moving average of a loss in a variable.
class AverageHook : public tft::SessionRunHook {
 public:
  explicit AverageHook(std::string loss) : loss_(std::move(loss)) {}

  // The graph is open for the last time: a variable that is made here is
  // initialised, saved and restored like any other.
  absl::Status Begin(tft::BeginContext& context) override {
    namespace ops = tensorflow::ops;
    tft::Graph& graph = context.graph();
    TF_ASSIGN_OR_RETURN(const tft::TensorRef loss, graph.FindTensor(loss_));
    const tensorflow::Scope scope = graph.scope();
    TF_ASSIGN_OR_RETURN(auto average,
                        tft::Variable::Create(graph, scope, "average",
                                              ops::Const(scope, 0.0f)));
    const auto difference =
        ops::Sub(scope, tft::AsOutput(loss), average.value());
    const ops::AssignAddVariableOp update(scope, average.handle(),
                                          ops::Mul(scope, difference, 0.5f));
    TF_RETURN_IF_ERROR(graph.status());
    average_ = average.value().name();
    update_ = tft::SessionRunArgs(tft::Target(update.operation));
    context.Declare(update_);  // checked now, and planned before the first step
    return absl::OkStatus();
  }
  absl::Status AfterCreateSession(tft::Session& session,
                                  tft::Coordinator&) override {
    return Tell("begins", session);
  }
  // Along with each step, the average is updated.
  absl::StatusOr<tft::SessionRunArgs> BeforeRun(
      tft::SessionRunContext&) override {
    return update_;
  }
  absl::Status End(tft::Session& session) override {
    return Tell("ends", session);
  }

 private:
  absl::Status Tell(const char* when, tft::Session& session) const {
    TF_ASSIGN_OR_RETURN(const float now,
                        session.Run(tft::Fetch<float>(average_)));
    std::printf("%s with the average %g\n", when, now);
    return absl::OkStatus();
  }

  const std::string loss_;
  std::string average_;
  tft::SessionRunArgs update_;
};

// One run of the program: goes on where the last one ended.
absl::Status Train(const std::string& run_dir, int64_t last_step) {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  tft::SingularMonitoredSession::Options options;
  options.checkpoint_dir = run_dir;
  options.hooks = {std::make_shared<AverageHook>("loss:0"),
                   tft::SaveCheckpoints(run_dir, tft::Every::Secs(600)),
                   tft::StopAtStep(last_step)};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  return session
      ->RunUntilStop([&] {
        return session->Run(tft::Target("train"), {{"x:0", 2.0f}});
      })
      .status();
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  absl::Status status = Train(argv[1], 2);
  if (status.ok()) status = Train(argv[1], 4);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

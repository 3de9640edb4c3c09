// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The life of a session, told by a hook that says what is called.

#include <cstdio>
#include <memory>

#include "examples/guide/model.h"

namespace tft = tftrain;

class TellingHook : public tft::SessionRunHook {
 public:
  absl::Status Begin(tft::BeginContext& context) override {
    std::printf("Begin: the graph is open\n");
    context.Declare(loss_);  // asked for in every step, so planned ahead
    return absl::OkStatus();
  }
  absl::Status AfterCreateSession(tft::Session& session,
                                  tft::Coordinator&) override {
    TF_ASSIGN_OR_RETURN(const auto step, session.GlobalStep());
    std::printf("AfterCreateSession: initialised, at step %ld\n", step);
    return absl::OkStatus();
  }
  absl::StatusOr<tft::SessionRunArgs> BeforeRun(
      tft::SessionRunContext&) override {
    return loss_;
  }
  absl::Status AfterRun(tft::SessionRunContext& context,
                        const tft::SessionRunValues& values) override {
    TF_ASSIGN_OR_RETURN(const float loss,
                        values.Get(tft::Fetch<float>("loss:0")));
    TF_ASSIGN_OR_RETURN(const auto step, context.GlobalStep());
    std::printf("AfterRun: step %ld, loss %g\n", step, loss);
    if (loss < 0.2f) context.RequestStop("the loss is small");
    return absl::OkStatus();
  }
  absl::Status End(tft::Session&) override {
    std::printf("End: the session still runs\n");
    return absl::OkStatus();
  }

 private:
  const tft::SessionRunArgs loss_{tft::Fetch<float>("loss:0")};
};

absl::Status Train() {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  tft::SingularMonitoredSession::Options options;
  options.hooks = {std::make_shared<TellingHook>()};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  TF_ASSIGN_OR_RETURN(auto step,
                      session->Prepare(tft::Target("train"), {"x:0"}));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary,
                      session->RunUntilStop([&] { return step(2.0f); }));
  std::printf("Closed: %s (%s)\n",
              std::string(tft::StopReasonName(summary.reason)).c_str(),
              summary.detail.c_str());
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Train();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

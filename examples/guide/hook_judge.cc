// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A hook that judges steps, so that a bad one is never saved.

#include <cstdio>
#include <memory>
#include <string>

#include "examples/guide/model.h"

namespace tft = tftrain;

// Ends training when the loss leaps, before anybody saves what came of it.
class LeapHook : public tft::SessionRunHook {
 public:
  absl::Status Begin(tft::BeginContext& context) override {
    context.Declare(args_);
    return absl::OkStatus();
  }
  bool judges() const override { return true; }
  absl::StatusOr<tft::SessionRunArgs> BeforeRun(
      tft::SessionRunContext&) override {
    return args_;
  }
  // Comes before the AfterRun of every hook, those in front of this one, too.
  absl::StatusOr<tft::StepVerdict> Judge(
      tft::SessionRunContext& context,
      const tft::SessionRunValues& values) override {
    TF_ASSIGN_OR_RETURN(const float now, values.Get(loss_));
    if (now <= 100 * last_) {
      last_ = now;
      return tft::StepVerdict::kGood;
    }
    std::printf("the loss leaps from %g to %g\n", last_, now);
    context.RequestStop("the loss has leapt");
    return tft::StepVerdict::kBad;
  }

 private:
  const tft::Fetch<float> loss_{"loss:0"};
  const tft::SessionRunArgs args_{loss_};
  float last_ = 1e9f;
};

absl::Status Train(const std::string& run_dir) {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  tft::SingularMonitoredSession::Options options;
  options.hooks = {tft::SaveCheckpoints(run_dir, tft::Every::Steps(1)),
                   std::make_shared<LeapHook>()};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  int batches = 0;
  TF_ASSIGN_OR_RETURN(const tft::Summary summary, session->RunUntilStop([&] {
    const float x = ++batches < 4 ? 2.0f : 1000.0f;  // the fourth is a mistake
    return session->Run(tft::Target("train"), {{"x:0", x}});
  }));
  TF_ASSIGN_OR_RETURN(const auto newest, tft::LatestCheckpoint(run_dir));
  std::printf("stopped after step %ld, the newest checkpoint is %s\n",
              *summary.last_step,
              newest->substr(newest->rfind('/') + 1).c_str());
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status status = Train(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

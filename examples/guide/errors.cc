// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What happens when something fails: who is told, and what is kept.

#include <cstdio>
#include <memory>
#include <string>

#include "examples/guide/model.h"

namespace tft = tftrain;

// Fails in its third step, and tells what it hears.
class FailingHook : public tft::SessionRunHook {
 public:
  std::string name() const override { return "FailingHook"; }
  absl::Status AfterRun(tft::SessionRunContext&,
                        const tft::SessionRunValues&) override {
    if (++runs_ < 3) return absl::OkStatus();
    return absl::ResourceExhaustedError("no disk left for the report");
  }
  void OnAbort(const absl::Status& status) override {
    std::printf("OnAbort: %s\n", std::string(status.message()).c_str());
  }

 private:
  int runs_ = 0;
};

absl::Status Train(const std::string& run_dir) {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  tft::SingularMonitoredSession::Options options;
  options.checkpoint_dir = run_dir;
  options.hooks = {tft::SaveCheckpoints(run_dir, tft::Every::Steps(1)),
                   std::make_shared<FailingHook>(), tft::StopAtStep(100)};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  return session
      ->RunUntilStop([&] {
        return session->Run(tft::Target("train"), {{"x:0", 2.0f}});
      })
      .status();
}

int main(int, char** argv) {
  const std::string run_dir = argv[1];
  const absl::Status failed = Train(run_dir);
  std::printf("Error: %s\n", failed.ToString().c_str());

  // Nothing was lost: the next run begins where this one failed.
  const auto newest = tft::LatestCheckpoint(run_dir);
  if (!newest.ok() || !newest->has_value()) return 1;
  std::printf("Kept: %s\n", (*newest)->substr(run_dir.size() + 1).c_str());
  return failed.ok() ? 1 : 0;
}

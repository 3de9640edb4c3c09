// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A training run for tests, told in a few words.

#ifndef TFTRAIN_TESTING_HOOK_DRIVER_H_
#define TFTRAIN_TESTING_HOOK_DRIVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/small_graphs.h"

namespace tftrain {

// Trains a CountingGraph(), or another graph with an operation "train", under
// hooks in a SingularMonitoredSession.
//
// Confined: use from the thread that created it.
//
//   HookDriver run({StopAtStep(2)});
//   ASSERT_THAT(run.Open(), IsOk());
//   EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2)));
//   EXPECT_THAT(run.Close(), IsOk());
class HookDriver {
 public:
  explicit HookDriver(std::vector<HookPtr> hooks,
                      std::string checkpoint_dir = "",
                      GraphPtr graph = CountingGraph())
      : graph_(std::move(graph)) {
    options_.hooks = std::move(hooks);
    options_.checkpoint_dir = std::move(checkpoint_dir);
  }

  SingularMonitoredSession::Options& options() { return options_; }
  const GraphPtr& graph() const { return graph_; }

  // Creates the session.
  absl::Status Open() {
    absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> session =
        SingularMonitoredSession::Create(graph_, options_);
    if (session.ok()) session_ = *std::move(session);
    return session.status();
  }

  // Called after each run of Train(), such as to let time pass.
  void AfterEachRun(std::function<void()> fn) { after_run_ = std::move(fn); }

  // Runs `operation` so many times, or until ShouldStop(), and returns the
  // global step after each run.
  absl::StatusOr<std::vector<int64_t>> Train(
      int runs, const Feeds& feeds = {},
      const std::string& operation = "train") {
    std::vector<int64_t> steps;
    for (int i = 0; i < runs && !session_->ShouldStop(); ++i) {
      const absl::Status status = session_->Run(Target(operation), feeds);
      if (!status.ok()) return status;
      const absl::StatusOr<int64_t> step = session_->raw_session().GlobalStep();
      if (!step.ok()) return step.status();
      steps.push_back(*step);
      if (after_run_ != nullptr) after_run_();
    }
    return steps;
  }

  absl::Status Close(const absl::Status& body = absl::OkStatus()) {
    return session_->Close(body);
  }

  // REQUIRES: Open() succeeded.
  SingularMonitoredSession& session() {
    CHECK(session_ != nullptr);
    return *session_;
  }

 private:
  const GraphPtr graph_;
  SingularMonitoredSession::Options options_;
  std::unique_ptr<SingularMonitoredSession> session_;
  std::function<void()> after_run_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_HOOK_DRIVER_H_

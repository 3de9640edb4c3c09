// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Runs with an EvalHook, for the tests of what it does and what it reads.

#ifndef TFTRAIN_HOOKS_EVAL_HOOK_FOR_TEST_H_
#define TFTRAIN_HOOKS_EVAL_HOOK_FOR_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/eval_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {

// A CountingGraph() with the operation "close", after which its queue ends.
inline GraphPtr GraphWithInput() {
  GraphPtr graph = CountingGraph();
  const auto queue = graph->FindOperation("queue");
  CHECK(queue.ok());
  tensorflow::ops::QueueClose(graph->scope().WithOpName("close"),
                              tensorflow::Output(AsOutput({*queue, 0})));
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// One at a time, in a folder of its own.
//
// Confined: use from the thread that created it.
class EvalHookTest : public ::testing::Test {
 protected:
  EvalHookTest() {
    options_.checkpoint_dir = dir_.path();
    options_.on_result = [this](const EvalResult& result) {
      results_.push_back(result);
      return absl::OkStatus();
    };
  }

  // Evaluates the graph that is trained on the values 1, 2 and 6 of x.
  void EvaluateLive() {
    options_.every = Every::Steps(2);
    options_.metrics = {{"x", "x:0"}, {"w", "w_value:0"}};
    options_.feeds = [](int64_t i) -> absl::StatusOr<Feeds> {
      const std::vector<float> values = {1, 2, 6};
      if (i == 3) return EndOfInputError("three are enough");
      return Feeds{{"x:0", values[static_cast<size_t>(i)]}};
    };
  }

  // Evaluates checkpoints in a graph of their own, with two inputs of a queue.
  void EvaluateCheckpointsAlone() {
    options_.graph = GraphWithInput();
    options_.metrics = {{"w", "w_value:0"}, {"next", "next:0"}};
    options_.init_ops = {"fill"};
    options_.max_steps = 2;
  }

  std::unique_ptr<HookDriver> MakeRun(bool after_checkpoints = false,
                                      std::vector<HookPtr> others = {}) {
    hook_ = std::make_shared<EvalHook>(options_);
    CheckpointSaverHook::Options saves;
    saves.checkpoint_dir = dir_.path();
    saves.save_steps = 2;
    if (after_checkpoints) saves.listeners = {EvaluateCheckpoints(hook_)};
    std::vector<HookPtr> hooks = {std::make_shared<CheckpointSaverHook>(saves),
                                  hook_};
    hooks.insert(hooks.end(), others.begin(), others.end());
    auto run = std::make_unique<HookDriver>(std::move(hooks), dir_.path());
    EXPECT_THAT(run->Open(), IsOk());
    return run;
  }

  std::vector<int64_t> EvaluatedSteps() {
    std::vector<int64_t> steps;
    for (const EvalResult& result : results_) steps.push_back(result.step);
    return steps;
  }

  std::map<std::string, double> MetricsOfStep(int64_t step) {
    return Saver::Metrics(dir_ / absl::StrCat("model.ckpt-", step));
  }

  const TempDir dir_;
  EvalHook::Options options_;
  std::shared_ptr<EvalHook> hook_;
  std::vector<EvalResult> results_;
};

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_EVAL_HOOK_FOR_TEST_H_

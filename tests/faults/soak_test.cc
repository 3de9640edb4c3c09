// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Many sessions, one after the other, in one process: no thread, file or memory
// is left by any of them (reliability, row 27).

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/public/session.h"
#include "tests/faults/process_state.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/stop_at_step_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/sanitizers.h"
#include "tftrain/testing/small_graphs.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;

// A cycle of everything a program may do with a session.
void TrainSaveClose(const std::string& run) {
  const GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  const ops::FIFOQueue queue(scope.WithOpName("small"), {tensorflow::DT_FLOAT},
                             ops::FIFOQueue::Capacity(1));
  const ops::QueueEnqueue enqueue(
      scope.WithOpName("enqueue"), queue,
      tensorflow::InputList({tensorflow::Output(ops::Const(scope, 1.0f))}));
  const auto runner = QueueRunner::Create(
      *graph, queue.handle, {enqueue.operation, enqueue.operation});
  ASSERT_THAT(runner, IsOk());
  ASSERT_THAT(AddQueueRunner(*graph, **runner), IsOk());

  SingularMonitoredSession::Options options;
  options.checkpoint_dir = run;
  StopAtStepHook::Options stop;
  stop.num_steps = 3;
  options.hooks = {SaveCheckpoints(run, Every::Steps(1000)),
                   SaveSummaries(run, Every::Steps(1), "w_summary:0"),
                   std::make_shared<StopAtStepHook>(stop)};
  auto session = SingularMonitoredSession::Create(graph, options);
  ASSERT_THAT(session, IsOk());
  const auto summary = (*session)->RunUntilStop(
      [&] { return (*session)->Run(Target("train")); });
  ASSERT_THAT(summary, IsOk());
  ASSERT_EQ(summary->last_step.value_or(0) % 3, 0);
}

// The same steps with TensorFlow's session alone.
void TrainBare(const tensorflow::GraphDef& graph_def) {
  const std::unique_ptr<tensorflow::Session> session(
      tensorflow::NewSession(tensorflow::SessionOptions()));
  ASSERT_THAT(session->Create(graph_def), IsOk());
  for (const char* op :
       {"global_step/Assign", "w/Assign", "train", "train", "train"}) {
    ASSERT_THAT(session->Run({}, {}, {op}, nullptr), IsOk()) << op;
  }
  ASSERT_THAT(session->Close(), IsOk());
}

// The slope of a line through `values`, per value.
double Slope(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<double>(i);
    sum_x += x;
    sum_y += values[i];
    sum_xx += x * x;
    sum_xy += x * values[i];
  }
  return (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x * sum_x);
}

// Calls `cycle` so many times and returns how many bytes each leaves behind,
// the first third apart, in which caches fill.
double BytesPerCycle(int64_t cycles, const std::function<void()>& cycle) {
  std::vector<double> resident;
  for (int64_t i = 0; i < cycles && !::testing::Test::HasFailure(); ++i) {
    cycle();
    if (i >= cycles / 3) {
      resident.push_back(static_cast<double>(ResidentBytes()));
    }
  }
  return Slope(resident);
}

// How much more than TensorFlow's own session a cycle may leave behind, which
// is more than the measure varies: a page is 4,096 bytes, and resident memory
// counts whole pages.
constexpr double kBytesPerCycle = 1024;

TEST(SoakTest, SessionsLeaveNothingBehind) {  // row 27
  const int64_t cycles = FromEnvironment("TFTRAIN_FAULTS_CYCLES", 300);
  const auto graph_def = CountingGraph()->ToGraphDef();
  ASSERT_THAT(graph_def, IsOk());
  const TempDir run;
  TrainSaveClose(run.path());  // what the runtime keeps is there from now on
  const ProcessState before = ProcessState::Now();

  const double bare = BytesPerCycle(cycles, [&] { TrainBare(**graph_def); });
  const double ours =
      BytesPerCycle(cycles, [&] { TrainSaveClose(run.path()); });

  std::cout << cycles << " cycles leave " << ours
            << " bytes each, those of TensorFlow's session alone " << bare
            << std::endl;
  EXPECT_LE(ProcessState::Settled(before), before);
  if (!kMemoryIsOurs) GTEST_SKIP() << "a sanitizer keeps freed memory";
  EXPECT_LT(ours, std::max(bare, 0.0) + kBytesPerCycle);
}

TEST(SoakTest, ACycleThatKeepsMemoryIsNoticed) {
  std::vector<std::vector<char>> kept;

  const double bytes =
      BytesPerCycle(300, [&] { kept.emplace_back(2 * kBytesPerCycle, 'x'); });

  EXPECT_GT(bytes, kBytesPerCycle);
}

}  // namespace
}  // namespace tftrain

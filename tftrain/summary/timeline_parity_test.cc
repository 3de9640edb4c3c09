// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Timelines of Python TensorFlow and of tftrain for the same steps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tensorflow/cc/framework/scope.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/base/file.h"
#include "tftrain/summary/step_stats_for_test.h"
#include "tftrain/summary/timeline.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::ElementsAreArray;

// Writes a trace for each way of showing it, and prints the maximums.
constexpr char kPythonTimelines[] = R"(
from tensorflow.core.framework import step_stats_pb2
from tensorflow.python.client import timeline
for op_time in ('schedule', 'gpu', 'all'):
  for memory in (False, True):
    for dataflow in (False, True):
      stats = step_stats_pb2.StepStats()
      stats.ParseFromString(open(sys.argv[1], 'rb').read())
      analysis = timeline.Timeline(stats).analyze_step_stats(
          show_dataflow=dataflow, show_memory=memory, op_time=op_time)
      print(analysis.chrome_trace.format_to_string(pretty=True))
      for name, most in sorted(analysis.allocator_maximums.items()):
        print(ascii(name), most.timestamp, most.num_bytes,
              *sorted(most.tensors))
)";

// The same by tftrain; the names of allocators need no more escapes than those
// of Python's ascii().
std::string OurTimelines(const tensorflow::StepStats& stats) {
  std::string text;
  for (const Timeline::OpTime op_time :
       {Timeline::OpTime::kSchedule, Timeline::OpTime::kGpu,
        Timeline::OpTime::kAll}) {
    for (const bool memory : {false, true}) {
      for (const bool dataflow : {false, true}) {
        const auto analysis =
            Timeline(stats).AnalyzeStepStats({dataflow, memory, op_time});
        absl::StrAppend(&text, analysis.chrome_trace, "\n");
        for (const auto& [name, most] : analysis.allocator_maximums) {
          absl::StrAppend(&text, "'", name == "cpü" ? "cp\\xfc" : name, "' ",
                          most.timestamp, " ", most.num_bytes,
                          most.tensors.empty() ? "" : " ",
                          absl::StrJoin(most.tensors, " "), "\n");
        }
      }
    }
  }
  return text;
}

class TimelineParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }

  void ExpectTheSameTimelines(const tensorflow::StepStats& stats) {
    const TempDir dir;
    ASSERT_THAT(WriteFileAtomically(dir / "stats", stats.SerializeAsString()),
                IsOk());
    const auto python = RunPython(kPythonTimelines, {dir / "stats"});
    ASSERT_THAT(python, IsOk());
    const std::vector<std::string> expected = absl::StrSplit(*python, '\n');
    const std::vector<std::string> actual =
        absl::StrSplit(OurTimelines(stats), '\n');
    ASSERT_GT(actual.size(), 100u);
    EXPECT_THAT(actual, ElementsAreArray(expected));
  }
};

// What the runtime records of a step that traces everything.
tensorflow::StepStats RecordStep() {
  namespace ops = tensorflow::ops;
  const tensorflow::Scope scope = tensorflow::Scope::NewRootScope();
  const auto x = ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT);
  const auto split =
      ops::Split(scope.WithOpName("split"), ops::Const(scope, 0), x, 2);
  const auto product = ops::MatMul(scope.WithOpName("product"), split[0],
                                   split[1], ops::MatMul::TransposeB(true));
  ops::Sum(scope.WithOpName("sum"), product, ops::Const(scope, {0, 1}));
  tensorflow::GraphDef graph;
  EXPECT_THAT(scope.ToGraphDef(&graph), IsOk());
  const std::unique_ptr<tensorflow::Session> session(
      tensorflow::NewSession(tensorflow::SessionOptions()));
  EXPECT_THAT(session->Create(graph), IsOk());
  tensorflow::RunOptions options;
  options.set_trace_level(tensorflow::RunOptions::FULL_TRACE);
  tensorflow::Tensor value(tensorflow::DT_FLOAT, {64, 64});
  const auto numbers = value.flat<float>();
  std::fill_n(numbers.data(), numbers.size(), 0.5f);
  std::vector<tensorflow::Tensor> outputs;
  tensorflow::RunMetadata metadata;
  EXPECT_THAT(
      session->Run(options, {{"x", value}}, {"sum"}, {}, &outputs, &metadata),
      IsOk());
  return metadata.step_stats();
}

TEST_F(TimelineParityTest, OfAStepOfTheRuntime) {
  // TLN-01 to TLN-04, TLN-06, TLN-08, TLN-09
  const tensorflow::StepStats stats = RecordStep();
  ASSERT_FALSE(Timeline(stats).AnalyzeStepStats().allocator_maximums.empty());
  ExpectTheSameTimelines(stats);
}

TEST_F(TimelineParityTest, OfTransfersStreamsAndUnknownLabels) {
  // TLN-01 to TLN-11
  ExpectTheSameTimelines(BusyStepStats());
}

TEST_F(TimelineParityTest, PythonReadsWhatWeMakeOfAnyStatistics) {
  std::string traces = "[";
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const tensorflow::StepStats stats = HostileStepStats(seed);
    absl::StrAppend(&traces, seed == 0 ? "" : ",",
                    Timeline(stats).AnalyzeStepStats().chrome_trace);
  }
  const TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir / "traces", traces + "]"), IsOk());

  EXPECT_THAT(RunPython("import json\n"
                        "traces = json.load(open(sys.argv[1]))\n"
                        "print(len(traces), end='')\n"
                        "assert all('ph' in event for trace in traces\n"
                        "           for event in trace['traceEvents'])\n",
                        {dir / "traces"}),
              IsOkAndHolds("100"));
}

}  // namespace
}  // namespace tftrain

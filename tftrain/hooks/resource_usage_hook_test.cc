// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/resource_usage_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "tensorflow/core/framework/allocator.h"
#include "tftrain/hooks/internal/process_usage.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Key;
using ::testing::Le;
using ::testing::Not;

using Scalars = std::map<std::string, float>;

// Runs in which each step takes a second.
class ResourceUsageHookTest : public ::testing::Test {
 protected:
  ResourceUsageHookTest() {
    options_.every_n_steps = 2;
    options_.output_dir = dir_.path();
    options_.clock = &clock_;
  }

  // One session of so many runs, `between` called after each.
  void Train(
      int runs, std::function<void()> between = [] {}) {
    HookDriver run({std::make_shared<ResourceUsageHook>(options_)});
    run.AfterEachRun([this, between] {
      clock_.Advance(absl::Seconds(1));
      between();
    });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  // What was recorded, by step, and which steps.
  std::map<int64_t, Scalars> Recorded() const {
    std::map<int64_t, Scalars> recorded;
    for (const std::string& name : dir_.List()) {
      for (const tensorflow::Event& event : ReadEvents(dir_ / name)) {
        for (const auto& value : event.summary().value()) {
          recorded[event.step()][value.tag()] = value.simple_value();
        }
      }
    }
    return recorded;
  }

  const TempDir dir_;
  FakeClock clock_;
  ResourceUsageHook::Options options_;
};

TEST_F(ResourceUsageHookTest, RecordsTheFirstStepAndThenEverySecond) {
  Train(4);
  const std::map<int64_t, Scalars> recorded = Recorded();
  ASSERT_THAT(recorded, ElementsAre(Key(1), Key(3)));
  EXPECT_THAT(
      recorded.at(3),
      IsSupersetOf({Key("resources/resident_bytes"),
                    Key("resources/peak_resident_bytes"), Key("resources/cpus"),
                    Key("resources/threads"), Key("resources/open_files")}));
  EXPECT_GE(recorded.at(3).at("resources/threads"), 1);
  EXPECT_GE(recorded.at(3).at("resources/peak_resident_bytes"),
            recorded.at(3).at("resources/resident_bytes"));
}

TEST_F(ResourceUsageHookTest, RecordsEverySoManySeconds) {
  options_.every_n_steps.reset();
  options_.every_n_secs = 3;
  Train(7);
  EXPECT_THAT(Recorded(), ElementsAre(Key(1), Key(4), Key(7)));
}

TEST_F(ResourceUsageHookTest, MemoryThatIsAllocatedShowsUp) {
  constexpr size_t kBytes = size_t{128} << 20;
  std::string touched;
  Train(3, [&touched] {
    if (touched.empty()) touched.assign(kBytes, 'x');
  });

  const std::map<int64_t, Scalars> recorded = Recorded();
  const auto grown = [&recorded](const std::string& tag) {
    return recorded.at(3).at(tag) - recorded.at(1).at(tag);
  };
  EXPECT_GE(grown("resources/resident_bytes"), kBytes / 2);
}

TEST_F(ResourceUsageHookTest, ProcessorsAreThoseBusySinceTheMeasurementBefore) {
  // Two seconds of this clock lie between the measurements.
  Train(3, [] {
    const absl::Duration start = internal::ProcessCpuTime();
    while (internal::ProcessCpuTime() < start + absl::Milliseconds(40)) {
    }
  });
  const std::map<int64_t, Scalars> recorded = Recorded();
  EXPECT_THAT(recorded.at(1), Not(Contains(Key("resources/cpus"))))
      << "no time had passed";
  EXPECT_THAT(recorded.at(3).at("resources/cpus"), AllOf(Ge(0.04f), Le(100)));
}

TEST_F(ResourceUsageHookTest, TellsWhatTensorsHoldWhereTheAllocatorCounts) {
  tensorflow::EnableCPUAllocatorStats();
  const GraphPtr graph = CountingGraph();
  const tensorflow::Scope scope = graph->scope();
  constexpr int kBytes = 16 << 20;
  tensorflow::ops::RandomUniform(scope.WithOpName("large"),
                                 tensorflow::ops::Const(scope, {kBytes / 4}),
                                 tensorflow::DT_FLOAT);
  ASSERT_THAT(graph->status(), IsOk());
  HookDriver run({std::make_shared<ResourceUsageHook>(options_)}, "", graph);
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.session().Run(Target("large")), IsOk());
  EXPECT_THAT(run.Close(), IsOk());
  tensorflow::DisableCPUAllocatorStats();

  const Scalars recorded = Recorded().at(0);
  EXPECT_GE(recorded.at("resources/CPU:0/peak_bytes_in_use"), kBytes);
  EXPECT_LE(recorded.at("resources/CPU:0/bytes_in_use"),
            recorded.at("resources/CPU:0/peak_bytes_in_use"));
}

TEST_F(ResourceUsageHookTest, LogsALineUnlessToldNotTo) {
  if (!LogCapture::HoldsInfo()) GTEST_SKIP() << "INFO is not logged";
  const auto is_line = AllOf(
      HasSubstr("INFO: Resources at step 3: "), HasSubstr(" MiB resident, "),
      HasSubstr(" MiB at most, "), HasSubstr(" processors, "),
      HasSubstr(" threads, "), HasSubstr(" open files"));
  options_.output_dir = "";
  LogCapture log;
  Train(3);
  EXPECT_THAT(log.lines(), Contains(is_line).Times(1));

  options_.log = false;
  Train(3);
  EXPECT_THAT(log.lines(), Contains(is_line).Times(1));
  EXPECT_THAT(dir_.List(), IsEmpty());
}

TEST_F(ResourceUsageHookTest, RefusesBadOptions) {
  options_.every_n_secs = 1;
  HookDriver both({std::make_shared<ResourceUsageHook>(options_)});
  EXPECT_THAT(both.Open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));

  HookDriver neither({TellResourceUsage(dir_.path(), Every())});
  EXPECT_THAT(neither.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("neither")));
}

TEST_F(ResourceUsageHookTest, NeedsAGlobalStep) {
  HookDriver run({TellResourceUsage("")}, "", Graph::Create());
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/profiler_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/summary/event_file_writer_cache.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Runs in which each step takes a second.
class ProfilerHookTest : public ::testing::Test {
 protected:
  ProfilerHookTest() {
    options_.save_steps = 2;
    options_.output_dir = dir_.path();
    options_.clock = &clock_;
    hook_ = std::make_shared<ProfilerHook>(options_);
  }

  // One session of so many runs.
  void Train(int runs, const Feeds& feeds = {}) {
    hook_ = std::make_shared<ProfilerHook>(options_);
    HookDriver run({hook_});
    run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  std::vector<std::string> Timelines() const {
    std::vector<std::string> names;
    for (const std::string& name : dir_.List()) {
      if (absl::StartsWith(name, "timeline")) names.push_back(name);
    }
    return names;
  }

  // The run metadata in the event files, as "tag@step".
  std::vector<std::string> Tags() const {
    std::vector<std::string> tags;
    for (const std::string& name : dir_.List()) {
      if (!absl::StrContains(name, "tfevents")) continue;
      for (const tensorflow::Event& event : ReadEvents(dir_ / name)) {
        if (!event.has_tagged_run_metadata()) continue;
        tensorflow::RunMetadata metadata;
        EXPECT_TRUE(metadata.ParseFromString(
            event.tagged_run_metadata().run_metadata()));
        EXPECT_GT(metadata.step_stats().dev_stats_size(), 0);
        tags.push_back(
            absl::StrCat(event.tagged_run_metadata().tag(), "@", event.step()));
      }
    }
    return tags;
  }

  std::string Read(const std::string& name) const {
    return ReadFile(dir_ / name, 1 << 24).value_or("");
  }

  const TempDir dir_;
  FakeClock clock_;
  ProfilerHook::Options options_;
  std::shared_ptr<ProfilerHook> hook_;
};

TEST_F(ProfilerHookTest, NeverTracesTheFirstStep) {
  // PRF-03
  options_.save_steps = 1;
  Train(1);
  EXPECT_THAT(Timelines(), IsEmpty());
  EXPECT_THAT(Tags(), IsEmpty());

  Train(2);
  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json"));
}

TEST_F(ProfilerHookTest, TracesEverySecondStep) {
  // PRF-04, PRF-05, PRF-06
  LogCapture log;
  Train(5);

  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json", "timeline-4.json"));
  EXPECT_THAT(Tags(), ElementsAre("step_2@0", "step_4@0"));
  EXPECT_THAT(Read("timeline-2.json"),
              AllOf(HasSubstr("\"name\": \"train_w\""),
                    HasSubstr("\"op\": \"AssignAddVariableOp\"")));
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("INFO: "),
                                            HasSubstr("timeline-4.json"))));
  }
}

TEST_F(ProfilerHookTest, TracesTheFirstStepAfterSoManySeconds) {
  // PRF-05
  options_.save_steps.reset();
  options_.save_secs = 2;
  Train(6);
  EXPECT_THAT(Timelines(), ElementsAre("timeline-3.json", "timeline-5.json"));
}

TEST_F(ProfilerHookTest, TheTimeOfTheFirstRunDoesNotCount) {
  // PRF-05
  options_.save_steps.reset();
  options_.save_secs = 2;
  hook_ = std::make_shared<ProfilerHook>(options_);
  LambdaHook::Options slow;
  slow.before_run = [this, is_first = true](SessionRunContext&) mutable {
    if (std::exchange(is_first, false)) clock_.Advance(absl::Seconds(60));
    return SessionRunArgs();
  };
  HookDriver run({hook_, std::make_shared<LambdaHook>(slow)});
  run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());

  EXPECT_THAT(Timelines(), ElementsAre("timeline-3.json"));
}

TEST_F(ProfilerHookTest, CountsFromTheStepThatTheSessionBeganWith) {
  // PRF-03
  options_.save_steps = 6;
  Train(5, {{"increment:0", 3}});
  EXPECT_THAT(Timelines(), ElementsAre("timeline-9.json"));
}

TEST_F(ProfilerHookTest, ASecondSessionBeginsAnew) {
  // PRF-08: it is at step 1 where the first one would trace.
  options_.save_steps = 3;
  hook_ = std::make_shared<ProfilerHook>(options_);
  for (const int runs : {2, 4}) {
    HookDriver run({hook_});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }
  EXPECT_THAT(Timelines(), ElementsAre("timeline-3.json"));
}

TEST_F(ProfilerHookTest, OnlyTracedStepsAreTraced) {
  // PRF-04
  class Watching : public SessionRunHook {
   public:
    absl::Status AfterRun(SessionRunContext&,
                          const SessionRunValues& values) override {
      traced.push_back(values.options() != nullptr &&
                       values.options()->trace_level() ==
                           tensorflow::RunOptions::FULL_TRACE);
      return absl::OkStatus();
    }
    std::vector<bool> traced;
  };
  const auto watching = std::make_shared<Watching>();
  HookDriver run({hook_, watching});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());

  EXPECT_THAT(watching->traced, ElementsAre(false, true, false, true));
}

TEST_F(ProfilerHookTest, ShowsDataflowAndMemoryAsAsked) {
  // PRF-04
  Train(2);
  EXPECT_THAT(Read("timeline-2.json"), Not(HasSubstr("\"cat\": \"Memory\"")));

  options_.show_dataflow = false;
  options_.show_memory = true;
  Train(2);
  EXPECT_THAT(Read("timeline-2.json"),
              AllOf(HasSubstr("\"cat\": \"Memory\""),
                    Not(HasSubstr("\"cat\": \"DataFlow\""))));
}

TEST_F(ProfilerHookTest, TheSameStepAgainGetsAnotherTag) {
  // PRF-07
  const auto writer = EventFileWriterCache::Get(dir_.path());
  ASSERT_THAT(writer, IsOk());
  for (int session = 0; session < 3; ++session) Train(2);
  EXPECT_THAT((*writer)->Close(), IsOk());

  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json"));
  EXPECT_THAT(Tags(), ElementsAre("step_2@0", "step_2_2@0", "step_2_3@0"));
}

TEST_F(ProfilerHookTest, ADiskThatFailsIsWarnedOfOnceAndEndsNothing) {
  // No file can take the place of a folder.
  for (const char* const step : {"2", "4"}) {
    ASSERT_THAT(
        CreateFolders(dir_ / absl::StrCat("timeline-", step, ".json/x")),
        IsOk());
  }
  LogCapture log;
  Train(6);

  EXPECT_EQ(hook_->files_failed(), 2);
  EXPECT_THAT(log.lines(),
              Contains(AllOf(HasSubstr("WARNING"), HasSubstr("is lost"),
                             HasSubstr("timeline-2.json")))
                  .Times(1));
  EXPECT_THAT(Read("timeline-6.json"), HasSubstr("traceEvents"));
  EXPECT_THAT(Tags(), ElementsAre("step_2@0", "step_4@0", "step_6@0"));
}

TEST_F(ProfilerHookTest, AFailedStepIsTracedWhenItRunsAgain) {
  std::vector<std::string> calls;
  const auto failing = std::make_shared<RecordingHook>("F", &calls);
  failing->FailIn("BeforeRun", absl::InternalError("injected"), 2);
  HookDriver run({hook_, failing});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json"));
}

TEST_F(ProfilerHookTest, AnotherSessionsTraceIsWaitedFor) {
  // A step of the other session comes whole between the moment in which this
  // one decides to trace and the one in which its run begins.
  const TempDir others;
  HookDriver other({SaveTimelines(others.path(), Every::Steps(1))});
  ASSERT_THAT(other.Open(), IsOk());
  ASSERT_THAT(other.Train(1), IsOk());
  LambdaHook::Options between;
  between.before_run =
      [&](SessionRunContext&) -> absl::StatusOr<SessionRunArgs> {
    EXPECT_THAT(other.Train(1), IsOk());
    return SessionRunArgs();
  };
  HookDriver run({hook_, std::make_shared<LambdaHook>(between)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(other.Train(1), IsOk());
  EXPECT_THAT(other.Close(), IsOk());

  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json"));
  // All but step 3, which came while the second one here was traced.
  EXPECT_THAT(
      others.List(),
      AllOf(Contains("timeline-2.json"), Not(Contains("timeline-3.json")),
            Contains("timeline-4.json"), Contains("timeline-5.json")));
}

TEST_F(ProfilerHookTest, SessionsInTwoThreadsFailNoStep) {
  const auto train = [](const TempDir* dir, absl::Status* result) {
    HookDriver run({SaveTimelines(dir->path(), Every::Steps(1))});
    *result = run.Open();
    if (result->ok()) result->Update(run.Train(300).status());
    if (result->ok()) result->Update(run.Close());
  };
  const TempDir first_dir, second_dir;
  absl::Status first, second;
  std::thread thread([&] { train(&first_dir, &first); });
  train(&second_dir, &second);
  thread.join();

  EXPECT_THAT(first, IsOk());
  EXPECT_THAT(second, IsOk());
  // The one whose steps are not traced may be through before the other is.
  std::vector<std::string> files = first_dir.List();
  const std::vector<std::string> more = second_dir.List();
  files.insert(files.end(), more.begin(), more.end());
  EXPECT_THAT(files, Contains(HasSubstr("timeline-")));
}

TEST_F(ProfilerHookTest, AStepThatFailsLeavesTheProfilerToOthers) {
  HookDriver failing({hook_});
  ASSERT_THAT(failing.Open(), IsOk());
  EXPECT_THAT(failing.Train(1), IsOk());
  // The second one is due.
  EXPECT_FALSE(failing.session().Run(Fetch<float>("x:0")).ok());

  const TempDir others;
  HookDriver run({SaveTimelines(others.path(), Every::Steps(1))});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());

  EXPECT_THAT(others.List(), Contains("timeline-2.json"));
}

TEST_F(ProfilerHookTest, TwoOfOneSessionTraceTheSameStep) {
  const TempDir others;
  HookDriver run({hook_, SaveTimelines(others.path(), Every::Steps(2))});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(2), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Timelines(), ElementsAre("timeline-2.json"));
  EXPECT_THAT(others.List(), Contains("timeline-2.json"));
}

TEST_F(ProfilerHookTest, RefusesBadOptions) {
  const auto open = [this] {
    return HookDriver({std::make_shared<ProfilerHook>(options_)}).Open();
  };
  options_.save_secs = 1;
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));

  HookDriver neither({SaveTimelines(dir_.path(), Every())});
  EXPECT_THAT(neither.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("neither")));

  options_.save_secs.reset();
  ASSERT_THAT(WriteFileAtomically(dir_ / "file", ""), IsOk());
  options_.output_dir = dir_ / "file";
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ProfilerHookTest, NeedsAGlobalStep) {
  // PRF-08
  HookDriver run({hook_}, "", Graph::Create());
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

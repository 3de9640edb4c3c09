// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/profile_window_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/host_info.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/hooks/step_counter_hook.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"
#include "tsl/profiler/lib/profiler_session.h"
#include "tsl/profiler/protobuf/xplane.pb.h"

namespace tftrain {
namespace {

using tensorflow::profiler::XPlane;
using tensorflow::profiler::XSpace;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// What a profile holds of the threads of this process.
struct Profile {
  std::string run;              // The name of its folder.
  std::vector<int64_t> steps;   // In the order of time.
  std::set<std::string> names;  // Of all events.
};

// Runs in which each step takes a second.
class ProfileWindowHookTest : public ::testing::Test {
 protected:
  ProfileWindowHookTest() {
    options_.output_dir = dir_.path();
    options_.num_steps = 2;
    options_.clock = &clock_;
  }

  // One session of so many runs under the hook.
  void Train(int runs, const Feeds& feeds = {}) {
    hook_ = std::make_shared<ProfileWindowHook>(options_);
    HookDriver run({hook_});
    run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  // What is in the place where TensorBoard looks for it.
  std::vector<Profile> Profiles() const {
    std::vector<Profile> profiles;
    const std::string folder = dir_ / "plugins/profile";
    for (const std::string& run :
         ListFolder(folder).value_or(std::vector<std::string>())) {
      const std::string path =
          JoinPath(JoinPath(folder, run),
                   absl::StrCat(tensorflow::port::Hostname(), ".xplane.pb"));
      const auto bytes = ReadFile(path, 1 << 28);
      EXPECT_THAT(bytes, IsOk());
      XSpace space;
      EXPECT_TRUE(space.ParseFromString(*bytes));
      profiles.push_back(Threads(space));
      profiles.back().run = run;
    }
    return profiles;
  }

  // The steps of each profile.
  std::vector<std::vector<int64_t>> Steps() const {
    std::vector<std::vector<int64_t>> steps;
    for (const Profile& profile : Profiles()) steps.push_back(profile.steps);
    return steps;
  }

  static Profile Threads(const XSpace& space) {
    Profile profile;
    std::vector<std::pair<int64_t, int64_t>> steps;
    for (const XPlane& plane : space.planes()) {
      if (plane.name() != "/host:CPU") continue;
      for (const auto& line : plane.lines()) {
        for (const auto& event : line.events()) {
          const std::string& name =
              plane.event_metadata().at(event.metadata_id()).name();
          profile.names.insert(name);
          for (const auto& stat : event.stats()) {
            if (name == "train" &&
                plane.stat_metadata().at(stat.metadata_id()).name() ==
                    "step_num") {
              steps.push_back({event.offset_ps(), stat.int64_value()});
            }
          }
        }
      }
    }
    std::sort(steps.begin(), steps.end());
    for (const auto& [time, step] : steps) profile.steps.push_back(step);
    return profile;
  }

  const TempDir dir_;
  FakeClock clock_{absl::FromCivil(absl::CivilSecond(2026, 3, 4, 5, 6, 7),
                                   absl::LocalTimeZone())};
  ProfileWindowHook::Options options_;
  std::shared_ptr<ProfileWindowHook> hook_;
};

TEST_F(ProfileWindowHookTest, RecordsTheStepsOfTheWindow) {
  // users.md row 55
  options_.first_step = 3;
  options_.num_steps = 4;
  LogCapture log;
  Train(9);

  const std::vector<Profile> profiles = Profiles();
  ASSERT_EQ(profiles.size(), 1u);
  EXPECT_EQ(profiles[0].run, "2026_03_04_05_06_12_step_3");
  EXPECT_THAT(profiles[0].steps, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(profiles[0].names, Contains(HasSubstr("AssignAddVariableOp")));
  EXPECT_EQ(hook_->windows_written(), 1);
  EXPECT_EQ(hook_->windows_lost(), 0);
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), Contains(HasSubstr("_step_3")));
  }
}

TEST_F(ProfileWindowHookTest, AWindowEndsWhenTrainingIsTakenBackBehindIt) {
  options_.first_step = 3;
  options_.num_steps = 9;
  hook_ = std::make_shared<ProfileWindowHook>(options_);
  HookDriver run({hook_});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());
  EXPECT_EQ(hook_->windows_written(), 0);

  EXPECT_THAT(run.Train(1, {{"increment:0", int64_t{-3}}}),
              IsOkAndHolds(ElementsAre(1)));

  EXPECT_EQ(hook_->windows_written(), 1);
  EXPECT_THAT(run.Close(), IsOk());
}

TEST_F(ProfileWindowHookTest, RecordsAgainEverySoManySteps) {
  options_.save_steps = 4;
  Train(9);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(4, 5), ElementsAre(8, 9)));
}

TEST_F(ProfileWindowHookTest, RecordsAgainEverySoManySeconds) {
  options_.save_secs = 3;
  options_.num_steps = 1;
  Train(8);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(5), ElementsAre(8)));
}

TEST_F(ProfileWindowHookTest, StepsThatJumpEndTheWindowWhereTheyLand) {
  options_.first_step = 5;
  options_.num_steps = 3;
  Train(5, {{"increment:0", 2}});
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(5, 7)));
}

TEST_F(ProfileWindowHookTest, ASessionThatBeginsWithinTheWindowRecordsTheRest) {
  const auto begin_at = [this](int64_t step) {
    hook_ = std::make_shared<ProfileWindowHook>(options_);
    HookDriver run({hook_});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.session().raw_session().Run(Target("train"),
                                                {{"increment:0", step}}),
                IsOk());
    EXPECT_THAT(run.Train(3), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  };
  options_.first_step = 5;
  begin_at(5);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(6)));

  begin_at(6);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(6)));
}

TEST_F(ProfileWindowHookTest, TheEndOfTrainingEndsTheWindow) {
  options_.first_step = 3;
  options_.num_steps = 100;
  Train(4);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(3, 4)));
}

TEST_F(ProfileWindowHookTest, AnErrorEndsTheWindowWithoutAProfile) {
  options_.first_step = 1;
  HookDriver run({std::make_shared<ProfileWindowHook>(options_)});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  EXPECT_THAT(run.Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(Profiles(), IsEmpty());

  Train(2);
  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(1, 2)));
}

TEST_F(ProfileWindowHookTest, AProcessHasOneProfiler) {
  options_.first_step = 2;
  const auto other =
      tsl::ProfilerSession::Create(tsl::ProfilerSession::DefaultOptions());
  ASSERT_THAT(other->Status(), IsOk());
  LogCapture log;
  Train(4);

  EXPECT_THAT(Profiles(), IsEmpty());
  EXPECT_EQ(hook_->windows_lost(), 1);
  EXPECT_THAT(log.lines(), Contains(AllOf(HasSubstr("WARNING"),
                                          HasSubstr("profile is lost")))
                               .Times(1));
  // It was not disturbed.
  XSpace space;
  EXPECT_THAT(other->CollectData(&space), IsOk());
  EXPECT_THAT(Threads(space).names, Not(IsEmpty()));
}

TEST_F(ProfileWindowHookTest, ALaterWindowMayFindTheProfilerFree) {
  options_.save_steps = 3;
  auto other =
      tsl::ProfilerSession::Create(tsl::ProfilerSession::DefaultOptions());
  hook_ = std::make_shared<ProfileWindowHook>(options_);
  HookDriver run({hook_});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(4), IsOk());
  other.reset();
  EXPECT_THAT(run.Train(4), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Steps(), ElementsAre(ElementsAre(6, 7)));
  EXPECT_EQ(hook_->windows_lost(), 1);
}

TEST_F(ProfileWindowHookTest, GoesTogetherWithTimelines) {
  // A traced step needs the profiler as well: it comes after the window.
  for (const bool is_first : {true, false}) {
    const TempDir dir;
    options_.output_dir = dir.path();
    options_.first_step = 4;
    hook_ = std::make_shared<ProfileWindowHook>(options_);
    std::vector<HookPtr> hooks = {SaveTimelines(dir.path(), Every::Steps(4))};
    hooks.insert(is_first ? hooks.begin() : hooks.end(), hook_);
    HookDriver run(hooks);
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(10), IsOk());
    EXPECT_THAT(run.Close(), IsOk());

    EXPECT_EQ(hook_->windows_written(), 1);
    EXPECT_THAT(dir.List(), AllOf(Contains("timeline-6.json"),
                                  Contains("timeline-10.json")));
  }
}

TEST_F(ProfileWindowHookTest, AStepThatAnotherSessionTracesIsLeftAlone) {
  // The window would begin just before the run of that step.
  options_.first_step = 2;
  hook_ = std::make_shared<ProfileWindowHook>(options_);
  HookDriver run({hook_});
  ASSERT_THAT(run.Open(), IsOk());
  const TempDir others;
  LambdaHook::Options between;
  between.before_run =
      [&](SessionRunContext& context) -> absl::StatusOr<SessionRunArgs> {
    TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
    if (step == 1) TF_RETURN_IF_ERROR(run.Train(1).status());
    return SessionRunArgs();
  };
  HookDriver other({SaveTimelines(others.path(), Every::Steps(2)),
                    std::make_shared<LambdaHook>(between)});
  ASSERT_THAT(other.Open(), IsOk());

  EXPECT_THAT(other.Train(2), IsOk());
  EXPECT_THAT(other.Close(), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(others.List(), Contains("timeline-2.json"));
  EXPECT_EQ(hook_->windows_lost(), 1);
}

TEST_F(ProfileWindowHookTest, TensorBoardFindsTheFolderByItsEventFile) {
  options_.first_step = 1;
  Train(2);
  Train(2);
  ASSERT_THAT(dir_.List(), ElementsAre(AllOf(HasSubstr("tfevents"),
                                             EndsWith(".profile-empty")),
                                       "plugins"));
  EXPECT_THAT(ReadEvents(dir_ / dir_.List().front()), Contains(testing::_));

  const TempDir other;
  options_.output_dir = other.path();
  hook_ = std::make_shared<ProfileWindowHook>(options_);
  StepCounterHook::Options counting;
  counting.every_n_steps = 1;
  counting.output_dir = other.path();
  counting.clock = &clock_;
  HookDriver run({std::make_shared<StepCounterHook>(counting), hook_});
  run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_EQ(hook_->windows_written(), 1);
}

TEST_F(ProfileWindowHookTest, ADiskThatFailsIsWarnedOfOnceAndEndsNothing) {
  options_.save_steps = 2;
  ASSERT_THAT(WriteFileAtomically(dir_ / "plugins", ""), IsOk());
  LogCapture log;
  Train(7);

  EXPECT_EQ(hook_->windows_written(), 0);
  EXPECT_EQ(hook_->windows_lost(), 3);
  EXPECT_THAT(
      log.lines(),
      Contains(AllOf(HasSubstr("WARNING"), HasSubstr("plugins"))).Times(1));
}

TEST_F(ProfileWindowHookTest, RefusesBadOptions) {
  const auto expect_refused = [](const ProfileWindowHook::Options& options,
                                 const std::string& why) {
    HookDriver run({std::make_shared<ProfileWindowHook>(options)});
    EXPECT_THAT(run.Open(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  expect_refused(options_, "none of first_step");
  options_.first_step = 1;
  auto options = options_;
  options.save_secs = 1;
  expect_refused(options, "several of first_step");
  options = options_;
  options.num_steps = 0;
  expect_refused(options, "0 from \"1\"");
  options = options_;
  options.first_step = 0;
  expect_refused(options, "\"0\" on");
  options = options_;
  options.host_tracer_level = 4;
  expect_refused(options, "\"4\"");
  options = options_;
  options.device_tracer_level = -1;
  expect_refused(options, "\"-1\"");
  options = options_;
  options.first_step.reset();
  options.save_secs = -1;
  expect_refused(options, "-1");
}

TEST_F(ProfileWindowHookTest, NeedsAGlobalStep) {
  HookDriver run({ProfileSteps(dir_.path(), 1)}, "", Graph::Create());
  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

}  // namespace
}  // namespace tftrain

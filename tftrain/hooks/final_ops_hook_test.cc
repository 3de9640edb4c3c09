// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/final_ops_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensorflow/core/platform/errors.h"
#include "tftrain/base/errors.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Trains three steps under the hook.
absl::Status TrainUnder(const std::shared_ptr<FinalOpsHook>& hook) {
  HookDriver run({hook});
  TF_RETURN_IF_ERROR(run.Open());
  EXPECT_FALSE(hook->final_ops_values().has_value());
  EXPECT_THAT(run.Train(3), IsOk());
  EXPECT_FALSE(hook->final_ops_values().has_value());
  return run.Close();
}

TEST(FinalOpsHookTest, KeepsWhatOneTensorIsAtTheEnd) {
  // FOP-01
  auto hook = std::make_shared<FinalOpsHook>(Fetch<float>("w_value:0"));

  EXPECT_THAT(TrainUnder(hook), IsOk());

  ASSERT_TRUE(hook->final_ops_values().has_value());
  EXPECT_THAT(hook->final_ops_values()->Get<float>(), IsOkAndHolds(3.0f));
}

TEST(FinalOpsHookTest, KeepsAListAndAMapThatAreFed) {
  // FOP-01
  auto hook = std::make_shared<FinalOpsHook>(
      Map({{"x", Fetch<float>("x:0")},
           {"both",
            List({Fetch<float>("w_value:0"), Fetch<float>("constant:0")})}}),
      Feeds{{"x:0", 7.0f}});

  EXPECT_THAT(TrainUnder(hook), IsOk());

  const Value& values = *hook->final_ops_values();
  EXPECT_THAT(values.Get<float>({"x"}), IsOkAndHolds(7.0f));
  EXPECT_THAT(values.Get<float>({"both", 0}), IsOkAndHolds(3.0f));
  EXPECT_THAT(values.Get<float>({"both", 1}), IsOkAndHolds(1.5f));
}

TEST(FinalOpsHookTest, RunsWithoutHooks) {
  // FOP-01
  std::vector<std::string> calls;
  auto hook = std::make_shared<FinalOpsHook>(Fetch<float>("w_value:0"));
  HookDriver run({std::make_shared<RecordingHook>("A", &calls), hook,
                  std::make_shared<RecordingHook>("B", &calls)});
  ASSERT_THAT(run.Open(), IsOk());
  calls.clear();

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_TRUE(hook->final_ops_values().has_value());
  EXPECT_THAT(calls, ElementsAre("A.End", "B.End"));
}

TEST(FinalOpsHookTest, RunsNothingWhereNothingIsAskedFor) {
  // FOP-03
  auto hook = std::make_shared<FinalOpsHook>(std::nullopt);

  EXPECT_THAT(TrainUnder(hook), IsOk());

  EXPECT_FALSE(hook->final_ops_values().has_value());
}

TEST(FinalOpsHookTest, AMistypedNameIsToldBeforeTraining) {
  HookDriver run({std::make_shared<FinalOpsHook>(Fetch<float>("acuracy:0"))});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("acuracy")));
}

TEST(FinalOpsHookTest, AnEndOfInputThereIsNoCleanEnd) {
  // FOP-02
  namespace ops = tensorflow::ops;
  auto hook = std::make_shared<FinalOpsHook>(Fetch<float>("batch:0"));
  std::vector<std::string> calls;
  HookDriver run({hook, std::make_shared<RecordingHook>("Later", &calls)});
  const tensorflow::Scope scope = run.graph()->scope();
  const ops::FIFOQueue input(scope, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope.WithOpName("batch"), input.handle,
                    {tensorflow::DT_FLOAT});
  ops::QueueClose(scope.WithOpName("end_input"), input.handle);
  ASSERT_THAT(run.Open(), IsOk());
  ASSERT_THAT(run.session().raw_session().Run(Target("end_input")), IsOk());

  const absl::Status closed = run.Close();

  EXPECT_FALSE(IsCleanStop(closed));
  EXPECT_THAT(closed, StatusIs(absl::StatusCode::kFailedPrecondition,
                               HasSubstr("final ops read the input")));
  EXPECT_FALSE(hook->final_ops_values().has_value());
  EXPECT_THAT(calls, Contains("Later.End"));
}

}  // namespace
}  // namespace tftrain

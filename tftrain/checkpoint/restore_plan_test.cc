// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/restore_plan.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Action = RestorePlan::Action;

// In this process, or on a server, whose other sessions are no concern of it.
Session::Options OnServer(bool on_server) {
  Session::Options options;
  if (on_server) options.target = LocalServerAddress();
  options.config.set_isolate_session_state(on_server);
  return options;
}

// A model whose body was trained under another name, with another head; on a
// server or not.
class RestorePlanTest : public testing::TestWithParam<bool> {
 protected:
  RestorePlanTest() {
    trained_.Set(7);
    prefix_ =
        trained_.saver().Save(trained_.session(), dir_ / "trained").value();
    model_.Set(1);
  }

  std::vector<float> ValueOf(const std::string& name) {
    return model_.session()
        .Run(Fetch<std::vector<float>>(name + "/Read/ReadVariableOp:0"))
        .value();
  }

  Action ActionOf(const RestorePlan& plan, const std::string& name) {
    for (const RestorePlan::Item& item : plan.items) {
      if (item.name == name) return item.action;
    }
    ADD_FAILURE() << "there is no " << name;
    return Action::kExcluded;
  }

  const TempDir dir_;
  UnsyncedFileOps unsynced_;
  Program trained_{Saver::Options(), {"encoder/w", "encoder/b", "old_head"}};
  Program model_{
      Saver::Options(), {"body/w", "body/b", "head"}, {}, OnServer(GetParam())};
  std::string prefix_;
};

INSTANTIATE_TEST_SUITE_P(Sessions, RestorePlanTest, testing::Bool(),
                         [](const auto& on_server) {
                           return on_server.param ? "OnAServer" : "Local";
                         });

TEST_P(RestorePlanTest, TellsAllThatDiffers) {
  const auto plan = model_.saver().PlanRestore(prefix_);

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(ActionOf(*plan, "body/w"), Action::kMissing);
  EXPECT_EQ(ActionOf(*plan, "global_step"), Action::kRestore);
  EXPECT_THAT(plan->extra, ElementsAre("encoder/b", "encoder/w", "old_head"));
  EXPECT_THAT(plan->status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("lacks 3 of 4"), HasSubstr("body/b"),
                             HasSubstr("old_head"))));
  EXPECT_THAT(plan->ToString(),
              AllOf(HasSubstr("global_step: restore, int64 []"),
                    HasSubstr("head: missing"),
                    HasSubstr("old_head: only in the checkpoint")));
}

TEST_P(RestorePlanTest, AWarmStartTakesTheBodyAndLeavesTheRest) {
  RestoreSpec spec;
  spec.include = {"body/.*", "head"};
  spec.exclude = {"head"};
  spec.rename = {{"body/(.*)", "encoder/$1"}};
  ASSERT_THAT(model_.SetAndSave(1, dir_ / "own"), IsOk());

  ASSERT_THAT(model_.saver().Restore(model_.session(), prefix_, spec), IsOk());

  EXPECT_THAT(ValueOf("body/w"), ElementsAre(7, 7));
  EXPECT_THAT(ValueOf("body/b"), ElementsAre(7, 7));
  EXPECT_THAT(ValueOf("head"), ElementsAre(1, 1));
  EXPECT_THAT(model_.session().GlobalStep(), IsOkAndHolds(1));
  // What came of it is in no checkpoint.
  EXPECT_EQ(
      model_.saver().CheckpointOf(model_.session(), dir_ / "own", /*step=*/1),
      std::nullopt);
}

TEST_P(RestorePlanTest, NothingIsSetWhenSomethingDiffers) {
  RestoreSpec spec;
  spec.rename = {{"body/w", "encoder/w"}};
  EXPECT_THAT(model_.saver().Restore(model_.session(), prefix_, spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("body/b"), HasSubstr("head"))));
  EXPECT_THAT(ValueOf("body/w"), ElementsAre(1, 1));

  spec.allow_missing = true;
  EXPECT_THAT(model_.saver().Restore(model_.session(), prefix_, spec), IsOk());
  EXPECT_THAT(ValueOf("body/w"), ElementsAre(7, 7));
  EXPECT_THAT(ValueOf("body/b"), ElementsAre(1, 1));

  spec.allow_extra = false;
  EXPECT_THAT(model_.saver().Restore(model_.session(), prefix_, spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("only the checkpoint has 2")));
}

TEST_P(RestorePlanTest, WhatDoesNotFitMayBeLeft) {
  RestoreSpec spec;
  spec.include = {"body/w", "head"};
  spec.rename = {{"body/w", "global_step"}, {"head", "old_head"}};
  EXPECT_THAT(model_.saver().Restore(model_.session(), prefix_, spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"body/w\" (int64 [], not float [2])")));

  spec.allow_mismatched = true;
  EXPECT_THAT(model_.saver().Restore(model_.session(), prefix_, spec), IsOk());

  EXPECT_THAT(ValueOf("body/w"), ElementsAre(1, 1));
  EXPECT_THAT(ValueOf("head"), ElementsAre(7, 7));
}

TEST_P(RestorePlanTest, APatternThatIsNoneIsRefused) {
  RestoreSpec spec;
  spec.exclude = {"head("};
  EXPECT_THAT(
      model_.saver().PlanRestore(prefix_, spec),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"head(\"")));
}

TEST_P(RestorePlanTest, ThePlanOfAFullRestoreIsClean) {
  const auto plan = trained_.saver().PlanRestore(prefix_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->status, IsOk());
  EXPECT_THAT(plan->extra, IsEmpty());
}

}  // namespace
}  // namespace tftrain

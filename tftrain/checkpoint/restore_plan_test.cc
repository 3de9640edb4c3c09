// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/restore_plan.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Action = RestorePlan::Action;

// A model whose body was trained under another name, with another head.
class RestorePlanTest : public testing::Test {
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
  Program model_{Saver::Options(), {"body/w", "body/b", "head"}};
  std::string prefix_;
};

TEST_F(RestorePlanTest, TellsAllThatDiffers) {
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

TEST_F(RestorePlanTest, AWarmStartTakesTheBodyAndLeavesTheRest) {
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

TEST_F(RestorePlanTest, NothingIsSetWhenSomethingDiffers) {
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

TEST_F(RestorePlanTest, WhatDoesNotFitMayBeLeft) {
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

TEST_F(RestorePlanTest, APatternThatIsNoneIsRefused) {
  RestoreSpec spec;
  spec.exclude = {"head("};
  EXPECT_THAT(
      model_.saver().PlanRestore(prefix_, spec),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"head(\"")));
}

TEST_F(RestorePlanTest, ThePlanOfAFullRestoreIsClean) {
  const auto plan = trained_.saver().PlanRestore(prefix_);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->status, IsOk());
  EXPECT_THAT(plan->extra, IsEmpty());
}

}  // namespace
}  // namespace tftrain

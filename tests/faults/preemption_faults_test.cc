// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// kAborted and kUnavailable from everything that a session calls. A
// SingularMonitoredSession never recovers: code and payload reach the caller
// unchanged, the session stays open where it was open, and can be closed.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/small_graphs.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPayload[] = "test/origin";

MATCHER_P(IsTheLossOf, code, "") {
  return arg.code() == code &&
         absl::StartsWith(arg.message(), "task 3 is lost") &&
         arg.GetPayload(kPayload) == absl::Cord("task 3");
}

class PreemptionFaultsTest : public ::testing::TestWithParam<StatusCode> {
 protected:
  absl::Status Loss() const {
    absl::Status status(GetParam(), "task 3 is lost");
    status.SetPayload(kPayload, absl::Cord("task 3"));
    return status;
  }

  // Three hooks, of which the one at `position` fails in the second run or,
  // in other callbacks, at once.
  std::vector<HookPtr> HooksWithFaultIn(const std::string& callback,
                                        int position) {
    calls_.clear();
    std::vector<HookPtr> hooks;
    for (int i = 0; i < 3; ++i) {
      auto hook =
          std::make_shared<RecordingHook>(absl::StrCat("H", i), &calls_);
      if (i == position) hook->FailIn(callback, Loss(), 2);
      hooks.push_back(hook);
    }
    return hooks;
  }

  absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> Create(
      std::vector<HookPtr> hooks, Scaffold::Options scaffold = {}) {
    SingularMonitoredSession::Options options;
    options.hooks = std::move(hooks);
    options.scaffold = std::make_shared<Scaffold>(std::move(scaffold));
    return SingularMonitoredSession::Create(graph_, options);
  }

  // The session is open, trains on, and is closed as if nothing was.
  void ExpectUsable(SingularMonitoredSession& session) {
    EXPECT_FALSE(session.ShouldStop());
    EXPECT_FALSE(session.closed());
    EXPECT_THAT(session.Run(Target("train")), IsOk());
    EXPECT_THAT(session.Close(), IsOk());
    EXPECT_FALSE(graph_->finalized());
  }

  long Count(const std::string& call) const {
    return std::count(calls_.begin(), calls_.end(), call);
  }

  const GraphPtr graph_ = CountingGraph();
  const Target train_{"train"};
  std::vector<std::string> calls_;
};

TEST_P(PreemptionFaultsTest, InCreationItIsWhatCreateReturns) {  // SMS-13
  for (int position = 0; position < 3; ++position) {
    for (const char* callback : {"Begin", "AfterCreateSession"}) {
      const auto session = Create(HooksWithFaultIn(callback, position));

      EXPECT_THAT(session.status(), IsTheLossOf(GetParam()));
      EXPECT_THAT(session.status().message(),
                  HasSubstr(absl::StrCat("H", position, "::", callback)));
      EXPECT_FALSE(graph_->finalized());
    }
  }
}

TEST_P(PreemptionFaultsTest, InTheInitFn) {  // SMS-13
  Scaffold::Options scaffold;
  scaffold.init_fn = [&](Scaffold&, Session&) { return Loss(); };

  EXPECT_THAT(Create({}, scaffold).status(), IsTheLossOf(GetParam()));
  EXPECT_FALSE(graph_->finalized());
  ASSERT_THAT(Create({}), IsOk());
}

TEST_P(PreemptionFaultsTest, InAStepTheSessionStaysOpen) {  // SMS-13
  for (int position = 0; position < 3; ++position) {
    for (const char* callback : {"BeforeRun", "AfterRun"}) {
      auto session = Create(HooksWithFaultIn(callback, position));
      ASSERT_THAT(session, IsOk());
      EXPECT_THAT((*session)->Run(train_), IsOk());

      const absl::Status status = (*session)->Run(train_);

      EXPECT_THAT(status, IsTheLossOf(GetParam()));
      EXPECT_THAT(status.message(),
                  HasSubstr(absl::StrCat("H", position, "::", callback)));
      ExpectUsable(**session);
      EXPECT_EQ(Count("H0.End") + Count("H1.End") + Count("H2.End"), 3);
    }
  }
}

TEST_P(PreemptionFaultsTest, InEndItIsWhatCloseReturns) {  // SMS-13, SMS-18
  for (int position = 0; position < 3; ++position) {
    auto session = Create(HooksWithFaultIn("End", position));
    ASSERT_THAT(session, IsOk());

    EXPECT_THAT((*session)->Close(), IsTheLossOf(GetParam()));

    EXPECT_TRUE((*session)->closed());
    EXPECT_FALSE(graph_->finalized());
    EXPECT_EQ(Count("H0.End") + Count("H1.End") + Count("H2.End"), 3);
  }
}

TEST_P(PreemptionFaultsTest, InAStepFunctionNothingIsRunAgain) {
  // SMS-33, STEP-08
  auto session = Create({});
  ASSERT_THAT(session, IsOk());
  int calls = 0;

  const absl::Status status =
      (*session)->RunStepFn([&](StepContext&) -> absl::Status {
        ++calls;
        return Loss();
      });

  EXPECT_EQ(status, Loss());
  EXPECT_EQ(calls, 1);
  ExpectUsable(**session);
}

TEST_P(PreemptionFaultsTest, OfTheBodyItIsWhatCloseReturns) {  // SMS-16
  auto session = Create(HooksWithFaultIn("", 0));
  ASSERT_THAT(session, IsOk());

  EXPECT_EQ((*session)->RunUntilStop([&] { return Loss(); }).status(), Loss());

  EXPECT_EQ(Count("H0.OnAbort"), 1);
  EXPECT_EQ(Count("H0.End"), 0);
  EXPECT_FALSE(graph_->finalized());
}

TEST_P(PreemptionFaultsTest, OfAThreadItIsWhatCloseReturns) {
  // SMS-10, SMS-19
  auto session = Create({});
  ASSERT_THAT(session, IsOk());
  Coordinator& coordinator = (*session)->coordinator();
  auto thread = Thread::Start(
      "remote", [&] { coordinator.StopOnError([&] { return Loss(); }); });
  ASSERT_THAT(thread, IsOk());
  coordinator.RegisterThread(*thread);
  ASSERT_TRUE(coordinator.WaitForStop());

  EXPECT_TRUE((*session)->ShouldStop());
  EXPECT_FALSE((*session)->closed());
  EXPECT_THAT((*session)->Run(train_), IsOk());

  EXPECT_EQ((*session)->Close(), Loss());
  EXPECT_FALSE(graph_->finalized());
}

TEST_P(PreemptionFaultsTest, OfAThreadItIsTheCauseOfAFailedStep) {  // R7
  auto session = Create({});
  ASSERT_THAT(session, IsOk());
  (*session)->coordinator().RequestStop(Loss());

  EXPECT_EQ((*session)->Run(Target("no_such_operation")), Loss());

  EXPECT_EQ((*session)->Close(), Loss());
}

TEST_P(PreemptionFaultsTest, InACheckpointListener) {  // SMS-13, CSH-18
  for (const char* callback : {"Begin", "BeforeSave", "AfterSave"}) {
    const TempDir run;
    auto listener = std::make_shared<RecordingListener>("L", &calls_);
    listener->FailIn(callback, Loss());
    CheckpointSaverHook::Options options;
    options.checkpoint_dir = run.path();
    options.save_steps = 1;
    options.listeners = {listener};

    const auto session =
        Create({std::make_shared<CheckpointSaverHook>(options)});

    EXPECT_THAT(session.status(), IsTheLossOf(GetParam())) << callback;
    EXPECT_FALSE(graph_->finalized());
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, PreemptionFaultsTest,
                         ::testing::Values(StatusCode::kAborted,
                                           StatusCode::kUnavailable),
                         [](const auto& test) {
                           return absl::StatusCodeToString(test.param);
                         });

TEST(PreemptionFaultsHarnessTest, AChangedErrorIsNoticed) {
  absl::Status loss = absl::AbortedError("task 3 is lost");
  EXPECT_THAT(loss, Not(IsTheLossOf(StatusCode::kAborted)));  // no payload
  loss.SetPayload(kPayload, absl::Cord("task 3"));
  EXPECT_THAT(loss, IsTheLossOf(StatusCode::kAborted));
  EXPECT_THAT(loss, Not(IsTheLossOf(StatusCode::kUnavailable)));
  EXPECT_THAT(AnnotateBefore(loss, "something"),
              Not(IsTheLossOf(StatusCode::kAborted)));
}

}  // namespace
}  // namespace tftrain

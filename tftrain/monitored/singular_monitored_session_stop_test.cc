// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// How hooks, threads and errors stop a session: what Python divides among the
// wrappers of its session.

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/thread.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {
namespace {

using absl::StatusCode;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class StopTest : public ::testing::Test {
 protected:
  std::shared_ptr<RecordingHook> Hook() {
    return std::make_shared<RecordingHook>("A", &calls_);
  }

  // A session whose first run fails.
  std::shared_ptr<RecordingHook> FailingHook(absl::Status status) {
    auto hook = Hook();
    hook->FailIn("BeforeRun", std::move(status));
    return hook;
  }

  std::vector<std::string> calls_;
};

TEST_F(StopTest, AHookAThreadAndCloseEachStopIt) {  // WRAP-02, WRAP-03
  auto hook = Hook();
  hook->StopAtRun(1);
  HookDriver by_hook({hook});
  ASSERT_THAT(by_hook.Open(), IsOk());
  EXPECT_FALSE(by_hook.session().ShouldStop());
  ASSERT_THAT(by_hook.Train(1), IsOk());
  EXPECT_TRUE(by_hook.session().ShouldStop());
  EXPECT_FALSE(by_hook.session().coordinator().ShouldStop());

  HookDriver by_thread({});
  ASSERT_THAT(by_thread.Open(), IsOk());
  by_thread.session().coordinator().RequestStop();
  EXPECT_TRUE(by_thread.session().ShouldStop());

  HookDriver by_close({});
  ASSERT_THAT(by_close.Open(), IsOk());
  EXPECT_FALSE(by_close.session().ShouldStop());
  ASSERT_THAT(by_close.Close(), IsOk());
  EXPECT_TRUE(by_close.session().ShouldStop());
  EXPECT_THAT(by_close.Close(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_TRUE(by_close.session().ShouldStop());

  EXPECT_THAT(by_hook.Close(), IsOk());
  EXPECT_THAT(by_thread.Close(), IsOk());
}

TEST_F(StopTest, AFailedRunStopsNoThreads) {  // WRAP-06
  HookDriver run({FailingHook(absl::InternalError("once"))});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(1), StatusIs(StatusCode::kInternal));

  EXPECT_FALSE(run.session().coordinator().ShouldStop());
  EXPECT_FALSE(run.session().ShouldStop());
  EXPECT_THAT(run.Train(2), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(run.Close(), IsOk());
}

TEST_F(StopTest, CloseStopsAndJoinsThreadsAndReturnsTheirError) {  // WRAP-08
  HookDriver run({Hook()});
  ASSERT_THAT(run.Open(), IsOk());
  Coordinator& coordinator = run.session().coordinator();
  const auto reader = Thread::Start("reader", [&coordinator] {
    coordinator.WaitForStop();
    coordinator.RequestStop();
  });
  ASSERT_THAT(reader, IsOk());
  coordinator.RegisterThread(*reader);
  const auto writer = Thread::Start("writer", [&coordinator] {
    coordinator.RequestStop(absl::NotFoundError("the writer's"));
  });
  ASSERT_THAT(writer, IsOk());
  coordinator.RegisterThread(*writer);
  (*writer)->Join();

  EXPECT_THAT(run.Close(),
              StatusIs(StatusCode::kNotFound, HasSubstr("the writer's")));

  EXPECT_TRUE((*reader)->done());
  EXPECT_TRUE(run.session().closed());
  EXPECT_FALSE(run.graph()->finalized());
}

TEST_F(StopTest, AThreadThatDoesNotStopIsLeftAfterTheGracePeriod) {  // WRAP-08
  HookDriver run({});
  run.options().stop_grace_period_secs = 0;
  ASSERT_THAT(run.Open(), IsOk());
  std::promise<void> closed;
  const auto straggler =
      Thread::Start("straggler", [&closed] { closed.get_future().wait(); });
  ASSERT_THAT(straggler, IsOk());
  run.session().coordinator().RegisterThread(*straggler);

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_FALSE((*straggler)->done());
  closed.set_value();
  (*straggler)->Join();
}

TEST_F(StopTest, AForkedChildLeavesItsHooksAndThreadsToItsParent) {
  auto run = std::make_unique<HookDriver>(std::vector<HookPtr>{Hook()});
  run->options().stop_grace_period_secs = 3600;
  ASSERT_THAT(run->Open(), IsOk());
  Coordinator& coordinator = run->session().coordinator();
  const auto runner =
      Thread::Start("runner", [&coordinator] { coordinator.WaitForStop(); });
  ASSERT_THAT(runner, IsOk());
  coordinator.RegisterThread(*runner);
  const auto calls = calls_;

  EXPECT_TRUE(HoldsInChild([&] {
    const absl::Status lost = absl::DataLossError("of the child");
    return absl::IsFailedPrecondition(run->session().Run(Target("train"))) &&
           run->session().Close(lost) == lost && run->session().ShouldStop() &&
           absl::IsFailedPrecondition(run->session().Run(Target("train"))) &&
           calls_ == calls;
  }));
  EXPECT_TRUE(HoldsInChild([&] {
    run.reset();
    return calls_ == calls;
  }));

  EXPECT_FALSE((*runner)->done());
  EXPECT_THAT(run->Close(), IsOk());
  EXPECT_EQ(calls_.back(), "A.End");
}

TEST_F(StopTest, TheFirstReasonThatIsGivenIsKept) {
  HookDriver unsaid({});
  ASSERT_THAT(unsaid.Open(), IsOk());
  unsaid.session().coordinator().RequestStop();
  unsaid.session().RequestStop("SIGTERM");
  EXPECT_THAT(unsaid.Close(), IsOk());
  EXPECT_EQ(unsaid.session().summary().detail, "SIGTERM");

  const auto stop = [](StepContext& step) { return step.RequestStop(); };
  HookDriver before({});
  ASSERT_THAT(before.Open(), IsOk());
  before.session().RequestStop("SIGTERM");
  EXPECT_TRUE(IsStopIteration(before.session().RunStepFn(stop)));
  EXPECT_THAT(before.Close(), IsOk());
  EXPECT_EQ(before.session().summary().detail, "SIGTERM");

  HookDriver after({});
  ASSERT_THAT(after.Open(), IsOk());
  EXPECT_TRUE(IsStopIteration(after.session().RunStepFn(stop)));
  after.session().RequestStop("SIGTERM");
  EXPECT_THAT(after.Close(), IsOk());
  EXPECT_THAT(after.session().summary().detail, HasSubstr("step function"));
}

TEST_F(StopTest, AThreadsPreemptionIsTheCauseOfAFailedStep) {
  // WRAP-09, WRAP-14
  HookDriver plain({FailingHook(absl::InternalError("the step's"))});
  ASSERT_THAT(plain.Open(), IsOk());
  plain.session().coordinator().RequestStop(absl::AbortedError("the cause"));
  EXPECT_THAT(plain.session().Run(Target("train")),
              StatusIs(StatusCode::kAborted, HasSubstr("the cause")));
  EXPECT_THAT(plain.Close(), StatusIs(StatusCode::kAborted));

  HookDriver in_function({FailingHook(absl::InternalError("the step's"))});
  ASSERT_THAT(in_function.Open(), IsOk());
  in_function.session().coordinator().RequestStop(
      absl::AbortedError("the cause"));
  EXPECT_THAT(in_function.session().RunStepFn([](StepContext& context) {
    return context.RunWithHooks(Target("train"));
  }),
              StatusIs(StatusCode::kAborted, HasSubstr("the cause")));
  EXPECT_THAT(in_function.Close(), StatusIs(StatusCode::kAborted));
}

TEST_F(StopTest, OtherwiseAFailedStepReturnsItsOwnError) {  // WRAP-09
  HookDriver preempted({FailingHook(absl::UnavailableError("the step's"))});
  ASSERT_THAT(preempted.Open(), IsOk());
  preempted.session().coordinator().RequestStop(absl::AbortedError("other"));
  EXPECT_THAT(preempted.session().Run(Target("train")),
              StatusIs(StatusCode::kUnavailable, HasSubstr("the step's")));
  EXPECT_THAT(preempted.Close(), StatusIs(StatusCode::kAborted));

  HookDriver failed({FailingHook(absl::InternalError("the step's"))});
  ASSERT_THAT(failed.Open(), IsOk());
  failed.session().coordinator().RequestStop(absl::NotFoundError("other"));
  EXPECT_THAT(failed.session().Run(Target("train")),
              StatusIs(StatusCode::kInternal, HasSubstr("the step's")));
  EXPECT_THAT(failed.Close(), StatusIs(StatusCode::kNotFound));
}

TEST_F(StopTest, AStepFunctionsOwnErrorIsItsOwn) {  // STEP-11
  HookDriver run({Hook()});
  ASSERT_THAT(run.Open(), IsOk());
  run.session().coordinator().RequestStop(absl::AbortedError("the cause"));

  EXPECT_THAT(run.session().RunStepFn([](StepContext&) {
    return absl::InternalError("the function's");
  }),
              StatusIs(StatusCode::kInternal, HasSubstr("the function's")));

  EXPECT_THAT(run.Close(), StatusIs(StatusCode::kAborted));
}

TEST_F(StopTest, AGraphWithoutQueueRunnersIsNoWarning) {  // QRN-13
  const LogCapture log;
  HookDriver run({});

  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(log.lines(), Not(Contains(HasSubstr("queue_runners"))));
}

}  // namespace
}  // namespace tftrain

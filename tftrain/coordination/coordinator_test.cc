// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <stdexcept>
#include <utility>

#include "tftrain/base/mutex.h"
#include "tftrain/base/thread.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/holds_in_child.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr absl::StatusCode kInternal = absl::StatusCode::kInternal;

// A door that stays open once opened.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    cv_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(mu_);
    while (!open_) cv_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar cv_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

class CoordinatorTest : public ::testing::Test {
 protected:
  ~CoordinatorTest() override {
    release_->Open();
    for (const auto& thread : started_) thread->Join();
  }

  static Coordinator::Options WithClock(Clock* clock) {
    Coordinator::Options options;
    options.clock = clock;
    return options;
  }

  // Starts a thread without registering it.
  std::shared_ptr<Thread> Start(std::string name, std::function<void()> fn) {
    absl::StatusOr<std::shared_ptr<Thread>> thread =
        Thread::Start(std::move(name), std::move(fn));
    EXPECT_THAT(thread, IsOk());
    started_.push_back(*thread);
    return *thread;
  }

  // Starts and registers a thread.
  std::shared_ptr<Thread> Add(std::string name, std::function<void()> fn) {
    auto thread = Start(std::move(name), std::move(fn));
    coordinator_->RegisterThread(thread);
    return thread;
  }

  // Adds a thread that pays no attention to requests to stop; returns when it
  // waits for the end of the test.
  std::shared_ptr<Thread> AddStubborn(std::string name) {
    Gate waiting;
    auto thread = Add(std::move(name), [&waiting, release = release_] {
      Thread::SetActivity("queue_enqueue");
      waiting.Open();
      release->Pass();
    });
    waiting.Pass();
    return thread;
  }

  // Adds a thread that runs until a stop is requested.
  std::shared_ptr<Thread> AddPolite(std::string name) {
    return Add(std::move(name),
               [coordinator = coordinator_] { coordinator->WaitForStop(); });
  }

  // Joins with a grace period of 120 s of the test's clock, all of which
  // passes.
  absl::Status JoinUntilGraceEnds(Coordinator::JoinOptions options = {}) {
    const auto driver = Start("driver", [this] {
      clock_.AwaitWaiters(1);
      clock_.Advance(absl::Seconds(120));
    });
    const absl::Status status = coordinator_->Join(options);
    driver->Join();
    return status;
  }

  FakeClock clock_;
  const std::shared_ptr<Coordinator> coordinator_ =
      std::make_shared<Coordinator>(WithClock(&clock_));
  const std::shared_ptr<Gate> release_ = std::make_shared<Gate>();
  std::vector<std::shared_ptr<Thread>> started_;
};

TEST_F(CoordinatorTest, StopsWhenRequested) {
  EXPECT_FALSE(coordinator_->ShouldStop());
  EXPECT_FALSE(coordinator_->WaitForStop(absl::ZeroDuration()));

  coordinator_->RequestStop();

  EXPECT_TRUE(coordinator_->ShouldStop());
  EXPECT_TRUE(coordinator_->WaitForStop());
  EXPECT_THAT(coordinator_->status(), IsOk());
}

TEST_F(CoordinatorTest, TellsWhyItWasFirstStopped) {
  EXPECT_EQ(coordinator_->stop_message(), "");

  coordinator_->RequestStop();  // says nothing
  coordinator_->RequestStop(absl::CancelledError("an echo"));
  coordinator_->RequestStop("enough");
  coordinator_->RequestStop("more than enough");

  EXPECT_TRUE(coordinator_->ShouldStop());
  EXPECT_EQ(coordinator_->stop_message(), "enough");
  EXPECT_THAT(coordinator_->Join(), IsOk());
  coordinator_->ClearStop();
  EXPECT_EQ(coordinator_->stop_message(), "");
  coordinator_->RequestStop(EndOfInputError("no more files"));
  EXPECT_EQ(coordinator_->stop_message(), "no more files");
}

TEST_F(CoordinatorTest, MayBeStoppedAnyNumberOfTimes) {
  for (int i = 0; i < 3; ++i) coordinator_->RequestStop();

  EXPECT_TRUE(coordinator_->ShouldStop());
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(CoordinatorTest, WaitForStopEndsAtItsLimit) {
  bool stop = true;
  const auto waiter = Start("waiter", [this, &stop] {
    stop = coordinator_->WaitForStop(absl::Seconds(5));
  });

  clock_.AwaitWaiters(1);
  clock_.Advance(absl::Seconds(5));
  waiter->Join();

  EXPECT_FALSE(stop);
}

TEST_F(CoordinatorTest, WaitForStopEndsWithTheRequest) {
  bool stop = false;
  const auto waiter = Start("waiter", [this, &stop] {
    stop = coordinator_->WaitForStop(absl::Seconds(5));
  });

  clock_.AwaitWaiters(1);
  coordinator_->RequestStop();
  waiter->Join();

  EXPECT_TRUE(stop);
}

// CRD-01; port of testJoinIgnoresOutOfRange.
TEST_F(CoordinatorTest, JoinIgnoresTheEndOfInput) {
  AddPolite("reader");

  coordinator_->RequestStop(EndOfInputError("no more lines"));

  EXPECT_TRUE(coordinator_->ShouldStop());
  EXPECT_THAT(coordinator_->Join(), IsOk());
  EXPECT_THAT(coordinator_->status(), IsOk());
}

// CRD-01: the three kinds of clean stop are told apart.
TEST_F(CoordinatorTest, ForgivesNeitherABadIndexNorStopIteration) {
  for (const absl::Status& error :
       {absl::OutOfRangeError("port 3 of 2"), StopIterationError()}) {
    coordinator_->ClearStop();
    coordinator_->RequestStop(error);
    EXPECT_EQ(coordinator_->Join(), error);
  }
}

// CRD-02; port of testJoinIgnoresMyExceptionType.
TEST(CoordinatorOptionsTest, CleanStopReplacesTheDefault) {
  Coordinator::Options options;
  options.clean_stop = [](const absl::Status& status) {
    return absl::IsNotFound(status);
  };
  Coordinator coordinator(options);

  coordinator.RequestStop(absl::NotFoundError("no more files"));
  EXPECT_THAT(coordinator.Join(), IsOk());

  coordinator.ClearStop();
  coordinator.RequestStop(EndOfInputError("no more lines"));
  EXPECT_EQ(coordinator.Join(), EndOfInputError("no more lines"));
}

// CRD-02: what a session's own coordinator asks for.
TEST(CoordinatorOptionsTest, WithoutACleanStopEveryErrorIsAFailure) {
  Coordinator::Options options;
  options.clean_stop = nullptr;
  Coordinator coordinator(options);

  coordinator.RequestStop(EndOfInputError("no more lines"));

  EXPECT_EQ(coordinator.Join(), EndOfInputError("no more lines"));
}

// CRD-04; ports of testJoinRaiseReportException and -ExcInfo.
TEST_F(CoordinatorTest, JoinReturnsTheFirstErrorReported) {
  LogCapture log;
  const auto first = Add("first", [this] {
    coordinator_->RequestStop(NanLossError("loss is NaN"));
  });
  first->Join();
  Add("second", [this] {
    coordinator_->WaitForStop();
    coordinator_->RequestStop(absl::InternalError("later"));
  });

  const absl::Status status = coordinator_->Join();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               "loss is NaN; also: INTERNAL: later"));
  EXPECT_TRUE(IsNanLoss(status));
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr("INFO: "),
                                               HasSubstr("loss is NaN"))));
  }
}

// CRD-04: cancellation is what stopping does to the other threads.
TEST_F(CoordinatorTest, CancelledThreadsAddNothingToTheError) {
  LogCapture log;
  coordinator_->RequestStop(absl::InternalError("root cause"));
  coordinator_->RequestStop(absl::CancelledError("enqueue was cancelled"));

  EXPECT_EQ(coordinator_->Join(), absl::InternalError("root cause"));
  EXPECT_THAT(log.lines(), Not(Contains(HasSubstr("WARNING"))));
}

// CRD-05.
TEST_F(CoordinatorTest, AnErrorAfterAPlainStopIsDroppedWithAWarning) {
  LogCapture log;
  coordinator_->RequestStop();
  coordinator_->RequestStop(absl::InternalError("too late"));

  EXPECT_THAT(coordinator_->Join(), IsOk());
  EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr("WARNING: "),
                                             HasSubstr("too late"))));
}

// CRD-05.
TEST_F(CoordinatorTest, AnErrorAfterACleanStopIsDroppedToo) {
  coordinator_->RequestStop(EndOfInputError("no more lines"));
  coordinator_->RequestStop(absl::InternalError("too late"));

  EXPECT_THAT(coordinator_->Join(), IsOk());
}

// CRD-06: any status may be reported from anywhere.
TEST_F(CoordinatorTest, AnErrorMadeForTheReportIsStored) {
  coordinator_->RequestStop(absl::InternalError("made here"));

  EXPECT_EQ(coordinator_->status(), absl::InternalError("made here"));
}

// CRD-07; ports of testRequestStopRaisesIfJoined and -ExcInfo.
TEST_F(CoordinatorTest, AnErrorAfterJoinIsLoggedAndReturnedByTheNextJoin) {
  LogCapture log;
  ASSERT_THAT(coordinator_->Join(), IsOk());

  coordinator_->RequestStop();
  coordinator_->RequestStop(EndOfInputError("no more lines"));
  EXPECT_THAT(log.lines(), IsEmpty());
  EXPECT_THAT(coordinator_->Join(), IsOk());

  coordinator_->RequestStop(absl::InternalError("after the end"));
  EXPECT_THAT(log.lines(), ElementsAre(AllOf(HasSubstr("ERROR: "),
                                             HasSubstr("after the end"))));
  EXPECT_EQ(coordinator_->status(), absl::InternalError("after the end"));
  EXPECT_EQ(coordinator_->Join(), absl::InternalError("after the end"));
}

// CRD-08; port of testClearStopClearsExceptionToo.
TEST_F(CoordinatorTest, ClearStopClearsTheErrorToo) {
  coordinator_->RequestStop(absl::InternalError("first"));
  ASSERT_THAT(coordinator_->Join(), StatusIs(kInternal, "first"));

  coordinator_->ClearStop();

  EXPECT_FALSE(coordinator_->ShouldStop());
  EXPECT_FALSE(coordinator_->joined());
  EXPECT_THAT(coordinator_->status(), IsOk());
  EXPECT_THAT(coordinator_->Join(), IsOk());

  coordinator_->ClearStop();
  coordinator_->RequestStop(absl::InternalError("second"));
  EXPECT_THAT(coordinator_->Join(), StatusIs(kInternal, "second"));
}

// CRD-10; port of testJoin.
TEST_F(CoordinatorTest, JoinEndsWhenAllThreadsHaveEnded) {
  std::atomic<int> ended{0};
  Gate gate;
  for (int i = 0; i < 3; ++i) {
    Add("worker", [&] {
      gate.Pass();
      ++ended;
    });
  }
  EXPECT_FALSE(coordinator_->joined());
  const auto opener = Start("opener", [&gate] { gate.Open(); });

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_EQ(ended, 3);
  EXPECT_TRUE(coordinator_->joined());
  EXPECT_FALSE(coordinator_->ShouldStop());
}

// CRD-10: the grace period begins with the request, not with the join.
TEST_F(CoordinatorTest, JoinWaitsWithoutLimitUntilAStopIsRequested) {
  AddPolite("reader");
  const auto requester = Start("requester", [this] {
    clock_.Advance(absl::Hours(1000));
    EXPECT_FALSE(coordinator_->joined());
    coordinator_->RequestStop();
  });

  EXPECT_THAT(coordinator_->Join(), IsOk());
}

// CRD-10; ports of testJoinAllRegistered and testJoinSomeRegistered.
TEST_F(CoordinatorTest, JoinsRegisteredThreadsAndTheOnesGivenEachOnce) {
  std::atomic<int> ended{0};
  const auto count = [&ended] { ++ended; };
  const auto both = Add("both", count);
  Add("registered", count);
  coordinator_->RegisterThread(both);
  Coordinator::JoinOptions options;
  options.threads = {both, Start("given", count)};

  EXPECT_THAT(coordinator_->Join(options), IsOk());

  EXPECT_EQ(ended, 3);
}

// CRD-12; port of testJoinGraceExpires.
TEST_F(CoordinatorTest, JoinNamesTheThreadsThatOutlastTheGracePeriod) {
  AddStubborn("producer");
  const auto reader = AddPolite("reader");
  AddStubborn("logger");
  EXPECT_THAT(coordinator_->LiveThreads(), Contains("\"producer\" in "
                                                    "\"queue_enqueue\""));

  coordinator_->RequestStop();
  reader->Join();

  EXPECT_THAT(
      JoinUntilGraceEnds(),
      StatusIs(absl::StatusCode::kDeadlineExceeded,
               AllOf(HasSubstr("2m"),
                     HasSubstr("\"producer\" in \"queue_enqueue\", \"logger\" "
                               "in \"queue_enqueue\""),
                     Not(HasSubstr("reader")))));
  EXPECT_TRUE(coordinator_->joined());
  EXPECT_THAT(coordinator_->LiveThreads(), IsEmpty());
}

// CRD-12; port of testJoinWithoutGraceExpires.
TEST_F(CoordinatorTest, JoinOnlyLogsTheThreadsIfLiveOnesAreIgnored) {
  AddStubborn("producer");
  coordinator_->RequestStop();
  Coordinator::JoinOptions options;
  options.ignore_live_threads = true;
  LogCapture log;

  EXPECT_THAT(JoinUntilGraceEnds(options), IsOk());

  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(),
                ElementsAre(AllOf(HasSubstr("INFO: "), HasSubstr("producer"))));
  }
}

// CRD-12: forgotten threads do not come back.
TEST_F(CoordinatorTest, ASecondJoinDoesNotWaitForTheSameThreadsAgain) {
  AddStubborn("producer");
  coordinator_->RequestStop();
  ASSERT_THAT(JoinUntilGraceEnds(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  EXPECT_THAT(coordinator_->Join(), IsOk());
}

TEST_F(CoordinatorTest, AThreadRegisteredWhileJoiningIsLeftToTheNextJoin) {
  Add("parent", [this] {
    auto child =
        Thread::Start("child", [release = release_] { release->Pass(); });
    ASSERT_THAT(child, IsOk());
    coordinator_->RegisterThread(*std::move(child));
  });
  started_.back()->Join();
  ASSERT_THAT(coordinator_->LiveThreads(), ElementsAre("\"child\""));

  // The child is registered before the join here, so it is waited for.
  const auto opener = Start("opener", [this] { release_->Open(); });
  EXPECT_THAT(coordinator_->Join(), IsOk());
  EXPECT_THAT(coordinator_->LiveThreads(), IsEmpty());
}

TEST_F(CoordinatorTest, NoGraceMeansNoWaitAndInfiniteGraceNoLimit) {
  const auto producer = AddStubborn("producer");
  coordinator_->RequestStop();
  Coordinator::JoinOptions options;
  options.threads = {producer};
  for (const double secs :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    options.stop_grace_period_secs = secs;
    EXPECT_THAT(coordinator_->Join(options),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
  }

  options.stop_grace_period_secs = std::numeric_limits<double>::infinity();
  const auto opener = Start("opener", [this] { release_->Open(); });
  EXPECT_THAT(coordinator_->Join(options), IsOk());
}

// CRD-13; port of testJoinRaiseReportException.
TEST_F(CoordinatorTest, TheStoredErrorOutranksLiveThreadsAtEveryJoin) {
  const auto producer = AddStubborn("producer");
  coordinator_->RequestStop(absl::InternalError("root cause"));

  EXPECT_EQ(JoinUntilGraceEnds(), absl::InternalError("root cause"));
  EXPECT_EQ(coordinator_->Join(), absl::InternalError("root cause"));
  EXPECT_EQ(coordinator_->Join(), absl::InternalError("root cause"));
}

// CRD-15; port of testJoinRaiseReportExceptionUsingHandler.
TEST_F(CoordinatorTest, StopOnErrorReportsAndGoesOn) {
  bool went_on = false;
  Add("reader", [this, &went_on] {
    coordinator_->StopOnError([] { return absl::InternalError("reading"); });
    went_on = true;
  });

  EXPECT_THAT(coordinator_->Join(), StatusIs(kInternal, "reading"));
  EXPECT_TRUE(went_on);
}

// CRD-15.
TEST_F(CoordinatorTest, StopOnErrorReportsExceptions) {
  coordinator_->StopOnError(
      []() -> absl::Status { throw std::runtime_error("thrown"); });

  EXPECT_THAT(coordinator_->Join(),
              StatusIs(absl::StatusCode::kUnknown, HasSubstr("thrown")));
}

// CRD-15.
TEST_F(CoordinatorTest, StopOnErrorStopsNothingWithoutOne) {
  coordinator_->StopOnError([] { return absl::OkStatus(); });

  EXPECT_FALSE(coordinator_->ShouldStop());
}

// CRD-16.
TEST_F(CoordinatorTest, JoinsThreadsThatKnowNothingOfIt) {
  Gate gate;
  const auto thread = Add("stranger", [&gate] { gate.Pass(); });
  gate.Open();

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_TRUE(thread->done());
}

// CRD-16 and reliability R9: what still runs may go on after the end.
TEST_F(CoordinatorTest, AStragglerOutlivesTheCoordinator) {
  auto coordinator = std::make_shared<Coordinator>(WithClock(&clock_));
  const auto straggler = Start("straggler", [release = release_, coordinator] {
    release->Pass();
    EXPECT_TRUE(coordinator->ShouldStop());
  });
  coordinator->RegisterThread(straggler);
  coordinator->RequestStop();
  Coordinator::JoinOptions options;
  options.stop_grace_period_secs = 0;
  ASSERT_THAT(coordinator->Join(options),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  coordinator.reset();
  release_->Open();
  straggler->Join();
}

// Reliability R9: nothing that it uses is freed before.
TEST_F(CoordinatorTest, AStragglerKeepsWhatItUses) {
  AddStubborn("straggler");
  Add("good", [] {})->JoinFor(absl::InfiniteDuration());
  coordinator_->RequestStop();
  Coordinator::JoinOptions options;
  options.stop_grace_period_secs = 0;
  options.ignore_live_threads = true;
  auto used = std::make_shared<int>();
  const std::weak_ptr<int> lives = used;
  options.kept_by_live_threads = std::move(used);

  EXPECT_THAT(coordinator_->Join(options), IsOk());
  options.kept_by_live_threads.reset();

  EXPECT_FALSE(lives.expired());
  release_->Open();
  for (const auto& thread : started_) thread->Join();
  EXPECT_TRUE(lives.expired());
}

// Reliability R16: user code may call back.
TEST(CoordinatorOptionsTest, CleanStopMayCallTheCoordinator) {
  Coordinator* self = nullptr;
  Coordinator::Options options;
  options.clean_stop = [&self](const absl::Status&) {
    return self->ShouldStop() || !self->status().ok() || self->joined();
  };
  Coordinator coordinator(options);
  self = &coordinator;

  coordinator.RequestStop(absl::InternalError("x"));

  EXPECT_THAT(coordinator.Join(), StatusIs(kInternal));
}

TEST_F(CoordinatorTest, ManyThreadsStopReportAndJoinAtOnce) {
  constexpr int kThreads = 16;
  for (int i = 0; i < kThreads; ++i) {
    Add("worker", [this] {
      coordinator_->StopOnError([this]() -> absl::Status {
        while (!coordinator_->WaitForStop(absl::ZeroDuration())) {
          coordinator_->RequestStop(absl::InternalError("same"));
        }
        return absl::InternalError("same");
      });
    });
  }
  std::vector<std::shared_ptr<Thread>> joiners;
  for (int i = 0; i < 4; ++i) {
    joiners.push_back(Start("joiner", [this] {
      EXPECT_EQ(coordinator_->Join(), absl::InternalError("same"));
    }));
  }

  for (const auto& joiner : joiners) joiner->Join();

  EXPECT_EQ(coordinator_->status(), absl::InternalError("same"));
}

TEST_F(CoordinatorTest, AForkedChildDoesNotWaitForThreadsOfItsParent) {
  Coordinator coordinator;
  auto thread = Thread::Start("of the parent", [&] {
    coordinator.WaitForStop(absl::InfiniteDuration());
  });
  ASSERT_THAT(thread, IsOk());
  coordinator.RegisterThread(*thread);

  EXPECT_TRUE(HoldsInChild([&] {
    coordinator.RegisterThread(*thread);
    const bool stopped_before = coordinator.WaitForStop();
    coordinator.RequestStop(absl::InternalError("of the child"));
    coordinator.RequestStop("the child ends");
    // Nobody waits so long.
    Coordinator::JoinOptions join;
    join.stop_grace_period_secs = 1000;
    return !stopped_before && coordinator.WaitForStop() &&
           coordinator.Join(join).ok() && !coordinator.joined() &&
           coordinator.status().ok() && coordinator.stop_message().empty() &&
           coordinator.LiveThreads().empty();
  }));

  coordinator.RequestStop();
  EXPECT_THAT(coordinator.Join(), IsOk());
}

}  // namespace
}  // namespace tftrain

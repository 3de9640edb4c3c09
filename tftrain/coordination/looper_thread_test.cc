// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/looper_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tftrain/base/mutex.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What happened, and when, in seconds since the start.
class Journal {
 public:
  explicit Journal(Clock* clock) : clock_(clock), start_(clock->Monotonic()) {}

  void Add(const std::string& what) {
    MutexLock lock(mu_);
    entries_.push_back(what);
    changed_.NotifyAll();
  }
  void AddTime() { Add(absl::FormatDuration(clock_->Monotonic() - start_)); }

  void AwaitSize(size_t size) {
    MutexLock lock(mu_);
    while (entries_.size() < size) changed_.Wait(mu_);
  }

  std::vector<std::string> entries() const {
    MutexLock lock(mu_);
    return entries_;
  }

 private:
  Clock* const clock_;
  const absl::Duration start_;
  mutable Mutex mu_;
  CondVar changed_;
  std::vector<std::string> entries_ ABSL_GUARDED_BY(mu_);
};

class LooperThreadTest : public ::testing::Test {
 protected:
  LooperThreadTest() : journal_(&clock_) {
    Coordinator::Options options;
    options.clock = &clock_;
    coordinator_ = std::make_shared<Coordinator>(options);
  }

  static LooperThread::Options Every(double secs) {
    LooperThread::Options options;
    options.timer_interval_secs = secs;
    return options;
  }

  void Loop(const LooperThread::Options& options,
            std::function<absl::Status()> fn) {
    ASSERT_THAT(LooperThread::Loop(coordinator_, options, std::move(fn)),
                IsOk());
  }

  // Notes the time of each call and stops at the call of number `last`.
  std::function<absl::Status()> NoteTimes(size_t last) {
    return [this, last] {
      journal_.AddTime();
      if (journal_.entries().size() == last) coordinator_->RequestStop();
      return absl::OkStatus();
    };
  }

  FakeClock clock_;
  Journal journal_;
  std::shared_ptr<Coordinator> coordinator_;
};

// LPR-02; ports of testTargetArgs, -Kwargs and -MixedArgs: arguments are
// captured.
TEST_F(LooperThreadTest, CallsItsFunctionUntilTheStop) {
  const std::string word = "again";
  int calls = 0;
  Loop({}, [this, word, &calls] {
    journal_.Add(word);
    if (++calls == 3) coordinator_->RequestStop();
    return absl::OkStatus();
  });

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), ElementsAre("again", "again", "again"));
}

// LPR-03.
TEST_F(LooperThreadTest, WithoutAnIntervalCallsFollowEachOther) {
  Loop({}, NoteTimes(3));

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), ElementsAre("0", "0", "0"));
}

// LPR-03.
TEST_F(LooperThreadTest, WithAnIntervalTheFirstCallComesAtOnce) {
  Loop(Every(10), NoteTimes(3));
  journal_.AwaitSize(1);
  for (int i = 0; i < 2; ++i) {
    clock_.AwaitWaiters(1);
    clock_.Advance(absl::Seconds(10));
  }

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), ElementsAre("0", "10s", "20s"));
}

// LPR-03: the ticks missed by a late call are made up for.
TEST_F(LooperThreadTest, LateCallsAreMadeUpForWithoutWaiting) {
  Loop(Every(10), [this, note = NoteTimes(5)] {
    if (journal_.entries().size() == 1) clock_.Advance(absl::Seconds(25));
    return note();
  });
  clock_.AwaitWaiters(1);  // After the first call.
  clock_.Advance(absl::Seconds(10));
  clock_.AwaitWaiters(1);  // After the calls at 35 s.
  clock_.Advance(absl::Seconds(5));

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), ElementsAre("0", "35s", "35s", "35s", "40s"));
}

// LPR-03: the stop is looked for before each call.
TEST_F(LooperThreadTest, DoesNotBeginWhenStoppedBefore) {
  coordinator_->RequestStop();
  Loop({}, NoteTimes(1));
  Loop(Every(10), NoteTimes(1));

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), IsEmpty());
}

// LPR-03.
TEST_F(LooperThreadTest, AStopEndsTheWaitForTheNextCall) {
  Loop(Every(std::numeric_limits<double>::infinity()), NoteTimes(100));
  journal_.AwaitSize(1);

  coordinator_->RequestStop();

  EXPECT_THAT(coordinator_->Join(), IsOk());
  EXPECT_THAT(journal_.entries(), ElementsAre("0"));
}

TEST_F(LooperThreadTest, IsFramedByStartAndStop) {
  LooperThread::Options options;
  options.start_loop = [this] {
    journal_.Add("start");
    return absl::OkStatus();
  };
  options.stop_loop = [this] {
    journal_.Add("stop");
    return absl::OkStatus();
  };
  Loop(options, NoteTimes(3));

  EXPECT_THAT(coordinator_->Join(), IsOk());

  EXPECT_THAT(journal_.entries(), ElementsAre("start", "0", "0", "stop"));
}

TEST_F(LooperThreadTest, AnErrorStopsAllWithoutTheFinalCall) {
  LooperThread::Options options;
  options.stop_loop = [this] {
    journal_.Add("stop");
    return absl::OkStatus();
  };
  Loop(options, [] { return absl::InternalError("no report"); });
  Loop(Every(10), NoteTimes(100));

  EXPECT_THAT(coordinator_->Join(),
              StatusIs(absl::StatusCode::kInternal, "no report"));
  EXPECT_TRUE(coordinator_->ShouldStop());
}

TEST_F(LooperThreadTest, AnErrorAtTheStartMeansNoCall) {
  LooperThread::Options options;
  options.start_loop = [] { return absl::InternalError("no start"); };
  Loop(options, NoteTimes(1));

  EXPECT_THAT(coordinator_->Join(),
              StatusIs(absl::StatusCode::kInternal, "no start"));
  EXPECT_THAT(journal_.entries(), IsEmpty());
}

TEST_F(LooperThreadTest, RefusesIntervalsThatAreNone) {
  for (const double secs : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(LooperThread::Loop(coordinator_, Every(secs), NoteTimes(1)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("timer_interval_secs")));
  }
  EXPECT_THAT(coordinator_->LiveThreads(), IsEmpty());
}

TEST_F(LooperThreadTest, IsRegisteredUnderItsName) {
  LooperThread::Options options = Every(10);
  options.name = "reporter";
  Loop(options, NoteTimes(100));

  EXPECT_THAT(coordinator_->LiveThreads(), ElementsAre("\"reporter\""));

  coordinator_->RequestStop();
  EXPECT_THAT(coordinator_->Join(), IsOk());
}

}  // namespace
}  // namespace tftrain

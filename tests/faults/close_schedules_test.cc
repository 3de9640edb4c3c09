// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Producers that are blocked, fail or end while a session is closed, in random
// order. Reliability R9, R16: Close is bounded by the grace period in every
// state, returns the first cause, and frees nothing that a thread still uses;
// what still runs is named.

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using tensorflow::Output;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

enum class Kind {
  // Threads of queue runners, each kind with a queue of its own.
  kBlocked,        // in a full queue; a stop cancels it
  kStuckInOp,      // a stop does not; closing the session does
  kInClosedQueue,  // fails
  kFailsInOp,
  // Threads that a hook starts and registers with the Coordinator.
  kWaitsForStop,
  kEndsByItself,
  kFails,
  kStuckInUserCode,  // until the test releases it
  kKindCount,
};
constexpr int kKinds = static_cast<int>(Kind::kKindCount);

// How the session is ended.
enum class Ending { kClose, kCloseAfterFailure, kCloseWithError, kDrop };

struct Schedule {
  int threads[kKinds] = {};
  int grace_ms = 0;
  int steps = 0;
  bool has_stopper = false;  // a thread that asks for a stop, at any time
  Ending ending = Ending::kClose;

  int Of(Kind kind) const { return threads[static_cast<int>(kind)]; }
  bool MayFail() const {
    return Of(Kind::kInClosedQueue) + Of(Kind::kFailsInOp) + Of(Kind::kFails) >
           0;
  }
  // A stop that comes first makes stuck threads end before they are stuck.
  bool IsSurelyStuckInOp() const {
    return Of(Kind::kStuckInOp) > 0 && !MayFail() && !has_stopper;
  }
};

Schedule MakeSchedule(RandomSchedule& random) {
  Schedule schedule;
  const int only = random.Below(3 * kKinds);  // one kind now and then
  for (int count = random.Threads(); count > 0; --count) {
    ++schedule.threads[only < kKinds ? only : random.Below(kKinds)];
  }
  schedule.grace_ms = random.Below(15);
  schedule.steps = random.Below(3);
  schedule.has_stopper = random.Below(4) == 0;
  schedule.ending = static_cast<Ending>(random.Below(4));
  return schedule;
}

// A queue with a runner that has `threads` threads, which enqueue `value`;
// returns its handle.
Output AddQueue(Graph& graph, const std::string& name, int threads,
                const Output& value) {
  const tensorflow::Scope scope = graph.scope();
  const ops::FIFOQueue queue(scope.WithOpName(name), {tensorflow::DT_FLOAT},
                             ops::FIFOQueue::Capacity(1));
  const ops::QueueEnqueue enqueue(scope.WithOpName(name + "_enqueue"), queue,
                                  tensorflow::InputList({value}));
  if (threads > 0) {
    const auto runner = QueueRunner::Create(
        graph, queue.handle,
        std::vector<tensorflow::Operation>(static_cast<size_t>(threads),
                                           enqueue.operation));
    CHECK(runner.ok());
    CHECK(AddQueueRunner(graph, **runner).ok());
  }
  return queue.handle;
}

GraphPtr Model(const Schedule& schedule) {
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const Output one = ops::Const(scope.WithOpName("one"), 1.0f);
  AddQueue(*graph, "full", schedule.Of(Kind::kBlocked), one);

  // Says that it runs, and then waits for what never comes.
  const ops::FIFOQueue started(scope, {tensorflow::DT_FLOAT});
  const ops::FIFOQueue never(scope, {tensorflow::DT_FLOAT});
  const ops::QueueEnqueue says(scope, started, tensorflow::InputList({one}));
  const ops::QueueDequeue waits(
      scope.WithControlDependencies(
          std::vector<tensorflow::Operation>{says.operation}),
      never, {tensorflow::DT_FLOAT});
  ops::QueueDequeue(scope.WithOpName("started"), started,
                    {tensorflow::DT_FLOAT});
  AddQueue(*graph, "deep", schedule.Of(Kind::kStuckInOp), waits[0]);

  const Output shut =
      AddQueue(*graph, "shut", schedule.Of(Kind::kInClosedQueue), one);
  ops::QueueClose(scope.WithOpName("shut_now"), shut,
                  ops::QueueClose::CancelPendingEnqueues(true));
  AddQueue(*graph, "bad", schedule.Of(Kind::kFailsInOp),
           ops::CheckNumerics(scope, ops::Log(scope, -1.0f), "injected"));
  ops::NoOp(scope.WithOpName("train"));
  CHECK(graph->status().ok());
  return graph;
}

// What the threads of a hook share with the test.
struct Shared {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  // Of threads that were released after the session was gone.
  std::atomic<int> still_served{0};
};

// Starts the threads that no queue runner has. They hold the session and the
// Coordinator as a hook gets them: by reference.
class ThreadsHook : public SessionRunHook {
 public:
  ThreadsHook(const Schedule& schedule, std::shared_ptr<Shared> shared)
      : schedule_(schedule), shared_(std::move(shared)) {}

  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override {
    if (schedule_.Of(Kind::kInClosedQueue) > 0) {
      TF_RETURN_IF_ERROR(session.Run(Target("shut_now")));
    }
    for (int i = 0; i < schedule_.Of(Kind::kWaitsForStop); ++i) {
      TF_RETURN_IF_ERROR(Start("waits", i, coordinator, [&coordinator] {
        coordinator.WaitForStop();
        return absl::OkStatus();
      }));
    }
    for (int i = 0; i < schedule_.Of(Kind::kEndsByItself); ++i) {
      TF_RETURN_IF_ERROR(
          Start("ends", i, coordinator, [] { return absl::OkStatus(); }));
    }
    for (int i = 0; i < schedule_.Of(Kind::kFails); ++i) {
      TF_RETURN_IF_ERROR(Start("fails", i, coordinator, [i] {
        Yield(i);
        return absl::ResourceExhaustedError("injected failure");
      }));
    }
    for (int i = 0; i < schedule_.Of(Kind::kStuckInUserCode); ++i) {
      auto stuck = std::make_shared<std::promise<void>>();
      TF_RETURN_IF_ERROR(Start(
          "stuck", i, coordinator,
          [shared = shared_, stuck, &session, &coordinator] {
            Thread::SetActivity("a long wait");
            stuck->set_value();
            shared->released.wait();
            if (coordinator.ShouldStop() && session.closed() &&
                absl::IsFailedPrecondition(session.Run(Target("train")))) {
              ++shared->still_served;
            }
            return absl::OkStatus();
          }));
      stuck->get_future().wait();
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Start(const std::string& name, int i,
                            Coordinator& coordinator,
                            std::function<absl::Status()> fn) {
    TF_ASSIGN_OR_RETURN(std::shared_ptr<Thread> thread,
                        Thread::Start(absl::StrCat(name, "-", i, "-"),
                                      [&coordinator, fn = std::move(fn)] {
                                        coordinator.StopOnError(fn);
                                      }));
    coordinator.RegisterThread(std::move(thread));
    return absl::OkStatus();
  }

  const Schedule schedule_;
  const std::shared_ptr<Shared> shared_;
};

// What came of a schedule.
struct Outcome {
  absl::Duration took;
  absl::Status known;  // to the Coordinator before Close was called
  absl::Status closed;
  std::string log;
  long holders_while_stuck = 0;  // of the graph, besides the test
  long holders_at_the_end = 0;
  int still_served = 0;
  ProcessState before;
  ProcessState after;
};

// Everything in `outcome` that breaks a promise; empty when all is well.
std::vector<std::string> Complaints(const Schedule& schedule,
                                    const Outcome& outcome) {
  std::vector<std::string> complaints;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) complaints.push_back(what);
  };
  const int stuck = schedule.Of(Kind::kStuckInUserCode);
  const std::string text(outcome.closed.message());

  expect(
      outcome.took <= absl::Milliseconds(schedule.grace_ms) + absl::Seconds(1),
      "Close is bounded");
  if (schedule.ending != Ending::kDrop) {
    const std::string known(outcome.known.message());
    if (!outcome.known.ok()) {
      expect(outcome.closed.code() == outcome.known.code() &&
                 absl::StartsWith(text, known.substr(0, known.find("; also"))),
             "the first cause is returned");
    } else if (schedule.ending == Ending::kCloseWithError) {
      expect(!outcome.closed.ok(), "the caller's error is returned");
    } else if (!outcome.closed.ok()) {
      expect(schedule.MayFail() &&
                 (absl::StrContains(text, "injected") ||
                  absl::StrContains(text, "queue runner of \"shut\"")),
             "only what happened is told");
    }
  }
  for (int i = 0; i < stuck; ++i) {
    expect(
        absl::StrContains(
            outcome.log, absl::StrCat("\"stuck-", i, "-\" in \"a long wait\"")),
        "each thread that is stuck is named");
  }
  if (schedule.IsSurelyStuckInOp()) {
    expect(absl::StrContains(outcome.log,
                             "\"deep/deep_enqueue\" in \"deep_enqueue"),
           "queue and operation of a stuck producer are named");
  }
  expect((outcome.holders_while_stuck > 0) == (stuck > 0),
         "the session lives as long as threads that use it");
  expect(outcome.still_served == stuck, "what they use answers");
  expect(outcome.holders_at_the_end == 0, "at last the session is freed");
  expect(outcome.after <= outcome.before, "nothing is left behind");
  return complaints;
}

Outcome Play(const Schedule& schedule, RandomSchedule& random) {
  Outcome outcome;
  const GraphPtr graph = Model(schedule);
  auto shared = std::make_shared<Shared>();
  const LogCapture log;
  outcome.before = ProcessState::Now();

  SingularMonitoredSession::Options options;
  options.config.mutable_graph_options()
      ->mutable_rewrite_options()
      ->set_disable_meta_optimizer(true);  // to make many sessions quickly
  options.hooks = {std::make_shared<ThreadsHook>(schedule, shared)};
  options.stop_grace_period_secs = schedule.grace_ms / 1000.0;
  auto session = SingularMonitoredSession::Create(graph, options);
  EXPECT_THAT(session, IsOk());
  std::shared_ptr<Thread> stopper;
  if (schedule.has_stopper) {
    stopper = Thread::Start("stopper", [&, delay = random.Below(10)] {
                Yield(delay);
                (*session)->RequestStop();
              }).value();
  }
  if (schedule.IsSurelyStuckInOp()) {
    for (int i = 0; i < schedule.Of(Kind::kStuckInOp); ++i) {
      EXPECT_THAT((*session)->raw_session().Run(Fetch<float>("started:0")),
                  IsOk());
    }
  }
  for (int i = 0; i < schedule.steps; ++i) {
    EXPECT_THAT((*session)->Run(Target("train")), IsOk());
  }
  if (stopper != nullptr) stopper->Join();
  if (schedule.ending == Ending::kCloseAfterFailure && schedule.MayFail()) {
    (*session)->coordinator().WaitForStop();
  }
  outcome.known = (*session)->coordinator().status();

  const absl::Duration start = Clock::Real()->Monotonic();
  if (schedule.ending == Ending::kCloseWithError) {
    outcome.closed = (*session)->Close(absl::DataLossError("the caller's"));
  } else if (schedule.ending != Ending::kDrop) {
    outcome.closed = (*session)->Close();
  }
  session->reset();
  outcome.took = Clock::Real()->Monotonic() - start;

  // Threads of operations end once the session is closed.
  const int stuck = schedule.Of(Kind::kStuckInUserCode);
  options.hooks.clear();
  ProcessState settled = outcome.before;
  settled.threads += stuck;
  ProcessState::Settled(settled);
  outcome.log = absl::StrJoin(log.lines(), "\n");
  outcome.holders_while_stuck = graph.use_count() - 1;
  shared->release.set_value();
  outcome.after = ProcessState::Settled(outcome.before);
  outcome.still_served = shared->still_served;
  outcome.holders_at_the_end = graph.use_count() - 1;
  return outcome;
}

class CloseSchedulesTest : public ::testing::Test {
 protected:
  // The threads that the runtime keeps are there before anything is counted.
  CloseSchedulesTest() {
    auto session = SingularMonitoredSession::Create(Model(Schedule()));
    CHECK(session.ok());
    CHECK((*session)->Run(Target("train")).ok());
    CHECK((*session)->Close().ok());
  }
};

TEST_F(CloseSchedulesTest, CloseIsBoundedAndTellsTheFirstCause) {
  // R9, R16, QRN-05, QRN-07, QRN-16, SMS-19
  int with_error = 0;
  int with_stuck = 0;
  absl::Duration worst;  // beyond the grace period

  PlaySchedules(1000, [&](uint32_t seed) {
    RandomSchedule random(seed);
    const Schedule schedule = MakeSchedule(random);
    const Outcome outcome = Play(schedule, random);
    EXPECT_THAT(Complaints(schedule, outcome), IsEmpty())
        << absl::StrJoin(schedule.threads, " ") << " threads, ending "
        << static_cast<int>(schedule.ending) << "\nknown: " << outcome.known
        << "\nclosed: " << outcome.closed << "\ntook " << outcome.took << " of "
        << schedule.grace_ms << " ms\nbefore: " << outcome.before
        << "\nafter: " << outcome.after << "\n"
        << outcome.log;
    with_error += !outcome.known.ok();
    with_stuck += schedule.Of(Kind::kStuckInUserCode) > 0;
    worst =
        std::max(worst, outcome.took - absl::Milliseconds(schedule.grace_ms));
  });

  std::cout << with_error << " with an error, " << with_stuck
            << " with threads that are stuck in user code, at most " << worst
            << " beyond the grace period" << std::endl;
}

TEST_F(CloseSchedulesTest, ABrokenPromiseIsNoticed) {
  Schedule schedule;
  ++schedule.threads[static_cast<int>(Kind::kStuckInUserCode)];
  ++schedule.threads[static_cast<int>(Kind::kStuckInOp)];
  RandomSchedule random(1);
  const Outcome kept = Play(schedule, random);
  ASSERT_THAT(Complaints(schedule, kept), IsEmpty()) << kept.log;
  const auto complaints_if = [&](const std::function<void(Outcome*)>& change) {
    Outcome broken = kept;
    change(&broken);
    return Complaints(schedule, broken);
  };

  EXPECT_THAT(complaints_if([](Outcome* o) { o->took = absl::Seconds(1.01); }),
              ElementsAre("Close is bounded"));
  EXPECT_THAT(complaints_if([](Outcome* o) {
                o->known = absl::InternalError("first");
                o->closed = absl::InternalError("other; also: INTERNAL: first");
              }),
              ElementsAre("the first cause is returned"));
  EXPECT_THAT(complaints_if([](Outcome* o) {
                o->closed = absl::InternalError("out of the blue");
              }),
              ElementsAre("only what happened is told"));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->log.clear(); }), SizeIs(2));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->holders_while_stuck = 0; }),
              SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->still_served = 0; }),
              SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->holders_at_the_end = 1; }),
              SizeIs(1));
  EXPECT_THAT(complaints_if(
                  [](Outcome* o) { o->after.threads = o->before.threads + 1; }),
              ElementsAre("nothing is left behind"));
}

}  // namespace
}  // namespace tftrain

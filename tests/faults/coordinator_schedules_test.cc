// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Threads that fail, wait for ever or end while a Coordinator stops and joins
// them, in random order. Reliability R9, R16: Join is bounded by the grace
// period, returns the first cause, and names what still runs. Links no runtime,
// so that ThreadSanitizer sees everything.

#include <future>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/globals.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/process_state.h"
#include "tests/faults/random_schedule.h"
#include "tftrain/coordination/coordinator.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

enum class Kind {
  kWaitsForStop,
  kEndsByItself,
  kFails,
  kThrows,
  kAsksForStop,
  kIsStuck,  // until the test releases it
  kKindCount,
};

// What came of a schedule.
struct Outcome {
  absl::Duration grace;
  absl::Duration took;
  absl::Status known;  // to the Coordinator before Join was called
  absl::Status joined;
  bool may_fail = false;
  std::vector<std::string> stuck;  // names of threads
};

// Everything in `outcome` that breaks a promise; empty when all is well.
std::vector<std::string> Complaints(const Outcome& outcome) {
  std::vector<std::string> complaints;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) complaints.push_back(what);
  };
  const std::string text(outcome.joined.message());
  const std::string known(outcome.known.message());

  expect(outcome.took <= outcome.grace + absl::Seconds(1), "Join is bounded");
  if (!outcome.known.ok()) {
    expect(outcome.joined.code() == outcome.known.code() &&
               absl::StartsWith(text, known.substr(0, known.find("; also"))),
           "the first cause is returned");
  } else if (absl::IsDeadlineExceeded(outcome.joined)) {
    for (const std::string& name : outcome.stuck) {
      expect(absl::StrContains(
                 text, absl::StrCat("\"", name, "\" in \"a long wait\"")),
             "each thread that is stuck is named");
    }
  } else if (outcome.joined.ok()) {
    expect(outcome.stuck.empty(), "threads that are stuck are told");
  } else {
    expect(outcome.may_fail && absl::StrContains(text, "injected"),
           "only what happened is told");
  }
  return complaints;
}

Outcome Play(uint32_t seed) {
  RandomSchedule random(seed);
  auto coordinator = std::make_shared<Coordinator>();
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  const auto alive = std::make_shared<int>();
  std::vector<std::shared_ptr<Thread>> threads;
  std::vector<std::future<void>> waits;
  Outcome outcome;
  outcome.grace = absl::Milliseconds(random.Below(15));

  const int count = random.Threads();
  for (int i = 0; i < count; ++i) {
    const Kind kind =
        static_cast<Kind>(random.Below(static_cast<int>(Kind::kKindCount)));
    const std::string name = absl::StrCat("thread-", i, "-");
    const int delay = random.Below(10);
    if (kind == Kind::kIsStuck) outcome.stuck.push_back(name);
    if (kind == Kind::kFails || kind == Kind::kThrows) outcome.may_fail = true;
    auto started = std::make_shared<std::promise<void>>();
    if (kind == Kind::kIsStuck) waits.push_back(started->get_future());
    auto thread = Thread::Start(name, [=] {
      Coordinator* const user = coordinator.get();
      if (kind == Kind::kIsStuck) Thread::SetActivity("a long wait");
      started->set_value();
      Yield(delay);
      user->StopOnError([&]() -> absl::Status {
        switch (kind) {
          case Kind::kWaitsForStop:
            user->WaitForStop();
            break;
          case Kind::kFails:
            return absl::ResourceExhaustedError("injected failure");
          case Kind::kThrows:
            throw std::runtime_error("injected exception");
          case Kind::kAsksForStop:
            user->RequestStop();
            break;
          case Kind::kIsStuck:
            released.wait();
            EXPECT_TRUE(user->ShouldStop());
            break;
          default:
            break;
        }
        return absl::OkStatus();
      });
    });
    EXPECT_THAT(thread, IsOk());
    coordinator->RegisterThread(*thread);
    threads.push_back(*std::move(thread));
  }

  for (const std::future<void>& is_stuck : waits) is_stuck.wait();
  Yield(random.Below(10));
  outcome.known = coordinator->status();
  if (random.Maybe()) coordinator->RequestStop();
  // Nobody else may stop those that wait for it.
  if (!coordinator->ShouldStop()) coordinator->RequestStop();
  Coordinator::JoinOptions join;
  join.stop_grace_period_secs = absl::ToDoubleSeconds(outcome.grace);
  join.kept_by_live_threads = alive;
  const absl::Duration start = Clock::Real()->Monotonic();
  outcome.joined = coordinator->Join(join);
  outcome.took = Clock::Real()->Monotonic() - start;
  join.kept_by_live_threads.reset();

  // What threads that are stuck use lives as long as they do.
  EXPECT_GE(alive.use_count(), 1 + static_cast<long>(outcome.stuck.size()));
  coordinator.reset();
  release.set_value();
  for (const auto& thread : threads) thread->Join();
  EXPECT_EQ(alive.use_count(), 1);
  return outcome;
}

TEST(CoordinatorSchedulesTest, JoinIsBoundedAndTellsTheFirstCause) {
  // R9, R16, CRD-04, CRD-12
  absl::SetMinLogLevel(absl::LogSeverityAtLeast::kFatal);  // much is logged
  Play(0);  // a first thread may bring a sanitizer's own along
  const ProcessState before = ProcessState::Now();
  int with_error = 0;
  int with_stuck = 0;

  PlaySchedules(2000, [&](uint32_t seed) {
    const Outcome outcome = Play(seed);
    EXPECT_THAT(Complaints(outcome), IsEmpty())
        << "known: " << outcome.known << "\njoined: " << outcome.joined
        << "\nstuck: " << absl::StrJoin(outcome.stuck, ", ") << "\ntook "
        << outcome.took << " of " << outcome.grace;
    with_error += !outcome.known.ok();
    with_stuck += !outcome.stuck.empty();
  });

  EXPECT_LE(ProcessState::Settled(before), before);
  std::cout << with_error << " with an error, " << with_stuck
            << " with threads that are stuck" << std::endl;
}

TEST(CoordinatorSchedulesTest, ABrokenPromiseIsNoticed) {
  Outcome late;
  late.grace = absl::Milliseconds(50);
  late.took = absl::Milliseconds(1051);
  EXPECT_THAT(Complaints(late), SizeIs(1));

  Outcome lost;
  lost.known = absl::InternalError("first");
  lost.joined = absl::InternalError("second; also: INTERNAL: first");
  EXPECT_THAT(Complaints(lost), SizeIs(1));

  Outcome silent;
  silent.stuck = {"a", "b"};
  EXPECT_THAT(Complaints(silent), SizeIs(1));
  silent.joined = absl::DeadlineExceededError("\"a\" in \"a long wait\"");
  EXPECT_THAT(Complaints(silent), SizeIs(1));

  Outcome invented;
  invented.joined = absl::InternalError("out of the blue");
  EXPECT_THAT(Complaints(invented), SizeIs(1));
}

}  // namespace
}  // namespace tftrain

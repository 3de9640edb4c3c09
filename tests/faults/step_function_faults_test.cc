// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Step functions that swallow what a step tells them, and runs after a stop.
// Reliability R11: a request to stop sticks; R6: an error is no ending.

#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// What happens in one step.
enum class What {
  kAbortedBeforeRun,
  kUnavailableAfterRun,
  kNanLoss,
  kEndOfInput,
  kHookStops,
  kStepContextStops,
  kSessionStops,
  kCoordinatorStops,
  kWhatCount,
};

// How the function runs the step, and what it makes of what it was told.
enum class Way { kRunStepFn, kRun, kPrepared, kWayCount };
enum class Answer { kOk, kAnotherError, kThrows, kAnswerCount };

struct Case {
  What what = What::kAbortedBeforeRun;
  int at_run = 1;
  Way way = Way::kRunStepFn;
  Answer answer = Answer::kOk;

  bool IsStop() const { return what >= What::kHookStops; }
};

// What came of a case.
struct Outcome {
  int happened = 0;                 // what should happen did
  std::vector<absl::Status> steps;  // as the function saw them
  std::vector<absl::Status> calls;  // of the function, as its caller saw them
  bool should_stop = false;         // after the last call
  absl::Status run_after_stop;
  absl::Status closed;
  std::vector<absl::Status> after_close;
  int64_t last_step = -1;
};

constexpr int kLimit = 6;  // calls of a function that nobody stops

// Counts the steps; "train" takes one of `elements` that a queue holds.
GraphPtr Model(int elements) {
  GraphPtr graph = Graph::Create();
  const Variable step = CreateGlobalStep(*graph).value();
  const tensorflow::Scope scope = graph->scope();
  const ops::FIFOQueue queue(
      scope, {tensorflow::DT_INT32},
      ops::FIFOQueue::Shapes({tensorflow::PartialTensorShape({})}));
  ops::QueueEnqueueMany(
      scope.WithOpName("fill"), queue,
      tensorflow::InputList({tensorflow::Output(
          ops::Range(scope, ops::Const(scope, 0), ops::Const(scope, elements),
                     ops::Const(scope, 1)))}));
  ops::QueueClose(scope.WithOpName("close"), queue);
  const ops::QueueDequeue next(scope, queue, {tensorflow::DT_INT32});
  ops::AssignAddVariableOp(
      scope.WithOpName("train").WithControlDependencies(
          std::vector<tensorflow::Operation>{next.operation}),
      step.handle(), ops::Const(scope, int64_t{1}));
  CHECK(graph->status().ok());
  return graph;
}

Outcome Play(const Case& c) {
  Outcome outcome;
  std::vector<std::string> calls;
  auto hook = std::make_shared<RecordingHook>("H", &calls);
  if (c.what == What::kAbortedBeforeRun) {
    hook->FailIn("BeforeRun", absl::AbortedError("lost"), c.at_run);
  } else if (c.what == What::kUnavailableAfterRun) {
    hook->FailIn("AfterRun", absl::UnavailableError("lost"), c.at_run);
  } else if (c.what == What::kNanLoss) {
    hook->FailIn("AfterRun", NanLossError("a loss"), c.at_run);
  } else if (c.what == What::kHookStops) {
    hook->StopAtRun(c.at_run);
  }
  SingularMonitoredSession::Options options;
  options.hooks = {hook};
  options.config.mutable_graph_options()
      ->mutable_rewrite_options()
      ->set_disable_meta_optimizer(true);  // to make many sessions quickly
  auto session =
      SingularMonitoredSession::Create(
          Model(c.what == What::kEndOfInput ? c.at_run - 1 : 100), options)
          .value();
  CHECK(session->raw_session().Run(Target("fill")).ok());
  CHECK(session->raw_session().Run(Target("close")).ok());
  const Target train("train");
  const auto prepared = session->Prepare(train).value();

  // Runs one step and forgets what it tells.
  const auto function = [&](StepContext* context) -> absl::Status {
    outcome.steps.push_back(c.way == Way::kRunStepFn
                                ? context->RunWithHooks(train)
                            : c.way == Way::kRun ? session->Run(train)
                                                 : prepared());
    const bool is_time = static_cast<int>(outcome.steps.size()) == c.at_run;
    if (is_time) {
      ++outcome.happened;
      if (c.what == What::kStepContextStops) {
        context->RequestStop().IgnoreError();
      } else if (c.what == What::kSessionStops) {
        session->RequestStop("enough");
      } else if (c.what == What::kCoordinatorStops) {
        session->coordinator().RequestStop();
      }
    }
    if (c.answer == Answer::kThrows) throw std::runtime_error("another");
    return c.answer == Answer::kOk ? absl::OkStatus()
                                   : absl::DataLossError("another");
  };
  const auto call = [&] {
    return CallCatching([&] {
      return c.way == Way::kRunStepFn
                 ? session->RunStepFn(
                       [&](StepContext& context) { return function(&context); })
                 : function(nullptr);
    });
  };
  while (outcome.calls.size() < kLimit && !session->ShouldStop()) {
    outcome.calls.push_back(call());
  }
  outcome.should_stop = session->ShouldStop();
  outcome.run_after_stop = session->Run(train);
  outcome.closed = session->Close();
  outcome.last_step = session->summary().last_step.value_or(-1);
  outcome.after_close = {
      session->Run(train), prepared(), session->Prepare(train).status(),
      session->RunStepFn([](StepContext&) { return absl::OkStatus(); }),
      session->Close()};
  return outcome;
}

// Everything in `outcome` that breaks a promise; empty when all is well.
std::vector<std::string> Complaints(const Case& c, const Outcome& outcome) {
  std::vector<std::string> complaints;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) complaints.push_back(what);
  };
  const size_t at = static_cast<size_t>(c.at_run) - 1;

  expect(outcome.happened == 1, "what should happen did");
  expect(outcome.should_stop == c.IsStop(), "only a stop is a stop");
  expect(outcome.calls.size() == (c.IsStop() ? at + 1 : kLimit),
         "a stop is the end, and nothing else is");
  expect(outcome.closed.ok(), "the session can be closed");
  for (const absl::Status& late : outcome.after_close) {
    expect(absl::IsFailedPrecondition(late) &&
               absl::StrContains(late.message(), "closed"),
           "a closed session says so");
  }

  // What the function was told.
  for (size_t i = 0; i < outcome.steps.size(); ++i) {
    const absl::Status& step = outcome.steps[i];
    const bool told = c.what == What::kAbortedBeforeRun ? absl::IsAborted(step)
                      : c.what == What::kUnavailableAfterRun
                          ? absl::IsUnavailable(step)
                      : c.what == What::kNanLoss    ? IsNanLoss(step)
                      : c.what == What::kEndOfInput ? IsEndOfInput(step)
                                                    : step.ok();
    const bool is_due =
        i == at || (c.what == What::kEndOfInput && i > at) || c.IsStop();
    expect(is_due ? told : step.ok(), absl::StrCat("step ", i + 1, " is told"));
  }

  // What it answered reaches its caller, save that a stop of its own counts.
  for (size_t i = 0; i < outcome.calls.size(); ++i) {
    const absl::Status& call = outcome.calls[i];
    if (c.answer == Answer::kThrows) {
      expect(absl::StrContains(call.message(), "another"), "it throws");
    } else if (c.what == What::kStepContextStops && i == at) {
      expect(IsStopIteration(call), "its own stop is not swallowed");
    } else {
      expect(c.answer == Answer::kOk ? call.ok() : absl::IsDataLoss(call),
             "its answer is its own");
    }
  }

  // Steps may go on, unless a hook asked for the stop.
  const bool is_refused = c.what == What::kHookStops;
  const bool is_ended = c.what == What::kEndOfInput;
  expect(is_refused ? absl::IsFailedPrecondition(outcome.run_after_stop) &&
                          absl::StrContains(outcome.run_after_stop.message(),
                                            "H asked for it")
         : is_ended ? IsEndOfInput(outcome.run_after_stop)
                    : outcome.run_after_stop.ok(),
         "a run after a stop is told");
  const int skipped = c.what == What::kAbortedBeforeRun ? 1 : 0;
  const int64_t steps = is_ended ? static_cast<int64_t>(at)
                                 : static_cast<int64_t>(outcome.steps.size()) -
                                       skipped + (is_refused ? 0 : 1);
  expect(outcome.last_step == steps, "every step counts once");
  return complaints;
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (int what = 0; what < static_cast<int>(What::kWhatCount); ++what) {
    for (int way = 0; way < static_cast<int>(Way::kWayCount); ++way) {
      for (int answer = 0; answer < static_cast<int>(Answer::kAnswerCount);
           ++answer) {
        for (int at_run = 1; at_run <= 4; ++at_run) {
          const Case c{static_cast<What>(what), at_run, static_cast<Way>(way),
                       static_cast<Answer>(answer)};
          if (c.what == What::kStepContextStops && c.way != Way::kRunStepFn) {
            continue;  // There is no StepContext.
          }
          cases.push_back(c);
        }
      }
    }
  }
  return cases;
}

TEST(StepFunctionFaultsTest, StopsStickAndErrorsAreNoEnding) {
  // R6, R11, SMS-11, SMS-12, SMS-13, STEP-05, STEP-07, SMS-22
  const std::vector<Case> cases = AllCases();
  for (const Case& c : cases) {
    const Outcome outcome = Play(c);
    ASSERT_THAT(Complaints(c, outcome), IsEmpty())
        << "what " << static_cast<int>(c.what) << " at run " << c.at_run
        << ", way " << static_cast<int>(c.way) << ", answer "
        << static_cast<int>(c.answer) << "\nsteps: "
        << absl::StrJoin(outcome.steps, "; ", absl::StreamFormatter())
        << "\ncalls: "
        << absl::StrJoin(outcome.calls, "; ", absl::StreamFormatter())
        << "\nafter: " << outcome.run_after_stop
        << "\nclosed: " << outcome.closed << "\nsteps: " << outcome.last_step;
  }
  std::cout << cases.size() << " combinations" << std::endl;
}

TEST(StepFunctionFaultsTest, ABodyThatSwallowsEverythingIsStopped) {  // R11
  std::vector<std::string> calls;
  auto hook = std::make_shared<RecordingHook>("H", &calls);
  hook->FailIn("AfterRun", absl::AbortedError("lost"), 2);
  hook->StopAtRun(5);
  SingularMonitoredSession::Options options;
  options.hooks = {hook};
  auto session = SingularMonitoredSession::Create(Model(100), options).value();
  ASSERT_THAT(session->raw_session().Run(Target("fill")), IsOk());

  const auto summary = session->RunUntilStop([&] {
    session->Run(Target("train")).IgnoreError();
    return absl::OkStatus();
  });

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->reason, StopReason::kStopRequested);
  EXPECT_EQ(summary->last_step, 5);
}

TEST(StepFunctionFaultsTest, ABrokenPromiseIsNoticed) {
  Case c;
  c.what = What::kStepContextStops;
  const Outcome kept = Play(c);
  ASSERT_THAT(Complaints(c, kept), IsEmpty());
  const auto complaints_if = [&](const std::function<void(Outcome*)>& change) {
    Outcome broken = kept;
    change(&broken);
    return Complaints(c, broken);
  };

  EXPECT_THAT(complaints_if([](Outcome* o) { o->happened = 0; }), SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->should_stop = false; }),
              SizeIs(1));
  EXPECT_THAT(
      complaints_if([](Outcome* o) { o->calls.resize(kLimit, o->calls[0]); }),
      Not(IsEmpty()));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->calls[0] = absl::OkStatus(); }),
              SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { ++o->last_step; }), SizeIs(1));
  EXPECT_THAT(
      complaints_if([](Outcome* o) { o->after_close[2] = absl::OkStatus(); }),
      SizeIs(1));
}

}  // namespace
}  // namespace tftrain

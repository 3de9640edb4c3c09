// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One of several hooks does harm, in each callback, at each place, in each way
// a session ends. Reliability R7: the first cause reaches the caller and names
// hook and callback; each hook that has begun gets exactly one of End and
// OnAbort; no thread, file or session is left, and the graph is open again.

#include <algorithm>
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
#include "tests/faults/faulty_hook.h"
#include "tests/faults/process_state.h"
#include "tftrain/base/errors.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kRuns = 3;

enum class Harm {
  kReturnsError,
  kThrows,
  kThrowsAnything,  // something that is no std::exception
  kDeclaresWrongName,
  kClosesRawSession,
  kClosesSession,  // the monitored one, which calls the hook
  kRequestsStop,
  kReportsError,  // to the Coordinator
  kJudgesBad,
  kUndoes,
};

enum class Ending {
  kRunUntilStop,    // with what the body returned
  kClose,           // as if no step had failed
  kCloseWithError,  // with the first error, or one of the caller's
  kDrop,
};

struct Case {
  std::string callback;
  Harm harm = Harm::kReturnsError;
  Ending ending = Ending::kRunUntilStop;
  int hooks = 1;
  int position = 0;
  bool others_fail = false;  // in End, with kDataLoss
  bool has_queue = false;    // with a thread that is blocked in it

  std::string Name() const {
    return absl::StrCat(
        callback, ", harm ", static_cast<int>(harm), ", ending ",
        static_cast<int>(ending), ", hook ", position, " of ", hooks,
        others_fail ? ", others fail" : "", has_queue ? ", queue" : "");
  }
};

// What came of a case.
struct Outcome {
  absl::Status created;
  std::vector<absl::Status> runs;
  std::vector<bool> rejected;  // the state, after each run
  absl::Status closed;
  bool stop_seen = false;  // by ShouldStop(), before a third run
  int faults = 0;
  absl::Status close_within = absl::UnknownError("not called");
  std::vector<std::string> calls;
  std::vector<std::string> log;
  bool finalized = true;
  ProcessState before;
  ProcessState after;
};

bool IsError(Harm harm) {
  return harm == Harm::kReturnsError || harm == Harm::kThrows ||
         harm == Harm::kThrowsAnything;
}

// The call of the session that must return the harm's error.
enum class Where { kNowhere, kCreate, kRun, kClose };

Where WhereTold(const Case& c) {
  const bool is_creation =
      c.callback == "Begin" || c.callback == "AfterCreateSession";
  const bool is_step = c.callback == "BeforeRun" || c.callback == "Judge" ||
                       c.callback == "AfterRun";
  switch (c.harm) {
    case Harm::kReturnsError:
    case Harm::kThrows:
    case Harm::kThrowsAnything:
      return is_creation               ? Where::kCreate
             : is_step                 ? Where::kRun
             : c.callback == "OnAbort" ? Where::kNowhere
                                       : Where::kClose;
    case Harm::kDeclaresWrongName:
      return Where::kCreate;
    case Harm::kClosesRawSession:
      return is_creation || is_step ? Where::kRun : Where::kNowhere;
    case Harm::kReportsError:
      return Where::kClose;
    case Harm::kClosesSession:
    case Harm::kRequestsStop:
    case Harm::kJudgesBad:
    case Harm::kUndoes:
      return Where::kNowhere;
  }
  return Where::kNowhere;
}

StatusCode CodeOf(Harm harm) {
  switch (harm) {
    case Harm::kReturnsError:
      return StatusCode::kPermissionDenied;
    case Harm::kThrows:
    case Harm::kThrowsAnything:
      return StatusCode::kInternal;
    case Harm::kReportsError:
      return StatusCode::kUnauthenticated;
    case Harm::kDeclaresWrongName:
      return StatusCode::kInvalidArgument;
    default:
      return StatusCode::kFailedPrecondition;
  }
}

// The harm itself; `close` closes the monitored session.
absl::Status DoHarm(Harm harm, const FaultContext& context,
                    const std::function<void()>& close) {
  switch (harm) {
    case Harm::kReturnsError:
      return absl::PermissionDeniedError("the harm");
    case Harm::kThrows:
      throw std::runtime_error("the harm");
    case Harm::kThrowsAnything:
      throw 7;
    case Harm::kDeclaresWrongName:
      context.begin->Declare(SessionRunArgs(Fetch<float>("no_such_thing:0")));
      break;
    case Harm::kClosesRawSession:
      return context.session->Close();
    case Harm::kClosesSession:
      close();
      break;
    case Harm::kRequestsStop:
      if (context.run != nullptr) {
        context.run->RequestStop("the harm");
      } else {
        context.coordinator->RequestStop();
      }
      break;
    case Harm::kReportsError:
      context.coordinator->RequestStop(absl::UnauthenticatedError("the harm"));
      break;
    case Harm::kJudgesBad:
      *context.verdict = StepVerdict::kBad;
      break;
    case Harm::kUndoes:
      *context.verdict = StepVerdict::kUndone;
      break;
  }
  return absl::OkStatus();
}

// A step counter, and a queue whose only place is taken after the first of two
// enqueues, if wanted.
GraphPtr Model(bool has_queue) {
  GraphPtr graph = Graph::Create();
  const Variable step = CreateGlobalStep(*graph).value();
  const tensorflow::Scope scope = graph->scope();
  ops::AssignAddVariableOp(scope.WithOpName("train"), step.handle(),
                           ops::Const(scope, int64_t{1}));
  if (has_queue) {
    const ops::FIFOQueue queue(scope.WithOpName("queue"),
                               {tensorflow::DT_FLOAT},
                               ops::FIFOQueue::Capacity(1));
    const ops::QueueEnqueue enqueue(
        scope.WithOpName("enqueue"), queue,
        tensorflow::InputList({tensorflow::Output(ops::Const(scope, 1.0f))}));
    const auto runner =
        QueueRunner::Create(*graph, queue.handle, {enqueue.operation});
    CHECK(runner.ok());
    CHECK(AddQueueRunner(*graph, **runner).ok());
  }
  CHECK(graph->status().ok());
  return graph;
}

Outcome Play(const Case& c, const GraphPtr& graph) {
  Outcome outcome;
  outcome.before = ProcessState::Now();
  const LogCapture log;
  {
    std::unique_ptr<SingularMonitoredSession> owner;
    SingularMonitoredSession* session = nullptr;  // while it is dropped, too
    auto faulty = std::make_shared<FaultyHook>(
        absl::StrCat("H", c.position), &outcome.calls, c.callback,
        [&](const FaultContext& context) {
          return DoHarm(c.harm, context,
                        [&] { outcome.close_within = session->Close(); });
        });
    SingularMonitoredSession::Options options;
    options.config.mutable_graph_options()
        ->mutable_rewrite_options()
        ->set_disable_meta_optimizer(true);  // to make many sessions quickly
    for (int i = 0; i < c.hooks; ++i) {
      std::shared_ptr<RecordingHook> hook = faulty;
      if (i != c.position) {
        hook = std::make_shared<RecordingHook>(absl::StrCat("H", i),
                                               &outcome.calls);
        if (c.others_fail) {
          hook->FailIn("End", absl::DataLossError("another's"));
        }
      }
      if (c.callback == "Judge") hook->JudgeSteps();
      options.hooks.push_back(std::move(hook));
    }
    auto created = SingularMonitoredSession::Create(graph, options);
    outcome.created = created.status();
    if (created.ok()) owner = *std::move(created);
    session = owner.get();

    absl::Status first;
    const auto body = [&]() -> absl::Status {
      if (outcome.runs.size() == kRuns) return StopIterationError();
      outcome.runs.push_back(session->Run(Target("train")));
      outcome.rejected.push_back(session->raw_session().state_rejected());
      if (first.ok()) first = outcome.runs.back();
      return outcome.runs.back();
    };
    const auto steps = [&] {
      while (!session->ShouldStop() && outcome.runs.size() < kRuns) {
        body().IgnoreError();
      }
      outcome.stop_seen = outcome.runs.size() < kRuns;
    };
    if (session != nullptr) {
      switch (c.ending) {
        case Ending::kRunUntilStop:
          outcome.closed = session->RunUntilStop(body).status();
          break;
        case Ending::kClose:
          steps();
          outcome.closed = session->Close();
          break;
        case Ending::kCloseWithError:
          steps();
          outcome.closed = session->Close(
              first.ok() ? absl::CancelledError("the caller's") : first);
          break;
        case Ending::kDrop:
          steps();
          break;
      }
    }
    owner.reset();
    outcome.faults = faulty->faults();
  }
  outcome.log = log.lines();
  outcome.finalized = graph->finalized();
  outcome.after = ProcessState::Settled(outcome.before);
  return outcome;
}

// Whether `calls` hold that of `callback` of the hook `i`, exactly so often.
bool Called(const std::vector<std::string>& calls, int i,
            const std::string& callback, int times) {
  return std::count(calls.begin(), calls.end(),
                    absl::StrCat("H", i, ".", callback)) == times;
}

// Whether the hooks should hear of an abort, not of an end.
bool ShouldAbort(const Case& c) {
  const Where where = WhereTold(c);
  if (where == Where::kCreate || c.ending == Ending::kDrop ||
      c.ending == Ending::kCloseWithError) {
    return true;
  }
  if (where == Where::kRun) return c.ending == Ending::kRunUntilStop;
  // An error in the Coordinator that ShouldStop() has met.
  return c.harm == Harm::kReportsError && c.callback != "End";
}

// Everything in `outcome` that breaks a promise; empty when all is well.
std::vector<std::string> Complaints(const Case& c, const Outcome& outcome) {
  std::vector<std::string> complaints;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) complaints.push_back(what);
  };
  const Where where = WhereTold(c);

  expect(outcome.faults == 1, "the fault took place");
  expect(outcome.after <= outcome.before, "nothing is left behind");
  expect(!outcome.finalized, "the graph is open again");
  if (c.harm == Harm::kClosesSession) {
    expect(absl::IsFailedPrecondition(outcome.close_within),
           "closing from within is refused");
  }

  // The threads of the queue may be the first to meet a closed session, or not.
  const bool is_race = c.harm == Harm::kClosesRawSession && c.has_queue;

  // Which hooks began, and how each of them ended.
  const bool aborts = ShouldAbort(c);
  const int begun =
      c.callback == "Begin" && IsError(c.harm) ? c.position : c.hooks;
  for (int i = 0; i < c.hooks; ++i) {
    const bool has_begun = i < begun;
    if (is_race) {
      expect(Called(outcome.calls, i, "End", 1) !=
                 Called(outcome.calls, i, "OnAbort", 1),
             absl::StrCat("hook ", i, " gets one of End and OnAbort"));
      continue;
    }
    expect(Called(outcome.calls, i, "End", has_begun && !aborts),
           absl::StrCat("hook ", i, " gets the right End"));
    expect(Called(outcome.calls, i, "OnAbort", has_begun && aborts),
           absl::StrCat("hook ", i, " gets the right OnAbort"));
  }

  if (is_race) return complaints;

  // Where the error is told, and how.
  const auto tells = [&](const absl::Status& status) {
    if (status.code() != CodeOf(c.harm)) return false;
    if (c.harm == Harm::kClosesRawSession) {
      return absl::StrContains(status.message(), "the session is closed");
    }
    if (c.harm == Harm::kReportsError) {
      return absl::StrContains(status.message(), "the harm");
    }
    const std::string by = absl::StrCat("H", c.position, "::", c.callback);
    const std::string what = c.harm == Harm::kThrowsAnything ? "unknown type"
                             : c.harm == Harm::kDeclaresWrongName
                                 ? "no_such_thing"
                                 : "the harm";
    return absl::StrContains(status.message(), by) &&
           absl::StrContains(status.message(), what);
  };
  expect(
      where == Where::kCreate ? tells(outcome.created) : outcome.created.ok(),
      "Create tells what it should");
  const auto failed =
      std::find_if(outcome.runs.begin(), outcome.runs.end(),
                   [](const absl::Status& run) { return !run.ok(); });
  expect(where == Where::kRun ? failed != outcome.runs.end() && tells(*failed)
                              : failed == outcome.runs.end(),
         "Run tells what it should");

  // What an error or a verdict of Judge() does to its step, the first one.
  const bool is_undone = c.harm == Harm::kUndoes;
  const auto good_runs = static_cast<int>(
      std::count(outcome.runs.begin(), outcome.runs.end(), absl::OkStatus()));
  for (int i = 0; i < c.hooks && c.callback == "Judge"; ++i) {
    const int judged = good_runs + (IsError(c.harm) && i <= c.position) -
                       (is_undone && i > c.position);
    expect(Called(outcome.calls, i, "Judge", judged),
           absl::StrCat("hook ", i, " gets the right Judge"));
    expect(Called(outcome.calls, i, "AfterRun", good_runs - is_undone),
           absl::StrCat("hook ", i, " gets the right AfterRun"));
    expect(Called(outcome.calls, i, "OnUndone", is_undone),
           absl::StrCat("hook ", i, " gets the right OnUndone"));
  }
  std::vector<bool> rejected(outcome.runs.size(), false);
  if (!rejected.empty() && c.callback == "Judge") {
    rejected.front() = IsError(c.harm) || c.harm == Harm::kJudgesBad;
  }
  expect(outcome.rejected == rejected, "the right states are rejected");
  if (where == Where::kCreate || c.ending == Ending::kDrop) return complaints;

  if (c.harm == Harm::kRequestsStop && c.callback != "End" &&
      c.callback != "OnAbort" && c.ending != Ending::kRunUntilStop) {
    expect(outcome.stop_seen, "the request to stop is seen");
  }
  const bool fails_with_others = c.others_fail && c.hooks > 1 && !aborts;
  if (where == Where::kClose) {
    const bool other_is_first =
        IsError(c.harm) && fails_with_others && c.position > 0;
    expect(other_is_first
               ? absl::IsDataLoss(outcome.closed) &&
                     absl::StrContains(outcome.closed.message(), "::End")
               : tells(outcome.closed),
           "Close tells the first cause");
    if (fails_with_others) {
      expect(
          absl::StrContains(outcome.closed.message(), "another's") &&
              absl::StrContains(outcome.closed.message(),
                                c.harm == Harm::kThrowsAnything ? "unknown type"
                                                                : "the harm"),
          "Close tells the other errors too");
    }
  } else if (fails_with_others) {
    expect(absl::IsDataLoss(outcome.closed), "Close tells of an End");
  } else if (where == Where::kRun && c.ending != Ending::kClose) {
    expect(tells(outcome.closed), "Close returns the body's error");
  } else if (c.ending == Ending::kCloseWithError) {
    expect(absl::IsCancelled(outcome.closed), "Close returns its argument");
  } else {
    expect(outcome.closed.ok(), "Close has nothing to tell");
  }
  if (c.callback == "OnAbort" && IsError(c.harm)) {
    expect(std::any_of(outcome.log.begin(), outcome.log.end(),
                       [&](const std::string& line) {
                         return absl::StrContains(
                             line, absl::StrCat("H", c.position, "::OnAbort"));
                       }),
           "the log tells what OnAbort threw");
  }
  return complaints;
}

// The complaints when `change` has changed what came of the case.
std::vector<std::string> ComplaintsIf(
    const Case& c, Outcome outcome,
    const std::function<void(Outcome*)>& change) {
  change(&outcome);
  return Complaints(c, outcome);
}

// Whether the harm can be done there and leads to that ending.
bool MakesSense(const std::string& callback, Harm harm, Ending ending) {
  const bool in_creation =
      callback == "Begin" || callback == "AfterCreateSession";
  if (harm == Harm::kDeclaresWrongName && callback != "Begin") return false;
  if (harm == Harm::kJudgesBad || harm == Harm::kUndoes) {
    return callback == "Judge";
  }
  if (harm == Harm::kReturnsError && callback == "OnAbort") return false;
  if (callback == "Begin" && !IsError(harm) &&
      harm != Harm::kDeclaresWrongName) {
    return false;  // There is no session yet.
  }
  if (in_creation && harm == Harm::kClosesSession) return false;
  if (in_creation && (IsError(harm) || harm == Harm::kDeclaresWrongName)) {
    return ending == Ending::kClose;  // It does not come so far.
  }
  if (callback == "End") {
    return ending == Ending::kRunUntilStop || ending == Ending::kClose;
  }
  if (callback == "OnAbort") {
    return ending == Ending::kCloseWithError || ending == Ending::kDrop;
  }
  return true;
}

std::vector<Case> CasesOf(const std::string& callback) {
  std::vector<Case> cases;
  for (int harm = 0; harm <= static_cast<int>(Harm::kUndoes); ++harm) {
    for (int ending = 0; ending <= static_cast<int>(Ending::kDrop); ++ending) {
      if (!MakesSense(callback, static_cast<Harm>(harm),
                      static_cast<Ending>(ending))) {
        continue;
      }
      for (int hooks = 1; hooks <= 5; ++hooks) {
        for (int position = 0; position < hooks; ++position) {
          for (const bool others_fail : {false, true}) {
            Case c;
            c.callback = callback;
            c.harm = static_cast<Harm>(harm);
            c.ending = static_cast<Ending>(ending);
            c.hooks = hooks;
            c.position = position;
            c.others_fail = others_fail;
            c.has_queue = (harm + ending + hooks + position) % 2 == 0;
            cases.push_back(c);
          }
        }
      }
    }
  }
  return cases;
}

// The threads and files that the runtime and the graphs keep are there before
// anything is counted.
class HookFaultsTest : public ::testing::Test {
 protected:
  HookFaultsTest() {
    for (const GraphPtr& model : models_) {
      auto session = SingularMonitoredSession::Create(model);
      CHECK(session.ok());
      CHECK((*session)->Run(Target("train")).ok());
      CHECK((*session)->Close().ok());
    }
  }

  const GraphPtr models_[2] = {Model(false), Model(true)};
};

class HookFaultsByCallbackTest
    : public HookFaultsTest,
      public ::testing::WithParamInterface<std::string> {};

TEST_F(HookFaultsTest, ABrokenPromiseIsNoticed) {
  Case c;
  c.callback = "BeforeRun";
  c.ending = Ending::kCloseWithError;
  c.hooks = 3;
  c.position = 1;
  const Outcome kept = Play(c, models_[0]);
  ASSERT_THAT(Complaints(c, kept), IsEmpty());
  const auto complaints_if = [&](const std::function<void(Outcome*)>& change) {
    return ComplaintsIf(c, kept, change);
  };

  EXPECT_THAT(complaints_if([](Outcome* o) { o->faults = 0; }), SizeIs(1));
  EXPECT_THAT(complaints_if(
                  [](Outcome* o) { o->after.threads = o->before.threads + 1; }),
              SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->finalized = true; }),
              SizeIs(1));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->calls.pop_back(); }),
              ElementsAre("hook 2 gets the right OnAbort"));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->calls.push_back("H0.End"); }),
              ElementsAre("hook 0 gets the right End"));
  EXPECT_THAT(complaints_if([](Outcome* o) {
                o->runs[0] = absl::PermissionDeniedError("the harm");
              }),
              ElementsAre("Run tells what it should"));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->closed = absl::OkStatus(); }),
              ElementsAre("Close returns the body's error"));
}

TEST_F(HookFaultsTest, ABrokenPromiseOfAJudgeIsNoticed) {
  Case c;
  c.callback = "Judge";
  c.ending = Ending::kCloseWithError;
  c.hooks = 2;
  const Outcome kept = Play(c, models_[0]);
  ASSERT_THAT(Complaints(c, kept), IsEmpty());
  const auto complaints_if = [&](const std::function<void(Outcome*)>& change) {
    return ComplaintsIf(c, kept, change);
  };

  EXPECT_THAT(
      complaints_if([](Outcome* o) { o->calls.push_back("H0.AfterRun"); }),
      ElementsAre("hook 0 gets the right AfterRun"));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->calls.push_back("H1.Judge"); }),
              ElementsAre("hook 1 gets the right Judge"));
  EXPECT_THAT(complaints_if([](Outcome* o) { o->rejected.front() = false; }),
              ElementsAre("the right states are rejected"));
}

TEST_P(HookFaultsByCallbackTest,
       IsToldAndLeavesNothingBehind) {  // R7, SMS-18, SMS-27
  const std::vector<Case> cases = CasesOf(GetParam());
  for (const Case& c : cases) {
    const Outcome outcome = Play(c, models_[c.has_queue]);

    ASSERT_THAT(Complaints(c, outcome), IsEmpty())
        << c.Name() << "\ncreated: " << outcome.created << "\nruns: "
        << absl::StrJoin(outcome.runs, "; ", absl::StreamFormatter())
        << "\nclosed: " << outcome.closed << "\nbefore: " << outcome.before
        << "\nafter: " << outcome.after
        << "\ncalls: " << absl::StrJoin(outcome.calls, " ");
  }
  std::cout << cases.size() << " combinations in " << GetParam() << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Callbacks, HookFaultsByCallbackTest,
                         ::testing::Values("Begin", "AfterCreateSession",
                                           "BeforeRun", "Judge", "AfterRun",
                                           "End", "OnAbort"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace tftrain

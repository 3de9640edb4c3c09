// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The order of calls in every way a session can end is compared with Python in
// tests/parity/lifecycle_test.cc; here stands the rest.

#include "tftrain/monitored/singular_monitored_session.h"

#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/variable.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/hooks/stop_at_step_hook.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using absl::StatusCode;
using tensorflow::Tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A model with a global step, a train op that counts it, a placeholder x of
// floats, and y = 2 x.
GraphPtr SmallModel() {
  GraphPtr graph = Graph::Create();
  const Variable step = CreateGlobalStep(*graph).value();
  const tensorflow::Scope scope = graph->scope();
  ops::AssignAddVariableOp(scope.WithOpName("train"), step.handle(),
                           ops::Const(scope, int64_t{1}));
  auto x = ops::Placeholder(scope.WithOpName("x"), tensorflow::DT_FLOAT,
                            ops::Placeholder::Shape({}));
  ops::Mul(scope.WithOpName("y"), x, 2.0f);
  auto z = ops::Placeholder(scope.WithOpName("z"), tensorflow::DT_FLOAT,
                            ops::Placeholder::Shape({}));
  ops::Neg(scope.WithOpName("minus_z"), z);
  EXPECT_THAT(graph->status(), IsOk());
  return graph;
}

std::unique_ptr<SingularMonitoredSession> Open(
    const GraphPtr& graph, std::vector<HookPtr> hooks = {}) {
  SingularMonitoredSession::Options options;
  options.hooks = std::move(hooks);
  return SingularMonitoredSession::Create(graph, std::move(options)).value();
}

const Target& Train() {
  static const auto* const train = new Target("train");
  return *train;
}

// A hook made of functions.
struct FunctionHook : SessionRunHook {
  std::function<absl::Status(BeginContext&)> begin;
  std::function<absl::Status(Session&, Coordinator&)> created;
  std::function<absl::StatusOr<SessionRunArgs>(SessionRunContext&)> before;
  std::function<absl::Status(SessionRunContext&, const SessionRunValues&)>
      after;
  std::function<absl::Status(Session&)> end;
  std::function<void(const absl::Status&)> abort;

  std::string name() const override { return "FunctionHook"; }
  absl::Status Begin(BeginContext& context) override {
    return begin ? begin(context) : SessionRunHook::Begin(context);
  }
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override {
    return created ? created(session, coordinator) : absl::OkStatus();
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(
      SessionRunContext& context) override {
    return before ? before(context) : SessionRunHook::BeforeRun(context);
  }
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override {
    return after ? after(context, values) : absl::OkStatus();
  }
  absl::Status End(Session& session) override {
    return end ? end(session) : absl::OkStatus();
  }
  void OnAbort(const absl::Status& status) override {
    if (abort) abort(status);
  }
};

std::shared_ptr<FunctionHook> AsksFor(SessionRunArgs args) {
  auto hook = std::make_shared<FunctionHook>();
  hook->before = [args](SessionRunContext&) { return args; };
  return hook;
}

TEST(SingularMonitoredSessionTest, InitialisesVariables) {  // SMS-02
  auto session = Open(SmallModel());

  EXPECT_THAT(session->Run(Fetch<int64_t>("global_step/Read/ReadVariableOp:0")),
              IsOkAndHolds(0));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, HasPythonsDefaults) {  // SMS-01
  const SingularMonitoredSession::Options options;

  EXPECT_THAT(options.hooks, IsEmpty());
  EXPECT_EQ(options.scaffold, nullptr);
  EXPECT_EQ(options.master, "");
  EXPECT_EQ(options.checkpoint_dir, "");
  EXPECT_EQ(options.stop_grace_period_secs, 120);
  EXPECT_EQ(options.checkpoint_filename_with_path, "");
}

TEST(SingularMonitoredSessionTest, AnswersTheCallerInTheCallersShape) {
  // SMS-06: what hooks fetch beside it stays with them.
  auto hook = AsksFor(SessionRunArgs(Fetch<float>("y:0")));
  float seen = 0;
  hook->after = [&](SessionRunContext&, const SessionRunValues& values) {
    auto y = values.Get(Fetch<float>("y:0"));
    seen = y.value_or(-1);
    return y.status();
  };
  auto session = Open(SmallModel(), {hook});

  const absl::StatusOr<Value> value = session->Run(
      List({Fetch<float>("x:0"), Train(), Map({{"y", Fetch<float>("y:0")}})}),
      {{"x:0", 3.0f}});

  ASSERT_THAT(value, IsOk());
  EXPECT_EQ(value->size(), 3u);
  EXPECT_THAT(value->Get<float>({0}), IsOkAndHolds(3.0f));
  EXPECT_THAT(value->Get<float>({2, "y"}), IsOkAndHolds(6.0f));
  EXPECT_EQ(seen, 6.0f);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, WhatTwoAskForIsComputedOnce) {  // MRG-01
  GraphPtr graph = SmallModel();
  const tensorflow::Scope scope = graph->scope();
  const auto queue = ops::FIFOQueue(scope, {tensorflow::DT_INT64});
  ops::QueueEnqueueMany(scope.WithOpName("fill"), queue,
                        std::initializer_list<tensorflow::Input>{ops::Const(
                            scope, {int64_t{1}, int64_t{2}, int64_t{3}})});
  ops::QueueDequeue(scope.WithOpName("next"), queue, {tensorflow::DT_INT64});
  const Fetch<int64_t> next("next:0");
  std::vector<int64_t> seen;
  auto hook = AsksFor(SessionRunArgs(next));
  hook->after = [&](SessionRunContext&,
                    const SessionRunValues& values) -> absl::Status {
    TF_ASSIGN_OR_RETURN(seen.emplace_back(), values.Get(next));
    return absl::OkStatus();
  };
  auto session = Open(graph, {hook});
  ASSERT_THAT(session->raw_session().Run(Target("fill")), IsOk());

  EXPECT_THAT(session->Run(std::tuple{next, next}),
              IsOkAndHolds(std::tuple{1, 1}));
  EXPECT_THAT(session->Run(next), IsOkAndHolds(2));

  EXPECT_THAT(seen, ElementsAre(1, 2));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, HooksThatFeedNothingLeaveFeedsAlone) {
  // MRG-14
  auto session = Open(
      SmallModel(), {AsksFor(SessionRunArgs(
                        Fetch<int64_t>("global_step/Read/ReadVariableOp:0")))});
  const Feeds feeds = {{"x:0", 3.0f}};

  EXPECT_THAT(session->Run(Fetch<float>("y:0"), feeds), IsOkAndHolds(6.0f));
  EXPECT_THAT(session->Run(Train()), IsOk());

  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AFailedStepLeavesTheSessionOpen) {  // SMS-13
  auto hook = std::make_shared<FunctionHook>();
  bool preempted = false;
  hook->before = [&](SessionRunContext&) -> absl::StatusOr<SessionRunArgs> {
    if (preempted) return SessionRunArgs();
    preempted = true;
    return absl::AbortedError("preempted");
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Train()),
              StatusIs(StatusCode::kAborted, HasSubstr("preempted")));
  EXPECT_FALSE(session->ShouldStop());
  EXPECT_THAT(session->Run(Train()), IsOk());
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, OnlyAMarkedEndOfInputIsOne) {
  // SMS-15: an error that merely has the code is a failure.
  auto session = Open(SmallModel());

  EXPECT_THAT(session->Close(absl::OutOfRangeError("an index")),
              StatusIs(StatusCode::kOutOfRange, HasSubstr("an index")));
}

TEST(SingularMonitoredSessionTest, AnEndOfInputInAThreadIsAFailure) {
  // SMS-04, SMS-20
  auto session = Open(SmallModel());
  session->coordinator().RequestStop(EndOfInputError("a thread's"));

  EXPECT_THAT(session->Close(),
              StatusIs(StatusCode::kOutOfRange, HasSubstr("a thread's")));
}

TEST(SingularMonitoredSessionTest, TheRawSessionRunsWithoutHooks) {  // SMS-24
  int steps = 0;
  auto hook = std::make_shared<FunctionHook>();
  hook->after = [&](SessionRunContext&, const SessionRunValues&) {
    ++steps;
    return absl::OkStatus();
  };
  const GraphPtr graph = SmallModel();
  auto session = Open(graph, {hook});

  EXPECT_THAT(session->raw_session().Run(Train()), IsOk());

  EXPECT_EQ(steps, 0);
  EXPECT_THAT(session->raw_session().GlobalStep(), IsOkAndHolds(1));
  EXPECT_EQ(session->graph(), graph);
  EXPECT_EQ(session->raw_session().graph(), graph);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, FreezesTheGraphWhileItIsOpen) {  // SMS-25
  const GraphPtr graph = SmallModel();

  auto session = Open(graph);
  EXPECT_TRUE(graph->finalized());
  EXPECT_THAT(CreateGlobalStep(*graph).status(), Not(IsOk()));
  EXPECT_THAT(graph->AddToCollection("losses", "y:0"),
              StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(session->Close(), IsOk());

  EXPECT_FALSE(graph->finalized());
  EXPECT_THAT(graph->AddToCollection("losses", "y:0"), IsOk());
}

TEST(SingularMonitoredSessionTest, LeavesAGraphFrozenThatWasFrozenBefore) {
  // SMS-25, SCF-19
  const GraphPtr graph = SmallModel();
  EXPECT_THAT(Open(graph)->Close(), IsOk());  // makes the scaffold's pieces
  EXPECT_THAT(graph->Finalize(), IsOk());

  EXPECT_THAT(Open(graph)->Close(), IsOk());

  EXPECT_TRUE(graph->finalized());
}

TEST(SingularMonitoredSessionTest, TwoSessionsShareAGraphNotItsVariables) {
  // RUN-26
  const GraphPtr graph = SmallModel();
  auto first = Open(graph);
  auto second = Open(graph);

  EXPECT_THAT(first->Run(Train()), IsOk());

  EXPECT_THAT(first->raw_session().GlobalStep(), IsOkAndHolds(1));
  EXPECT_THAT(second->raw_session().GlobalStep(), IsOkAndHolds(0));
  EXPECT_THAT(first->Close(), IsOk());
  EXPECT_TRUE(graph->finalized());
  EXPECT_THAT(second->Close(), IsOk());
  EXPECT_FALSE(graph->finalized());
}

TEST(SingularMonitoredSessionTest, RestoresTheNewestOrInitialises) {  // SMS-29
  const TempDir run;
  SingularMonitoredSession::Options options;
  options.checkpoint_dir = run.path();
  options.hooks = {SaveCheckpoints(run.path(), Every::Steps(2)), StopAtStep(3)};
  {
    auto session = SingularMonitoredSession::Create(SmallModel(), options);
    ASSERT_THAT(session, IsOk());
    EXPECT_THAT(
        (*session)->RunUntilStop([&] { return (*session)->Run(Train()); }),
        IsOk());
  }

  options.hooks.clear();
  auto resumed = SingularMonitoredSession::Create(SmallModel(), options);

  ASSERT_THAT(resumed, IsOk());
  EXPECT_THAT((*resumed)->raw_session().GlobalStep(), IsOkAndHolds(3));
  EXPECT_THAT((*resumed)->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, RestoresTheCheckpointItIsGiven) {  // SMS-29
  const TempDir run;
  SingularMonitoredSession::Options options;
  options.hooks = {SaveCheckpoints(run.path(), Every::Steps(2)), StopAtStep(3)};
  auto first = SingularMonitoredSession::Create(SmallModel(), options);
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT((*first)->RunUntilStop([&] { return (*first)->Run(Train()); }),
              IsOk());

  options.hooks.clear();
  options.checkpoint_filename_with_path = run / "model.ckpt-2";
  auto second = SingularMonitoredSession::Create(SmallModel(), options);
  ASSERT_THAT(second, IsOk());
  EXPECT_THAT((*second)->raw_session().GlobalStep(), IsOkAndHolds(2));
  EXPECT_THAT((*second)->Close(), IsOk());

  options.checkpoint_filename_with_path = run / "model.ckpt-7";
  EXPECT_THAT(
      SingularMonitoredSession::Create(SmallModel(), options),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("model.ckpt-7")));
}

TEST(SingularMonitoredSessionTest, AStepFunctionReturnsWhatItReturns) {
  // SMS-33, STEP-01
  auto session = Open(SmallModel());

  const absl::StatusOr<std::string> said = session->RunStepFn(
      [](StepContext& context) -> absl::StatusOr<std::string> {
        TF_RETURN_IF_ERROR(context.RunWithHooks(Train()));
        return "done";
      });
  const absl::Status preempted =
      session->RunStepFn([](StepContext&) { return absl::AbortedError("x"); });

  EXPECT_THAT(said, IsOkAndHolds("done"));
  EXPECT_THAT(preempted, StatusIs(StatusCode::kAborted));
  EXPECT_FALSE(session->ShouldStop());
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AStepFunctionCannotSwallowItsStop) {
  // STEP-05, STEP-07, R11
  auto session = Open(SmallModel());

  const absl::Status status = session->RunStepFn([](StepContext& context) {
    context.RequestStop().IgnoreError();
    return absl::OkStatus();
  });

  EXPECT_TRUE(IsStopIteration(status));
  EXPECT_TRUE(session->ShouldStop());
  EXPECT_THAT(session->Close(status), IsOk());
  EXPECT_EQ(session->summary().reason, StopReason::kStopIteration);
}

TEST(SingularMonitoredSessionTest, TellsWhyItEnded) {
  auto stopped = Open(SmallModel(), {StopAtStep(2)});
  const auto summary =
      stopped->RunUntilStop([&] { return stopped->Run(Train()); });
  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->reason, StopReason::kStopRequested);
  EXPECT_THAT(summary->detail, HasSubstr("2"));
  EXPECT_EQ(summary->last_step, 2);
  EXPECT_EQ(summary->checkpoint, "");

  const TempDir run;
  auto saved = Open(SmallModel(), {SaveCheckpoints(run.path(), Every::Steps(5)),
                                   StopAtStep(2)});
  const auto with_checkpoint =
      saved->RunUntilStop([&] { return saved->Run(Train()); });
  ASSERT_THAT(with_checkpoint, IsOk());
  EXPECT_EQ(with_checkpoint->checkpoint, run / "model.ckpt-2");

  auto asked = Open(SmallModel());
  asked->RequestStop();
  asked->RequestStop("enough");
  asked->RequestStop("more than enough");
  EXPECT_TRUE(asked->ShouldStop());
  EXPECT_THAT(asked->Run(Train()), IsOk());  // SMS-12
  EXPECT_THAT(asked->Close(), IsOk());
  EXPECT_EQ(asked->summary().reason, StopReason::kStopRequested);
  EXPECT_EQ(asked->summary().detail, "enough");

  auto closed = Open(SmallModel());
  EXPECT_THAT(closed->Close(), IsOk());
  EXPECT_EQ(closed->summary().reason, StopReason::kClosed);
}

TEST(SingularMonitoredSessionTest, ClosingTwiceTellsTheHooksNothing) {
  // SMS-22
  int ends = 0;
  auto hook = std::make_shared<FunctionHook>();
  hook->end = [&](Session&) {
    ++ends;
    return absl::OkStatus();
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Close(), IsOk());
  EXPECT_THAT(session->Close(), StatusIs(StatusCode::kFailedPrecondition,
                                         HasSubstr("closed already")));

  EXPECT_EQ(ends, 1);
  EXPECT_TRUE(session->ShouldStop());
  EXPECT_THAT(session->Run(Train()),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("closed")));
}

TEST(SingularMonitoredSessionTest, HooksSeeTheRawSessionRunInEnd) {  // SMS-17
  auto hook = std::make_shared<FunctionHook>();
  absl::StatusOr<int64_t> last;
  hook->end = [&](Session& session) {
    last = session.GlobalStep();
    return session.Run(Train());
  };
  auto session = Open(SmallModel(), {hook});
  EXPECT_THAT(session->Run(Train()), IsOk());

  EXPECT_THAT(session->Close(), IsOk());

  EXPECT_THAT(last, IsOkAndHolds(1));
}

TEST(SingularMonitoredSessionTest, DroppingItAbortsTheHooks) {
  absl::Status told;
  auto hook = std::make_shared<FunctionHook>();
  hook->abort = [&](const absl::Status& status) { told = status; };
  const GraphPtr graph = SmallModel();

  Open(graph, {hook}).reset();

  EXPECT_THAT(told, StatusIs(StatusCode::kCancelled));
  EXPECT_FALSE(graph->finalized());
}

TEST(SingularMonitoredSessionTest, AFailedCreationIsUndone) {  // SMS-27
  std::vector<std::string> aborted;
  auto hook = [&](const std::string& name, absl::Status created) {
    auto made = std::make_shared<FunctionHook>();
    made->created = [created](Session&, Coordinator&) { return created; };
    made->abort = [&aborted, name](const absl::Status&) {
      aborted.push_back(name);
    };
    return made;
  };
  const GraphPtr graph = SmallModel();
  SingularMonitoredSession::Options options;
  options.hooks = {hook("A", absl::OkStatus()),
                   hook("B", absl::InvalidArgumentError("no")),
                   hook("C", absl::OkStatus())};

  const auto session = SingularMonitoredSession::Create(graph, options);

  EXPECT_THAT(session, StatusIs(StatusCode::kInvalidArgument,
                                HasSubstr("FunctionHook::AfterCreateSession")));
  EXPECT_THAT(aborted, ElementsAre("A", "B", "C"));
  EXPECT_FALSE(graph->finalized());
}

TEST(SingularMonitoredSessionTest, AHooksExceptionIsAnErrorOfThatHook) {  // R7
  auto hook = std::make_shared<FunctionHook>();
  hook->after = [](SessionRunContext&,
                   const SessionRunValues&) -> absl::Status {
    throw std::runtime_error("thrown");
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Train()),
              StatusIs(StatusCode::kInternal,
                       AllOf(HasSubstr("thrown"),
                             HasSubstr("FunctionHook::AfterRun"))));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, WhatAHookThrowsIsInternalInEachCallback) {
  auto begins = std::make_shared<FunctionHook>();
  begins->begin = [](BeginContext&) -> absl::Status { throw 7; };
  SingularMonitoredSession::Options options;
  options.hooks = {begins};
  EXPECT_THAT(
      SingularMonitoredSession::Create(SmallModel(), options),
      StatusIs(StatusCode::kInternal, HasSubstr("FunctionHook::Begin")));

  auto ends = std::make_shared<FunctionHook>();
  ends->end = [](Session&) -> absl::Status { throw std::runtime_error("x"); };
  EXPECT_THAT(Open(SmallModel(), {ends})->Close(),
              StatusIs(StatusCode::kInternal, HasSubstr("FunctionHook::End")));
}

TEST(SingularMonitoredSessionTest, AnInitFnThatThrowsUndoesTheCreation) {  // R7
  Scaffold::Options scaffold;
  scaffold.init_fn = [](Scaffold&, Session&) -> absl::Status {
    throw std::runtime_error("thrown");
  };
  const GraphPtr graph = SmallModel();
  SingularMonitoredSession::Options options;
  options.scaffold = std::make_shared<Scaffold>(scaffold);

  EXPECT_THAT(SingularMonitoredSession::Create(graph, options),
              StatusIs(StatusCode::kUnknown, HasSubstr("thrown")));

  EXPECT_FALSE(graph->finalized());
}

TEST(SingularMonitoredSessionTest, AHookCannotCloseItsSession) {  // R7
  SingularMonitoredSession* session = nullptr;
  std::vector<absl::Status> closed;
  auto hook = std::make_shared<FunctionHook>();
  hook->before = [&](SessionRunContext&) {
    closed.push_back(session->Close());
    return SessionRunArgs();
  };
  hook->end = [&](Session&) {
    closed.push_back(session->Close());
    return absl::OkStatus();
  };
  auto owner = Open(SmallModel(), {hook});
  session = owner.get();

  EXPECT_THAT(session->Run(Train()), IsOk());
  EXPECT_THAT(session->Close(), IsOk());

  EXPECT_THAT(closed, ElementsAre(StatusIs(StatusCode::kFailedPrecondition,
                                           HasSubstr("RequestStop")),
                                  StatusIs(StatusCode::kFailedPrecondition)));
}

// Hooks that have ended would be called again.
TEST(SingularMonitoredSessionTest, NoStepIsRunWhileTheHooksEnd) {
  for (const absl::Status& body :
       {absl::OkStatus(), absl::InternalError("the body's")}) {
    SingularMonitoredSession* session = nullptr;
    std::vector<absl::Status> steps;
    const auto run = [&] {
      steps.push_back(session->Run(Train()));
      steps.push_back(session->Prepare(Train()).status());
    };
    LambdaHook::Options hook;
    hook.end = [&](Session&) {
      run();
      return absl::OkStatus();
    };
    hook.on_abort = [&](const absl::Status&) { run(); };
    const TempDir dir;
    auto owner =
        Open(SmallModel(), {SaveCheckpoints(dir.path(), Every::Steps(1)),
                            std::make_shared<LambdaHook>(hook)});
    session = owner.get();

    EXPECT_EQ(session->Close(body), body);

    EXPECT_THAT(steps, ElementsAre(StatusIs(StatusCode::kFailedPrecondition,
                                            HasSubstr("hooks have ended")),
                                   StatusIs(StatusCode::kFailedPrecondition)));
  }
}

TEST(SingularMonitoredSessionTest, AStopCountsThoughTheStepFunctionThrows) {
  // R11
  auto session = Open(SmallModel());

  const absl::Status thrown = CallCatching([&] {
    return session->RunStepFn([](StepContext& context) -> absl::Status {
      context.RequestStop().IgnoreError();
      throw std::runtime_error("thrown");
    });
  });

  EXPECT_THAT(thrown, StatusIs(StatusCode::kUnknown));
  EXPECT_TRUE(session->ShouldStop());
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AThreadThatIsStuckKeepsTheSession) {  // R9
  const GraphPtr graph = SmallModel();
  SingularMonitoredSession::Options options;
  options.stop_grace_period_secs = 0;
  auto session = SingularMonitoredSession::Create(graph, options).value();
  std::promise<void> release;
  absl::Status late;
  const auto thread =
      Thread::Start("stuck", [&late, &raw = session->raw_session(),
                              &coordinator = session->coordinator(),
                              released = release.get_future().share()] {
        released.wait();
        if (coordinator.ShouldStop()) late = raw.Run(Train());
      }).value();
  session->coordinator().RegisterThread(thread);

  EXPECT_THAT(session->Close(), IsOk());
  session.reset();

  EXPECT_GT(graph.use_count(), 1);
  release.set_value();
  thread->Join();
  EXPECT_THAT(late, StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_EQ(graph.use_count(), 1);
}

TEST(SingularMonitoredSessionTest, HooksMayChangeTheGraphInBeginOnly) {
  // HOOK-02, SCF-16
  auto hook = std::make_shared<FunctionHook>();
  hook->begin = [](BeginContext& context) {
    const tensorflow::Scope scope = context.graph().scope();
    return Variable::Create(context.graph(), scope, "added",
                            ops::Const(scope, 7.0f))
        .status();
  };
  hook->created = [](Session& session, Coordinator&) {
    EXPECT_TRUE(session.graph()->finalized());
    return absl::OkStatus();
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Fetch<float>("added/Read/ReadVariableOp:0")),
              IsOkAndHolds(7.0f));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AStopAskedForBeforeTheRunLetsItFinish) {
  // HOOK-06
  auto hook = std::make_shared<FunctionHook>();
  hook->before = [](SessionRunContext& context) {
    context.RequestStop("early");
    return SessionRunArgs();
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Train()), IsOk());

  EXPECT_TRUE(session->ShouldStop());
  EXPECT_THAT(session->raw_session().GlobalStep(), IsOkAndHolds(1));
  EXPECT_THAT(session->Close(), IsOk());
  EXPECT_EQ(session->summary().detail, "early");
}

TEST(SingularMonitoredSessionTest, AStopIsKeptWhenALaterHookFails) {
  // WRAP-13
  auto stops = std::make_shared<FunctionHook>();
  stops->after = [](SessionRunContext& context, const SessionRunValues&) {
    context.RequestStop("first");
    return absl::OkStatus();
  };
  auto fails = std::make_shared<FunctionHook>();
  fails->after = [](SessionRunContext&, const SessionRunValues&) {
    return absl::InvalidArgumentError("second");
  };
  auto session = Open(SmallModel(), {stops, fails});

  EXPECT_THAT(session->Run(Train()), StatusIs(StatusCode::kInvalidArgument));

  EXPECT_TRUE(session->ShouldStop());
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, EachHookSeesItsOwnValues) {  // HOOK-05
  std::vector<size_t> sizes;
  auto note = [&](SessionRunContext&, const SessionRunValues& values) {
    sizes.push_back(values.results().size());
    return absl::OkStatus();
  };
  auto both = AsksFor(
      SessionRunArgs(std::tuple{Fetch<float>("y:0"), Fetch<float>("x:0")}));
  auto nothing = std::make_shared<FunctionHook>();
  auto empty_list = AsksFor(SessionRunArgs(List({})));  // MRG-15
  both->after = nothing->after = empty_list->after = note;
  auto session = Open(SmallModel(), {both, nothing, empty_list});

  EXPECT_THAT(session->Run(Train(), {{"x:0", 1.0f}}), IsOk());

  EXPECT_THAT(sizes, ElementsAre(2, 0, 0));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, ReadingWhatWasNotAskedForIsAnError) {
  auto hook = std::make_shared<FunctionHook>();
  hook->after = [](SessionRunContext&, const SessionRunValues& values) {
    return values.Get(Fetch<float>("y:0")).status();
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Train()), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AHookThatIsNullIsRefused) {
  SingularMonitoredSession::Options options;
  options.hooks = {StopAtStep(2), nullptr, StopAtStep(3)};

  EXPECT_THAT(
      SingularMonitoredSession::Create(SmallModel(), options),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("hook 2 of 3 is null")));
}

TEST(SingularMonitoredSessionTest, TheSameHookTwiceIsCalledTwice) {  // HOOK-11
  std::vector<float> seen;
  auto hook = AsksFor(SessionRunArgs(Fetch<float>("y:0")));
  hook->after = [&](SessionRunContext&, const SessionRunValues& values) {
    seen.push_back(values.Get(Fetch<float>("y:0")).value_or(-1));
    return absl::OkStatus();
  };
  auto session = Open(SmallModel(), {hook, hook});

  EXPECT_THAT(session->Run(Train(), {{"x:0", 2.0f}}), IsOk());

  EXPECT_THAT(seen, ElementsAre(4.0f, 4.0f));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, FeedsOfHooksAndCallerAreJoined) {
  // MRG-09, MRG-10
  auto session =
      Open(SmallModel(), {AsksFor(SessionRunArgs::FeedOnly({{"z:0", 5.0f}}))});

  EXPECT_THAT(session->Run(Fetch<float>("minus_z:0")), IsOkAndHolds(-5.0f));
  EXPECT_THAT(
      session->Run(std::tuple{Fetch<float>("minus_z:0"), Fetch<float>("y:0")},
                   {{"x:0", 1.0f}}),
      IsOkAndHolds(std::tuple{-5.0f, 2.0f}));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, ATensorIsFedByOneOnly) {  // MRG-11, MRG-12
  const SessionRunArgs feeds = SessionRunArgs::FeedOnly({{"z:0", 5.0f}});
  auto two = Open(SmallModel(), {AsksFor(feeds), AsksFor(feeds)});
  EXPECT_THAT(two->Run(Train()),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("z:0"), HasSubstr("two hooks"))));
  EXPECT_THAT(two->Close(), IsOk());

  auto one = Open(SmallModel(), {AsksFor(feeds)});
  EXPECT_THAT(one->Run(Train(), {{"z:0", 1.0f}}),
              StatusIs(StatusCode::kFailedPrecondition,
                       HasSubstr("by a hook and by the caller")));
  EXPECT_THAT(one->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, HooksOptionsJoinTheCallersInACopy) {
  // MRG-03, HOOK-05
  tensorflow::RunOptions trace;
  trace.set_trace_level(tensorflow::RunOptions::FULL_TRACE);
  auto hook = AsksFor(SessionRunArgs::FeedOnly({}, trace));
  int devices = 0;
  tensorflow::RunOptions used;
  hook->after = [&](SessionRunContext&, const SessionRunValues& values) {
    used = *values.options();
    devices = values.run_metadata()->step_stats().dev_stats_size();
    return absl::OkStatus();
  };
  auto session = Open(SmallModel(), {hook});
  tensorflow::RunOptions callers;
  callers.set_timeout_in_ms(60000);

  EXPECT_THAT(session->Run(Fetch<float>("y:0"), {{"x:0", 1.0f}}, &callers),
              IsOkAndHolds(2.0f));

  EXPECT_EQ(used.timeout_in_ms(), 60000);
  EXPECT_EQ(used.trace_level(), tensorflow::RunOptions::FULL_TRACE);
  EXPECT_GT(devices, 0);
  EXPECT_EQ(callers.trace_level(), tensorflow::RunOptions::NO_TRACE);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, ADeclaredRequestIsCheckedAtCreation) {
  auto hook = std::make_shared<FunctionHook>();
  hook->begin = [](BeginContext& context) {
    context.Declare(SessionRunArgs(Fetch<float>("Y:0")));
    return absl::OkStatus();
  };
  SingularMonitoredSession::Options options;
  options.hooks = {hook};

  EXPECT_THAT(SingularMonitoredSession::Create(SmallModel(), options),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"Y\""), HasSubstr("\"y\""),
                             HasSubstr("FunctionHook"))));
}

TEST(SingularMonitoredSessionTest, AHookThatAsksAnewGetsOnePlan) {
  auto hook = std::make_shared<FunctionHook>();
  hook->before = [](SessionRunContext&) {
    return SessionRunArgs(Fetch<float>("y:0"));
  };
  auto session = Open(SmallModel(), {hook});
  ASSERT_THAT(session->Run(Train(), {{"x:0", 1.0f}}), IsOk());
  const int64_t plans = session->raw_session().plans_made();

  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(session->Run(Train(), {{"x:0", 1.0f}}), IsOk());
  }

  EXPECT_EQ(session->raw_session().plans_made(), plans);
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, HooksSeeTheStepBeforeAndAfter) {
  std::vector<int64_t> steps;
  auto hook = std::make_shared<FunctionHook>();
  hook->before =
      [&](SessionRunContext& context) -> absl::StatusOr<SessionRunArgs> {
    TF_ASSIGN_OR_RETURN(steps.emplace_back(), context.GlobalStep());
    return SessionRunArgs();
  };
  hook->after = [&](SessionRunContext& context,
                    const SessionRunValues&) -> absl::Status {
    TF_ASSIGN_OR_RETURN(steps.emplace_back(), context.GlobalStep());
    return absl::OkStatus();
  };
  auto session = Open(SmallModel(), {hook});

  EXPECT_THAT(session->Run(Train()), IsOk());
  EXPECT_THAT(session->Run(Train()), IsOk());

  EXPECT_THAT(steps, ElementsAre(0, 1, 1, 2));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AnIdleStepWithHooksUsesOnePlan) {
  auto session = Open(SmallModel(), {StopAtStep(1000)});
  const auto step = session->Prepare(Train());
  ASSERT_THAT(step, IsOk());
  ASSERT_THAT((*step)(), IsOk());
  const int64_t plans = session->raw_session().plans_made();

  for (int i = 0; i < 10; ++i) EXPECT_THAT((*step)(), IsOk());

  EXPECT_EQ(session->raw_session().plans_made(), plans);
  EXPECT_THAT(session->raw_session().GlobalStep(), IsOkAndHolds(11));
  EXPECT_THAT(session->Close(), IsOk());
}

TEST(SingularMonitoredSessionTest, AFailingQueueThreadIsWhatCloseReturns) {
  // QRN-16, SMS-19
  GraphPtr graph = SmallModel();
  const tensorflow::Scope scope = graph->scope();
  auto queue =
      ops::FIFOQueue(scope.WithOpName("queue"), {tensorflow::DT_FLOAT});
  auto bad = ops::CheckNumerics(scope, ops::Log(scope, -1.0f), "a bad value");
  auto enqueue = ops::QueueEnqueue(
      scope.WithOpName("enqueue"), queue,
      std::initializer_list<tensorflow::Input>{tensorflow::Output(bad)});
  ops::QueueDequeue(scope.WithOpName("dequeue"), queue, {tensorflow::DT_FLOAT});
  ASSERT_THAT(graph->status(), IsOk());
  const auto runner =
      QueueRunner::Create(*graph, queue.handle, {enqueue.operation});
  ASSERT_THAT(runner, IsOk());
  ASSERT_THAT(AddQueueRunner(*graph, **runner), IsOk());
  auto session = Open(graph);

  const absl::Status dequeued =
      session->Run(Fetch<float>("dequeue:0")).status();

  EXPECT_TRUE(IsEndOfInput(dequeued)) << dequeued;
  EXPECT_THAT(session->Close(dequeued),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("a bad value"), HasSubstr("queue"))));
}

TEST(SingularMonitoredSessionTest, WithClosesWhatTheBodyLeavesOpen) {
  int64_t last = 0;

  const auto summary =
      With(SmallModel(), {}, [&](SingularMonitoredSession& session) {
        const absl::Status run = session.Run(Train());
        last = session.raw_session().GlobalStep().value_or(-1);
        return run;
      });

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(last, 1);
  EXPECT_EQ(summary->last_step, 1);
  EXPECT_THAT(With(SmallModel(), {},
                   [](SingularMonitoredSession&) {
                     return absl::InvalidArgumentError("body");
                   }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("body")));
}

TEST(SingularMonitoredSessionTest, ABodyMayCloseTheSessionItStepsIn) {
  // SMS-22
  auto session = Open(SmallModel());
  int steps = 0;
  const auto summary = session->RunUntilStop(
      [&] { return ++steps < 3 ? session->Run(Train()) : session->Close(); });

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->reason, StopReason::kClosed);
  EXPECT_EQ(summary->last_step, 2);
  EXPECT_THAT(session->RunUntilStop([&] { return session->Run(Train()); }),
              StatusIs(StatusCode::kFailedPrecondition));

  auto failing = Open(SmallModel());
  EXPECT_THAT(failing->RunUntilStop([&]() -> absl::Status {
    TF_RETURN_IF_ERROR(failing->Close());
    return absl::InternalError("afterwards");
  }),
              StatusIs(StatusCode::kInternal, HasSubstr("afterwards")));
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The scenarios of lifecycle_trace.py, run here and compared with what Python's
// SingularMonitoredSession did in them (fixtures/lifecycle.json): every call of
// a hook in order, every step, loss, answer of ShouldStop, file, event and
// error. A scenario in which we differ on purpose says how, with the row of
// docs/parity.md.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tests/parity/fixtures.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

using ::testing::ElementsAreArray;
using ::testing::FloatNear;
using ::testing::Pointwise;

// What a scenario did, in the words of lifecycle_trace.py.
struct Trace {
  TempDir folder;
  std::vector<std::string> calls;
  std::vector<std::string> aborts;  // which Python does not have
  std::vector<std::string> runs;
  std::vector<double> losses;
  std::vector<std::string> should_stop;
  std::string error = "none";
  std::string last_step = "none";
  bool graph_finalized = false;
};

// Python's name for the kind of error that `status` is.
std::string KindOf(const absl::Status& status) {
  if (IsStopIteration(status)) return "StopIteration";
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return "ValueError";
    case absl::StatusCode::kFailedPrecondition:
      return "RuntimeError";
    case absl::StatusCode::kOutOfRange:
      return "OutOfRangeError";
    case absl::StatusCode::kAborted:
      return "AbortedError";
    case absl::StatusCode::kNotFound:
      return "KeyError";
    default:
      return status.ToString();
  }
}

const absl::Status& Injected() {
  static const auto* const status =
      new absl::Status(absl::InvalidArgumentError("injected"));
  return *status;
}

class RecordingHook : public SessionRunHook {
 public:
  struct Options {
    std::string failing;  // the callback that fails, at the run `at_run`
    absl::Status error = Injected();
    int at_run = 1;
    int stop_at_run = -1;
  };

  RecordingHook(Trace* trace, std::string name, Options options)
      : trace_(trace), name_(std::move(name)), options_(std::move(options)) {}

  absl::Status Begin(BeginContext&) override { return Note("begin"); }
  absl::Status AfterCreateSession(Session&, Coordinator&) override {
    return Note("after_create_session");
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext&) override {
    ++runs_;
    TF_RETURN_IF_ERROR(Note("before_run"));
    return SessionRunArgs();
  }
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues&) override {
    TF_RETURN_IF_ERROR(Note("after_run"));
    if (runs_ == options_.stop_at_run) context.RequestStop();
    return absl::OkStatus();
  }
  absl::Status End(Session&) override { return Note("end"); }
  void OnAbort(const absl::Status&) override {
    trace_->aborts.push_back(name_);
  }

 private:
  absl::Status Note(const std::string& callback) {
    trace_->calls.push_back(absl::StrCat(name_, ".", callback));
    const bool in_run = absl::EndsWith(callback, "_run");
    const bool fails =
        callback == options_.failing && (!in_run || runs_ == options_.at_run);
    return fails ? options_.error : absl::OkStatus();
  }

  Trace* const trace_;
  const std::string name_;
  const Options options_;
  int runs_ = 0;
};

class RecordingListener : public CheckpointSaverListener {
 public:
  RecordingListener(Trace* trace, std::string name, int64_t stop_after_step)
      : trace_(trace),
        name_(std::move(name)),
        stop_after_step_(stop_after_step) {}

  absl::Status Begin(BeginContext&) override { return Note("begin"); }
  absl::Status BeforeSave(Session&, int64_t step) override {
    return Note(absl::StrCat("before_save ", step));
  }
  absl::StatusOr<bool> AfterSave(Session&, int64_t step) override {
    TF_RETURN_IF_ERROR(Note(absl::StrCat("after_save ", step)));
    return step == stop_after_step_;
  }
  absl::Status End(Session&, int64_t step) override {
    return Note(absl::StrCat("end ", step));
  }

 private:
  absl::Status Note(const std::string& callback) {
    trace_->calls.push_back(absl::StrCat(name_, ".", callback));
    return absl::OkStatus();
  }

  Trace* const trace_;
  const std::string name_;
  const int64_t stop_after_step_;
};

// What a scenario does inside the session's context.
class Body {
 public:
  Body(Trace* trace, const Fixture& fixture, SingularMonitoredSession* opened)
      : session(*opened), trace_(*trace), fixture_(fixture) {}

  int64_t Step() { return session.raw_session().GlobalStep().value(); }

  // Fetches the loss; notes loss and step, or the error.
  absl::Status Run(int times = 1, bool train = true) {
    for (int i = 0; i < times; ++i) {
      const Feeds feeds = fixture_.FeedsAt(Step());
      const Fetch<float> loss("loss:0");
      const absl::StatusOr<float> value =
          train ? session.Run(std::tuple{loss, Target("train")}, feeds)
                : session.Run(loss, feeds);
      TF_RETURN_IF_ERROR(Note(value.status()));
      trace_.losses.push_back(*value);
    }
    return absl::OkStatus();
  }

  absl::Status RunUntilStop() {
    while (!ShouldStop()) TF_RETURN_IF_ERROR(Run());
    return absl::OkStatus();
  }

  bool ShouldStop() {
    const bool answer = session.ShouldStop();
    trace_.should_stop.push_back(answer ? "true" : "false");
    return answer;
  }

  // Notes a run that returned `status`.
  absl::Status Note(const absl::Status& status) {
    if (!status.ok()) {
      trace_.runs.push_back(KindOf(status));
      return status;
    }
    trace_.last_step = absl::StrCat(Step());
    trace_.runs.push_back(trace_.last_step);
    return status;
  }

  SingularMonitoredSession& session;

 private:
  Trace& trace_;
  const Fixture& fixture_;
};

using BodyFn = std::function<absl::Status(Body&)>;

// One session's life, as `live` in lifecycle_trace.py.
struct Life {
  std::string kind = "linear";
  std::vector<HookPtr> hooks;
  BodyFn body;
  bool restore = false;
};

void Live(Trace& trace, Life life) {
  const Fixture fixture(life.kind);
  const GraphPtr graph = Graph::Load(fixture.meta()).value();
  SingularMonitoredSession::Options options;
  options.hooks = std::move(life.hooks);
  if (life.restore) options.checkpoint_dir = trace.folder.path();
  auto session = SingularMonitoredSession::Create(graph, options);
  if (!session.ok()) {
    trace.error = absl::StrCat(KindOf(session.status()), " in create");
  } else {
    Body body(&trace, fixture, session->get());
    absl::Status status = life.body(body);
    if (!(*session)->closed()) {
      status = (*session)->Close(status);
    } else if (IsCleanStop(status)) {
      status = absl::OkStatus();
    }
    if (!status.ok()) {
      trace.error = absl::StrCat(KindOf(status), " in context");
    }
  }
  trace.graph_finalized = graph->finalized();
}

HookPtr Hook(Trace& trace, const std::string& name,
             RecordingHook::Options options = {}) {
  return std::make_shared<RecordingHook>(&trace, name, std::move(options));
}

std::vector<HookPtr> TwoHooks(Trace& trace, RecordingHook::Options first = {}) {
  return {Hook(trace, "A", std::move(first)), Hook(trace, "B")};
}

HookPtr Checkpoints(Trace& trace, int64_t save_steps,
                    std::vector<CheckpointSaverListenerPtr> listeners = {},
                    bool save_graph_def = true) {
  CheckpointSaverHook::Options options;
  options.checkpoint_dir = trace.folder.path();
  options.save_steps = save_steps;
  options.listeners = std::move(listeners);
  options.save_graph_def = save_graph_def;
  return std::make_shared<CheckpointSaverHook>(options);
}

CheckpointSaverListenerPtr Listener(Trace& trace, const std::string& name = "L",
                                    int64_t stop_after_step = -1) {
  return std::make_shared<RecordingListener>(&trace, name, stop_after_step);
}

BodyFn RunTimes(int times) {
  return [times](Body& body) { return body.Run(times); };
}
absl::Status RunUntilStop(Body& body) { return body.RunUntilStop(); }
BodyFn RunThenReturn(absl::Status status) {
  return [status](Body& body) -> absl::Status {
    TF_RETURN_IF_ERROR(body.Run());
    return status;
  };
}
RecordingHook::Options Failing(std::string callback, int at_run = 1,
                               absl::Status error = Injected()) {
  RecordingHook::Options options;
  options.failing = std::move(callback);
  options.at_run = at_run;
  options.error = std::move(error);
  return options;
}
RecordingHook::Options StoppingAt(int run) {
  RecordingHook::Options options;
  options.stop_at_run = run;
  return options;
}

// Leaves checkpoints 0, 2 and 3, and no event file.
void TrainToThree(Trace& trace) {
  Live(trace, {"linear", {Checkpoints(trace, 2)}, RunTimes(3)});
  for (const std::string& name : trace.folder.List()) {
    if (absl::StrContains(name, "tfevents")) {
      std::filesystem::remove(trace.folder / name);
    }
  }
  trace.runs.clear();
  trace.losses.clear();
  trace.last_step = "none";
}

void StopAt(Trace& trace, HookPtr stop, bool resumed) {
  if (resumed) TrainToThree(trace);
  Live(trace, {"linear", {std::move(stop)}, RunUntilStop, resumed});
}

// WRT-03: making a writer writes no graph; the checkpoint hook writes the
// finished one. In Python there are two of each, the first unfinished.
void WriterWritesNoGraph(ExpectedTrace& python) {
  auto& events = python.events;
  const auto first = std::find(events.begin(), events.end(), "0 graph_def");
  if (first != events.end()) events.erase(first, first + 2);
}

struct Scenario {
  std::string name;
  std::function<void(Trace&)> run;
  // How what Python did is changed before it is compared, and why: the rows
  // of docs/parity.md.
  std::function<void(ExpectedTrace&)> differs = [](ExpectedTrace&) {};
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

// R7, SMS-18: every hook's End is called, also after one that failed.
void EndOfAllHooks(ExpectedTrace& python) { python.calls.push_back("B.end"); }

// SMS-27: what a failed creation did is undone.
void CreationIsUndone(ExpectedTrace& python) { python.graph_finalized = false; }

// SMS-22: a session that was closed in its body is not closed again.
void ClosedOnce(ExpectedTrace& python) {
  python.error = "none";
  while (absl::EndsWith(python.calls.back(), "end_without_session")) {
    python.calls.pop_back();
  }
}

std::vector<Scenario> Scenarios() {
  return {
      // Order of the calls.
      {"plain_three_steps",  // SMS-03, SMS-07, SMS-17
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), RunTimes(3)});
       }},
      {"plain_three_steps_with_feeds",
       [](Trace& t) {
         Live(t, {"placeholder", TwoHooks(t), RunTimes(3)});
       }},
      {"hook_requests_stop_at_second_run",
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, StoppingAt(2)), RunUntilStop});
       }},
      {"hook_requests_stop_at_second_run_with_feeds",
       [](Trace& t) {
         Live(t, {"placeholder", TwoHooks(t, StoppingAt(2)), RunUntilStop});
       }},
      {"run_after_stop",  // SMS-11
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, StoppingAt(1)), RunTimes(2)});
       }},
      {"input_ends",  // QRN-15
       [](Trace& t) {
         Live(t, {"adam_queue", TwoHooks(t), RunUntilStop});
       }},

      // Errors of the body.
      {"body_raises_out_of_range",  // SMS-14, HOOK-08
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t),
                  RunThenReturn(EndOfInputError("injected"))});
       }},
      {"body_raises_stop_iteration",  // SMS-14, SMS-32
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), RunThenReturn(StopIterationError())});
       }},
      {"body_raises_value_error",  // SMS-16
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), RunThenReturn(Injected())});
       }},
      {"body_raises_aborted",  // SMS-13
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t),
                  RunThenReturn(absl::AbortedError("injected"))});
       }},
      {"unknown_fetch",  // HOOK-08
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) {
                    return body.Note(
                        body.session.Run(Fetch<float>("nowhere:0")).status());
                  }});
       }},

      // Errors of hooks.
      {"begin_raises",  // SMS-28
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("begin")), RunTimes(1)});
       }},
      {"second_begin_raises",  // SMS-28
       [](Trace& t) {
         Live(t, {"linear",
                  {Hook(t, "A"), Hook(t, "B", Failing("begin"))},
                  RunTimes(1)});
       }},
      {"after_create_session_raises",  // SMS-27
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("after_create_session")),
                  RunTimes(1)});
       },
       CreationIsUndone},
      {"before_run_raises",  // HOOK-07
       [](Trace& t) {
         Live(t,
              {"linear", TwoHooks(t, Failing("before_run", 2)), RunTimes(3)});
       }},
      {"before_run_raises_out_of_range",
       [](Trace& t) {
         Live(t, {"linear",
                  TwoHooks(
                      t, Failing("before_run", 2, EndOfInputError("injected"))),
                  RunTimes(3)});
       }},
      {"after_run_raises",  // HOOK-09
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("after_run", 2)), RunTimes(3)});
       }},
      {"after_run_raises_then_body_goes_on",
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("after_run")), [](Body& body) {
                    EXPECT_THAT(body.Run(), StatusIs(Injected().code()));
                    return body.Run(2);
                  }});
       }},
      {"end_raises",  // SMS-18
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("end")), RunTimes(1)});
       },
       EndOfAllHooks},
      {"end_raises_out_of_range",
       [](Trace& t) {
         Live(t, {"linear",
                  TwoHooks(t, Failing("end", 1, EndOfInputError("injected"))),
                  RunTimes(1)});
       },
       EndOfAllHooks},

      // Closing.
      {"close_inside_context",  // SMS-22
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    return body.session.Close();
                  }});
       },
       ClosedOnce},
      {"close_after_failed_run",  // SMS-21
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t, Failing("after_run")),
                  [](Body& body) -> absl::Status {
                    const absl::Status failed = body.Run();
                    TF_RETURN_IF_ERROR(body.session.Close());
                    return failed;
                  }});
       },
       // SMS-22: the body's own error is not hidden by a second close.
       [](ExpectedTrace& python) { python.error = "ValueError in context"; }},
      {"run_after_close",
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    TF_RETURN_IF_ERROR(body.session.Close());
                    return body.Note(body.session.Run(Target("train")));
                  }});
       },
       // RUN-22: a closed session is told as such.
       [](ExpectedTrace& python) { python.runs.back() = "RuntimeError"; }},

      // The coordinator.
      {"coordinator_stop",  // SMS-12
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    body.session.coordinator().RequestStop();
                    body.ShouldStop();
                    return body.Run();
                  }});
       }},
      {"coordinator_exception_then_should_stop",  // SMS-09
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    body.session.coordinator().RequestStop(Injected());
                    body.ShouldStop();
                    return absl::OkStatus();
                  }});
       },
       // SMS-09: ShouldStop answers; the error comes out of Close.
       [](ExpectedTrace& python) { python.should_stop = {"true"}; }},
      {"coordinator_exception_then_run",  // SMS-10
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    body.session.coordinator().RequestStop(Injected());
                    return body.Run();
                  }});
       }},
      {"coordinator_out_of_range_then_run",  // SMS-20
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run());
                    body.session.coordinator().RequestStop(
                        EndOfInputError("injected"));
                    return body.Run();
                  }});
       }},
      {"coordinator_exception_beats_body_error",  // SMS-19
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) -> absl::Status {
                    body.session.coordinator().RequestStop(
                        absl::NotFoundError("stored"));
                    return Injected();
                  }});
       }},

      // Step functions.
      {"step_fn_runs_with_hooks",  // STEP-03
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [&t](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.session.RunStepFn(
                        [](StepContext& context) -> absl::Status {
                          TF_RETURN_IF_ERROR(
                              context.session().Run(Target("train")));
                          return context.RunWithHooks(Target("train"));
                        }));
                    t.last_step = absl::StrCat(body.Step());
                    return absl::OkStatus();
                  }});
       }},
      {"step_fn_requests_stop",  // STEP-05, STEP-06
       [](Trace& t) {
         Live(t, {"linear", TwoHooks(t), [](Body& body) {
                    return body.session.RunStepFn([](StepContext& context) {
                      return context.RequestStop();
                    });
                  }});
       }},

      // Checkpoints.
      {"checkpoint_every_second_step",  // CSH-05, CSH-07, CSH-12, CSH-15
       [](Trace& t) {
         Live(t, {"linear", {Checkpoints(t, 2, {Listener(t)})}, RunTimes(5)});
       }},
      {"checkpoint_every_second_step_ending_on_a_save",  // CSH-11
       [](Trace& t) {
         Live(t, {"linear", {Checkpoints(t, 2, {Listener(t)})}, RunTimes(4)});
       }},
      {"checkpoint_without_meta_graph",  // CSH-06
       [](Trace& t) {
         Live(t, {"linear", {Checkpoints(t, 2, {}, false)}, RunTimes(3)});
       }},
      {"checkpoints_beyond_five",  // SVR-27
       [](Trace& t) {
         Live(t, {"linear", {Checkpoints(t, 1)}, RunTimes(7)});
       }},
      {"checkpoint_after_body_error",
       [](Trace& t) {
         Live(t, {"linear",
                  {Checkpoints(t, 2, {Listener(t)})},
                  [](Body& body) -> absl::Status {
                    TF_RETURN_IF_ERROR(body.Run(3));
                    return Injected();
                  }});
       }},
      {"checkpoint_listener_stops_training",  // CSH-14
       [](Trace& t) {
         Live(t, {"linear",
                  {Checkpoints(t, 2, {Listener(t, "L", 2), Listener(t, "M")})},
                  RunUntilStop});
       }},
      {"checkpoint_listener_wish_at_start_is_ignored",
       [](Trace& t) {
         Live(t, {"linear",
                  {Checkpoints(t, 2, {Listener(t, "L", 0)}),
                   Hook(t, "A", StoppingAt(3))},
                  RunUntilStop});
       }},
      {"checkpoint_resumed",
       [](Trace& t) {
         TrainToThree(t);
         Live(
             t,
             {"linear", {Checkpoints(t, 2, {Listener(t)})}, RunTimes(2), true});
       },
       // CSH-17: the restored step is not written again.
       [](ExpectedTrace& python) {
         python.calls.erase(python.calls.begin() + 1, python.calls.begin() + 3);
         python.events.erase(std::find(python.events.begin(),
                                       python.events.end(),
                                       "3 session_log CHECKPOINT model.ckpt"));
       }},

      // StopAtStepHook.
      {"stop_at_num_steps_fresh",
       [](Trace& t) { StopAt(t, StopAfterSteps(4), false); }},
      {"stop_at_last_step_fresh",  // SAS-04
       [](Trace& t) { StopAt(t, StopAtStep(4), false); }},
      {"stop_at_num_steps_resumed",  // SAS-03
       [](Trace& t) { StopAt(t, StopAfterSteps(4), true); }},
      {"stop_at_last_step_resumed",
       [](Trace& t) { StopAt(t, StopAtStep(4), true); }},
      {"stop_at_last_step_already_reached",
       [](Trace& t) { StopAt(t, StopAtStep(3), true); },
       // SAS-06: no step is run beyond the limit.
       [](ExpectedTrace& python) {
         python.runs.clear();
         python.losses.clear();
         python.should_stop = {"true"};
         python.last_step = "none";
       }},

      // Summaries and rates.
      {"summary_every_eighth_step",  // SSH-04, SSH-07
       [](Trace& t) {
         Live(t, {"linear",
                  {SaveSummaries(t.folder.path(), Every::Steps(8),
                                 "loss_summary:0")},
                  RunTimes(30)});
       }},
      {"step_counter_every_tenth_step",  // SCH-03
       [](Trace& t) {
         Live(t, {"linear",
                  {CountSteps(t.folder.path(), Every::Steps(10))},
                  RunTimes(30)});
       }},
  };
}

class LifecycleTest : public ::testing::TestWithParam<Scenario> {};

TEST_P(LifecycleTest, GoesAsInPython) {
  ExpectedTrace python(GetParam().name);
  WriterWritesNoGraph(python);
  GetParam().differs(python);

  Trace trace;
  GetParam().run(trace);

  EXPECT_THAT(trace.calls, ElementsAreArray(python.calls));
  EXPECT_THAT(trace.runs, ElementsAreArray(python.runs));
  EXPECT_THAT(trace.losses, Pointwise(FloatNear(1e-5f), python.losses));
  EXPECT_THAT(trace.should_stop, ElementsAreArray(python.should_stop));
  EXPECT_EQ(trace.error, python.error);
  EXPECT_EQ(trace.last_step, python.last_step);
  EXPECT_EQ(trace.graph_finalized, python.graph_finalized);
  if (python.has_folder) {
    const FolderTrace folder = ReadFolder(trace.folder.path());
    EXPECT_THAT(folder.checkpoints, ElementsAreArray(python.checkpoints));
    EXPECT_THAT(folder.files, ElementsAreArray(python.files));
    EXPECT_THAT(folder.state, ElementsAreArray(python.state));
    EXPECT_THAT(folder.events, ElementsAreArray(python.events));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, LifecycleTest, ::testing::ValuesIn(Scenarios()),
    [](const ::testing::TestParamInfo<Scenario>& scenario) {
      return scenario.param.name;
    });

}  // namespace
}  // namespace tftrain

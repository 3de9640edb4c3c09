// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/parity/scenario.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"
#include "tests/parity/fixtures.h"
#include "tests/parity/tensor_text.h"
#include "tftrain/base/file.h"
#include "tftrain/base/thread.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

using google::protobuf::Struct;
using tensorflow::Tensor;
using Json = google::protobuf::Value;

// JSON.

const Struct& AllScenarios() {
  static const auto* const all = new Struct(
      ReadJson(absl::StrCat(TFTRAIN_FIXTURES, "/scenarios/scenarios.json")));
  return *all;
}

// The member `key`, or null when there is none.
const Json* Find(const Struct& object, const std::string& key) {
  const auto it = object.fields().find(key);
  return it == object.fields().end() ? nullptr : &it->second;
}

// The one member of an object: its key and its value.
std::pair<std::string, const Json*> Only(const Struct& object) {
  CHECK_EQ(object.fields_size(), 1) << object.DebugString();
  return {object.fields().begin()->first, &object.fields().begin()->second};
}

int64_t Integer(const Json& value) {
  return static_cast<int64_t>(value.number_value());
}

bool IsTrue(const Json* value) {
  return value != nullptr && value->bool_value();
}

// Errors.

// The errors of Python's classes, and so their kinds.
const std::map<std::string, absl::Status>& Errors() {
  static const auto* const errors = new std::map<std::string, absl::Status>{
      {"OutOfRangeError", EndOfInputError("injected")},
      {"StopIteration", StopIterationError()},
      {"NanLossDuringTrainingError", NanLossError("injected")},
      {"ValueError", absl::InvalidArgumentError("injected")},
      {"TypeError", absl::InvalidArgumentError("injected")},
      {"InvalidArgumentError", absl::InvalidArgumentError("injected")},
      {"RuntimeError", absl::FailedPreconditionError("injected")},
      {"FailedPreconditionError", absl::FailedPreconditionError("injected")},
      {"AbortedError", absl::AbortedError("injected")},
      {"UnavailableError", absl::UnavailableError("injected")},
      {"CancelledError", absl::CancelledError("injected")},
      {"DeadlineExceededError", absl::DeadlineExceededError("injected")},
      {"NotFoundError", absl::NotFoundError("injected")},
  };
  return *errors;
}

std::string KindOf(const absl::Status& status) {
  if (IsEndOfInput(status)) return "end of input";
  if (IsStopIteration(status)) return "StopIteration";
  if (IsNanLoss(status)) return "NaN loss";
  return absl::StatusCodeToString(status.code());
}

const absl::Status& ErrorOf(const std::string& python_class) {
  const auto it = Errors().find(python_class);
  CHECK(it != Errors().end()) << python_class;
  return it->second;
}

// Runs.

std::string Name(std::string_view name) {
  return std::string(absl::StripPrefix(name, "@"));
}

FetchTree FetchOf(const Json& asked) {
  if (asked.has_string_value()) {
    const std::string name = Name(asked.string_value());
    if (absl::StrContains(name, ':')) return Fetch<Tensor>(name);
    return Target(name);
  }
  if (asked.has_list_value()) {
    std::vector<FetchTree> items;
    for (const Json& item : asked.list_value().values()) {
      items.push_back(FetchOf(item));
    }
    return List(std::move(items));
  }
  std::map<std::string, FetchTree> items;
  for (const auto& [key, item] : asked.struct_value().fields()) {
    if (key == "()") return FetchOf(item);
    items.emplace(key, FetchOf(item));
  }
  return Map(std::move(items));
}

FeedValue NumberOf(double number) {
  if (std::trunc(number) == number) return static_cast<int64_t>(number);
  return number;
}

FeedValue FeedValueOf(const Json& value) {
  if (value.has_string_value()) return ParseTensor(value.string_value());
  if (value.has_number_value()) return NumberOf(value.number_value());
  std::vector<int64_t> numbers;
  for (const Json& item : value.list_value().values()) {
    numbers.push_back(Integer(item));
  }
  return numbers;
}

Feeds FeedsOf(const Json* fed) {
  Feeds feeds;
  if (fed == nullptr) return feeds;
  for (const auto& [name, value] : fed->struct_value().fields()) {
    feeds.Add(Name(name), FeedValueOf(value));
  }
  return feeds;
}

std::optional<tensorflow::RunOptions> OptionsOf(const Json* text) {
  if (text == nullptr) return std::nullopt;
  tensorflow::RunOptions options;
  CHECK(google::protobuf::TextFormat::ParseFromString(text->string_value(),
                                                      &options));
  return options;
}

std::string DescribeOptions(const tensorflow::RunOptions& options) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  CHECK(printer.PrintToString(options, &text));
  absl::StripTrailingAsciiWhitespace(&text);
  return text;
}

std::string DescribeMetadata(const tensorflow::RunMetadata& metadata) {
  std::vector<std::string> parts;
  if (metadata.step_stats().dev_stats_size() > 0) parts.push_back("stats");
  if (metadata.partition_graphs_size() > 0) parts.push_back("graphs");
  return parts.empty() ? "nothing" : absl::StrJoin(parts, " ");
}

// Notes each callback, and does in it what it is told to.
class ScenarioHook : public SessionRunHook {
 public:
  ScenarioHook(const Struct& given, ScenarioTrace* trace)
      : given_(given), name_(At(given, "hook").string_value()), trace_(*trace) {
    if (const Json* ask = Find(given_, "ask")) ask_ = FetchOf(*ask);
    const Feeds feeds = FeedsOf(Find(given_, "feed"));
    auto options = OptionsOf(Find(given_, "options"));
    if (ask_.has_value()) {
      args_ = SessionRunArgs(*ask_, feeds, std::move(options));
    } else if (!feeds.empty() || options.has_value()) {
      args_ = SessionRunArgs::FeedOnly(feeds, std::move(options));
    }
  }

  absl::Status Begin(BeginContext&) override {
    TF_RETURN_IF_ERROR(Note("begin"));
    ++trace_.begun[name_];
    return absl::OkStatus();
  }
  absl::Status AfterCreateSession(Session&, Coordinator&) override {
    return Note("after_create_session");
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(
      SessionRunContext& context) override {
    ++runs_;
    if (IsTold("stop", "before_run")) context.RequestStop();
    TF_RETURN_IF_ERROR(Note("before_run"));
    return args_;
  }
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override {
    std::string more = " -";
    if (ask_.has_value()) {
      TF_ASSIGN_OR_RETURN(const Value value, values.Get(*ask_));
      more = " " + Describe(value);
    }
    const std::string options =
        values.options() == nullptr ? "" : DescribeOptions(*values.options());
    if (!options.empty()) {
      const tensorflow::RunMetadata* const metadata = values.run_metadata();
      absl::StrAppend(
          &more, " with ", options, ", ",
          metadata == nullptr ? "null" : DescribeMetadata(*metadata));
    }
    if (IsTold("stop", "after_run")) context.RequestStop();
    return Note("after_run", more);
  }
  absl::Status End(Session&) override {
    ++trace_.ended[name_];
    return Note("end");
  }
  void OnAbort(const absl::Status&) override { ++trace_.ended[name_]; }

 private:
  absl::Status Note(const std::string& callback, const std::string& more = "") {
    trace_.lines.push_back(absl::StrCat(name_, ".", callback, more));
    if (!IsTold("fail", callback)) return absl::OkStatus();
    return ErrorOf(At(given_, "fail").list_value().values(1).string_value());
  }

  bool IsTold(const std::string& what, const std::string& callback) const {
    const Json* told = Find(given_, what);
    if (told == nullptr ||
        told->list_value().values(0).string_value() != callback) {
      return false;
    }
    const Json* at = Find(given_, "at");
    return !absl::EndsWith(callback, "_run") ||
           runs_ == (at == nullptr ? 1 : Integer(*at));
  }

  const Struct given_;
  const std::string name_;
  ScenarioTrace& trace_;
  std::optional<FetchTree> ask_;
  SessionRunArgs args_;
  int runs_ = 0;
};

// Where one scenario is played: its folder, and what happened in it.
class Stage {
 public:
  void Play(const Struct& act);
  // One session's life on `graph`.
  void PlaySession(const GraphPtr& graph, const Struct& given,
                   SingularMonitoredSession* outer);
  // Notes what lies in the folder at the end.
  void NoteFolder();

  void Note(std::string line) { trace.lines.push_back(std::move(line)); }
  // Notes `what` and the error, if there is one, and returns it.
  absl::Status NoteError(std::string_view what, const absl::Status& status) {
    if (!status.ok()) Note(absl::StrCat(what, ": !", KindOf(status)));
    return status;
  }

  ScenarioTrace trace;

 private:
  absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> Open(
      const GraphPtr& graph, const Struct& given);
  std::vector<HookPtr> Hooks(const Graph& graph, const Struct& given);

  TempDir folder_;
  bool uses_folder_ = false;
};

// Plays the actions of a session's body or, with a `context`, of a step
// function.
class Player {
 public:
  Player(Stage* stage, SingularMonitoredSession* session,
         SingularMonitoredSession* outer, StepContext* context = nullptr)
      : stage_(*stage), session_(*session), outer_(outer), context_(context) {}

  // Plays until an action fails.
  absl::Status Play(const Json& actions) {
    for (const Json& action : actions.list_value().values()) {
      if (action.has_string_value()) {
        TF_RETURN_IF_ERROR(PlayWord(action.string_value()));
      } else {
        const auto [name, given] = Only(action.struct_value());
        TF_RETURN_IF_ERROR(PlayOne(name, *given));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status PlayWord(const std::string& name) {
    if (name == "should_stop") {
      ShouldStop();
      return absl::OkStatus();
    }
    if (name == "request_stop") return context_->RequestStop();
    CHECK(name == "close" || name == "close_outer") << name;
    SingularMonitoredSession& session = name == "close" ? session_ : *outer_;
    TF_RETURN_IF_ERROR(stage_.NoteError(name, session.Close()));
    stage_.Note(name + ": ok");
    return absl::OkStatus();
  }

  absl::Status PlayOne(const std::string& name, const Json& given) {
    if (name == "run" || name == "raw_run") {
      return Run(name, given.struct_value());
    }
    if (name == "raise") return ErrorOf(given.string_value());
    if (name == "try") {
      if (!Play(given).ok()) stage_.Note("caught");
      return absl::OkStatus();
    }
    if (name == "until_stop") {
      while (!ShouldStop()) TF_RETURN_IF_ERROR(Play(given));
      return absl::OkStatus();
    }
    if (name == "step_fn") return StepFn(given);
    if (name == "session") {
      stage_.PlaySession(session_.graph(), given.struct_value(), &session_);
      return absl::OkStatus();
    }
    const absl::Status reason = given.string_value().empty()
                                    ? absl::OkStatus()
                                    : ErrorOf(given.string_value());
    if (name == "coordinator") {
      session_.coordinator().RequestStop(reason);
      return absl::OkStatus();
    }
    CHECK_EQ(name, "thread");
    return StopFromThread(reason);
  }

  bool ShouldStop() {
    const bool answer = session_.ShouldStop();
    stage_.Note(answer ? "should_stop: true" : "should_stop: false");
    return answer;
  }

  absl::Status Run(const std::string& what, const Struct& given) {
    const FetchTree fetch = FetchOf(At(given, "fetch"));
    const Feeds feeds = FeedsOf(Find(given, "feed"));
    const auto options = OptionsOf(Find(given, "options"));
    std::optional<tensorflow::RunMetadata> metadata;
    if (IsTrue(Find(given, "metadata"))) metadata.emplace();
    const auto* const run_options = options.has_value() ? &*options : nullptr;
    auto* const run_metadata = metadata.has_value() ? &*metadata : nullptr;

    const bool is_raw = what == "raw_run";
    const absl::StatusOr<Value> value =
        is_raw ? session_.raw_session().Run(fetch, feeds, run_options,
                                            run_metadata)
        : context_ != nullptr
            ? context_->RunWithHooks(fetch, feeds, run_options, run_metadata)
            : session_.Run(fetch, feeds, run_options, run_metadata);
    TF_RETURN_IF_ERROR(stage_.NoteError(what, value.status()));

    std::string line = absl::StrCat(what, ": ", Describe(*value));
    if (!is_raw) {
      TF_ASSIGN_OR_RETURN(const int64_t step,
                          session_.raw_session().GlobalStep());
      absl::StrAppend(&line, " at step ", step);
    }
    stage_.Note(line);
    if (options.has_value()) {
      stage_.Note(absl::StrCat("options: ", DescribeOptions(*options)));
    }
    if (metadata.has_value()) {
      stage_.Note(absl::StrCat("metadata: ", DescribeMetadata(*metadata)));
    }
    return absl::OkStatus();
  }

  absl::Status StepFn(const Json& actions) {
    TF_RETURN_IF_ERROR(stage_.NoteError(
        "step_fn", session_.RunStepFn([&](StepContext& context) {
          return Player(&stage_, &session_, outer_, &context).Play(actions);
        })));
    stage_.Note("step_fn: ok");
    return absl::OkStatus();
  }

  absl::Status StopFromThread(const absl::Status& reason) {
    Coordinator& coordinator = session_.coordinator();
    TF_ASSIGN_OR_RETURN(const std::shared_ptr<Thread> thread,
                        Thread::Start("scenario", [&coordinator, reason] {
                          if (reason.ok()) coordinator.RequestStop();
                          coordinator.StopOnError([&] { return reason; });
                        }));
    coordinator.RegisterThread(thread);
    thread->Join();
    return absl::OkStatus();
  }

  Stage& stage_;
  SingularMonitoredSession& session_;
  SingularMonitoredSession* const outer_;
  StepContext* const context_;
};

void Stage::Play(const Struct& act) {
  const auto [kind, given] = Only(act);
  if (kind == "remove") {
    for (const std::string& name : folder_.List()) {
      if (absl::StrContains(name, given->string_value())) {
        std::filesystem::remove(folder_ / name);
      }
    }
    return;
  }
  if (kind == "write") {
    const auto& file = given->list_value();
    CHECK(WriteFileAtomically(folder_ / file.values(0).string_value(),
                              file.values(1).string_value())
              .ok());
    return;
  }
  CHECK_EQ(kind, "session");
  const Struct& session = given->struct_value();
  const Json* model = Find(session, "model");
  const GraphPtr graph =
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/scenarios/",
                               model == nullptr ? "run" : model->string_value(),
                               ".meta"))
          .value();
  Scaffold scaffold;
  if (IsTrue(Find(session, "finalized"))) CHECK(scaffold.Finalize(*graph).ok());
  PlaySession(graph, session, nullptr);
  Note(graph->finalized() ? "graph finalized: true" : "graph finalized: false");
}

void Stage::PlaySession(const GraphPtr& graph, const Struct& given,
                        SingularMonitoredSession* outer) {
  auto session = Open(graph, given);
  if (!session.ok()) {
    Note(absl::StrCat("create: !", KindOf(session.status())));
    return;
  }
  absl::Status status =
      Player(this, session->get(), outer).Play(At(given, "body"));
  if (!(*session)->closed()) {
    status = (*session)->Close(status);
  } else if (IsCleanStop(status)) {
    status = absl::OkStatus();
  }
  Note(status.ok() ? "context: ok"
                   : absl::StrCat("context: !", KindOf(status)));
}

absl::StatusOr<std::unique_ptr<SingularMonitoredSession>> Stage::Open(
    const GraphPtr& graph, const Struct& given) {
  SingularMonitoredSession::Options options;
  for (const Json& hook : At(given, "hooks").list_value().values()) {
    for (HookPtr& one : Hooks(*graph, hook.struct_value())) {
      options.hooks.push_back(std::move(one));
    }
  }
  const Json* restore = Find(given, "restore");
  if (restore != nullptr && restore->has_string_value()) {
    options.checkpoint_filename_with_path = folder_ / restore->string_value();
  }
  if (IsTrue(restore) || IsTrue(Find(given, "also_folder"))) {
    options.checkpoint_dir = folder_.path();
  }
  uses_folder_ |= restore != nullptr;
  if (IsTrue(Find(given, "init_fn"))) {
    Scaffold::Options pieces;
    pieces.init_fn = [this](Scaffold&, Session&) {
      Note("init_fn");
      return absl::OkStatus();
    };
    options.scaffold = std::make_shared<Scaffold>(pieces);
  }
  return SingularMonitoredSession::Create(graph, std::move(options));
}

std::vector<HookPtr> Stage::Hooks(const Graph& graph, const Struct& given) {
  if (Find(given, "hook") != nullptr) {
    const Json* times = Find(given, "times");
    return std::vector<HookPtr>(
        times == nullptr ? 1 : static_cast<size_t>(Integer(*times)),
        std::make_shared<ScenarioHook>(given, &trace));
  }
  const auto [kind, arguments] = Only(given);
  const auto [argument, number] = Only(arguments->struct_value());
  const int64_t steps = Integer(*number);
  if (kind == "StopAtStepHook") {
    return {argument == "num_steps" ? StopAfterSteps(steps)
                                    : StopAtStep(steps)};
  }
  uses_folder_ = true;
  if (kind == "CheckpointSaverHook") {
    return {SaveCheckpoints(folder_.path(), Every::Steps(steps))};
  }
  if (kind == "SummarySaverHook") {
    const std::vector<std::string> summary_op =
        graph.GetCollection("summary_op");
    return {
        SaveSummaries(folder_.path(), Every::Steps(steps), summary_op.at(0))};
  }
  CHECK_EQ(kind, "StepCounterHook");
  return {CountSteps(folder_.path(), Every::Steps(steps))};
}

void Stage::NoteFolder() {
  if (!uses_folder_) return;
  const FolderTrace folder = ReadFolder(folder_.path());
  for (const std::string& name : folder.files) Note("file " + name);
  for (const std::string& name : folder.state) Note("state " + name);
  NoteError("state", folder.state_status).IgnoreError();
  for (const std::string& event : folder.events) Note("event " + event);
}

}  // namespace

std::vector<std::string> ScenarioNames() {
  std::vector<std::string> names;
  for (const auto& [name, scenario] : AllScenarios().fields()) {
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> PythonLines(const std::string& scenario) {
  const Struct& record = At(AllScenarios(), scenario).struct_value();
  std::vector<std::string> lines;
  for (const Json& line : At(record, "trace").list_value().values()) {
    std::vector<std::string> parts =
        absl::StrSplit(line.string_value(), absl::MaxSplits(": !", 1));
    if (parts.size() == 2 && Errors().count(parts[1]) > 0) {
      parts[1] = KindOf(ErrorOf(parts[1]));
    }
    lines.push_back(absl::StrJoin(parts, ": !"));
  }
  return lines;
}

ScenarioTrace PlayScenario(const std::string& scenario) {
  const Struct& record = At(AllScenarios(), scenario).struct_value();
  Stage stage;
  for (const Json& act : At(record, "given").list_value().values()) {
    stage.Play(act.struct_value());
  }
  stage.NoteFolder();
  return std::move(stage.trace);
}

}  // namespace tftrain

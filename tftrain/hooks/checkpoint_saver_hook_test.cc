// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/checkpoint_saver_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "absl/strings/match.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/hooks/lambda_hook.h"
#include "tftrain/hooks/stop_at_step_hook.h"
#include "tftrain/summary/event_file_writer_cache.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/recording_hook.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Calls = std::vector<std::string>;

// Runs that save every second step into one folder.
class CheckpointSaverHookTest : public ::testing::Test {
 protected:
  CheckpointSaverHookTest() {
    options_.checkpoint_dir = dir_.path();
    options_.save_steps = 2;
    options_.clock = &clock_;
  }

  std::shared_ptr<CheckpointSaverHook> MakeHook() {
    return std::make_shared<CheckpointSaverHook>(options_);
  }

  std::shared_ptr<RecordingListener> AddListener(const std::string& name) {
    auto listener = std::make_shared<RecordingListener>(name, &calls_);
    options_.listeners.push_back(listener);
    return listener;
  }

  // One whole life: open, train, close.
  void Live(int runs, const std::vector<HookPtr>& more = {},
            const Feeds& feeds = {}) {
    std::vector<HookPtr> hooks = {MakeHook()};
    hooks.insert(hooks.end(), more.begin(), more.end());
    HookDriver run(hooks, dir_.path());
    run.AfterEachRun([this] { clock_.Advance(absl::Seconds(1)); });
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs, feeds), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  // The base names that the state file lists.
  Calls Checkpoints() {
    const absl::StatusOr<std::optional<CheckpointState>> state =
        GetCheckpointState(dir_.path());
    Calls names;
    if (!state.ok() || !state->has_value()) return names;
    for (const std::string& path : (*state)->all_model_checkpoint_paths) {
      names.emplace_back(BaseName(path));
    }
    return names;
  }

  // The events of all sessions, one file each, in order.
  Calls Events() {
    Calls events;
    for (const std::string& name : dir_.List()) {
      if (!absl::StrContains(name, "tfevents")) continue;
      const Calls some = Describe(dir_ / name);
      events.insert(events.end(), some.begin(), some.end());
    }
    return events;
  }

  std::string CheckpointEvent(int step) {
    return absl::StrCat("CHECKPOINT(", dir_ / "model.ckpt", ")",
                        step == 0 ? "" : absl::StrCat("@", step));
  }

  const TempDir dir_;
  FakeClock clock_;
  CheckpointSaverHook::Options options_;
  Calls calls_;
};

TEST_F(CheckpointSaverHookTest, SavesAtTheStartEverySecondStepAndTheEnd) {
  // CSH-05, CSH-07, CSH-10, CSH-11, CSH-12, CSH-19; users.md V1, row 20
  AddListener("L");

  Live(5);

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.BeforeSave 0", "L.AfterSave 0",
                          "L.BeforeSave 2", "L.AfterSave 2", "L.BeforeSave 4",
                          "L.AfterSave 4", "L.BeforeSave 5", "L.AfterSave 5",
                          "L.End 5"));
  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-0", "model.ckpt-2",
                                         "model.ckpt-4", "model.ckpt-5"));
}

TEST_F(CheckpointSaverHookTest, AStepThatIsReachedAgainIsSavedAgain) {
  AddListener("L");
  HookDriver run({MakeHook()}, dir_.path());
  run.options().scaffold = std::make_shared<Scaffold>();
  ASSERT_THAT(run.Open(), IsOk());
  Session& session = run.session().raw_session();
  EXPECT_THAT(run.Train(2), IsOk());

  // A step that trains nothing is the same model.
  EXPECT_THAT(run.Train(1, {}, "pair"), IsOk());
  EXPECT_THAT(calls_, Contains("L.AfterSave 2").Times(1));

  // Training is taken back, and comes to the step by another way.
  ASSERT_THAT(
      run.options().scaffold->saver()->Restore(session, dir_ / "model.ckpt-0"),
      IsOk());
  EXPECT_THAT(run.Train(1, {{"increment:0", int64_t{2}}}), IsOk());
  EXPECT_THAT(calls_, Contains("L.AfterSave 2").Times(2));
  EXPECT_THAT(run.Close(), IsOk());
  EXPECT_THAT(calls_, Contains("L.AfterSave 2").Times(2));
}

TEST_F(CheckpointSaverHookTest, SavesTheLastStepOnce) {
  // CSH-11; users.md row 21
  AddListener("L");

  Live(4);

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.BeforeSave 0", "L.AfterSave 0",
                          "L.BeforeSave 2", "L.AfterSave 2", "L.BeforeSave 4",
                          "L.AfterSave 4", "L.End 4"));
}

TEST_F(CheckpointSaverHookTest, TheLastSaveIsItsOwnWhoeverSavedTheStep) {
  AddListener("L");
  options_.save_steps = 100;
  const auto scaffold = std::make_shared<Scaffold>();
  LambdaHook::Options other;
  other.after_run = [&](SessionRunContext& context, const SessionRunValues&) {
    Saver::SaveOptions options;
    options.write_meta_graph = false;
    options.metrics = {{"loss", 2}};
    TF_ASSIGN_OR_RETURN(options.global_step, context.GlobalStep());
    return scaffold->saver()
        ->Save(context.session(), dir_ / "model.ckpt", options)
        .status();
  };
  HookDriver run({MakeHook(), std::make_shared<LambdaHook>(other)},
                 dir_.path());
  run.options().scaffold = scaffold;
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.BeforeSave 0", "L.AfterSave 0",
                          "L.BeforeSave 1", "L.AfterSave 1", "L.End 1"));
  EXPECT_THAT(dir_.List(), Contains("model.ckpt-1.meta"));
  EXPECT_THAT(Events(), Contains(CheckpointEvent(1)));
  // What the other hook measured stays.
  EXPECT_THAT(Saver::Metrics(dir_ / "model.ckpt-1"),
              ElementsAre(testing::Pair("loss", 2)));
}

TEST_F(CheckpointSaverHookTest, ListenersHearOfEachSave) {
  // CSH-15
  options_.save_steps = 1;
  AddListener("L");
  AddListener("M");

  Live(2);

  EXPECT_EQ(std::count(calls_.begin(), calls_.end(), "L.Begin"), 1);
  EXPECT_THAT(calls_, Contains("M.AfterSave 2"));
  EXPECT_EQ(std::count_if(calls_.begin(), calls_.end(),
                          [](const std::string& call) {
                            return absl::StartsWith(call, "M.AfterSave");
                          }),
            3);
  EXPECT_THAT(calls_, Contains("M.End 2").Times(1));
}

TEST_F(CheckpointSaverHookTest, WritesTheGraphThenNotesEachSave) {
  // CSH-05, CSH-13, CSH-20: the last note is not lost.
  Live(3);

  EXPECT_THAT(Events(), ElementsAre("graph", "meta_graph", CheckpointEvent(0),
                                    CheckpointEvent(2), CheckpointEvent(3)));
}

// Calls a function before and after each save.
//
// Confined: as the hook that calls it.
class AroundSaves : public CheckpointSaverListener {
 public:
  explicit AroundSaves(std::function<void()> fn) : fn_(std::move(fn)) {}

  absl::Status BeforeSave(Session&, int64_t) override {
    fn_();
    return absl::OkStatus();
  }
  absl::StatusOr<bool> AfterSave(Session&, int64_t) override {
    fn_();
    return false;
  }

 private:
  const std::function<void()> fn_;
};

TEST_F(CheckpointSaverHookTest, WhatIsNotedIsThereForTheListeners) {
  // CSH-05, CSH-12
  std::vector<Calls> seen;
  options_.listeners = {std::make_shared<AroundSaves>([&] {
    EXPECT_THAT(dir_.List(), Contains("graph.pbtxt"));
    const auto writer = EventFileWriterCache::Get(dir_.path());
    ASSERT_THAT(writer, IsOk());
    EXPECT_THAT((*writer)->Flush(), IsOk());
    seen.push_back(Events());
  })};
  HookDriver run({MakeHook()});

  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(seen, ElementsAre(ElementsAre("graph", "meta_graph"),
                                ElementsAre("graph", "meta_graph",
                                            CheckpointEvent(0))));
}

TEST_F(CheckpointSaverHookTest, TheGraphsOfTheEventFileAreWhole) {
  // CSH-05
  Live(1);

  tensorflow::GraphDef graph;
  tensorflow::MetaGraphDef meta_graph;
  for (const std::string& name : dir_.List()) {
    if (!absl::StrContains(name, "tfevents")) continue;
    for (const tensorflow::Event& event : ReadEvents(dir_ / name)) {
      if (event.has_graph_def()) {
        ASSERT_TRUE(graph.ParseFromString(event.graph_def()));
      } else if (event.has_meta_graph_def()) {
        ASSERT_TRUE(meta_graph.ParseFromString(event.meta_graph_def()));
      }
    }
  }
  EXPECT_THAT(meta_graph.saver_def().save_tensor_name(), Not(IsEmpty()));
  EXPECT_EQ(meta_graph.collection_def().count("variables"), 1u);
  for (const tensorflow::GraphDef& each : {graph, meta_graph.graph_def()}) {
    EXPECT_GT(each.node_size(), 0);
    for (const tensorflow::NodeDef& node : each.node()) {
      if (node.op() != "Const") continue;
      EXPECT_EQ(node.attr().count("_output_shapes"), 1u) << node.name();
    }
  }
}

TEST_F(CheckpointSaverHookTest, WritesTheGraphAsTextWithShapes) {
  // CSH-05
  Live(1);

  const absl::StatusOr<std::string> text =
      ReadFile(dir_ / "graph.pbtxt", 1 << 24);
  ASSERT_THAT(text, IsOk());
  tensorflow::GraphDef graph;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(*text, &graph));
  EXPECT_THAT(*text, HasSubstr("_output_shapes"));
}

TEST_F(CheckpointSaverHookTest, SaveGraphDefFalseLeavesOutTheFilesOnly) {
  // CSH-06
  options_.save_graph_def = false;

  Live(3);

  for (const std::string& name : dir_.List()) {
    EXPECT_NE(name, "graph.pbtxt");
    EXPECT_FALSE(absl::EndsWith(name, ".meta")) << name;
  }
  EXPECT_THAT(Events(), Contains("meta_graph"));
  EXPECT_THAT(Checkpoints(), Contains("model.ckpt-3"));
}

TEST_F(CheckpointSaverHookTest, SavesAtTheFirstStepAfterSoManySeconds) {
  // CSH-09; the steps take a second each.
  options_.save_steps.reset();
  options_.save_secs = 3;

  Live(9);

  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-0", "model.ckpt-4",
                                         "model.ckpt-7", "model.ckpt-9"));
}

TEST_F(CheckpointSaverHookTest, StepsThatJumpSaveWhereTheyLand) {
  // CSH-10; users.md row 18
  options_.save_steps = 10;

  Live(6, {}, {{"increment:0", 4}});

  EXPECT_THAT(Checkpoints(),
              ElementsAre("model.ckpt-0", "model.ckpt-12", "model.ckpt-24"));
}

TEST_F(CheckpointSaverHookTest, KeepsTheFiveNewest) {
  options_.save_steps = 1;

  Live(7);

  EXPECT_THAT(Checkpoints(),
              ElementsAre("model.ckpt-3", "model.ckpt-4", "model.ckpt-5",
                          "model.ckpt-6", "model.ckpt-7"));
}

TEST_F(CheckpointSaverHookTest, WithoutACreatedSessionTheFirstRunSaves) {
  // CSH-08
  const GraphPtr graph = CountingGraph();
  const auto hook = MakeHook();
  const auto scaffold = std::make_shared<Scaffold>();
  BeginContext begin(graph, scaffold);
  ASSERT_THAT(hook->Begin(begin), IsOk());
  ASSERT_THAT(scaffold->Finalize(*graph), IsOk());
  auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target(*scaffold->init_op())), IsOk());

  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT((*session)->Run(Target("train")), IsOk());
    const Request request;
    SessionRunContext context(session->get(), &request);
    EXPECT_THAT(hook->AfterRun(
                    context, SessionRunValues(StepValues(), nullptr, nullptr)),
                IsOk());
  }
  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-1", "model.ckpt-3"));
  hook->OnAbort(absl::OkStatus());
}

TEST_F(CheckpointSaverHookTest, ARestoredStepIsNotWrittenAgain) {
  // CSH-17; users.md V2, row 21
  Live(3);
  AddListener("L");

  Live(2);

  EXPECT_THAT(calls_, ElementsAre("L.Begin", "L.BeforeSave 5", "L.AfterSave 5",
                                  "L.End 5"));
  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-0", "model.ckpt-2",
                                         "model.ckpt-3", "model.ckpt-5"));
}

TEST_F(CheckpointSaverHookTest, AFinishedRunStartedAgainWritesNothing) {
  // users.md V2
  Live(9, {StopAtStep(4)});
  AddListener("L");

  Live(9, {StopAtStep(4)});

  EXPECT_THAT(calls_, ElementsAre("L.Begin", "L.End 4"));
}

TEST_F(CheckpointSaverHookTest, AResumedRunStillDeletesTheOldest) {
  // users.md row 24
  options_.save_steps = 1;
  Live(4);

  Live(3);

  EXPECT_THAT(Checkpoints(),
              ElementsAre("model.ckpt-3", "model.ckpt-4", "model.ckpt-5",
                          "model.ckpt-6", "model.ckpt-7"));
  EXPECT_THAT(dir_.List(), Not(Contains("model.ckpt-0.index")));
}

TEST_F(CheckpointSaverHookTest, AnOlderRestoredStepIsSaved) {
  // The newest checkpoint is not the one the session holds.
  Live(4);
  AddListener("L");
  HookDriver run({MakeHook()});
  run.options().checkpoint_filename_with_path = dir_ / "model.ckpt-2";

  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.BeforeSave 2", "L.AfterSave 2"));
}

TEST_F(CheckpointSaverHookTest, AnErrorOfTheBodyLeavesThePeriodicSave) {
  // users.md V3
  AddListener("L");
  HookDriver run({MakeHook()}, dir_.path());
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(run.Close(absl::InternalError("injected")),
              StatusIs(absl::StatusCode::kInternal));

  EXPECT_THAT(calls_,
              ElementsAre("L.Begin", "L.BeforeSave 0", "L.AfterSave 0",
                          "L.BeforeSave 2", "L.AfterSave 2", "L.OnAbort"));
  EXPECT_THAT(Events(), ElementsAre("graph", "meta_graph", CheckpointEvent(0),
                                    CheckpointEvent(2)));
}

TEST_F(CheckpointSaverHookTest, AListenerStopsTraining) {
  // CSH-14: both listeners are called.
  AddListener("L")->StopAfterStep(2);
  AddListener("M");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2)));
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(calls_, Contains("M.AfterSave 2"));
  EXPECT_THAT(run.session().summary().detail, HasSubstr("listener"));
}

TEST_F(CheckpointSaverHookTest, AListenersWishAtTheStartIsIgnored) {
  // CSH-14
  AddListener("L")->StopAfterStep(0);
  HookDriver run({MakeHook(), StopAtStep(3)});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Train(9), IsOkAndHolds(ElementsAre(1, 2, 3)));
}

TEST_F(CheckpointSaverHookTest, AListenersWishAtTheEndIsIgnored) {
  // CSH-14, CSH-11
  AddListener("L")->StopAfterStep(3);
  AddListener("M");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(3), IsOk());

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_EQ(run.session().summary().reason, StopReason::kClosed);
  EXPECT_THAT(calls_, Contains("M.AfterSave 3"));
}

TEST_F(CheckpointSaverHookTest, AListenersErrorBeforeASaveFailsTheStep) {
  // CSH-18: nothing is written then.
  const auto listener = AddListener("L");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());
  listener->FailIn("BeforeSave", absl::InternalError("injected"));

  EXPECT_THAT(run.Train(2), StatusIs(absl::StatusCode::kInternal,
                                     HasSubstr("CheckpointSaverHook")));

  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-0"));
}

TEST_F(CheckpointSaverHookTest, AFailedSaveAtTheEndIsTold) {
  // CSH-18; the listener hears of the abort in place of the end.
  const auto listener = AddListener("L");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  listener->FailIn("BeforeSave", absl::InternalError("injected"));

  EXPECT_THAT(run.Close(), StatusIs(absl::StatusCode::kInternal));

  EXPECT_EQ(calls_.back(), "L.OnAbort");
  EXPECT_THAT(calls_, Not(Contains("L.End 1")));
}

TEST_F(CheckpointSaverHookTest, AFailedSaveIsMadeUpForAtTheEnd) {
  // users.md row 20: Python takes the step for saved.
  const auto listener = AddListener("L");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Train(1), IsOk());
  listener->FailIn("BeforeSave", absl::InternalError("injected"));
  EXPECT_THAT(run.Train(1), StatusIs(absl::StatusCode::kInternal));
  listener->FailIn("", absl::OkStatus());

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(Checkpoints(), ElementsAre("model.ckpt-0", "model.ckpt-2"));
}

TEST_F(CheckpointSaverHookTest, AListenerThatCannotBeginEndsTheOthers) {
  AddListener("L");
  AddListener("M")->FailIn("Begin", absl::InternalError("injected"));
  HookDriver run({MakeHook()});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInternal));

  EXPECT_THAT(calls_, ElementsAre("L.Begin", "M.Begin", "L.OnAbort"));
}

TEST_F(CheckpointSaverHookTest, ListenersEndAlsoAfterOneFails) {
  AddListener("L")->FailIn("End", absl::InternalError("injected"));
  AddListener("M");
  HookDriver run({MakeHook()});
  ASSERT_THAT(run.Open(), IsOk());

  EXPECT_THAT(run.Close(), StatusIs(absl::StatusCode::kInternal));

  EXPECT_EQ(calls_.back(), "M.End 0");
}

TEST_F(CheckpointSaverHookTest, AListenerThatThrowsInBeginEndsTheOthers) {
  AddListener("L")->ThrowIn("OnAbort");
  AddListener("M");
  AddListener("N")->ThrowIn("Begin");
  HookDriver run({MakeHook()});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kInternal,
                                   HasSubstr("thrown by a listener")));

  EXPECT_THAT(calls_, ElementsAre("L.Begin", "M.Begin", "N.Begin", "L.OnAbort",
                                  "M.OnAbort"));
}

TEST_F(CheckpointSaverHookTest, AListenerThatThrowsAtTheEndHoldsNothingBack) {
  AddListener("L")->ThrowIn("End");
  AddListener("M");
  const auto hook = MakeHook();
  {
    HookDriver run({hook});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(1), IsOk());
    EXPECT_THAT(run.Close(), StatusIs(absl::StatusCode::kInternal));
  }

  EXPECT_EQ(calls_.back(), "M.End 1");
  // The folder and its event file are free, although the hook lives.
  EXPECT_THAT(Events(), Contains(CheckpointEvent(1)));
  options_.listeners.clear();
  Live(1);
}

TEST_F(CheckpointSaverHookTest, AListenerThatThrowsAfterASaveFailsTheCreation) {
  AddListener("L")->ThrowIn("AfterSave");
  AddListener("M");
  HookDriver run({MakeHook()});

  EXPECT_THAT(run.Open(),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("CheckpointSaverHook::AfterCreateSession")));

  EXPECT_THAT(calls_, ElementsAre("L.Begin", "M.Begin", "L.BeforeSave 0",
                                  "M.BeforeSave 0", "L.AfterSave 0",
                                  "L.OnAbort", "M.OnAbort"));
}

TEST_F(CheckpointSaverHookTest, AListenerThatIsNullIsRefused) {
  AddListener("L");
  options_.listeners.push_back(nullptr);

  EXPECT_THAT(HookDriver({MakeHook()}).Open(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("listener 2 of 2 is null")));

  EXPECT_THAT(calls_, IsEmpty());
}

TEST_F(CheckpointSaverHookTest, AFileInTheWayFailsTheCreation) {
  // CSH-18
  ASSERT_THAT(WriteFileAtomically(dir_ / "run", ""), IsOk());
  options_.checkpoint_dir = dir_ / "run";
  HookDriver run({MakeHook()});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("run")));
}

TEST_F(CheckpointSaverHookTest, SavesWithTheSaverItIsGiven) {
  // CSH-03
  options_.saver = Saver::Deferred();
  Scaffold::Options scaffold;
  scaffold.saver = options_.saver;
  HookDriver run({MakeHook()});
  run.options().scaffold = std::make_shared<Scaffold>(scaffold);
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(options_.saver->last_checkpoints(),
              ElementsAre(dir_ / "model.ckpt-0"));
}

TEST_F(CheckpointSaverHookTest, SavesWithTheScaffoldsSaver) {
  // CSH-03
  options_.scaffold = std::make_shared<Scaffold>();
  HookDriver run({MakeHook()});
  run.options().scaffold = options_.scaffold;
  ASSERT_THAT(run.Open(), IsOk());
  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_THAT(options_.scaffold->saver()->last_checkpoints(),
              ElementsAre(dir_ / "model.ckpt-0"));
}

TEST_F(CheckpointSaverHookTest, AScaffoldThatIsNotTheSessionsIsRefused) {
  options_.scaffold = std::make_shared<Scaffold>();
  HookDriver run({MakeHook()});

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("scaffold")));
}

TEST_F(CheckpointSaverHookTest, RefusesBadOptions) {
  // CSH-01, CSH-02
  const auto open = [this] { return HookDriver({MakeHook()}).Open(); };

  options_.save_secs = 1;
  EXPECT_THAT(open(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both")));
  options_.save_secs.reset();
  options_.save_steps.reset();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("neither")));
  options_.save_steps = 1;
  options_.saver = Saver::Deferred();
  options_.scaffold = std::make_shared<Scaffold>();
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("scaffold")));
  options_.saver.reset();
  options_.scaffold.reset();
  options_.checkpoint_dir = "";
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("checkpoint_dir")));
}

TEST_F(CheckpointSaverHookTest, NeedsAGlobalStep) {
  HookDriver run({MakeHook()}, "", Graph::Create());

  EXPECT_THAT(run.Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("global step")));
}

TEST_F(CheckpointSaverHookTest, LetsGoOfItsWriterAtTheEnd) {
  const auto hook = MakeHook();
  HookDriver run({hook});
  ASSERT_THAT(run.Open(), IsOk());
  const std::weak_ptr<EventFileWriter> writer =
      EventFileWriterCache::Get(dir_.path()).value();
  EXPECT_FALSE(writer.expired());

  EXPECT_THAT(run.Close(), IsOk());

  EXPECT_TRUE(writer.expired());
}

}  // namespace
}  // namespace tftrain

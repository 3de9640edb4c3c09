// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Creation fails at each of its points, with queue runners and the hooks that
// own threads and files. Reliability R7: the cause is told and nothing is left.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tests/faults/faulty_hook.h"
#include "tests/faults/process_state.h"
#include "tftrain/base/file.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/hooks/summary_saver_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = tensorflow::ops;
using absl::StatusCode;
using tensorflow::Output;
using ::testing::AllOf;
using ::testing::HasSubstr;

// An operation that fails when it runs.
std::string AddBadOperation(Graph& graph) {
  const tensorflow::Scope scope = graph.scope();
  ops::CheckNumerics(scope.WithOpName("bad"), ops::Log(scope, -1.0f),
                     "a bad value");
  return "bad";
}

// Two threads that are blocked in a full queue.
absl::Status AddBlockedQueueRunner(Graph& graph) {
  const tensorflow::Scope scope = graph.scope();
  const ops::FIFOQueue queue(scope.WithOpName("small"), {tensorflow::DT_FLOAT},
                             ops::FIFOQueue::Capacity(1));
  const ops::QueueEnqueue enqueue(
      scope.WithOpName("enqueue"), queue,
      tensorflow::InputList({Output(ops::Const(scope, 1.0f))}));
  const auto runner = QueueRunner::Create(
      graph, queue.handle, {enqueue.operation, enqueue.operation});
  if (!runner.ok()) return runner.status();
  return AddQueueRunner(graph, **runner);
}

class ConstructionFaultsTest : public ::testing::Test {
 protected:
  using Options = SingularMonitoredSession::Options;

  // What creation is told to do when nothing is wrong.
  Options GoodOptions() {
    Options options;
    options.checkpoint_dir = run_.path();
    options.hooks = {
        SaveCheckpoints(run_.path(), Every::Steps(1)),
        SaveSummaries(run_.path(), Every::Steps(1), "w_summary:0")};
    return options;
  }

  static GraphPtr Model() {
    GraphPtr graph = CountingGraph();
    CHECK(AddBlockedQueueRunner(*graph).ok());
    return graph;
  }

  // Trains a step, so that the folder holds checkpoints and the threads and
  // files that the runtime keeps are there.
  void TrainOnce() {
    auto session = SingularMonitoredSession::Create(Model(), GoodOptions());
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->Run(Target("train")), IsOk());
    ASSERT_THAT((*session)->Close(), IsOk());
  }

  // Creates a session after `arrange` has changed graph and options, with a
  // hook at either end that must hear of an abort if it heard of a beginning.
  absl::Status Create(const std::function<void(Graph&, Options&)>& arrange,
                      const GraphPtr& graph = Model()) {
    Options options = GoodOptions();
    calls_.clear();
    options.hooks.insert(options.hooks.begin(),
                         std::make_shared<RecordingHook>("first", &calls_));
    options.hooks.push_back(std::make_shared<RecordingHook>("last", &calls_));
    arrange(*graph, options);
    const ProcessState before = ProcessState::Now();

    const absl::Status status =
        SingularMonitoredSession::Create(graph, options).status();

    EXPECT_FALSE(graph->finalized());
    EXPECT_LE(ProcessState::Settled(before), before);
    EXPECT_EQ(Count("first.OnAbort"), Count("first.Begin"));
    EXPECT_EQ(Count("last.OnAbort"), Count("last.Begin"));
    EXPECT_EQ(Count("first.End") + Count("last.End"), 0);
    return status;
  }

  absl::Status CreateWith(Scaffold::Options scaffold) {
    return Create([&](Graph&, Options& options) {
      options.checkpoint_dir.clear();
      options.scaffold = std::make_shared<Scaffold>(scaffold);
    });
  }

  // Creates a session with a hook at the end of the list that returns or throws
  // in `callback`.
  absl::Status CreateWithFaultIn(const std::string& callback,
                                 const FaultyHook::Fault& fault) {
    auto hook =
        std::make_shared<FaultyHook>("faulty", &calls_, callback, fault);
    absl::Status status = Create([&](Graph&, Options& options) {
      options.hooks.insert(options.hooks.end() - 1, hook);
    });
    EXPECT_EQ(hook->faults(), 1);
    return status;
  }

  long Count(const std::string& call) const {
    return std::count(calls_.begin(), calls_.end(), call);
  }

  const TempDir run_;
  std::vector<std::string> calls_;
};

TEST_F(ConstructionFaultsTest, InAHook) {  // R7, SMS-27, SMS-28
  TrainOnce();
  EXPECT_THAT(
      CreateWithFaultIn("Begin",
                        [](const FaultContext&) {
                          return absl::PermissionDeniedError("not today");
                        }),
      StatusIs(StatusCode::kPermissionDenied,
               HasSubstr("not today; in faulty::Begin")));
  EXPECT_THAT(CreateWithFaultIn("AfterCreateSession",
                                [](const FaultContext&) -> absl::Status {
                                  throw std::runtime_error("not today");
                                }),
              StatusIs(StatusCode::kInternal,
                       AllOf(HasSubstr("not today"),
                             HasSubstr("faulty::AfterCreateSession"))));
  EXPECT_THAT(CreateWithFaultIn("Begin",
                                [](const FaultContext& context) {
                                  context.begin->Declare(
                                      SessionRunArgs(Fetch<float>("W:0")));
                                  return absl::OkStatus();
                                }),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"W\""), HasSubstr("faulty"))));
  EXPECT_THAT(Create([&](Graph&, Options& options) {
                options.hooks.push_back(SaveSummaries(
                    run_ / "more", Every::Steps(1), "no_summary:0"));
              }),
              StatusIs(StatusCode::kInvalidArgument,
                       HasSubstr("SummarySaverHook::Begin")));
}

TEST_F(ConstructionFaultsTest, InTheCheckpointHook) {  // R7
  TrainOnce();
  ASSERT_THAT(WriteFileAtomically(run_ / "file", "x"), IsOk());

  EXPECT_THAT(Create([&](Graph&, Options& options) {
                options.hooks.push_back(
                    SaveCheckpoints(run_ / "file", Every::Steps(1)));
              }),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("CheckpointSaverHook::Begin"),
                             HasSubstr(run_ / "file"))));

  // A folder takes the place of the file that is written first.
  std::filesystem::create_directories(run_ / "blocked/graph.pbtxt/x");
  EXPECT_THAT(Create([&](Graph&, Options& options) {
                options.hooks.push_back(
                    SaveCheckpoints(run_ / "blocked", Every::Steps(1)));
              }).message(),
              AllOf(HasSubstr("CheckpointSaverHook::AfterCreateSession"),
                    HasSubstr("graph.pbtxt")));
}

TEST_F(ConstructionFaultsTest, InTheScaffold) {  // R7
  TrainOnce();
  EXPECT_THAT(
      Create([](Graph& graph, Options&) {
        CHECK(graph.AddToCollection("init_op", "train").ok());
        CHECK(graph.AddToCollection("init_op", "fill").ok());
      }),
      StatusIs(StatusCode::kFailedPrecondition, HasSubstr("\"init_op\"")));
  EXPECT_THAT(Create([](Graph& graph, Options&) {
                CHECK(graph.AddToCollection("savers", "train").ok());
              }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"savers\"")));
}

TEST_F(ConstructionFaultsTest, InTheGraphItself) {  // R7
  TrainOnce();

  const absl::Status status = Create([](Graph& graph, Options&) {
    const tensorflow::Scope scope = graph.scope();
    ops::MatMul(scope.WithOpName("misfit"), ops::Const(scope, {1.0f, 2.0f}),
                ops::Const(scope, {1.0f, 2.0f}));
  });

  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(ConstructionFaultsTest, InOpeningTheSession) {  // R7
  TrainOnce();
  EXPECT_THAT(
      Create([](Graph&, Options& options) { options.master = "no://where"; }),
      StatusIs(StatusCode::kFailedPrecondition, HasSubstr("no://where")));
}

TEST_F(ConstructionFaultsTest, InRestoring) {  // R6, R7
  TrainOnce();
  EXPECT_THAT(Create([&](Graph&, Options& options) {
                options.checkpoint_dir.clear();
                options.checkpoint_filename_with_path = run_ / "model.ckpt-9";
              }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("ckpt-9")));

  EXPECT_THAT(Create([](Graph& graph, Options&) {
                CHECK(Variable::Create(graph, graph.scope(), "added",
                                       ops::Const(graph.scope(), 1.0f))
                          .ok());
              }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"added\"")));

  // Every checkpoint is cut short.
  for (const std::string& name : run_.List()) {
    if (name.find(".data-") != std::string::npos) {
      std::filesystem::resize_file(run_ / name, 3);
    }
  }
  const absl::Status cut = Create([](Graph&, Options&) {});
  EXPECT_THAT(cut, StatusIs(StatusCode::kDataLoss, HasSubstr("model.ckpt-1")));
  EXPECT_FALSE(IsCleanStop(cut));
}

TEST_F(ConstructionFaultsTest, InInitialising) {  // R7
  TrainOnce();
  const auto create_with =
      [&](const std::string& op,
          std::optional<std::string> Scaffold::Options::*piece) {
        return Create([&](Graph& graph, Options& options) {
          options.checkpoint_dir.clear();
          Scaffold::Options scaffold;
          scaffold.*piece = op == "bad" ? AddBadOperation(graph) : op;
          options.scaffold = std::make_shared<Scaffold>(scaffold);
        });
      };

  EXPECT_THAT(create_with("bad", &Scaffold::Options::init_op),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a bad value")));
  EXPECT_THAT(create_with("no_op", &Scaffold::Options::init_op),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"no_op\"")));
  EXPECT_THAT(
      create_with("constant", &Scaffold::Options::init_op),
      StatusIs(StatusCode::kFailedPrecondition, HasSubstr("not ready")));
  EXPECT_THAT(create_with("bad", &Scaffold::Options::local_init_op),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a bad value")));
  EXPECT_THAT(create_with("bad:0", &Scaffold::Options::ready_op),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(create_with("constant:0", &Scaffold::Options::ready_op), IsOk());
}

TEST_F(ConstructionFaultsTest, InTheInitFn) {  // R7
  TrainOnce();
  Scaffold::Options scaffold;
  scaffold.init_fn = [](Scaffold&, Session&) {
    return absl::ResourceExhaustedError("nothing left");
  };
  EXPECT_THAT(CreateWith(scaffold), StatusIs(StatusCode::kResourceExhausted,
                                             HasSubstr("nothing left")));

  scaffold.init_fn = [](Scaffold&, Session&) -> absl::Status {
    throw std::runtime_error("thrown by init_fn");
  };
  EXPECT_THAT(CreateWith(scaffold),
              StatusIs(StatusCode::kUnknown, HasSubstr("thrown by init_fn")));

  scaffold.init_fn = [](Scaffold&, Session& session) {
    return session.Close();
  };
  EXPECT_THAT(CreateWith(scaffold),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("closed")));
}

TEST_F(ConstructionFaultsTest, InStartingQueueRunners) {  // R7, QRN-12
  TrainOnce();
  EXPECT_THAT(
      Create([](Graph& graph, Options&) {
        tensorflow::QueueRunnerDef def;
        def.set_queue_name("small");
        def.add_enqueue_op_name("no_such_enqueue");
        CHECK(graph.AddToCollection(collection_keys::kQueueRunners, def).ok());
      }),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("no_such_enqueue")));
}

TEST_F(ConstructionFaultsTest, AfterwardsTheSameGraphCanBeTrained) {  // R7
  TrainOnce();
  const GraphPtr graph = Model();
  EXPECT_THAT(Create(
                  [](Graph&, Options& options) {
                    options.checkpoint_dir.clear();
                    options.checkpoint_filename_with_path = "nowhere";
                  },
                  graph),
              StatusIs(StatusCode::kInvalidArgument));

  auto session = SingularMonitoredSession::Create(graph, GoodOptions());

  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*session)->Run(Target("train")), IsOk());
  EXPECT_THAT((*session)->raw_session().GlobalStep(), IsOkAndHolds(2));
  EXPECT_THAT((*session)->Close(), IsOk());
}

}  // namespace
}  // namespace tftrain

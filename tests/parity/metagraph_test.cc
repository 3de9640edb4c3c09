// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// MetaGraphs that Python exported, trained here: the losses, the variables and
// the checkpoints are those of Python, step by step.

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/fixtures.h"
#include "tftrain/testing/interrupted_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

using ::testing::AnyOf;
using ::testing::DoubleNear;
using ::testing::FloatNear;
using ::testing::Pointwise;

constexpr float kTolerance = 1e-5f;

// The losses of `steps` steps of a session that is closed afterwards.
std::vector<double> Train(const Fixture& fixture, size_t steps,
                          SingularMonitoredSession::Options options) {
  const GraphPtr graph = Graph::Load(fixture.meta()).value();
  auto session = SingularMonitoredSession::Create(graph, std::move(options));
  EXPECT_THAT(session, IsOk());
  std::vector<double> losses;
  if (!session.ok()) return losses;
  for (size_t i = 0; i < steps; ++i) {
    const int64_t step = (*session)->raw_session().GlobalStep().value_or(-1);
    const auto loss =
        (*session)->Run(std::tuple{Fetch<float>("loss:0"), Target("train")},
                        fixture.FeedsAt(step));
    EXPECT_THAT(loss, IsOk());
    if (!loss.ok()) break;
    losses.push_back(*loss);
  }
  EXPECT_THAT((*session)->Close(), IsOk());
  return losses;
}

class MetaGraphTest : public ::testing::TestWithParam<const char*> {
 protected:
  const Fixture fixture_{GetParam()};
};

TEST_P(MetaGraphTest, TrainsAsInPython) {
  EXPECT_THAT(Train(fixture_, fixture_.losses().size(), {}),
              Pointwise(FloatNear(kTolerance), fixture_.losses()));
}

TEST_P(MetaGraphTest, ResumesFromPythonsCheckpoint) {
  const std::vector<double> expected = fixture_.losses_resumed();
  SingularMonitoredSession::Options options;
  options.checkpoint_filename_with_path = fixture_.checkpoint();

  EXPECT_THAT(Train(fixture_, expected.size(), options),
              Pointwise(FloatNear(kTolerance), expected));
}

TEST_P(MetaGraphTest, ResumesFromItsOwnCheckpoint) {
  const TempDir run;
  const std::vector<double> expected = fixture_.losses_resumed();
  SingularMonitoredSession::Options options;
  options.checkpoint_dir = run.path();
  options.hooks = {SaveCheckpoints(run.path(), Every::Steps(100))};

  Train(fixture_, static_cast<size_t>(fixture_.Number("checkpoint_step")),
        options);

  EXPECT_THAT(Train(fixture_, expected.size(), options),
              Pointwise(FloatNear(kTolerance), expected));
}

TEST_P(MetaGraphTest, IsExportedAsItCame) {  // MGR-04
  const GraphPtr graph = Graph::Load(fixture_.meta()).value();
  const TempDir folder;

  ASSERT_THAT(graph->Save(folder / "again.meta"), IsOk());
  const GraphPtr again = Graph::Load(folder / "again.meta").value();

  EXPECT_EQ(graph->ToMetaGraph().value().DebugString(),
            again->ToMetaGraph().value().DebugString());
}

// A program that trains from a fixture's checkpoint, and saves.
//
// Confined: use from the thread that created it.
class Trainer {
 public:
  Trainer(const Fixture& fixture, const std::string& folder)
      : graph_(Graph::Load(fixture.meta()).value()), folder_(folder) {
    Saver::Options options;
    options.max_to_keep = 1;
    saver_ = Saver::Create(*graph_, options).value();
    SessionManager::Options manager;
    manager.local_init_op =
        graph_->GetCollection(collection_keys::kLocalInitOp).front();
    manager_ = SessionManager::Create(graph_, manager).value();
  }

  const RestoreReport& report() const { return manager_->restore_report(); }

  // Opens a session on the checkpoint at `path`.
  absl::Status Start(const std::string& path) {
    SessionManager::PrepareOptions options;
    options.saver = saver_;
    options.checkpoint_filename_with_path = path;
    const auto session = manager_->PrepareSession(options);
    if (session.ok()) session_ = *session;
    return session.status();
  }
  absl::StatusOr<double> Step() {
    const auto loss =
        session_->Run(std::tuple{Fetch<float>("loss:0"), Target("train")});
    if (!loss.ok()) return loss.status();
    return *loss;
  }
  absl::Status Save() {
    Saver::SaveOptions options;
    options.global_step = session_->GlobalStep().value();
    return saver_->Save(*session_, folder_ + "/model", options).status();
  }

 private:
  const GraphPtr graph_;
  const std::string folder_;
  std::shared_ptr<Saver> saver_;
  std::unique_ptr<SessionManager> manager_;
  std::shared_ptr<Session> session_;
};

// Row 21: variables and iterators are of one checkpoint, which is kept from the
// first to the last of them.
TEST(IteratorRestoreTest, ARotationAmidAStartLeavesItTheCheckpoint) {
  const Fixture fixture("table_iterator");
  const std::vector<double> losses = fixture.losses_resumed();
  const TempDir run;
  InterruptedFileOps files;
  absl::StatusOr<double> next = absl::UnknownError("no start");
  int restored = 0;
  for (int look = 0;; ++look) {
    Trainer writer(fixture, run.path());
    ASSERT_THAT(writer.Start(fixture.checkpoint()), IsOk());
    ASSERT_THAT(writer.Save(), IsOk());
    ASSERT_THAT(writer.Step(), IsOk());

    files.Interrupt(look, [&] { EXPECT_THAT(writer.Save(), IsOk()); });
    Trainer reader(fixture, run.path());
    const absl::Status started = reader.Start(run.path());
    const bool interrupted = files.interrupted();
    files.Interrupt(0, nullptr);
    if (!interrupted) break;

    EXPECT_TRUE(started.ok() || reader.report().restored.empty()) << started;
    if (!started.ok()) continue;
    next = reader.Step();
    EXPECT_THAT(next, IsOkAndHolds(AnyOf(DoubleNear(losses[0], kTolerance),
                                         DoubleNear(losses[1], kTolerance))))
        << look;
    ++restored;
  }
  // By then the start has its pin.
  EXPECT_THAT(next, IsOkAndHolds(DoubleNear(losses[0], kTolerance)));
  EXPECT_GT(restored, 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, MetaGraphTest,
                         ::testing::Values("linear", "placeholder",
                                           "adam_queue", "partitioned",
                                           "table_iterator"),
                         [](const auto& kind) {
                           return std::string(kind.param);
                         });

}  // namespace
}  // namespace tftrain

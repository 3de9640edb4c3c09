// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// MetaGraphs that Python exported, trained here: the losses, the variables and
// the checkpoints are those of Python, step by step.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/fixtures.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Kinds, MetaGraphTest,
                         ::testing::Values("linear", "placeholder",
                                           "adam_queue", "partitioned",
                                           "table_iterator"),
                         [](const auto& kind) {
                           return std::string(kind.param);
                         });

}  // namespace
}  // namespace tftrain

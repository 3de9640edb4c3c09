// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The way back: Python restores and trains on from what was trained here.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/parity/fixtures.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

class MetaGraphInPythonTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) {
      GTEST_SKIP() << "TFTRAIN_PYTHON names no Python with TensorFlow";
    }
  }

  // Trains `steps` steps here, with checkpoints and summaries in `run`.
  void Train(const std::string& run, int steps) {
    SingularMonitoredSession::Options options;
    options.scaffold = std::make_shared<Scaffold>();
    options.checkpoint_dir = run;
    options.hooks = {SaveCheckpoints(run, Every::Steps(2)),
                     SaveSummaries(run, Every::Steps(1), options.scaffold)};
    auto session = SingularMonitoredSession::Create(
        Graph::Load(fixture_.meta()).value(), options);
    ASSERT_THAT(session, IsOk());
    for (int step = 0; step < steps; ++step) {
      ASSERT_THAT((*session)->Run(Target("train"), fixture_.FeedsAt(step)),
                  IsOk());
    }
    ASSERT_THAT((*session)->Close(), IsOk());
  }

  // What a script of tests/parity prints as JSON.
  google::protobuf::Struct Python(const std::string& script,
                                  std::vector<std::string> args) {
    google::protobuf::Struct json;
    const auto output =
        RunPythonFile(absl::StrCat(TFTRAIN_PARITY_DIR, "/", script), args);
    EXPECT_THAT(output, IsOk());
    if (output.ok()) {
      EXPECT_TRUE(
          google::protobuf::util::JsonStringToMessage(*output, &json).ok())
          << *output;
    }
    return json;
  }

  const Fixture fixture_{GetParam()};
};

TEST_P(MetaGraphInPythonTest, PythonRestoresWhatWasTrainedHere) {
  const TempDir run;
  Train(run.path(), 5);

  const google::protobuf::Struct restored =
      Python("restore_check.py", {run.path(), fixture_.meta()});

  EXPECT_EQ(restored.fields().at("step").number_value(), 5);
  const auto& variables = restored.fields().at("variables").struct_value();
  for (const std::string& name : fixture_.VariableNames("at_checkpoint")) {
    std::vector<double> values;
    for (const auto& value : variables.fields()
                                 .at(name)
                                 .struct_value()
                                 .fields()
                                 .at("values")
                                 .list_value()
                                 .values()) {
      values.push_back(value.number_value());
    }
    EXPECT_THAT(values, Pointwise(FloatNear(1e-5f),
                                  fixture_.Variable("at_checkpoint", name)))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MetaGraphInPythonTest,
                         ::testing::Values("linear", "placeholder",
                                           "adam_queue", "partitioned"),
                         [](const auto& kind) {
                           return std::string(kind.param);
                         });

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a run leaves for TensorBoard: the same events as Python's for the same
// graph and steps, and what TensorBoard itself makes of them.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tensorflow/core/framework/tensor.h"
#include "tests/parity/fixtures.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/tftrain.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int kSteps = 10;

std::string ProgramPath(const std::string& name) {
  return absl::StrCat(TFTRAIN_PARITY_DIR, "/", name);
}

// The lines that event_trace.py prints.
std::vector<std::string> EventTrace(const std::vector<std::string>& arguments) {
  const auto output = RunPythonFile(ProgramPath("event_trace.py"), arguments);
  EXPECT_THAT(output, IsOk());
  return absl::StrSplit(output.value_or(""), '\n', absl::SkipEmpty());
}

// Trains as event_trace.py does.
void Train(const Fixture& fixture, const std::string& folder) {
  const auto graph = Graph::Load(fixture.meta());
  ASSERT_THAT(graph, IsOk());
  SingularMonitoredSession::Options options;
  options.scaffold = std::make_shared<Scaffold>();
  CheckpointSaverHook::Options save;
  save.checkpoint_dir = folder;
  save.save_steps = 4;
  save.scaffold = options.scaffold;
  options.hooks = {SaveSummaries(folder, Every::Steps(2), options.scaffold),
                   CountSteps(folder, Every::Steps(3)),
                   std::make_shared<CheckpointSaverHook>(save)};
  options.config.set_intra_op_parallelism_threads(1);
  options.config.set_inter_op_parallelism_threads(1);
  const auto session = SingularMonitoredSession::Create(*graph, options);
  ASSERT_THAT(session, IsOk());
  for (int step = 0; step < kSteps; ++step) {
    ASSERT_THAT((*session)->Run(Target("train"), fixture.FeedsAt(step)),
                IsOk());
  }
  ASSERT_THAT((*session)->Close(), IsOk());
}

class EventsParityTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }
};

INSTANTIATE_TEST_SUITE_P(Models, EventsParityTest,
                         ::testing::Values("linear", "placeholder",
                                           "adam_queue"),
                         [](const auto& kind) { return kind.param; });

// SSH-04, SSH-07, SCH-05, CSH-08, WRT-02, WRT-04
TEST_P(EventsParityTest, TheSameRunLeavesTheSameEvents) {
  const Fixture fixture(GetParam());
  const TempDir theirs, ours;
  std::vector<std::string> expected = EventTrace(
      {"train", theirs.path(), fixture.meta(), absl::StrCat(kSteps)});
  Train(fixture, ours.path());

  // WRT-03: Python writes the graph, unfinished, when it makes the writer.
  ASSERT_GT(expected.size(), 10);
  EXPECT_THAT(
      (std::vector<std::string>(expected.begin(), expected.begin() + 5)),
      ElementsAre("0 file_version brain.Event:2", "0 graph_def",
                  "0 meta_graph_def", "0 graph_def", "0 meta_graph_def"));
  expected.erase(expected.begin() + 1, expected.begin() + 3);
  EXPECT_THAT(EventTrace({"read", ours.path()}), ElementsAreArray(expected));
}

class TensorBoardParityTest : public EventsParityTest {
 protected:
  // A member of TensorBoard's answer, by the names on the way to it.
  std::string Answer(const std::vector<std::string>& path) const {
    const google::protobuf::Struct* json = &answer_;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      json = &At(*json, path[i]).struct_value();
    }
    std::string text;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(
                    At(*json, path.back()), &text)
                    .ok());
    return text;
  }

  google::protobuf::Struct answer_;
};

INSTANTIATE_TEST_SUITE_P(Models, TensorBoardParityTest,
                         ::testing::Values("adam_queue"),
                         [](const auto& kind) { return kind.param; });

TEST_P(TensorBoardParityTest, ShowsRunsTagsImagesTextsAndTheGraph) {
  const TempDir dir;
  Train(Fixture(GetParam()), dir / "train");
  {
    const auto writer = EventFileWriterCache::Get(dir / "eval");
    ASSERT_THAT(writer, IsOk());
    tensorflow::Tensor images(tensorflow::DT_UINT8, {2, 8, 8, 3});
    images.flat<uint8_t>().setConstant(200);
    ASSERT_THAT((*writer)->AddImage("digits", images, 5), IsOk());
    (*writer)->AddHistogram("weights", std::vector<float>{1, 2, 3}, 5);
    (*writer)->AddHistogram("weights", std::vector<float>{2, 3, 4}, 6);
    (*writer)->AddText("note", "**bold**", 5);
    (*writer)->AddScalar("accuracy", 0.5f, 5);
  }
  const auto output =
      RunPythonFile(ProgramPath("tensorboard_check.py"), {dir.path()});
  ASSERT_THAT(output, IsOk());
  if (*output == "missing\n") {
    GTEST_SKIP() << "TFTRAIN_PYTHON has no TensorBoard; install it with \""
                 << PythonForTests() << " -m pip install tensorboard\"";
  }
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(*output, &answer_).ok());

  EXPECT_EQ(Answer({"runs"}), "[\"eval\",\"train\"]");
  EXPECT_EQ(Answer({"scalars", "eval", "accuracy"}), "[[5,0.5]]");
  EXPECT_THAT(Answer({"scalars", "train", "loss_summary"}),
              testing::MatchesRegex(
                  "\\[\\[1,[^]]*\\],\\[3,.*\\[5,.*\\[7,.*\\[9,[^]]*\\]\\]"));
  EXPECT_THAT(Answer({"scalars", "train", "global_step/sec"}),
              HasSubstr("[10,"));
  EXPECT_EQ(Answer({"histograms", "eval", "weights"}), "2");
  EXPECT_EQ(Answer({"histograms", "train", "residual_histogram"}), "5");
  for (const char* const tag : {"digits/image/0", "digits/image/1"}) {
    EXPECT_THAT(Answer({"images", "eval", tag}),
                HasSubstr("\"image/png\",\"89504e470d0a1a0a\""));
  }
  EXPECT_THAT(Answer({"text", "eval", "note"}),
              HasSubstr("[5,\"\\u003cp\\u003e\\u003cstrong\\u003ebold"));
  EXPECT_GT(At(At(answer_, "graphs").struct_value(), "train").number_value(),
            50);
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Event files between Python TensorFlow and tftrain.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_split.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class EventFileWriterParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }
};

tensorflow::Summary WithMetadata() {
  tensorflow::Summary summary;
  auto* value = summary.add_value();
  value->set_tag("tagged");
  value->set_simple_value(2);
  value->mutable_metadata()->set_display_name("shown");
  return summary;
}

// WRT-02, WRT-03, WRT-05, WRT-07
TEST_F(EventFileWriterParityTest, PythonReadsWhatWeWrote) {
  const TempDir dir;
  FakeClock clock(absl::FromUnixMillis(1500000000250));
  EventFileWriter::Options options;
  options.logdir = dir.path();
  options.clock = &clock;
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  tensorflow::GraphDef graph;
  graph.add_node()->set_name("node");
  (*writer)->AddGraph(graph);
  (*writer)->AddScalar("loss", 0.5f, 7);
  (*writer)->AddSummary(WithMetadata(), 8);
  (*writer)->AddSummary(WithMetadata(), 9);
  (*writer)->AddSessionLog(EventFileWriter::SessionStatus::kCheckpoint, 9,
                           "run/m");
  ASSERT_THAT((*writer)->AddRunMetadata(tensorflow::RunMetadata(), "r", 10),
              IsOk());
  ASSERT_THAT((*writer)->Close(), IsOk());

  const auto output = RunPython(
      "for e in tf.compat.v1.train.summary_iterator(sys.argv[1]):\n"
      "  what = e.WhichOneof('what')\n"
      "  said = {'file_version': lambda: e.file_version,\n"
      "          'graph_def': lambda: tf.compat.v1.GraphDef.FromString(\n"
      "              e.graph_def).node[0].name,\n"
      "          'summary': lambda: [(v.tag, v.simple_value,\n"
      "                               v.metadata.display_name)\n"
      "                              for v in e.summary.value],\n"
      "          'session_log': lambda: (e.session_log.status,\n"
      "                                  e.session_log.checkpoint_path),\n"
      "          'tagged_run_metadata': lambda: e.tagged_run_metadata.tag,\n"
      "         }[what]()\n"
      "  print(what, said, e.step, e.wall_time, sep='|')\n",
      {(*writer)->path()});

  ASSERT_THAT(output, IsOk());
  EXPECT_THAT(std::vector<std::string>(
                  absl::StrSplit(*output, '\n', absl::SkipEmpty())),
              ElementsAre("file_version|brain.Event:2|0|1500000000.25",
                          "graph_def|node|0|1500000000.25",
                          "summary|[('loss', 0.5, '')]|7|1500000000.25",
                          "summary|[('tagged', 2.0, 'shown')]|8|1500000000.25",
                          "summary|[('tagged', 2.0, '')]|9|1500000000.25",
                          "session_log|(3, 'run/m')|9|1500000000.25",
                          "tagged_run_metadata|r|10|1500000000.25"));
}

// WRT-05: Python refuses such a text, and would read nothing behind it.
TEST_F(EventFileWriterParityTest, PythonReadsPastATextThatWasNoUtf8) {
  const TempDir dir;
  EventFileWriter::Options options;
  options.logdir = dir.path();
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  (*writer)->AddScalar("loss\xff", 1, 7);
  (*writer)->AddHistogram("weights\xff", std::vector<float>{1, 2}, 8);
  (*writer)->AddSessionLog(EventFileWriter::SessionStatus::kCheckpoint, 9,
                           "run\xff/m");
  (*writer)->AddScalar("größe", 2, 10);
  ASSERT_THAT((*writer)->Close(), IsOk());

  const auto output = RunPython(
      "for e in tf.compat.v1.train.summary_iterator(sys.argv[1]):\n"
      "  print(e.step, ascii(e.session_log.checkpoint_path or\n"
      "                      [v.tag for v in e.summary.value]))\n",
      {(*writer)->path()});

  ASSERT_THAT(output, IsOk());
  EXPECT_THAT(std::vector<std::string>(
                  absl::StrSplit(*output, '\n', absl::SkipEmpty())),
              ElementsAre("0 []", "7 ['loss\\ufffd']", "8 ['weights\\ufffd']",
                          "9 'run\\ufffd/m'", "10 ['gr\\xf6\\xdfe']"));
  EXPECT_THAT(RunPython("tf.compat.v1.Summary.FromString(\n"
                        "    b'\\x0a\\x09\\x0a\\x02a\\xff\\x15\\0\\0\\x80?')\n",
                        {}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("UTF-8")));
}

// WRT-02: Python's file and ours differ in the end of the name and in what
// the version record says about the writer, and in nothing else.
TEST_F(EventFileWriterParityTest, SameEventsMakeTheSameRecords) {
  const TempDir theirs;
  const TempDir ours;
  ASSERT_THAT(
      RunPython("tf.compat.v1.disable_eager_execution()\n"
                "Summary = tf.compat.v1.Summary\n"
                "writer = tf.compat.v1.summary.FileWriter(sys.argv[1])\n"
                "writer.add_summary(Summary(value=[Summary.Value(\n"
                "    tag='loss', simple_value=0.5)]), 7)\n"
                "writer.add_session_log(tf.compat.v1.SessionLog(\n"
                "    status=tf.compat.v1.SessionLog.START), 7)\n"
                "writer.close()\n",
                {theirs.path()}),
      IsOk());
  EventFileWriter::Options options;
  options.logdir = ours.path();
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  (*writer)->AddScalar("loss", 0.5f, 7);
  (*writer)->AddSessionLog(EventFileWriter::SessionStatus::kStart, 7);
  ASSERT_THAT((*writer)->Close(), IsOk());

  ASSERT_THAT(theirs.List(), SizeIs(1));
  auto expected = ReadEvents(theirs / theirs.List().front());
  auto actual = ReadEvents((*writer)->path());
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    for (tensorflow::Event* event : {&expected[i], &actual[i]}) {
      event->clear_wall_time();
      event->clear_source_metadata();
    }
    EXPECT_EQ(actual[i].SerializeAsString(), expected[i].SerializeAsString());
  }
}

// The summaries of the events in a file.
std::vector<tensorflow::Summary> Summaries(const std::string& path) {
  std::vector<tensorflow::Summary> summaries;
  for (const tensorflow::Event& event : ReadEvents(path)) {
    if (event.has_summary()) summaries.push_back(event.summary());
  }
  return summaries;
}

// Histograms, images and texts are what TensorFlow's operations make of the
// same tensors.
TEST_F(EventFileWriterParityTest, DrawsWhatPythonDraws) {
  const TempDir theirs;
  const TempDir ours;
  ASSERT_THAT(
      RunPython("import numpy as np\n"
                "v1 = tf.compat.v1\n"
                "v1.disable_eager_execution()\n"
                "values = np.arange(-50, 50, dtype=np.float64) ** 3\n"
                "bytes = np.arange(96, dtype=np.uint8).reshape([2, 4, 4, 3])\n"
                "floats = np.linspace(-1, 2, 16, dtype=np.float32)\n"
                "floats[3] = np.nan\n"
                "floats = floats.reshape([1, 4, 4, 1])\n"
                "summaries = [\n"
                "    v1.summary.histogram('values', values),\n"
                "    v1.summary.image('bytes', bytes),\n"
                "    v1.summary.image('floats', floats, max_outputs=1),\n"
                "    v1.summary.image('half', floats[:, :2].astype(np.half)),\n"
                "    v1.summary.text('note', tf.constant('# Title'))]\n"
                "writer = v1.summary.FileWriter(sys.argv[1])\n"
                "with v1.Session() as session:\n"
                "  for summary in session.run(summaries):\n"
                "    writer.add_summary(summary, 7)\n"
                "writer.close()\n",
                {theirs.path()}),
      IsOk());
  EventFileWriter::Options options;
  options.logdir = ours.path();
  const auto writer = EventFileWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  std::vector<double> values;
  for (int i = -50; i < 50; ++i) values.push_back(std::pow(i, 3));
  tensorflow::Tensor bytes(tensorflow::DT_UINT8, {2, 4, 4, 3});
  for (int i = 0; i < 96; ++i)
    bytes.flat<uint8_t>()(i) = static_cast<uint8_t>(i);
  tensorflow::Tensor floats(tensorflow::DT_FLOAT, {1, 4, 4, 1});
  for (int i = 0; i < 16; ++i) {
    floats.flat<float>()(i) = static_cast<float>(-1 + i * 0.2);
  }
  floats.flat<float>()(3) = std::nanf("");
  tensorflow::Tensor half(tensorflow::DT_HALF, {1, 2, 4, 1});
  for (int i = 0; i < 8; ++i) {
    half.flat<Eigen::half>()(i) = Eigen::half(floats.flat<float>()(i));
  }
  (*writer)->AddHistogram("values", values, 7);
  ASSERT_THAT((*writer)->AddImage("bytes", bytes, 7), IsOk());
  ASSERT_THAT((*writer)->AddImage("floats", floats, 7, 1), IsOk());
  ASSERT_THAT((*writer)->AddImage("half", half, 7), IsOk());
  (*writer)->AddText("note", "# Title", 7);
  ASSERT_THAT((*writer)->Close(), IsOk());

  const auto expected = Summaries(theirs / theirs.List().front());
  const auto actual = Summaries((*writer)->path());
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].DebugString(), expected[i].DebugString());
  }
}

}  // namespace
}  // namespace tftrain

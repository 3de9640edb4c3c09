// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Checkpoints between Python TensorFlow and tftrain, both ways.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using google::protobuf::Struct;
using ::testing::ElementsAre;

class SaverParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }

  // What restore_check.py says about a checkpoint of the graph `meta`.
  static Struct RestoredByPython(const std::string& prefix,
                                 const std::string& meta) {
    const auto output = RunPython(
        "import runpy\n"
        "folder = sys.argv[1]\n"
        "sys.path.insert(0, folder)\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(folder + '/restore_check.py', run_name='__main__')\n",
        {TFTRAIN_PARITY, prefix, meta});
    EXPECT_THAT(output, IsOk());
    Struct report;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(
                    output.value_or("{}"), &report)
                    .ok());
    return report;
  }
};

// The elements of the variable `name` in a report.
std::vector<double> ValuesOf(const Struct& report, const std::string& name) {
  std::vector<double> values;
  const auto& variables = report.fields().at("variables").struct_value();
  const auto& variable = variables.fields().at(name).struct_value();
  for (const auto& value :
       variable.fields().at("values").list_value().values()) {
    values.push_back(value.number_value());
  }
  return values;
}

std::vector<std::string> Texts(const google::protobuf::Value& list) {
  std::vector<std::string> texts;
  for (const auto& value : list.list_value().values()) {
    texts.push_back(value.string_value());
  }
  return texts;
}

// A value with the keys of its objects in order.
std::string TextOf(const google::protobuf::Value& value) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(value, &text);
  return text;
}

// SVR-02, SVR-08, SVR-11, SVR-39, CKS-01: with the graph, the saver and the
// state file that we wrote.
TEST_F(SaverParityTest, PythonRestoresWhatWeWrote) {
  const TempDir dir;
  Program program;
  for (const int step : {1, 2, 2}) {
    ASSERT_THAT(program.SetAndSave(step, dir / "model.ckpt"), IsOk());
  }

  const Struct report = RestoredByPython(dir.path(), dir / "model.ckpt-2.meta");
  EXPECT_EQ(report.fields().at("step").number_value(), 2);
  EXPECT_THAT(ValuesOf(report, "w"), ElementsAre(2, 2));
  EXPECT_THAT(ValuesOf(report, "b"), ElementsAre(2, 2));
  EXPECT_EQ(report.fields().at("latest_checkpoint").string_value(),
            dir / "model.ckpt-2");
  const auto& state = report.fields().at("state").struct_value();
  EXPECT_THAT(Texts(state.fields().at("all_model_checkpoint_paths")),
              ElementsAre(dir / "model.ckpt-1", dir / "model.ckpt-2"));
}

// PART-01, SVR-12, SVR-41: every kind of graph that Python made.
class SaverKindParityTest : public SaverParityTest,
                            public ::testing::WithParamInterface<std::string> {
};

INSTANTIATE_TEST_SUITE_P(Fixtures, SaverKindParityTest,
                         testing::Values("placeholder", "adam_queue",
                                         "table_iterator", "partitioned"),
                         [](const auto& kind) { return kind.param; });

TEST_P(SaverKindParityTest, PythonRestoresWhatWeWrote) {
  const TempDir dir;
  const std::string fixture =
      absl::StrCat(TFTRAIN_PARITY, "/fixtures/", GetParam(), "/");
  const auto graph = Graph::Load(fixture + "model.meta");
  ASSERT_THAT(graph, IsOk());
  const auto saver = Saver::Create(**graph);
  ASSERT_THAT(saver, IsOk());
  const auto session = Session::Create(*graph);
  ASSERT_THAT(session, IsOk());
  for (const std::string& init :
       (*graph)->GetCollection(collection_keys::kLocalInitOp)) {
    ASSERT_THAT((*session)->Run(Target(init)), IsOk());
  }
  ASSERT_THAT((*saver)->Restore(**session, fixture + "model.ckpt-5"), IsOk());
  ASSERT_THAT((*saver)->Save(**session, dir / "ours"), IsOk());

  const auto text = ReadFile(fixture + "expected.json", int64_t{1} << 24);
  ASSERT_THAT(text, IsOk());
  Struct expected;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(*text, &expected).ok());
  const Struct report = RestoredByPython(dir / "ours", dir / "ours.meta");
  EXPECT_EQ(report.fields().at("step").number_value(), 5);
  EXPECT_EQ(TextOf(report.fields().at("variables")),
            TextOf(expected.fields().at("at_checkpoint")));
}

// SVR-22, SVR-37, SVR-38
TEST_F(SaverParityTest, WeRestoreOtherFormatsOfPython) {
  const TempDir dir;
  ASSERT_THAT(
      RunPython(
          "v1 = tf.compat.v1\n"
          "v1.disable_eager_execution()\n"
          "w = v1.get_variable('w', initializer=[3.0, 3.0])\n"
          "b = v1.get_variable('b', initializer=[3.0, 3.0])\n"
          "step = v1.train.create_global_step()\n"
          "folder = sys.argv[1]\n"
          "with v1.Session() as session:\n"
          "  session.run(v1.global_variables_initializer())\n"
          "  session.run(step.assign(3))\n"
          "  V1 = v1.train.SaverDef.V1\n"
          "  v1.train.Saver(write_version=V1).save(\n"
          "      session, folder + '/first')\n"
          "  v1.train.Saver(write_version=V1, sharded=True).save(\n"
          "      session, folder + '/shards')\n"
          "  v1.train.Saver(sharded=True).save(session, folder + '/sharded')\n"
          "  tf.train.Checkpoint(x=w, y=[b], z=step).write(\n"
          "      folder + '/objects', options=None)\n",
          {dir.path()}),
      IsOk());
  Program program;
  for (const std::string name :
       {"first", "shards-\?\?\?\?\?-of-00001", "sharded", "objects"}) {
    EXPECT_EQ(program.StateOf(dir / name), "3") << name;
  }
}

}  // namespace
}  // namespace tftrain

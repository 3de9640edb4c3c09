// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// MetaGraphs that Python made, tftrain extended and Python takes back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/summary_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = ::tensorflow::ops;

class MetaGraphParityTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }
};

INSTANTIATE_TEST_SUITE_P(Fixtures, MetaGraphParityTest,
                         testing::Values("linear", "adam_queue",
                                         "table_iterator"),
                         [](const auto& kind) { return kind.param; });

// MGR-04
TEST_P(MetaGraphParityTest, PythonTakesAnExtendedGraph) {
  const TempDir dir;
  const std::string original =
      absl::StrCat(TFTRAIN_FIXTURES, "/", GetParam(), "/model.meta");
  const auto graph = Graph::Load(original);
  ASSERT_THAT(graph, IsOk());
  const tensorflow::Scope scope = (*graph)->scope();
  const auto extra = Variable::Create(
      **graph, scope, "extra", ops::Const(scope.WithOpName("start"), 2.5f));
  ASSERT_THAT(extra, IsOk());
  ops::Mul(scope.WithOpName("product"), extra->value(),
           ops::Const(scope.WithOpName("four"), 4.0f));
  ASSERT_THAT(ScalarSummary(**graph, scope, "extra_value", extra->value()),
              IsOk());
  ASSERT_THAT((*graph)->Save(dir / "extended.meta"), IsOk());

  const auto answer = RunPython(
      "from tensorflow.python.framework import meta_graph\n"
      "v1 = tf.compat.v1\n"
      "v1.disable_eager_execution()\n"
      "def load(path):\n"
      "  graph = tf.Graph()\n"
      "  with graph.as_default():\n"
      "    v1.train.import_meta_graph(path)\n"
      "  return graph\n"
      "before, after = load(sys.argv[1]), load(sys.argv[2])\n"
      "read = meta_graph.read_meta_graph_file\n"
      "for node in read(sys.argv[1]).graph_def.node:\n"
      "  was = before.get_operation_by_name(node.name).node_def\n"
      "  now = after.get_operation_by_name(node.name).node_def\n"
      "  assert was == now, (was, now)\n"
      "with after.as_default():\n"
      "  extra = [v for v in v1.trainable_variables() if v.op.name == "
      "'extra']\n"
      "  assert len(extra) == 1, extra\n"
      "  assert extra[0].shape == [], extra\n"
      "  names = [v.op.name for v in v1.global_variables()]\n"
      "  assert names[-1] == 'extra', names\n"
      "  assert 'extra_value:0' in [\n"
      "      t.name for t in v1.get_collection('summaries')]\n"
      "  with v1.Session() as session:\n"
      "    session.run(v1.global_variables_initializer())\n"
      "    print(session.run(extra[0]), session.run('product:0'))\n",
      {original, dir / "extended.meta"});

  EXPECT_THAT(answer, IsOkAndHolds("2.5 10.0\n"));
}

// GST-01, GST-05
TEST_F(MetaGraphParityTest, PythonFindsOurGlobalStep) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  ASSERT_THAT(CreateGlobalStep(*graph), IsOk());
  ASSERT_THAT(graph->Save(dir / "model.meta"), IsOk());

  const auto answer = RunPython(
      "v1 = tf.compat.v1\n"
      "v1.disable_eager_execution()\n"
      "v1.train.import_meta_graph(sys.argv[1])\n"
      "step = v1.train.get_or_create_global_step()\n"
      "with v1.Session() as session:\n"
      "  session.run(step.initializer)\n"
      "  session.run(v1.assign_add(step, 5))\n"
      "  print(step.name, step.dtype.name, step.trainable,\n"
      "        v1.train.global_step(session, step))\n",
      {dir / "model.meta"});

  EXPECT_THAT(answer, IsOkAndHolds("global_step:0 int64 False 5\n"));
}

}  // namespace
}  // namespace tftrain

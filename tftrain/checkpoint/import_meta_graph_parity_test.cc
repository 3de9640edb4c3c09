// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Parts of models between Python TensorFlow and tftrain, with what they
// learned.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/checkpoint/import_meta_graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = ::tensorflow::ops;

using ::testing::ElementsAre;

class ImportMetaGraphParityTest : public testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }

  const TempDir dir_;
};

// MGR-09, MGR-13, SVR-39
TEST_F(ImportMetaGraphParityTest, PythonRestoresAndTrainsAPartOfOurs) {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto x = ops::Const(scope.WithOpName("x"), {1.0f, 1.0f});
  const tensorflow::Scope hidden = scope.NewSubScope("hidden");
  const auto w = Variable::Create(
      *graph, hidden, "w", ops::Const(hidden.WithOpName("start"), {3.f, 4.f}));
  ASSERT_THAT(w, IsOk());
  ops::Mul(hidden.WithOpName("out"), w->value(), x);
  Saver::Options options;
  options.var_list = {{"w", "hidden/w"}};
  const auto saver = Saver::Create(*graph, options);
  ASSERT_THAT(saver, IsOk());
  {
    const auto session = Session::Create(graph);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->Run(Target("hidden/w/Assign")), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir_ / "whole"), IsOk());
  }
  ExportOptions part;
  part.export_scope = "hidden";
  part.clear_devices = true;
  part.strip_default_attrs = true;
  ASSERT_THAT(graph->Save(dir_ / "part.meta", nullptr, part), IsOk());

  EXPECT_THAT(
      RunPython("from tensorflow.python.framework import meta_graph\n"
                "v1 = tf.compat.v1\n"
                "v1.disable_eager_execution()\n"
                "folder = sys.argv[1]\n"
                "x = tf.constant([10., 100.])\n"
                "variables = meta_graph.import_scoped_meta_graph(\n"
                "    folder + '/part.meta', import_scope='mine',\n"
                "    input_map={'$unbound_inputs_x': x})\n"
                "saver = v1.train.Saver({'w': variables['w:0']})\n"
                "graph = v1.get_default_graph()\n"
                "out = graph.get_tensor_by_name('mine/out:0')\n"
                "train = v1.train.GradientDescentOptimizer(.1).minimize(\n"
                "    tf.reduce_sum(out))\n"
                "whole = v1.train.import_meta_graph(folder + '/whole.meta',\n"
                "                                   import_scope='again')\n"
                "with v1.Session() as session:\n"
                "  saver.restore(session, folder + '/whole')\n"
                "  print(session.run(out))\n"
                "  session.run(train)\n"
                "  print(session.run(out))\n"
                "  saver.save(session, folder + '/trained')\n"
                "  whole.restore(session, folder + '/whole')\n"
                "  print(session.run('again/hidden/out:0'))\n",
                {dir_.path()}),
      IsOkAndHolds("[ 30. 400.]\n[  20. -600.]\n[3. 4.]\n"));

  // What Python trained comes back into the whole.
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir_ / "trained"), IsOk());
  EXPECT_THAT((*session)->Run(Fetch<std::vector<float>>("hidden/out:0")),
              IsOkAndHolds(ElementsAre(2.0f, -6.0f)));
}

// MGR-08, MGR-09, MGR-13
TEST_F(ImportMetaGraphParityTest, WeRestoreAPartOfPythons) {
  ASSERT_THAT(
      RunPython("from tensorflow.python.framework import meta_graph\n"
                "v1 = tf.compat.v1\n"
                "v1.disable_eager_execution()\n"
                "folder = sys.argv[1]\n"
                "x = tf.constant([1., 1.], name='x')\n"
                "with v1.variable_scope('hidden'):\n"
                "  w = v1.get_variable('w', initializer=[3., 4.])\n"
                "  r = v1.get_variable('r', initializer=[5., 6.],\n"
                "                      use_resource=False)\n"
                "  tf.identity(w * r * x, name='out')\n"
                "_, variables = meta_graph.export_scoped_meta_graph(\n"
                "    folder + '/part.meta', export_scope='hidden')\n"
                "names = {k[:-2]: v for k, v in variables.items()}\n"
                "with v1.Session() as session:\n"
                "  session.run(v1.global_variables_initializer())\n"
                "  v1.train.Saver(names).save(session, folder + '/learned')\n",
                {dir_.path()}),
      IsOk());
  const GraphPtr graph = Graph::Create();
  ImportOptions options;
  options.input_map = {
      {"$unbound_inputs_x",
       ops::Const(graph->scope().WithOpName("x"), {10.0f, 100.0f})}};

  const auto imported = ImportMetaGraph(*graph, dir_ / "part.meta", options);

  ASSERT_THAT(imported, IsOk());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(imported->saver->Restore(**session, dir_ / "learned"), IsOk());
  EXPECT_THAT((*session)->Run(Fetch<std::vector<float>>("out:0")),
              IsOkAndHolds(ElementsAre(150.0f, 2400.0f)));
}

}  // namespace
}  // namespace tftrain

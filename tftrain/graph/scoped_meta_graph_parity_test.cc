// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Parts of graphs, control flow and functions, as Python exports and imports
// them.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/control_flow.pb.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/meta_graph.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::tensorflow::MetaGraphDef;
using ::tensorflow::NodeDef;

// Models with variables of both kinds, a queue runner, two savers, and
// gradients through nested control flow of both kinds, or through functions.
// `hidden` takes `x` from outside.
constexpr std::string_view kModels = R"(
from tensorflow.python.framework import meta_graph
v1 = tf.compat.v1
v1.disable_eager_execution()
export = meta_graph.export_scoped_meta_graph

def start(kind):
  if kind == 'loops':
    v1.disable_control_flow_v2()
  else:
    v1.enable_control_flow_v2()

def body(kind, w, r, x):
  if kind == 'loops':
    def outer(i, y):
      return i + 1, tf.reduce_sum(y) * w / 8. + x
    _, y = v1.while_loop(lambda i, y: i < 3, outer, [0, w * 1.])
    return v1.cond(tf.reduce_sum(y) > 0., lambda: y * r, lambda: y - 1.)
  @tf.function
  def scaled(y):
    return tf.cond(tf.reduce_sum(y) > 0., lambda: y * 2., lambda: y - 1.)
  _, y = tf.while_loop(lambda i, y: i < 3,
                       lambda i, y: (i + 1, scaled(y) * x), [0, w * r])
  data = tf.data.Dataset.range(3).map(lambda n: n * 2).reduce(
      tf.constant(0, tf.int64), lambda a, b: a + b)
  return y + tf.cast(data, tf.float32)

def build(kind):
  start(kind)
  graph = tf.Graph()
  with graph.as_default():
    x = v1.placeholder_with_default(tf.constant([1., 2.]), [2], name='x')
    with v1.name_scope('hidden/'):
      with tf.device('/device:CPU:0'):
        w = tf.Variable([3., 4.], name='w')
        with v1.variable_scope('', use_resource=False):
          r = v1.Variable([1., 5.], name='r', use_resource=False)
      queue = tf.queue.FIFOQueue(3, [tf.float32], [[2]])
      v1.train.add_queue_runner(
          v1.train.QueueRunner(queue, [queue.enqueue([w * 1.])]))
      out = tf.identity(body(kind, w, r, x), name='out')
      v1.add_to_collection('outs', out)
      v1.add_to_collection('sizes', 3)
    if kind == 'loops':
      v1.while_loop(lambda i: i < 3., lambda i: v1.while_loop(
          lambda j: j < 9., lambda j: j + 2., [i]), [x[0]], name='nested')
    tf.identity(tf.gradients(tf.reduce_sum(out), [w])[0], name='grad')
    v1.global_variables_initializer()
    first, second = v1.train.Saver(), v1.train.Saver(max_to_keep=2)
    v1.add_to_collection('savers', first)
    v1.add_to_collection('savers', second)
  return graph, second

def show(graph, *names):
  with graph.as_default(), v1.Session() as session:
    session.run(v1.global_variables_initializer())
    for name in names:
      print(name, ' '.join('%.4g' % n for n in session.run(name)))
)";

std::string Script(std::string_view rest) {
  return absl::StrCat(kModels, rest);
}

template <typename Proto>
std::string TextOf(const std::string& bytes) {
  Proto proto;
  EXPECT_TRUE(proto.ParseFromString(bytes));
  std::string text;
  google::protobuf::TextFormat::PrintToString(proto, &text);
  return text;
}

std::string TextOf(const std::string& key, const std::string& bytes) {
  if (key == "savers") return TextOf<tensorflow::SaverDef>(bytes);
  if (key == "queue_runners") return TextOf<tensorflow::QueueRunnerDef>(bytes);
  if (key == "cond_context") return TextOf<tensorflow::CondContextDef>(bytes);
  if (key == "while_context") return TextOf<tensorflow::WhileContextDef>(bytes);
  if (absl::EndsWith(key, "variables")) {
    return TextOf<tensorflow::VariableDef>(bytes);
  }
  return bytes;
}

// What a MetaGraph says, part by part, whatever the order of what has none.
std::map<std::string, std::string> Parts(const MetaGraphDef& meta_graph) {
  std::map<std::string, std::string> parts;
  const auto print = [&](const std::string& name,
                         const google::protobuf::Message& proto) {
    google::protobuf::TextFormat::PrintToString(proto, &parts[name]);
  };
  for (NodeDef node : meta_graph.graph_def().node()) {
    for (std::string& input : *node.mutable_input()) {
      input = std::string(absl::StripSuffix(input, ":0"));
    }
    // Data inputs stay in front.
    std::stable_sort(node.mutable_input()->begin(), node.mutable_input()->end(),
                     [](const std::string& a, const std::string& b) {
                       const bool is_a = absl::StartsWith(a, "^");
                       const bool is_b = absl::StartsWith(b, "^");
                       return is_a && is_b ? a < b : is_a < is_b;
                     });
    print(absl::StrCat("node ", node.name()), node);
  }
  for (auto function : meta_graph.graph_def().library().function()) {
    // Python leaves shapes out where it exports a part.
    for (NodeDef& node : *function.mutable_node_def()) {
      node.mutable_attr()->erase("_output_shapes");
    }
    function.mutable_attr()->erase("_input_shapes");
    for (auto& [index, attributes] : *function.mutable_arg_attr()) {
      attributes.mutable_attr()->erase("_output_shapes");
    }
    print(absl::StrCat("function ", function.signature().name()), function);
  }
  print("versions", meta_graph.graph_def().versions());
  if (meta_graph.has_saver_def()) print("saver_def", meta_graph.saver_def());
  parts["stripped"] =
      absl::StrCat(meta_graph.meta_info_def().stripped_default_attrs());
  for (const auto& [key, collection] : meta_graph.collection_def()) {
    const std::string name = absl::StrCat("collection ", key);
    if (!collection.has_bytes_list()) {
      // Python leaves an empty one where nothing of it is in the scope.
      if (collection.ByteSizeLong() > 0) print(name, collection);
      continue;
    }
    for (const std::string& bytes : collection.bytes_list().value()) {
      absl::StrAppend(&parts[name], absl::StripSuffix(TextOf(key, bytes), ":0"),
                      "\n");
    }
  }
  return parts;
}

// Whether two MetaGraphs say the same, and if not, where they differ.
testing::AssertionResult SaySame(const MetaGraphDef& ours,
                                 const MetaGraphDef& pythons) {
  const auto a = Parts(ours);
  const auto b = Parts(pythons);
  std::vector<std::string> differences;
  const auto compare = [&](const auto& here, const auto& there) {
    for (const auto& [name, text] : here) {
      const auto it = there.find(name);
      if (it != there.end() && it->second == text) continue;
      differences.push_back(absl::StrCat(&here == &a ? "ours" : "Python's", " ",
                                         name, ": ", text));
    }
  };
  compare(a, b);
  compare(b, a);
  if (differences.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << differences.size() << " differences:\n"
         << absl::StrJoin(differences, "\n").substr(0, 6000);
}

class ScopedMetaGraphParityTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }

  MetaGraphDef Read(const std::string& name) const {
    const auto meta_graph = ReadMetaGraph(dir_ / name);
    EXPECT_THAT(meta_graph, IsOk());
    return *meta_graph;
  }

  const TempDir dir_;
};

INSTANTIATE_TEST_SUITE_P(Models, ScopedMetaGraphParityTest,
                         testing::Values("loops", "functions"),
                         [](const auto& kind) { return kind.param; });

// MGR-06, MGR-10, MGR-11, MGR-12, MGR-13
TEST_P(ScopedMetaGraphParityTest, ExportsWhatPythonExports) {
  ASSERT_THAT(RunPython(Script(R"(
folder, kind = sys.argv[1:]
graph, saver = build(kind)
saver_def = saver.as_saver_def()
with graph.as_default():
  export(folder + '/whole.meta', graph=graph)
  export(folder + '/scope.meta', graph=graph, export_scope='hidden/')
  graph.clear_collection('unbound_inputs')
  export(folder + '/stripped.meta', graph=graph, strip_default_attrs=True)
  export(folder + '/cleared.meta', graph=graph, clear_devices=True,
         clear_extraneous_savers=True, saver_def=saver_def)
)"),
                        {dir_.path(), GetParam()}),
              IsOk());
  const auto graph = Graph::Load(dir_ / "whole.meta");
  ASSERT_THAT(graph, IsOk());

  ExportOptions scope;
  scope.export_scope = "hidden";
  const auto in_scope = (*graph)->ToMetaGraph(nullptr, scope);
  ASSERT_THAT(in_scope, IsOk());
  EXPECT_TRUE(SaySame(*in_scope, Read("scope.meta")));

  ExportOptions strip;
  strip.strip_default_attrs = true;
  const auto stripped = (*graph)->ToMetaGraph(nullptr, strip);
  ASSERT_THAT(stripped, IsOk());
  EXPECT_TRUE(SaySame(*stripped, Read("stripped.meta")));

  const MetaGraphDef pythons = Read("cleared.meta");
  ExportOptions clear;
  clear.clear_devices = true;
  clear.clear_extraneous_savers = true;
  const auto cleared = (*graph)->ToMetaGraph(&pythons.saver_def(), clear);
  ASSERT_THAT(cleared, IsOk());
  EXPECT_TRUE(SaySame(*cleared, pythons));
}

// MGR-09, MGR-10, MGR-12
TEST_P(ScopedMetaGraphParityTest, ImportsAsPythonImports) {
  ASSERT_THAT(RunPython(Script(R"(
folder, kind = sys.argv[1:]
graph, _ = build(kind)
export(folder + '/whole.meta', graph=graph)
graph = tf.Graph()
with graph.as_default():
  meta_graph.import_scoped_meta_graph(
      folder + '/whole.meta', clear_devices=True, import_scope='deep/in')
  export(folder + '/imported.meta', graph=graph)
)"),
                        {dir_.path(), GetParam()}),
              IsOk());
  ImportOptions options;
  options.clear_devices = true;
  options.import_scope = "deep/in";

  const auto graph = Graph::Load(dir_ / "whole.meta", options);

  ASSERT_THAT(graph, IsOk());
  MetaGraphDef ours = *(*graph)->ToMetaGraph();
  MetaGraphDef pythons = Read("imported.meta");
  // Here each import has storage of its own, and gradients of loops have frames
  // of their own as well.
  for (MetaGraphDef* meta_graph : {&ours, &pythons}) {
    for (NodeDef& node : *meta_graph->mutable_graph_def()->mutable_node()) {
      if (node.op() == "VarHandleOp") node.mutable_attr()->erase("shared_name");
      if (absl::StrContains(node.name(), "gradients/")) {
        node.mutable_attr()->erase("frame_name");
      }
    }
  }
  EXPECT_TRUE(SaySame(ours, pythons));
}

// The values of `names` after the model `prefix` was initialised, one a line.
absl::StatusOr<std::string> ValuesOf(const Graph& graph,
                                     const std::string& prefix,
                                     const std::vector<std::string>& names) {
  const std::unique_ptr<tensorflow::Session> session(
      tensorflow::NewSession(tensorflow::SessionOptions()));
  TF_ASSIGN_OR_RETURN(const auto graph_def, graph.ToGraphDef());
  TF_RETURN_IF_ERROR(session->Create(*graph_def));
  TF_RETURN_IF_ERROR(
      session->Run({}, {}, {absl::StrCat(prefix, "init")}, nullptr));
  std::vector<std::string> lines;
  for (const std::string& name : names) {
    std::vector<tensorflow::Tensor> values;
    TF_RETURN_IF_ERROR(
        session->Run({}, {absl::StrCat(prefix, name)}, {}, &values));
    const auto numbers = values[0].vec<float>();
    std::vector<std::string> texts;
    for (int64_t i = 0; i < numbers.size(); ++i) {
      texts.push_back(absl::StrFormat("%.4g", numbers(i)));
    }
    lines.push_back(absl::StrCat(name, " ", absl::StrJoin(texts, " "), "\n"));
  }
  return absl::StrJoin(lines, "");
}

// MGR-12
TEST_P(ScopedMetaGraphParityTest, ControlFlowGradientsAndFunctionsSurvive) {
  const auto expected = RunPython(Script(R"(
folder, kind = sys.argv[1:]
graph, _ = build(kind)
export(folder + '/whole.meta', graph=graph)
show(graph, 'hidden/out:0', 'grad:0')
)"),
                                  {dir_.path(), GetParam()});
  ASSERT_THAT(expected, IsOk());

  // Twice in one graph, through two files.
  const auto graph = Graph::Load(dir_ / "whole.meta");
  ASSERT_THAT(graph, IsOk());
  ImportOptions moved;
  moved.import_scope = "moved";
  ASSERT_THAT((*graph)->Import(Read("whole.meta"), moved), IsOk());
  ASSERT_THAT((*graph)->Save(dir_ / "ours.meta"), IsOk());
  const auto again = Graph::Load(dir_ / "ours.meta");
  ASSERT_THAT(again, IsOk());
  ASSERT_THAT((*again)->Save(dir_ / "again.meta"), IsOk());

  EXPECT_THAT(ValuesOf(**again, "", {"hidden/out:0", "grad:0"}),
              IsOkAndHolds(*expected));
  EXPECT_THAT(ValuesOf(**again, "moved/", {"hidden/out:0", "grad:0"}),
              IsOkAndHolds(*expected));
  // Python builds on our file: it takes the gradients of the copy's loops anew,
  // which it cannot do for loops that are functions and were loaded.
  EXPECT_THAT(
      RunPython(Script(R"(
folder, kind = sys.argv[1:]
start(kind)
graph = tf.Graph()
with graph.as_default():
  v1.train.import_meta_graph(folder + '/again.meta')
  grad = 'moved/grad:0'
  if kind == 'loops':
    w = [v for v in v1.global_variables() if v.op.name == 'moved/hidden/w']
    out = graph.get_tensor_by_name('moved/hidden/out:0')
    again = tf.gradients(tf.reduce_sum(out), w)[0]
    grad = tf.identity(again, name='moved/again').name
show(graph, 'hidden/out:0', 'grad:0', 'moved/hidden/out:0', grad)
)"),
                {dir_.path(), GetParam()}),
      IsOkAndHolds(absl::StrCat(
          *expected,
          absl::StrReplaceAll(
              *expected,
              {{"grad", GetParam() == "loops" ? "moved/again" : "moved/grad"},
               {"hidden", "moved/hidden"}}))));
}

}  // namespace
}  // namespace tftrain

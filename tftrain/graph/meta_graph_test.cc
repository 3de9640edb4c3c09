// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// MetaGraphs in and out of a Graph.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::tensorflow::CollectionDef;
using ::tensorflow::MetaGraphDef;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kFileLimit = 1 << 24;

MetaGraphDef Parsed(const std::string& path) {
  MetaGraphDef meta_graph;
  EXPECT_TRUE(meta_graph.ParseFromString(*ReadFile(path, kFileLimit))) << path;
  return meta_graph;
}

// Whether two protos are equal, and if not, where they differ.
testing::AssertionResult Equal(const google::protobuf::Message& a,
                               const google::protobuf::Message& b) {
  std::string differences;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(a, b)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << differences.substr(0, 2000);
}

MetaGraphDef SmallMetaGraph() {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  ops::Neg(scope.WithOpName("y"), ops::Const(scope.WithOpName("x"), 2.0f));
  return *graph->ToMetaGraph();
}

// What Python's export_meta_graph wrote.
class MetaGraphOfPythonTest : public testing::TestWithParam<std::string> {
 protected:
  static std::string Path() {
    return absl::StrCat(TFTRAIN_FIXTURES, "/", GetParam(), "/model.meta");
  }
};

INSTANTIATE_TEST_SUITE_P(Fixtures, MetaGraphOfPythonTest,
                         testing::Values("linear", "placeholder", "adam_queue",
                                         "table_iterator", "partitioned"),
                         [](const auto& kind) { return kind.param; });

// MGR-01, MGR-02, MGR-04
TEST_P(MetaGraphOfPythonTest, LoadedAndSavedUnchangedIsEqual) {
  const TempDir dir;
  const auto graph = Graph::Load(Path());
  ASSERT_THAT(graph, IsOk());
  ASSERT_THAT((*graph)->Finalize(), IsOk());

  ASSERT_THAT((*graph)->Save(dir / "again.meta"), IsOk());

  EXPECT_TRUE(Equal(Parsed(Path()), Parsed(dir / "again.meta")));
  EXPECT_THAT(dir.List(), ElementsAre("again.meta"));
}

// MGR-01, MGR-04
TEST_P(MetaGraphOfPythonTest, ExtendedGraphKeepsTheLoadedNodesExactly) {
  const MetaGraphDef loaded = Parsed(Path());
  const auto graph = Graph::Load(Path());
  ASSERT_THAT(graph, IsOk());
  const auto loss = (*graph)->FindTensor("loss:0");
  ASSERT_THAT(loss, IsOk());

  const tensorflow::Scope scope = (*graph)->scope();
  ops::Erf(scope.WithOpName("loss"), AsOutput(*loss));
  ASSERT_THAT(Variable::Create(**graph, scope, "extra",
                               ops::Const(scope.WithOpName("zero"), 0.0f)),
              IsOk());
  const auto extended = (*graph)->ToMetaGraph();

  ASSERT_THAT(extended, IsOk());
  MetaGraphDef begin = *extended;
  while (begin.graph_def().node_size() > loaded.graph_def().node_size()) {
    begin.mutable_graph_def()->mutable_node()->RemoveLast();
  }
  EXPECT_TRUE(Equal(loaded.graph_def(), begin.graph_def()));
  const auto& first_new =
      extended->graph_def().node(loaded.graph_def().node_size());
  EXPECT_EQ(first_new.name(), "loss_1");
  EXPECT_EQ(first_new.attr().at("_output_shapes").list().shape_size(), 1);
  for (const auto& [key, collection] : loaded.collection_def()) {
    if (key == "variables" || key == "trainable_variables") continue;
    EXPECT_TRUE(Equal(collection, extended->collection_def().at(key))) << key;
  }
}

// MGR-01
TEST_P(MetaGraphOfPythonTest, ListsTheOperationsInUseSortedWithoutTexts) {
  const auto graph = Graph::Load(Path());
  ASSERT_THAT(graph, IsOk());
  ops::Erf((*graph)->scope(), AsOutput(*(*graph)->FindTensor("loss:0")));

  const auto extended = (*graph)->ToMetaGraph();

  ASSERT_THAT(extended, IsOk());
  std::vector<std::string> names;
  for (const auto& op : extended->meta_info_def().stripped_op_list().op()) {
    names.push_back(op.name());
    EXPECT_TRUE(op.summary().empty() && op.description().empty()) << op.name();
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(),
            names.size());
  const MetaGraphDef loaded = Parsed(Path());
  std::vector<std::string> before = {"Erf"};
  for (const auto& op : loaded.meta_info_def().stripped_op_list().op()) {
    before.push_back(op.name());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(
                         std::set<std::string>(before.begin(), before.end())));
}

// MGR-07
TEST_P(MetaGraphOfPythonTest, LoadsAsTextToo) {
  const TempDir dir;
  const MetaGraphDef binary = Parsed(Path());
  std::string text;
  ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(binary, &text));
  ASSERT_THAT(WriteFileAtomically(dir / "model.pbtxt", text), IsOk());

  const auto graph = Graph::Load(dir / "model.pbtxt");

  ASSERT_THAT(graph, IsOk());
  EXPECT_TRUE(Equal(binary, *(*graph)->ToMetaGraph()));
}

// A file cut short is refused, or, where only what follows the graph is cut
// between two fields, loads without that; it never brings the program down.
TEST_P(MetaGraphOfPythonTest, TruncatedFileIsNoCrash) {
  const TempDir dir;
  const std::string bytes = *ReadFile(Path(), kFileLimit);
  for (size_t i = 1; i < 40; ++i) {
    const size_t size = bytes.size() * i / 40;
    ASSERT_THAT(WriteFileAtomically(dir / "cut.meta", bytes.substr(0, size)),
                IsOk());
    EXPECT_THAT(Graph::Load(dir / "cut.meta"),
                AnyOf(IsOk(), StatusIs(kInvalid, HasSubstr("cut.meta"))))
        << size;
  }
}

// MGR-01
TEST(MetaGraphTest, BuiltGraphSaysWhatItWasMadeWith) {
  const MetaGraphDef meta_graph = SmallMetaGraph();

  EXPECT_EQ(meta_graph.meta_info_def().tensorflow_version(), TF_Version());
  std::vector<std::string> used;
  for (const auto& op : meta_graph.meta_info_def().stripped_op_list().op()) {
    used.push_back(op.name());
  }
  EXPECT_THAT(used, ElementsAre("Const", "Neg"));
  EXPECT_GT(meta_graph.graph_def().versions().producer(), 0);
  EXPECT_FALSE(meta_graph.has_saver_def());
}

// MGR-01
TEST(MetaGraphTest, BuiltGraphTellsItsShapes) {
  const MetaGraphDef meta_graph = SmallMetaGraph();

  for (const auto& node : meta_graph.graph_def().node()) {
    const auto& shapes = node.attr().at("_output_shapes").list();
    ASSERT_EQ(shapes.shape_size(), 1) << node.name();
    EXPECT_EQ(shapes.shape(0).dim_size(), 0) << node.name();
  }
}

// MGR-02, MGR-04
TEST(MetaGraphTest, KeepsWhatItDoesNotUse) {
  MetaGraphDef meta_graph = SmallMetaGraph();
  meta_graph.mutable_meta_info_def()->add_tags("serve");
  auto& signature = (*meta_graph.mutable_signature_def())["default"];
  (*signature.mutable_outputs())["y"].set_name("y:0");
  meta_graph.add_asset_file_def()->set_filename("words.txt");
  meta_graph.mutable_object_graph_def()->add_nodes();
  auto& collections = *meta_graph.mutable_collection_def();
  collections["names"].mutable_node_list()->add_value("y:0");
  collections["bytes"].mutable_bytes_list()->add_value(
      std::string("\0\xff", 2));
  collections["ints"].mutable_int64_list()->add_value(-7);
  collections["floats"].mutable_float_list()->add_value(0.5f);
  collections["any"].mutable_any_list()->add_value()->set_type_url("a/b");
  collections["none"] = CollectionDef();
  meta_graph.mutable_saver_def()->set_max_to_keep(3);

  const auto graph = Graph::FromMetaGraph(meta_graph);

  ASSERT_THAT(graph, IsOk());
  EXPECT_TRUE(Equal(meta_graph, *(*graph)->ToMetaGraph()));
}

// MGR-04
TEST(MetaGraphTest, KeepsItsFunctionsWhenExtended) {
  MetaGraphDef meta_graph = SmallMetaGraph();
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(function {
           signature {
             name: "Twice"
             input_arg { name: "x" type: DT_FLOAT }
             output_arg { name: "twice" type: DT_FLOAT }
           }
           node_def {
             name: "sum" op: "AddV2" input: "x" input: "x"
             attr { key: "T" value { type: DT_FLOAT } }
           }
           ret { key: "twice" value: "sum:z:0" }
         }
         gradient { function_name: "Twice" gradient_func: "Twice" })",
      meta_graph.mutable_graph_def()->mutable_library()));
  const auto graph = Graph::FromMetaGraph(meta_graph);
  ASSERT_THAT(graph, IsOk());

  ops::NoOp((*graph)->scope().WithOpName("late"));
  const auto extended = (*graph)->ToMetaGraph();

  ASSERT_THAT(extended, IsOk());
  EXPECT_TRUE(
      Equal(meta_graph.graph_def().library(), extended->graph_def().library()));
}

TEST(MetaGraphTest, SaverDefGivenWinsOverTheLoadedOne) {
  MetaGraphDef meta_graph = SmallMetaGraph();
  meta_graph.mutable_saver_def()->set_max_to_keep(3);
  const auto graph = Graph::FromMetaGraph(meta_graph);
  ASSERT_THAT(graph, IsOk());
  ASSERT_TRUE((*graph)->saver_def().has_value());
  EXPECT_EQ((*graph)->saver_def()->max_to_keep(), 3);

  tensorflow::SaverDef mine;
  mine.set_max_to_keep(9);

  EXPECT_EQ((*graph)->ToMetaGraph(&mine)->saver_def().max_to_keep(), 9);
  EXPECT_EQ((*graph)->ToMetaGraph()->saver_def().max_to_keep(), 3);
}

// MGR-07
TEST(MetaGraphTest, MissingFileIsNotFound) {
  const TempDir dir;

  EXPECT_THAT(
      Graph::Load(dir / "no.meta"),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr(dir / "no.meta")));
  EXPECT_THAT(Graph::Load(dir.path()), StatusIs(kInvalid));
  EXPECT_THAT(Graph::Load(""), StatusIs(kInvalid));
}

// MGR-07
TEST(MetaGraphTest, FileThatIsNoMetaGraphIsInvalid) {
  const TempDir dir;
  std::string noise(4096, '\0');
  for (size_t i = 0; i < noise.size(); ++i) {
    noise[i] = static_cast<char>(i * i * 31 + 7);
  }
  for (const std::string& bytes :
       {std::string(), std::string("\n"), std::string("hello, world"),
        std::string("graph_def {"), std::string("graph_def { node {"),
        std::string("nonsense: 3"), std::string(64, '\0'), noise,
        std::string(1 << 20, '{')}) {
    ASSERT_THAT(WriteFileAtomically(dir / "odd.meta", bytes), IsOk());

    EXPECT_THAT(Graph::Load(dir / "odd.meta"),
                StatusIs(kInvalid, HasSubstr("odd.meta")))
        << bytes.substr(0, 20);
  }
}

// A checkpoint's index given for the .meta beside it.
TEST(MetaGraphTest, CheckpointIsNoMetaGraph) {
  EXPECT_THAT(
      Graph::Load(absl::StrCat(TFTRAIN_FIXTURES, "/linear/model.ckpt-5.index")),
      StatusIs(kInvalid, HasSubstr(".meta")));
}

TEST(MetaGraphTest, GraphThatDoesNotFitTogetherIsInvalid) {
  MetaGraphDef meta_graph = SmallMetaGraph();
  meta_graph.mutable_graph_def()->mutable_node(0)->set_op("NoSuchOp");
  EXPECT_THAT(Graph::FromMetaGraph(meta_graph),
              StatusIs(kInvalid,
                       AllOf(HasSubstr("NoSuchOp"), HasSubstr(TF_Version()))));

  meta_graph = SmallMetaGraph();
  meta_graph.mutable_graph_def()->mutable_node(1)->set_input(0, "absent");
  EXPECT_THAT(Graph::FromMetaGraph(meta_graph),
              StatusIs(kInvalid, HasSubstr("absent")));

  meta_graph = SmallMetaGraph();
  *meta_graph.mutable_graph_def()->add_node() = meta_graph.graph_def().node(0);
  EXPECT_THAT(Graph::FromMetaGraph(meta_graph),
              StatusIs(kInvalid, HasSubstr("\'x\'")));

  EXPECT_THAT(Graph::FromMetaGraph(MetaGraphDef()),
              StatusIs(kInvalid, HasSubstr("has no operations")));
}

TEST(MetaGraphTest, SaveWhereThereIsNoFolderIsNotFound) {
  const TempDir dir;
  const auto graph = Graph::FromMetaGraph(SmallMetaGraph());
  ASSERT_THAT(graph, IsOk());

  EXPECT_THAT((*graph)->Save(dir / "no/model.meta"),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(dir.List().empty());
}

}  // namespace
}  // namespace tftrain

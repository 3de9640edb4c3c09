// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Parts of graphs, and graphs that become parts of others.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tensorflow/core/protobuf/control_flow.pb.h"
#include "tensorflow/core/protobuf/queue_runner.pb.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/meta_graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::tensorflow::MetaGraphDef;
using ::tensorflow::NodeDef;
using ::tensorflow::Scope;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kFileLimit = 1 << 24;

// A model "hidden" with a variable "hidden/w", which takes "x" and waits for
// "ready" from outside; "y" is its output, "other" lies beside it.
GraphPtr Model() {
  GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const auto x = ops::Const(scope.WithOpName("x"), 3.0f);
  const auto ready = ops::NoOp(scope.WithOpName("ready"));
  const Scope hidden = scope.NewSubScope("hidden").WithDevice("/device:CPU:0");
  const auto w = Variable::Create(
      *graph, hidden, "w", ops::Const(hidden.WithOpName("initial"), 2.0f));
  CHECK(w.ok()) << w.status();
  const auto product = ops::Mul(hidden.WithOpName("product"), w->value(), x);
  const auto sum = ops::Add(
      hidden.WithOpName("sum").WithControlDependencies({ready.operation}),
      product, x);
  ops::Identity(hidden.WithOpName("beside").ColocateWith(sum.z.op()), sum);
  ops::Neg(scope.WithOpName("y"), sum);
  ops::Const(scope.WithOpName("hidden_not"), 0.0f);
  CHECK(graph->AddToCollection("outputs", "hidden/sum:0").ok());
  CHECK(graph->AddToCollection("outputs", "y:0").ok());
  CHECK(graph->AddToCollection("inputs", "x").ok());
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

MetaGraphDef Exported(const Graph& graph, const ExportOptions& options) {
  const auto meta_graph = graph.ToMetaGraph(nullptr, options);
  CHECK(meta_graph.ok()) << meta_graph.status();
  return *meta_graph;
}

ExportOptions ScopeOnly(const std::string& scope) {
  ExportOptions options;
  options.export_scope = scope;
  return options;
}

ImportOptions Into(const std::string& scope) {
  ImportOptions options;
  options.import_scope = scope;
  return options;
}

std::vector<std::string> NodeNames(const MetaGraphDef& meta_graph) {
  std::vector<std::string> names;
  for (const NodeDef& node : meta_graph.graph_def().node()) {
    names.push_back(node.name());
  }
  return names;
}

const NodeDef& NodeOf(const MetaGraphDef& meta_graph, const std::string& name) {
  for (const NodeDef& node : meta_graph.graph_def().node()) {
    if (node.name() == name) return node;
  }
  LOG(FATAL) << "no node " << name;
}

std::vector<std::string> Unbound(const MetaGraphDef& meta_graph) {
  const auto it = meta_graph.collection_def().find("unbound_inputs");
  if (it == meta_graph.collection_def().end()) return {};
  const auto& names = it->second.bytes_list().value();
  return {names.begin(), names.end()};
}

template <typename Proto>
Proto ParsedText(const std::string& text) {
  Proto proto;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &proto)) << text;
  return proto;
}

// MGR-13
TEST(ExportScopeTest, HoldsTheOperationsOfTheScopeWithoutItsName) {
  const MetaGraphDef meta_graph = Exported(*Model(), ScopeOnly("hidden"));

  EXPECT_THAT(NodeNames(meta_graph),
              ElementsAre("initial", "w", "w/IsInitialized/VarIsInitializedOp",
                          "w/Assign", "w/Read/ReadVariableOp", "product", "sum",
                          "beside"));
  EXPECT_THAT(NodeOf(meta_graph, "product").input(),
              ElementsAre("w/Read/ReadVariableOp", "$unbound_inputs_x"));
  EXPECT_THAT(
      NodeOf(meta_graph, "sum").input(),
      ElementsAre("product", "$unbound_inputs_x", "^$unbound_inputs_ready"));
  EXPECT_THAT(NodeOf(meta_graph, "beside").attr().at("_class").list().s(),
              ElementsAre("loc:@sum"));
}

// MGR-13
TEST(ExportScopeTest, ListsEachInputFromOutsideOnce) {
  EXPECT_THAT(Unbound(Exported(*Model(), ScopeOnly("hidden/"))),
              ElementsAre("$unbound_inputs_x", "^$unbound_inputs_ready"));
}

// MGR-13
TEST(ExportScopeTest, HoldsWhatCollectionsSayAboutTheScope) {
  const MetaGraphDef meta_graph = Exported(*Model(), ScopeOnly("hidden"));

  const auto& collections = meta_graph.collection_def();
  EXPECT_EQ(collections.count("inputs"), 0);
  EXPECT_THAT(collections.at("outputs").node_list().value(),
              ElementsAre("sum:0"));
  ASSERT_THAT(collections.at("variables").bytes_list().value(), SizeIs(1));
  tensorflow::VariableDef def;
  ASSERT_TRUE(
      def.ParseFromString(collections.at("variables").bytes_list().value(0)));
  EXPECT_EQ(def.variable_name(), "w:0");
  EXPECT_EQ(def.initial_value_name(), "initial:0");
  EXPECT_EQ(def.initializer_name(), "w/Assign");
  EXPECT_EQ(def.snapshot_name(), "w/Read/ReadVariableOp:0");
}

// MGR-12, MGR-13
TEST(ExportScopeTest, ContextsInOthersLoseTheScopeAsWell) {
  const GraphPtr graph = Model();
  ASSERT_THAT(
      graph->AddToCollection(
          collection_keys::kCondContext,
          ParsedText<tensorflow::CondContextDef>(
              "context_name: 'hidden/c' pred_name: 'y:0' nested_contexts { "
              "while_ctxt { context_name: 'hidden/c/w' } }")),
      IsOk());
  ASSERT_THAT(graph->AddToCollection(collection_keys::kCondContext,
                                     ParsedText<tensorflow::CondContextDef>(
                                         "context_name: 'beside'")),
              IsOk());

  const MetaGraphDef meta_graph = Exported(*graph, ScopeOnly("hidden"));

  const auto& contexts =
      meta_graph.collection_def().at("cond_context").bytes_list().value();
  ASSERT_THAT(contexts, SizeIs(1));
  EXPECT_EQ(contexts[0],
            ParsedText<tensorflow::CondContextDef>(
                "context_name: 'c' pred_name: 'y:0' nested_contexts { "
                "while_ctxt { context_name: 'c/w' } }")
                .SerializeAsString());
}

// MGR-01, MGR-13
TEST(ExportScopeTest, ListsTheOperationsThatAreLeft) {
  const MetaGraphDef meta_graph = Exported(*Model(), ScopeOnly("hidden"));

  std::vector<std::string> used;
  for (const auto& op : meta_graph.meta_info_def().stripped_op_list().op()) {
    used.push_back(op.name());
  }
  EXPECT_THAT(used, AllOf(Contains("Mul"), Not(Contains("Neg"))));
}

// MGR-13
TEST(ExportScopeTest, AScopeWithoutOperationsIsInvalid) {
  const GraphPtr graph = Model();

  EXPECT_THAT(graph->ToMetaGraph(nullptr, ScopeOnly("hid")),
              StatusIs(kInvalid, HasSubstr("\"hid\"")));
  EXPECT_THAT(graph->ToMetaGraph(nullptr, ScopeOnly("y")), StatusIs(kInvalid));
}

// MGR-13
TEST(ExportScopeTest, ASaverBelongsToTheScopeOfItsOperations) {
  const GraphPtr graph = Model();
  const auto inside = ParsedText<tensorflow::SaverDef>(
      "filename_tensor_name: 'hidden/x:0' save_tensor_name: 'hidden/sum:0' "
      "restore_op_name: 'hidden/w'");
  auto across = inside;
  across.set_save_tensor_name("y:0");

  const auto with_inside = graph->ToMetaGraph(&inside, ScopeOnly("hidden"));
  const auto with_across = graph->ToMetaGraph(&across, ScopeOnly("hidden"));

  ASSERT_THAT(with_inside, IsOk());
  EXPECT_EQ(with_inside->saver_def().save_tensor_name(), "sum:0");
  EXPECT_EQ(with_inside->saver_def().restore_op_name(), "w");
  ASSERT_THAT(with_across, IsOk());
  EXPECT_FALSE(with_across->has_saver_def());
}

// MGR-10
TEST(ExportTest, ClearsDevicesWhenAsked) {
  const GraphPtr graph = Model();
  ExportOptions options;

  EXPECT_EQ(NodeOf(Exported(*graph, options), "hidden/sum").device(),
            "/device:CPU:0");
  options.clear_devices = true;
  const MetaGraphDef meta_graph = Exported(*graph, options);
  for (const NodeDef& node : meta_graph.graph_def().node()) {
    EXPECT_EQ(node.device(), "") << node.name();
  }
}

// MGR-11
TEST(ExportTest, StripsDefaultAttributesWhenAsked) {
  const GraphPtr graph = Model();
  ops::Sum(graph->scope().WithOpName("total"),
           ops::Const(graph->scope(), {1.f}), ops::Const(graph->scope(), 0));
  ops::Sum(graph->scope().WithOpName("kept"), ops::Const(graph->scope(), {1.f}),
           ops::Const(graph->scope(), 0), ops::Sum::KeepDims(true));
  ExportOptions options;
  const MetaGraphDef whole = Exported(*graph, options);

  options.strip_default_attrs = true;
  const MetaGraphDef stripped = Exported(*graph, options);

  EXPECT_EQ(NodeOf(whole, "total").attr().count("keep_dims"), 1);
  EXPECT_FALSE(whole.meta_info_def().stripped_default_attrs());
  EXPECT_EQ(NodeOf(stripped, "total").attr().count("keep_dims"), 0);
  EXPECT_EQ(NodeOf(stripped, "kept").attr().count("keep_dims"), 1);
  EXPECT_EQ(NodeOf(stripped, "total").attr().at("T").type(),
            tensorflow::DT_FLOAT);
  EXPECT_TRUE(stripped.meta_info_def().stripped_default_attrs());
  EXPECT_THAT(Graph::FromMetaGraph(stripped), IsOk());
}

// MGR-11
TEST(ExportTest, StripsDefaultAttributesInFunctions) {
  MetaGraphDef meta_graph = Exported(*Model(), {});
  *meta_graph.mutable_graph_def()->mutable_library()->add_function() =
      ParsedText<tensorflow::FunctionDef>(R"(
        signature {
          name: "Total"
          input_arg { name: "x" type: DT_FLOAT }
          output_arg { name: "total" type: DT_FLOAT }
        }
        node_def {
          name: "sum" op: "Sum" input: "x" input: "axis:output:0"
          attr { key: "T" value { type: DT_FLOAT } }
          attr { key: "Tidx" value { type: DT_INT32 } }
          attr { key: "keep_dims" value { b: false } }
        }
        node_def {
          name: "axis" op: "Const"
          attr { key: "dtype" value { type: DT_INT32 } }
          attr { key: "value" value {
            tensor { dtype: DT_INT32 tensor_shape {} int_val: 0 } } }
        }
        ret { key: "total" value: "sum:output:0" })");
  const auto graph = Graph::FromMetaGraph(meta_graph);
  ASSERT_THAT(graph, IsOk());
  ExportOptions options;
  options.strip_default_attrs = true;

  const MetaGraphDef stripped = Exported(**graph, options);

  const auto& sum = stripped.graph_def().library().function(0).node_def(0);
  EXPECT_EQ(sum.attr().count("keep_dims"), 0);
  EXPECT_EQ(sum.attr().count("Tidx"), 0);  // DT_INT32 is the default
  EXPECT_EQ(sum.attr().count("T"), 1);
}

// A graph with two savers, as their operations are named.
class SaversTest : public testing::Test {
 protected:
  static tensorflow::SaverDef AddSaver(Graph& graph, const std::string& scope) {
    const Scope save = graph.scope().NewSubScope(scope);
    const auto name = ops::Const(save.WithOpName("Const"), std::string("m"));
    const auto value = ops::Const(save.WithOpName("value"), {1.0f});
    const auto keys = ops::Const(save.WithOpName("keys"), {std::string("w")});
    const auto slices = ops::Const(save.WithOpName("slices"), {std::string()});
    const ops::SaveV2 saved(save.WithOpName("SaveV2"), name, keys, slices,
                            tensorflow::InputList({value}));
    ops::Identity(save.WithOpName("control_dependency")
                      .WithControlDependencies({saved.operation}),
                  name);
    const ops::RestoreV2 restored(save.WithOpName("RestoreV2"), name, keys,
                                  slices, {tensorflow::DT_FLOAT});
    Group(save.WithOpName("restore_all"), {restored.operation});
    tensorflow::SaverDef def;
    def.set_filename_tensor_name(scope + "/Const:0");
    def.set_save_tensor_name(scope + "/control_dependency:0");
    def.set_restore_op_name(scope + "/restore_all");
    CHECK(graph.AddToCollection(collection_keys::kSavers, def).ok());
    CHECK(graph.AddToCollection("restores", def.restore_op_name()).ok());
    return def;
  }
};

// MGR-06
TEST_F(SaversTest, ExtraneousOnesAreClearedWhenAsked) {
  const GraphPtr graph = Model();
  AddSaver(*graph, "save");
  const tensorflow::SaverDef mine = AddSaver(*graph, "save_1");
  ExportOptions options;
  options.clear_extraneous_savers = true;

  const auto meta_graph = graph->ToMetaGraph(&mine, options);

  ASSERT_THAT(meta_graph, IsOk());
  EXPECT_THAT(NodeNames(*meta_graph),
              AllOf(Contains("hidden/w"), Contains("save_1/SaveV2"),
                    Not(Contains(StartsWith("save/")))));
  const auto& collections = meta_graph->collection_def();
  EXPECT_THAT(collections.at("savers").bytes_list().value(),
              ElementsAre(mine.SerializeAsString()));
  EXPECT_THAT(collections.at("restores").node_list().value(),
              ElementsAre("save_1/restore_all"));
  EXPECT_THAT(Graph::FromMetaGraph(*meta_graph), IsOk());
}

// MGR-06
TEST_F(SaversTest, AllAreClearedWithoutASaverDef) {
  const GraphPtr graph = Model();
  AddSaver(*graph, "save");
  ExportOptions options;
  options.clear_extraneous_savers = true;

  const MetaGraphDef meta_graph = Exported(*graph, options);

  EXPECT_THAT(NodeNames(meta_graph), Not(Contains(StartsWith("save/"))));
  EXPECT_EQ(meta_graph.collection_def().count("savers"), 0);
}

// MGR-06: a model that reads a checkpoint to begin with is no saver.
TEST_F(SaversTest, WhatOthersNeedIsNotCleared) {
  const GraphPtr graph = Graph::Create();
  AddSaver(*graph, "model");
  const auto read = graph->FindTensor("model/RestoreV2:0");
  ASSERT_THAT(read, IsOk());
  ops::Neg(graph->scope().WithOpName("y"), AsOutput(*read));
  ExportOptions options;
  options.clear_extraneous_savers = true;

  EXPECT_THAT(NodeNames(Exported(*graph, options)),
              AllOf(Contains("model/RestoreV2"), Contains("y")));
}

// MGR-09
TEST(ImportScopeTest, GoesBeforeAllNames) {
  const GraphPtr graph = Graph::Create();

  const auto imported = graph->Import(Exported(*Model(), {}), Into("deep/in"));

  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->scope, "deep/in");
  const MetaGraphDef again = Exported(*graph, {});
  EXPECT_THAT(NodeNames(again), Each(StartsWith("deep/in/")));
  EXPECT_THAT(
      NodeOf(again, "deep/in/hidden/sum").input(),
      ElementsAre("deep/in/hidden/product", "deep/in/x", "^deep/in/ready"));
  EXPECT_THAT(
      NodeOf(again, "deep/in/hidden/beside").attr().at("_class").list().s(),
      ElementsAre("loc:@deep/in/hidden/sum"));
  EXPECT_THAT(graph->GetCollection("outputs"),
              ElementsAre("deep/in/hidden/sum:0", "deep/in/y:0"));
  const auto variables =
      Variable::FromCollection(*graph, collection_keys::kTrainableVariables);
  ASSERT_THAT(variables, IsOk());
  ASSERT_THAT(*variables, SizeIs(1));
  EXPECT_EQ(variables->front().name(), "deep/in/hidden/w");
  EXPECT_EQ(variables->front().initializer().node()->name(),
            "deep/in/hidden/w/Assign");
}

// MGR-09
TEST(ImportScopeTest, GoesBeforeNamesInProtos) {
  MetaGraphDef meta_graph = Exported(*Model(), {});
  auto& collections = *meta_graph.mutable_collection_def();
  const auto add = [&](const std::string& key,
                       const google::protobuf::Message& proto) {
    collections[key].mutable_bytes_list()->add_value(proto.SerializeAsString());
  };
  *meta_graph.mutable_saver_def() = ParsedText<tensorflow::SaverDef>(
      "filename_tensor_name: 'x:0' save_tensor_name: 'y:0' "
      "restore_op_name: 'ready' max_to_keep: 3");
  add("savers", meta_graph.saver_def());
  add("queue_runners",
      ParsedText<tensorflow::QueueRunnerDef>(
          "queue_name: 'q' enqueue_op_name: ['e', 'f'] close_op_name: 'c' "
          "cancel_op_name: 'k'"));
  add("while_context",
      ParsedText<tensorflow::WhileContextDef>(
          "context_name: 'w' pivot_name: 'p' pivot_for_pred_name: 'pp' "
          "pivot_for_body_name: 'pb' loop_exit_names: 'o' "
          "loop_enter_names: 'i' values_def { values: 'v' "
          "  external_values { key: 'in' value: 'out' } } "
          "nested_contexts { cond_ctxt { context_name: 'c' "
          "  pred_name: 'q' pivot_name: 'r' } }"));
  add("local_variables",
      ParsedText<tensorflow::VariableDef>(
          "variable_name: 'part_0:0' "
          "save_slice_info_def { full_name: 'whole' full_shape: 4 }"));

  const GraphPtr graph = Graph::Create();
  const auto imported = graph->Import(meta_graph, Into("s"));

  ASSERT_THAT(imported, IsOk());
  ASSERT_TRUE(imported->saver_def.has_value());
  EXPECT_EQ(imported->saver_def->filename_tensor_name(), "s/x:0");
  EXPECT_EQ(imported->saver_def->save_tensor_name(), "s/y:0");
  EXPECT_EQ(imported->saver_def->restore_op_name(), "s/ready");
  EXPECT_EQ(imported->saver_def->max_to_keep(), 3);
  const auto runners =
      graph->GetProtoCollection<tensorflow::QueueRunnerDef>("queue_runners");
  EXPECT_EQ(runners->at(0).ShortDebugString(),
            ParsedText<tensorflow::QueueRunnerDef>(
                "queue_name: 's/q' enqueue_op_name: ['s/e', 's/f'] "
                "close_op_name: 's/c' cancel_op_name: 's/k'")
                .ShortDebugString());
  const auto loops =
      graph->GetProtoCollection<tensorflow::WhileContextDef>("while_context");
  EXPECT_EQ(loops->at(0).ShortDebugString(),
            ParsedText<tensorflow::WhileContextDef>(
                "context_name: 's/w' pivot_name: 's/p' "
                "pivot_for_pred_name: 's/pp' pivot_for_body_name: 's/pb' "
                "loop_exit_names: 's/o' loop_enter_names: 's/i' "
                "values_def { values: 's/v' "
                "  external_values { key: 's/in' value: 's/out' } } "
                "nested_contexts { cond_ctxt { context_name: 's/c' "
                "  pred_name: 's/q' pivot_name: 's/r' } }")
                .ShortDebugString());
  const auto parts =
      graph->GetProtoCollection<tensorflow::VariableDef>("local_variables");
  EXPECT_EQ(parts->at(0).save_slice_info_def().full_name(), "s/whole");
}

// MGR-09
TEST(ImportScopeTest, IsMadeUniqueWhateverItsCase) {
  const GraphPtr graph = Model();
  graph->scope().NewSubScope("empty");
  const MetaGraphDef model = Exported(*Model(), {});

  EXPECT_EQ(graph->Import(model, Into("HIDDEN"))->scope, "HIDDEN_1");
  EXPECT_EQ(graph->Import(model, Into("hidden"))->scope, "hidden_2");
  EXPECT_EQ(graph->Import(model, Into("empty"))->scope, "empty_1");
  EXPECT_EQ(graph->Import(model, Into("new"))->scope, "new");
  EXPECT_EQ(graph->Import(model, Into("new"))->scope, "new_1");
  ASSERT_THAT(graph->Finalize(), IsOk());
}

// MGR-09
TEST(ImportScopeTest, IsTakenAsItIsWhenItEndsInASlash) {
  const GraphPtr graph = Model();

  EXPECT_THAT(graph->Import(Exported(*Model(), {}), Into("hidden/")), IsOk());
  EXPECT_THAT(graph->FindOperation("hidden/hidden/w"), IsOk());
}

// MGR-09
TEST(ImportScopeTest, EachHasVariablesOfItsOwn) {
  const GraphPtr graph = Graph::Create();
  const MetaGraphDef model = Exported(*Model(), {});
  ASSERT_THAT(graph->Import(model, Into("a")), IsOk());
  ASSERT_THAT(graph->Import(model, Into("b")), IsOk());

  const MetaGraphDef both = Exported(*graph, {});
  EXPECT_EQ(NodeOf(both, "a/hidden/w").attr().at("shared_name").s(),
            "a/hidden/w");
  EXPECT_EQ(NodeOf(both, "b/hidden/w").attr().at("shared_name").s(),
            "b/hidden/w");
}

// MGR-04, MGR-09
TEST(ImportTest, AddsToWhatTheGraphHas) {
  const GraphPtr graph = Model();
  ASSERT_THAT(graph->Import(Exported(*Model(), {}), Into("first")), IsOk());
  ops::Exp(graph->scope().WithOpName("between"),
           AsOutput(*graph->FindTensor("first/y:0")));
  ASSERT_THAT(graph->Import(Exported(*Model(), {}), Into("second")), IsOk());
  ops::Erf(graph->scope().WithOpName("last"),
           AsOutput(*graph->FindTensor("second/y:0")));

  const MetaGraphDef all = Exported(*graph, {});

  EXPECT_THAT(NodeNames(all),
              AllOf(SizeIs(3 * Model()->engine_graph().num_op_nodes() + 2),
                    Contains("y"), Contains("first/y"), Contains("between"),
                    Contains("second/y"), Contains("last")));
  EXPECT_EQ(
      NodeOf(all, "between").attr().at("_output_shapes").list().shape_size(),
      1);
  std::vector<std::string> used;
  for (const auto& op : all.meta_info_def().stripped_op_list().op()) {
    used.push_back(op.name());
  }
  EXPECT_THAT(used, AllOf(Contains("Exp"), Contains("Erf"), Contains("Neg")));
  EXPECT_THAT(graph->GetCollection("inputs"),
              ElementsAre("x", "first/x", "second/x"));
  EXPECT_THAT(Graph::FromMetaGraph(all), IsOk());
}

// MGR-09
TEST(ImportTest, LaterNamesDoNotClashWithImportedOnes) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  ASSERT_THAT(graph->Import(Exported(*Model(), {})), IsOk());

  EXPECT_EQ(ops::Const(scope.WithOpName("y"), 1.0f).node()->name(), "y_1");
  EXPECT_EQ(ops::Const(scope.NewSubScope("hidden"), 1.0f).node()->name(),
            "hidden_1/Const");
}

// MGR-09
TEST(ImportTest, ANameThatIsTakenIsInvalid) {
  const GraphPtr graph = Model();
  const MetaGraphDef before = Exported(*graph, {});

  EXPECT_THAT(
      graph->Import(Exported(*Model(), {})),
      StatusIs(kInvalid, AllOf(HasSubstr("\"x\""), HasSubstr("import_scope"))));

  EXPECT_EQ(Exported(*graph, {}).ShortDebugString(), before.ShortDebugString());
}

TEST(ImportTest, AFinalizedGraphTakesNothing) {
  const GraphPtr graph = Model();
  ASSERT_THAT(graph->Finalize(), IsOk());

  EXPECT_THAT(graph->Import(Exported(*Model(), {}), Into("more")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

// MGR-01: an import that fails leaves the graph as it was.
TEST(ImportTest, AFailureLeavesTheGraphAsItWas) {
  const GraphPtr graph = Model();
  MetaGraphDef broken = Exported(*Model(), {});
  broken.mutable_graph_def()->mutable_node(5)->set_input(0, "absent");

  EXPECT_THAT(graph->Import(broken, Into("b")),
              StatusIs(kInvalid, HasSubstr("absent")));

  EXPECT_THAT(NodeNames(Exported(*graph, {})), Not(Contains(StartsWith("b/"))));
  EXPECT_THAT(graph->GetCollection("outputs"), SizeIs(2));
  EXPECT_THAT(graph->Import(Exported(*Model(), {}), Into("good")), IsOk());
  EXPECT_THAT(graph->FindOperation("good/y"), IsOk());
}

// MGR-03
TEST(ImportTest, ACollectionOfAnotherKindIsLeftOutWithAWarning) {
  const GraphPtr graph = Model();
  MetaGraphDef other = Exported(*Model(), {});
  (*other.mutable_collection_def())["outputs"].mutable_int64_list()->add_value(
      3);
  const LogCapture log;

  ASSERT_THAT(graph->Import(other, Into("other")), IsOk());

  EXPECT_THAT(graph->GetCollection("outputs"),
              ElementsAre("hidden/sum:0", "y:0"));
  EXPECT_THAT(log.lines(),
              ElementsAre(AllOf(StartsWith("WARNING"), HasSubstr("outputs"))));
}

// MGR-03: what is no name cannot get among names, nor the other way round.
TEST(ImportTest, CollectionsOfOtherThingsAreJoinedAsTheyAre) {
  const GraphPtr graph = Model();
  MetaGraphDef other = Exported(*Model(), {});
  auto& collections = *other.mutable_collection_def();
  collections["ints"].mutable_int64_list()->add_value(7);
  collections["texts"].mutable_bytes_list()->add_value("cat");
  collections["floats"].mutable_float_list()->add_value(0.5f);

  ASSERT_THAT(graph->Import(other, Into("a")), IsOk());
  ASSERT_THAT(graph->Import(other, Into("b")), IsOk());

  const auto& joined = graph->collections();
  EXPECT_THAT(joined.at("ints").int64_list().value(), ElementsAre(7, 7));
  EXPECT_THAT(joined.at("texts").bytes_list().value(),
              ElementsAre("cat", "cat"));
  EXPECT_THAT(joined.at("floats").float_list().value(),
              ElementsAre(0.5f, 0.5f));
}

TEST(ImportTest, BringsTheCollectionsThatAreWanted) {
  ImportOptions options = Into("s");
  options.restore_collections_predicate = [](std::string_view key) {
    return key != "outputs";
  };
  const GraphPtr graph = Graph::Create();

  ASSERT_THAT(graph->Import(Exported(*Model(), {}), options), IsOk());

  EXPECT_THAT(graph->GetCollection("inputs"), ElementsAre("s/x"));
  EXPECT_THAT(graph->GetCollection("outputs"), IsEmpty());
}

// MGR-13
TEST(ImportInputsTest, UnboundOnesMustBeMapped) {
  const MetaGraphDef part = Exported(*Model(), ScopeOnly("hidden"));
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  ImportOptions options = Into("copy");
  options.input_map = {{"$unbound_inputs_x", ops::Const(scope, 1.0f)}};

  EXPECT_THAT(
      graph->Import(part, options),
      StatusIs(kInvalid, AllOf(HasSubstr("\"^$unbound_inputs_ready\""),
                               HasSubstr("input_map"),
                               Not(HasSubstr("\"$unbound_inputs_x\"")))));
  EXPECT_THAT(graph->Import(part, Into("copy")), StatusIs(kInvalid));
}

// MGR-13
TEST(ImportInputsTest, AreTakenFromTheGraph) {
  const MetaGraphDef part = Exported(*Model(), ScopeOnly("hidden"));
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const ops::Split pair(scope.WithOpName("pair"), ops::Const(scope, 0),
                        ops::Const(scope, {1.0f, 2.0f}), 2);
  const auto go = ops::NoOp(scope.WithOpName("go"));
  ImportOptions options = Into("copy");
  options.input_map = {
      {"$unbound_inputs_x:0", pair[1]},
      {"^$unbound_inputs_ready", tensorflow::Output(go.operation, 0)}};

  ASSERT_THAT(graph->Import(part, options), IsOk());

  const auto sum = graph->FindOperation("copy/sum");
  ASSERT_THAT(sum, IsOk());
  const tensorflow::Edge* x = nullptr;
  ASSERT_TRUE((*sum)->input_edge(1, &x).ok());
  EXPECT_EQ(x->src()->name(), "pair");
  EXPECT_EQ(x->src_output(), 1);
  const MetaGraphDef all = Exported(*graph, {});
  EXPECT_THAT(NodeOf(all, "copy/sum").input(),
              ElementsAre("copy/product", "pair:1", "^go"));
  EXPECT_EQ(NodeOf(all, "copy/sum")
                .attr()
                .at("_output_shapes")
                .list()
                .shape(0)
                .dim_size(),
            1);
  EXPECT_THAT(Unbound(all), IsEmpty());
  EXPECT_THAT(Graph::FromMetaGraph(all), IsOk());
}

// MGR-13
TEST(ImportInputsTest, MayReplaceWhatTheMetaGraphHas) {
  const GraphPtr graph = Graph::Create();
  ImportOptions options;
  options.input_map = {
      {"x", ops::Const(graph->scope().WithOpName("mine"), 5.0f)}};

  ASSERT_THAT(graph->Import(Exported(*Model(), {}), options), IsOk());

  EXPECT_THAT(NodeOf(Exported(*graph, {}), "hidden/sum").input(),
              ElementsAre("hidden/product", "mine", "^ready"));
}

// MGR-13
TEST(ImportInputsTest, WhatCannotBeMappedIsInvalid) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const MetaGraphDef model = Exported(*Model(), {});
  const auto with = [](const std::string& input, tensorflow::Output output) {
    ImportOptions options = Into("s");
    options.input_map = {{input, output}};
    return options;
  };
  const auto mine = ops::Const(scope.WithOpName("mine"), 5.0f);
  const GraphPtr other = Model();

  EXPECT_THAT(graph->Import(model, with("nobody", mine)),
              StatusIs(kInvalid, HasSubstr("\"nobody\"")));
  EXPECT_THAT(graph->Import(model, with("x", ops::Const(scope, true))),
              StatusIs(kInvalid, HasSubstr("bool")));
  EXPECT_THAT(
      graph->Import(model, with("x", AsOutput(*other->FindTensor("x:0")))),
      StatusIs(kInvalid, HasSubstr("\"x\"")));
  EXPECT_THAT(graph->Import(model, with("x", tensorflow::Output())),
              StatusIs(kInvalid, HasSubstr("\"x\"")));
  EXPECT_THAT(
      graph->Import(model, with("x", tensorflow::Output(mine.node(), 1))),
      StatusIs(kInvalid, HasSubstr("\"x\"")));
}

// MGR-13
TEST(CopyScopeTest, MakesAnIndependentCopy) {
  const GraphPtr graph = Model();
  ImportOptions options = Into("target");
  options.input_map = {
      {"$unbound_inputs_x", AsOutput(*graph->FindTensor("x:0"))},
      {"^$unbound_inputs_ready",
       tensorflow::Output(AsOperation(*graph->FindOperation("ready")), 0)}};

  EXPECT_THAT(CopyScope(*graph, "hidden", *graph, options),
              IsOkAndHolds("target"));

  const auto variables =
      Variable::FromCollection(*graph, collection_keys::kGlobalVariables);
  ASSERT_THAT(variables, IsOk());
  ASSERT_THAT(*variables, SizeIs(2));
  EXPECT_EQ(variables->at(1).name(), "target/w");
  const MetaGraphDef both = Exported(*graph, {});
  EXPECT_NE(NodeOf(both, "target/w").attr().at("shared_name").s(),
            NodeOf(both, "hidden/w").attr().at("shared_name").s());
}

// MGR-13
TEST(CopyScopeTest, OntoItselfIsInvalid) {
  const GraphPtr graph = Model();

  EXPECT_THAT(CopyScope(*graph, "hidden", *graph, Into("hidden/")),
              StatusIs(kInvalid, HasSubstr("\"hidden\"")));
}

// MGR-14
TEST(WriteGraphTest, WritesTextIntoANewFolder) {
  const TempDir dir;
  const auto graph_def = Model()->ToGraphDef();
  ASSERT_THAT(graph_def, IsOk());

  const auto path = WriteGraph(**graph_def, dir / "a/b", "graph.pbtxt");

  EXPECT_THAT(path, IsOkAndHolds(dir / "a/b/graph.pbtxt"));
  EXPECT_EQ(ParsedText<tensorflow::GraphDef>(*ReadFile(*path, kFileLimit))
                .ShortDebugString(),
            (*graph_def)->ShortDebugString());
}

// MGR-14
TEST(WriteGraphTest, WritesBinaryOverAFormerFile) {
  const TempDir dir;
  const auto graph_def = Model()->ToGraphDef();
  ASSERT_THAT(graph_def, IsOk());
  ASSERT_THAT(WriteFileAtomically(dir / "graph.pb", "former"), IsOk());

  ASSERT_THAT(WriteGraph(**graph_def, dir.path(), "graph.pb", false), IsOk());

  tensorflow::GraphDef read;
  ASSERT_TRUE(read.ParseFromString(*ReadFile(dir / "graph.pb", kFileLimit)));
  EXPECT_EQ(read.ShortDebugString(), (*graph_def)->ShortDebugString());
  EXPECT_THAT(dir.List(), ElementsAre("graph.pb"));
}

// MGR-14
TEST(WriteGraphTest, AFileInTheWayOfTheFolderIsAnError) {
  const TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir / "file", ""), IsOk());

  EXPECT_THAT(WriteGraph({}, dir / "file/sub", "graph.pb"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

// MGR-07, MGR-14
TEST(SaveTest, WritesTextWhenAsked) {
  const TempDir dir;
  const GraphPtr graph = Model();
  ExportOptions options;
  options.as_text = true;

  ASSERT_THAT(graph->Save(dir / "model.pbtxt", nullptr, options), IsOk());

  EXPECT_THAT(*ReadFile(dir / "model.pbtxt", kFileLimit),
              StartsWith("meta_info_def {"));
  const auto read = ReadMetaGraph(dir / "model.pbtxt");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->ShortDebugString(), Exported(*graph, {}).ShortDebugString());
}

}  // namespace
}  // namespace tftrain

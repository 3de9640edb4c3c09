// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/import_meta_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/graph/meta_graph.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = ::tensorflow::ops;

using ::tensorflow::MetaGraphDef;
using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNull;
using ::testing::NotNull;
using Code = absl::StatusCode;

std::string FixturePath(std::string_view kind, std::string_view name) {
  return absl::StrCat(TFTRAIN_PARITY, "/fixtures/", kind, "/", name);
}

ImportOptions Into(const std::string& scope) {
  ImportOptions options;
  options.import_scope = scope;
  return options;
}

// The same beside another model, whose global step counts.
ImportOptions Beside(const std::string& scope) {
  ImportOptions options = Into(scope);
  options.restore_collections_predicate = [](std::string_view key) {
    return key != collection_keys::kGlobalStep;
  };
  return options;
}

std::shared_ptr<Session> Open(const GraphPtr& graph) {
  absl::StatusOr<std::shared_ptr<Session>> session = Session::Create(graph);
  CHECK(session.ok()) << session.status();
  return *std::move(session);
}

// The value of the variable `name` of MakeModel().
absl::StatusOr<std::vector<float>> Value(Session& session,
                                         const std::string& name) {
  return session.Run(
      Fetch<std::vector<float>>(name + "/Read/ReadVariableOp:0"));
}

// MGR-08
TEST(ImportMetaGraphTest, MakesTheSaverThatTheSaverDefDescribes) {
  const TempDir dir;
  Saver::Options options;
  options.max_to_keep = 2;
  ASSERT_THAT(Program(options).SetAndSave(7, dir / "model"), IsOk());
  const GraphPtr graph = Graph::Create();

  const auto imported = ImportMetaGraph(*graph, dir / "model-7.meta");

  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->scope, "");
  ASSERT_THAT(imported->saver, NotNull());
  EXPECT_EQ(imported->saver->saver_def().max_to_keep(), 2);
  EXPECT_EQ(imported->saver->saver_def().restore_op_name(), "save/restore_all");
  const auto session = Open(graph);
  ASSERT_THAT(imported->saver->Restore(*session, dir / "model-7"), IsOk());
  EXPECT_THAT(Value(*session, "w"), IsOkAndHolds(ElementsAre(7, 7)));
}

// MGR-08
TEST(ImportMetaGraphTest, WithoutASaverDefMakesOneOfEverything) {
  const auto model = MakeModel({"w"})->ToMetaGraph();
  ASSERT_THAT(model, IsOk());
  const GraphPtr graph = MakeModel({"mine"});

  const auto imported = ImportMetaGraph(*graph, *model, Beside("theirs"));

  ASSERT_THAT(imported, IsOk());
  ASSERT_THAT(imported->saver, NotNull());
  const TempDir dir;
  const auto session = Open(graph);
  ASSERT_THAT(session->Run(List({Target("init"), Target("theirs/init")})),
              IsOk());
  ASSERT_THAT(imported->saver->Save(*session, dir / "model"), IsOk());
  const auto names = graph->FindOperation("save/SaveV2/tensor_names");
  ASSERT_THAT(names, IsOk());
  Tensor keys;
  ASSERT_TRUE(tensorflow::GetNodeAttr((*names)->attrs(), "value", &keys).ok());
  EXPECT_THAT(
      std::vector<std::string>(
          keys.vec<tensorflow::tstring>().data(),
          keys.vec<tensorflow::tstring>().data() + keys.NumElements()),
      ElementsAre("global_step", "mine", "theirs/global_step", "theirs/w"));
}

// MGR-08
TEST(ImportMetaGraphTest, WithoutVariablesThereIsNoSaver) {
  const GraphPtr without = Graph::Create();
  ops::Const(without->scope().WithOpName("c"), 1.0f);
  const auto model = without->ToMetaGraph();
  ASSERT_THAT(model, IsOk());
  // Variables beside the scope do not count.
  const GraphPtr graph = MakeModel({"mine"});
  const LogCapture log;

  const auto imported = ImportMetaGraph(*graph, *model, Into("theirs"));

  ASSERT_THAT(imported, IsOk());
  EXPECT_THAT(imported->saver, IsNull());
  if (LogCapture::HoldsInfo()) {
    EXPECT_THAT(log.lines(), ElementsAre(HasSubstr("INFO: The MetaGraph has "
                                                   "no variables")));
  }
}

// MGR-09, SVR-39
TEST(ImportMetaGraphTest, AScopeLeavesTheNamesInFilesAsTheyAre) {
  const TempDir dir;
  ASSERT_THAT(Program().SetAndSave(7, dir / "theirs"), IsOk());
  const GraphPtr graph = Graph::Create();

  const auto one = ImportMetaGraph(*graph, dir / "theirs-7.meta", Into("net"));
  const auto two =
      ImportMetaGraph(*graph, dir / "theirs-7.meta", Beside("net"));

  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(two, IsOk());
  EXPECT_EQ(one->scope, "net");
  EXPECT_EQ(two->scope, "net_1");
  EXPECT_EQ(two->saver->saver_def().filename_tensor_name(),
            "net_1/save/Const:0");
  EXPECT_EQ(two->saver->saver_def().save_tensor_name(),
            "net_1/save/control_dependency:0");
  EXPECT_EQ(two->saver->saver_def().restore_op_name(),
            "net_1/save/restore_all");
  const auto session = Open(graph);
  ASSERT_THAT(session->Run(Target("net/set"), {{"net/number:0", 3}}), IsOk());
  ASSERT_THAT(two->saver->Restore(*session, dir / "theirs-7"), IsOk());
  EXPECT_THAT(Value(*session, "net/w"), IsOkAndHolds(ElementsAre(3, 3)));
  EXPECT_THAT(Value(*session, "net_1/w"), IsOkAndHolds(ElementsAre(7, 7)));

  ASSERT_THAT(one->saver->Save(*session, dir / "ours"), IsOk());
  Program program;
  ASSERT_THAT(program.saver().Restore(program.session(), dir / "ours"), IsOk());
  EXPECT_EQ(program.State(), "3");
}

// MGR-13: a trained part of one model begins another.
TEST(ImportMetaGraphTest, APartIsRestoredByASaverOfItsVariables) {
  const TempDir dir;
  const GraphPtr whole = Graph::Create();
  const tensorflow::Scope hidden = whole->scope().NewSubScope("hidden");
  ASSERT_THAT(
      Variable::Create(*whole, hidden, "w", ops::Const(hidden, {5.0f, 6.0f})),
      IsOk());
  {
    Saver::Options options;
    options.var_list = {{"w", "hidden/w"}};
    const auto saver = Saver::Create(*whole, options);
    ASSERT_THAT(saver, IsOk());
    const auto session = Open(whole);
    ASSERT_THAT(session->Run(Target("hidden/w/Assign")), IsOk());
    ASSERT_THAT((*saver)->Save(*session, dir / "hidden"), IsOk());
  }
  ExportOptions part;
  part.export_scope = "hidden";
  ASSERT_THAT(whole->Save(dir / "part.meta", nullptr, part), IsOk());
  const GraphPtr graph = Graph::Create();

  const auto imported = ImportMetaGraph(*graph, dir / "part.meta");

  ASSERT_THAT(imported, IsOk());
  const auto session = Open(graph);
  ASSERT_THAT(imported->saver->Restore(*session, dir / "hidden"), IsOk());
  EXPECT_THAT(Value(*session, "w"), IsOkAndHolds(ElementsAre(5, 6)));
}

// MGR-10
TEST(ImportMetaGraphTest, DevicesThatAreNotThereFailUnlessCleared) {
  const GraphPtr far = Graph::Create();
  ops::Const(far->scope().WithDevice("/job:far/task:9").WithOpName("c"), 2.0f);
  const auto model = far->ToMetaGraph();
  ASSERT_THAT(model, IsOk());

  const GraphPtr as_it_is = Graph::Create();
  ASSERT_THAT(ImportMetaGraph(*as_it_is, *model), IsOk());
  EXPECT_THAT(Session::Create(as_it_is),
              StatusIs(Code::kInvalidArgument, HasSubstr("/job:far")));

  ImportOptions options;
  options.clear_devices = true;
  const GraphPtr cleared = Graph::Create();
  ASSERT_THAT(ImportMetaGraph(*cleared, *model, options), IsOk());
  EXPECT_THAT(Open(cleared)->Run(Fetch<float>("c:0")), IsOkAndHolds(2.0f));
}

// MGR-07
TEST(ImportMetaGraphTest, ErrorsNameTheFile) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();

  EXPECT_THAT(ImportMetaGraph(*graph, dir / "no.meta"),
              StatusIs(Code::kNotFound, HasSubstr("no.meta")));
  MetaGraphDef model = *MakeModel({"w"})->ToMetaGraph();
  model.mutable_saver_def()->set_save_tensor_name("absent:0");
  ASSERT_THAT(WriteFileAtomically(dir / "odd.meta", model.SerializeAsString()),
              IsOk());
  EXPECT_THAT(ImportMetaGraph(*graph, dir / "odd.meta"),
              StatusIs(Code::kInvalidArgument, HasSubstr("odd.meta")));
}

// MGR-09: what Python wrote, with all that checkpoints can hold.
class ImportOfPythonTest : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Fixtures, ImportOfPythonTest,
                         testing::Values("adam_queue", "table_iterator"),
                         [](const auto& kind) { return kind.param; });

TEST_P(ImportOfPythonTest, RestoresIntoAScope) {
  const GraphPtr graph = Graph::Create();
  ASSERT_THAT(ImportMetaGraph(*graph, FixturePath(GetParam(), "model.meta"),
                              Beside("first")),
              IsOk());

  const auto imported = ImportMetaGraph(
      *graph, FixturePath(GetParam(), "model.meta"), Into("second"));

  ASSERT_THAT(imported, IsOk());
  ASSERT_THAT(imported->saver, NotNull());
  const auto session = Open(graph);
  for (const std::string& init :
       graph->GetCollection(collection_keys::kLocalInitOp)) {
    ASSERT_THAT(session->Run(Target(init)), IsOk());
  }
  ASSERT_THAT(imported->saver->Restore(*session,
                                       FixturePath(GetParam(), "model.ckpt-5")),
              IsOk());
  EXPECT_THAT(session->GlobalStep(), IsOkAndHolds(5));
  const auto variables = Variable::FromCollection(
      *graph, collection_keys::kGlobalVariables, "first/");
  ASSERT_THAT(variables, IsOk());
  for (const Variable& variable : *variables) {
    EXPECT_THAT(session->Run(Fetch<Tensor>(variable.value().name())),
                StatusIs(Code::kFailedPrecondition))
        << variable.name();
  }
}

}  // namespace
}  // namespace tftrain

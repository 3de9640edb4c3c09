// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Checkpoints and MetaGraphs that Python TensorFlow wrote: variables of both
// kinds, parts, tables, iterators.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/variable.h"
#include "tftrain/testing/local_server.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/slow_file_ops.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Code = absl::StatusCode;

std::string FixturePath(std::string_view kind, std::string_view name) {
  return absl::StrCat(TFTRAIN_PARITY, "/fixtures/", kind, "/", name);
}

// What a tensor holds, as text.
std::string Content(const Tensor& tensor) {
  if (tensor.dtype() == tensorflow::DT_VARIANT) {
    return absl::StrCat("variants ", tensor.shape().DebugString());
  }
  tensorflow::TensorProto proto;
  tensor.AsProtoTensorContent(&proto);
  return proto.SerializeAsString();
}

// All tensors of a checkpoint; the rows of a table, which have no order, as a
// set.
std::map<std::string, std::set<std::string>> ContentOf(
    const std::string& prefix) {
  std::map<std::string, std::set<std::string>> contents;
  const auto bundle = internal::Bundle::Open(prefix);
  EXPECT_THAT(bundle, IsOk());
  for (const auto& [key, entry] : (*bundle)->entries()) {
    const auto tensor = (*bundle)->Read(key);
    EXPECT_THAT(tensor, IsOk()) << key;
    if (entry.dtype == tensorflow::DT_STRING || key == "counts-values") {
      for (int64_t i = 0; i < tensor->NumElements(); ++i) {
        contents[key].insert(Content(tensor->Slice(i, i + 1)));
      }
    } else {
      contents[key].insert(Content(*tensor));
    }
  }
  return contents;
}

// A program on the graph of a fixture.
class SaverFixturesTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Load();
    saver_ = graph_->saver_def()
                 ? *Saver::FromSaverDef(*graph_, *graph_->saver_def())
                 : *Saver::Create(*graph_);
    Restart();
  }

  void Load() {
    const auto graph = Graph::Load(FixturePath(GetParam(), "model.meta"));
    ASSERT_THAT(graph, IsOk());
    graph_ = *graph;
  }

  // A new session; what checkpoints do not hold is initialised.
  void Restart() {
    const auto session = Session::Create(graph_);
    ASSERT_THAT(session, IsOk());
    session_ = *session;
    for (const std::string& init :
         graph_->GetCollection(collection_keys::kLocalInitOp)) {
      ASSERT_THAT(session_->Run(Target(init)), IsOk());
    }
  }

  static std::string PythonsCheckpoint() {
    return FixturePath(GetParam(), "model.ckpt-5");
  }

  // The loss of a step that is not fed, as expected.json has it.
  static double ExpectedLoss(int step) {
    const auto text =
        ReadFile(FixturePath(GetParam(), "expected.json"), int64_t{1} << 24);
    EXPECT_THAT(text, IsOk());
    google::protobuf::Struct expected;
    EXPECT_TRUE(
        google::protobuf::util::JsonStringToMessage(*text, &expected).ok());
    return expected.fields()
        .at("losses")
        .list_value()
        .values(step)
        .number_value();
  }

  GraphPtr graph_;
  std::shared_ptr<Saver> saver_;
  std::shared_ptr<Session> session_;
};

INSTANTIATE_TEST_SUITE_P(Fixtures, SaverFixturesTest,
                         testing::Values("linear", "placeholder", "adam_queue",
                                         "table_iterator", "partitioned"),
                         [](const auto& kind) { return kind.param; });

// SVR-02, SVR-11, SVR-12, SVR-39, SVR-41, PART-01
TEST_P(SaverFixturesTest, RestoresAndWritesTheSameAgain) {
  const TempDir dir;
  ASSERT_THAT(saver_->Restore(*session_, PythonsCheckpoint()), IsOk());
  EXPECT_THAT(session_->GlobalStep(), IsOkAndHolds(5));
  ASSERT_THAT(saver_->Save(*session_, dir / "model"), IsOk());
  EXPECT_EQ(ContentOf(dir / "model"), ContentOf(PythonsCheckpoint()));
}

// SVR-41, PART-01: the operations are made here, not in Python.
TEST_P(SaverFixturesTest, ASaverMadeHereIsAsGood) {
  const TempDir dir;
  Load();
  const auto saver = Saver::Create(*graph_);
  ASSERT_THAT(saver, IsOk());
  Restart();
  ASSERT_THAT((*saver)->Restore(*session_, PythonsCheckpoint()), IsOk());
  ASSERT_THAT((*saver)->Save(*session_, dir / "model"), IsOk());
  EXPECT_EQ(ContentOf(dir / "model"), ContentOf(PythonsCheckpoint()));

  Restart();
  ASSERT_THAT(saver_->Restore(*session_, dir / "model"), IsOk());
  EXPECT_THAT(session_->GlobalStep(), IsOkAndHolds(5));
}

// SVR-23: the kinds of variables say it each in their own words.
TEST_P(SaverFixturesTest, AVariableWithoutAValueIsNamed) {
  const TempDir dir;
  const absl::Status status = saver_->Save(*session_, dir / "model").status();
  EXPECT_THAT(status, StatusIs(Code::kFailedPrecondition,
                               AllOf(HasSubstr("the variable \""),
                                     HasSubstr("\" has no value yet"),
                                     Not(HasSubstr("uninitialized")))));
  EXPECT_EQ(dir.List(), std::vector<std::string>());
}

// Variables are restored before what initialises iterators, positions of
// iterators after it.
TEST_P(SaverFixturesTest, IteratorsCanBeRestoredLater) {
  const bool has_iterator = GetParam() == "table_iterator";
  EXPECT_EQ(saver_->restores_iterators(), has_iterator);
  const auto session = Session::Create(graph_);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(saver_->Restore(**session, PythonsCheckpoint(),
                              RestorePart::kAllButIterators),
              IsOk());
  for (const std::string& init :
       graph_->GetCollection(collection_keys::kLocalInitOp)) {
    ASSERT_THAT((*session)->Run(Target(init)), IsOk());
  }
  ASSERT_THAT(
      saver_->Restore(**session, PythonsCheckpoint(), RestorePart::kIterators),
      IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(5));
  if (!has_iterator) return;
  const auto loss = (*session)->Run(Fetch<float>("loss:0"));
  ASSERT_THAT(loss, IsOk());
  EXPECT_NEAR(*loss, ExpectedLoss(5), 1e-4);
}

// Parts, tables and reference variables are set by the graph's operations.
TEST_P(SaverFixturesTest, ARestoreSpecWorksOnAServer) {
  const TempDir dir;
  Session::Options options;
  options.target = LocalServerAddress();
  options.config.set_isolate_session_state(true);
  session_ = *Session::Create(graph_, options);
  for (const std::string& init :
       graph_->GetCollection(collection_keys::kLocalInitOp)) {
    ASSERT_THAT(session_->Run(Target(init)), IsOk());
  }
  ASSERT_THAT(saver_->Restore(*session_, PythonsCheckpoint(), RestoreSpec()),
              IsOk());
  EXPECT_THAT(session_->GlobalStep(), IsOkAndHolds(5));
  ASSERT_THAT(saver_->Save(*session_, dir / "model"), IsOk());
  EXPECT_EQ(ContentOf(dir / "model"), ContentOf(PythonsCheckpoint()));
}

// Where the input is in the checkpoint, or in the graph.
class SaverWithInputTest : public SaverFixturesTest {};

INSTANTIATE_TEST_SUITE_P(Fixtures, SaverWithInputTest,
                         testing::Values("linear", "table_iterator",
                                         "partitioned"),
                         [](const auto& kind) { return kind.param; });

// What steps do while a checkpoint is written is not in it: not their updates
// of rows and tables, nor the input they consumed.
TEST_P(SaverWithInputTest, TrainingResumesWhereABackgroundSaveBegan) {
  for (const SnapshotMode mode : {SnapshotMode::kShare, SnapshotMode::kCopy}) {
    const TempDir dir;
    SlowFileOps disk(".data-");
    Restart();
    ASSERT_THAT(saver_->Restore(*session_, PythonsCheckpoint()), IsOk());
    Saver::SaveOptions options;
    options.snapshot = mode;
    disk.Stop();
    ASSERT_THAT(saver_->SaveAsync(*session_, dir / "model", options), IsOk());
    disk.AwaitWriter();
    for (int step = 5; step < 8; ++step) {
      ASSERT_THAT(session_->Run(Target("train")), IsOk());
    }
    disk.GoOn();
    ASSERT_THAT(saver_->WaitForSave(), IsOk());
    EXPECT_EQ(ContentOf(dir / "model"), ContentOf(PythonsCheckpoint()));

    Restart();
    ASSERT_THAT(saver_->Restore(*session_, dir / "model"), IsOk());
    for (int step = 5; step < 8; ++step) {
      const auto loss =
          session_->Run(std::tuple(Target("train"), Fetch<float>("loss:0")));
      ASSERT_THAT(loss, IsOk());
      EXPECT_NEAR(*loss, ExpectedLoss(step), 1e-4) << step;
    }
  }
}

// Training goes on where it was, the input included.
TEST_P(SaverWithInputTest, TrainingGoesOn) {
  const TempDir dir;
  ASSERT_THAT(saver_->Restore(*session_, PythonsCheckpoint()), IsOk());
  for (int step = 5; step < 8; ++step) {
    const auto loss =
        session_->Run(std::tuple(Target("train"), Fetch<float>("loss:0")));
    ASSERT_THAT(loss, IsOk());
    EXPECT_NEAR(*loss, ExpectedLoss(step), 1e-4) << step;
    ASSERT_THAT(saver_->Save(*session_, dir / "model"), IsOk());
    Restart();
    ASSERT_THAT(saver_->Restore(*session_, dir / "model"), IsOk());
  }
}

// PART-02: parts into the whole and back, by a graph without parts.
TEST(SaverPartsTest, AWholeVariableTakesPartsAndBack) {
  const TempDir dir;
  const GraphPtr whole = Graph::Create();
  const auto variable =
      Variable::Create(*whole, whole->scope(), "embedding",
                       tensorflow::ops::Const(whole->scope(), 0.0f, {6, 2}));
  ASSERT_THAT(variable, IsOk());
  const auto whole_saver = Saver::Create(*whole);
  const auto whole_session = Session::Create(whole);
  ASSERT_THAT((*whole_saver)
                  ->Restore(**whole_session,
                            FixturePath("partitioned", "model.ckpt-5")),
              IsOk());
  ASSERT_THAT((*whole_saver)->Save(**whole_session, dir / "whole"), IsOk());
  EXPECT_EQ(ContentOf(dir / "whole")["embedding"],
            ContentOf(FixturePath("partitioned", "model.ckpt-5"))["embedding"]);

  const auto parts = Graph::Load(FixturePath("partitioned", "model.meta"));
  Saver::Options options;
  options.var_list = {std::pair("embedding", "embedding")};
  const auto parts_saver = Saver::Create(**parts, options);
  ASSERT_THAT(parts_saver, IsOk());
  const auto parts_session = Session::Create(*parts);
  ASSERT_THAT((*parts_saver)->Restore(**parts_session, dir / "whole"), IsOk());
  ASSERT_THAT((*parts_saver)->Save(**parts_session, dir / "parts"), IsOk());
  EXPECT_EQ(ContentOf(dir / "parts"), ContentOf(dir / "whole"));
}

// PART-03: all or none, also when a part is missing that a graph asks for.
TEST(SaverPartsTest, AMissingPartIsAnError) {
  const TempDir dir;
  const auto graph = Graph::Load(FixturePath("partitioned", "model.meta"));
  Saver::Options options;
  options.var_list = {std::pair("embedding", "embedding/part_1")};
  const auto one_part = Saver::Create(**graph, options);
  ASSERT_THAT(one_part, IsOk());
  const auto all_parts = Saver::Create(**graph);
  ASSERT_THAT(all_parts, IsOk());
  Saver::Options only_embedding;
  only_embedding.var_list = {std::pair("embedding", "embedding")};
  const auto embedding = Saver::Create(**graph, only_embedding);
  ASSERT_THAT(embedding, IsOk());
  const auto session = Session::Create(*graph);
  ASSERT_THAT(
      (*all_parts)
          ->Restore(**session, FixturePath("partitioned", "model.ckpt-5")),
      IsOk());
  ASSERT_THAT((*one_part)->Save(**session, dir / "one"), IsOk());
  ASSERT_THAT((*one_part)->Restore(**session, dir / "one"), IsOk());
  EXPECT_THAT((*embedding)->Restore(**session, dir / "one"),
              StatusIs(Code::kInvalidArgument, HasSubstr("part")));
}

// PART-05
TEST(SaverPartsTest, PartsAndAWholeMustNotShareAName) {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  Variable::Options local;
  local.trainable = false;
  local.collection = collection_keys::kLocalVariables;
  ASSERT_THAT(Variable::Create(*graph, scope, "whole",
                               tensorflow::ops::Const(scope, {0.0f, 0.0f})),
              IsOk());
  ASSERT_THAT(Variable::Create(*graph, scope, "part",
                               tensorflow::ops::Const(scope, {0.0f}), local),
              IsOk());
  auto defs = graph->GetProtoCollection<tensorflow::VariableDef>(
      collection_keys::kLocalVariables);
  ASSERT_THAT(defs, IsOk());
  tensorflow::SaveSliceInfoDef* slice =
      defs->front().mutable_save_slice_info_def();
  slice->set_full_name("whole");
  slice->add_full_shape(2);
  slice->add_var_offset(1);
  slice->add_var_shape(1);
  ASSERT_THAT(
      graph->AddToCollection(collection_keys::kGlobalVariables, defs->front()),
      IsOk());
  EXPECT_THAT(Saver::Create(*graph),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"whole\"")));
}

}  // namespace
}  // namespace tftrain

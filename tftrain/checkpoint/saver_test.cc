// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/saver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <utime.h>

#include <csignal>
#include <map>

#include "absl/strings/match.h"
#include "tensorflow/core/distributed_runtime/server_lib.h"
#include "tensorflow/core/protobuf/tensorflow_server.pb.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace ops = ::tensorflow::ops;
using ::tensorflow::DataType;
using ::tensorflow::Tensor;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using Code = absl::StatusCode;

class SaverTest : public ::testing::Test {
 private:
  UnsyncedFileOps file_ops_;
};

// The names of the checkpoints in a folder, oldest first.
std::vector<std::string> Checkpoints(const TempDir& dir) {
  const auto list = ListCheckpoints(dir.path());
  std::vector<std::string> names;
  for (const ListedCheckpoint& checkpoint : *list) {
    if (checkpoint.complete) names.push_back(BaseName(checkpoint.prefix));
  }
  std::reverse(names.begin(), names.end());
  return names;
}

std::vector<std::string> StatePaths(const TempDir& dir) {
  const auto state = GetCheckpointState(dir.path());
  std::vector<std::string> names;
  for (const std::string& path : (*state)->all_model_checkpoint_paths) {
    names.push_back(BaseName(path));
  }
  return names;
}

Saver::Options KeepAtMost(int count) {
  Saver::Options options;
  options.max_to_keep = count;
  return options;
}

Saver::Options OnlyThese(std::map<std::string, std::string> variables) {
  Saver::Options options;
  options.var_list = std::move(variables);
  return options;
}

// SVR-02, SVR-08, SVR-11, CKS-01
TEST_F(SaverTest, RestoresIntoANewSessionThatWasNotInitialised) {
  const TempDir dir;
  Program first;
  ASSERT_THAT(first.SetAndSave(3, dir / "model.ckpt"),
              IsOkAndHolds(dir / "model.ckpt-3"));
  EXPECT_THAT(dir.List(), UnorderedElementsAre(
                              "checkpoint", "model.ckpt-3.data-00000-of-00001",
                              "model.ckpt-3.index", "model.ckpt-3.meta"));

  Program second;
  EXPECT_EQ(second.State(), "no value");
  ASSERT_THAT(second.saver().Restore(second.session(), dir / "model.ckpt-3"),
              IsOk());
  EXPECT_EQ(second.State(), "3");
}

// SVR-16
TEST_F(SaverTest, AnyNameOfACheckpointWillDo) {
  const TempDir dir;
  Program program;
  ASSERT_THAT(program.SetAndSave(3, dir / "model.ckpt"), IsOk());
  for (const std::string name :
       {"model.ckpt-3", "model.ckpt-3.index", "model.ckpt-3.meta",
        "model.ckpt-3.data-00000-of-00001", "checkpoint", ""}) {
    EXPECT_EQ(program.StateOf(dir / name), "3") << name;
  }
  for (const std::string name : {"model.ckpt-4", "model", "../nowhere"}) {
    EXPECT_THAT(program.saver().Restore(program.session(), dir / name),
                StatusIs(Code::kInvalidArgument, HasSubstr(name)));
  }
  EXPECT_THAT(program.saver().Restore(program.session(), ""),
              StatusIs(Code::kInvalidArgument));
  const TempDir empty;
  EXPECT_THAT(program.saver().Restore(program.session(), empty.path()),
              StatusIs(Code::kInvalidArgument, HasSubstr("no checkpoint")));
}

TEST_F(SaverTest, TheStepInTheNameMayHaveEightDigits) {
  const TempDir dir;
  Saver::Options options;
  options.pad_step_number = true;
  Program program(options);
  EXPECT_THAT(program.SetAndSave(12, dir / "model"),
              IsOkAndHolds(dir / "model-00000012"));
  EXPECT_EQ(program.StateOf(dir.path()), "12");
}

// SVR-36, MGR-01, MGR-06
TEST_F(SaverTest, TheMetaFileHoldsTheGraphAndTheSaver) {
  const TempDir dir;
  Program program;
  ASSERT_THAT(program.SetAndSave(7, dir / "model"), IsOk());

  const auto graph = Graph::Load(dir / "model-7.meta");
  ASSERT_THAT(graph, IsOk());
  ASSERT_TRUE((*graph)->saver_def().has_value());
  const auto saver = Saver::FromSaverDef(**graph, *(*graph)->saver_def());
  ASSERT_THAT(saver, IsOk());
  const auto session = Session::Create(*graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model-7"), IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(7));
}

// SVR-36
TEST_F(SaverTest, WritesOnlyWhatIsAskedFor) {
  const TempDir dir;
  Program program(KeepAtMost(1));
  ASSERT_THAT(program.SetAndSave(1, dir / "model"), IsOk());
  const std::vector<std::string> state = StatePaths(dir);
  program.Set(2);
  Saver::SaveOptions options;
  options.write_meta_graph = false;
  options.write_state = false;
  ASSERT_THAT(program.saver().Save(program.session(), dir / "best", options),
              IsOk());
  EXPECT_THAT(dir.List(),
              UnorderedElementsAre("best.data-00000-of-00001", "best.index",
                                   "checkpoint", "model-1.data-00000-of-00001",
                                   "model-1.index", "model-1.meta"));
  EXPECT_EQ(StatePaths(dir), state);
  EXPECT_THAT(program.saver().last_checkpoints(), ElementsAre(dir / "model-1"));
}

// SVR-08, SVR-01, SVR-39
TEST_F(SaverTest, TheSaverDefNamesWhatPythonNames) {
  Program program;
  const tensorflow::SaverDef& def = program.saver().saver_def();
  EXPECT_EQ(def.filename_tensor_name(), "save/Const:0");
  EXPECT_EQ(def.save_tensor_name(), "save/control_dependency:0");
  EXPECT_EQ(def.restore_op_name(), "save/restore_all");
  EXPECT_EQ(def.max_to_keep(), 5);
  EXPECT_EQ(def.keep_checkpoint_every_n_hours(), 10000);
  EXPECT_EQ(def.version(), tensorflow::SaverDef::V2);
  EXPECT_FALSE(def.sharded());
}

// SVR-39
TEST_F(SaverTest, ASaverDefMustNameOperationsOfTheGraph) {
  Program program;
  for (const auto clear : {&tensorflow::SaverDef::clear_filename_tensor_name,
                           &tensorflow::SaverDef::clear_save_tensor_name,
                           &tensorflow::SaverDef::clear_restore_op_name}) {
    tensorflow::SaverDef def = program.saver().saver_def();
    (def.*clear)();
    EXPECT_THAT(Saver::FromSaverDef(*program.graph(), def),
                StatusIs(Code::kInvalidArgument, HasSubstr("_name")));
  }
  tensorflow::SaverDef def = program.saver().saver_def();
  def.set_restore_op_name("save/restore_al");
  EXPECT_THAT(Saver::FromSaverDef(*program.graph(), def),
              StatusIs(Code::kInvalidArgument, HasSubstr("save/restore_all")));
}

// SVR-05
TEST_F(SaverTest, AllOperationsLieInOneScope) {
  const GraphPtr graph = MakeModel({"w"});
  const int before = graph->engine_graph().num_op_nodes();
  ASSERT_THAT(Saver::Create(*graph), IsOk());
  const int once = graph->engine_graph().num_op_nodes();
  int in_scope = 0;
  for (const auto* node : graph->engine_graph().op_nodes()) {
    in_scope += absl::StartsWith(node->name(), "save/");
  }
  EXPECT_EQ(once - before, in_scope);

  const auto second = Saver::Create(*graph);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ((*second)->saver_def().restore_op_name(), "save_1/restore_all");
}

// SVR-07
TEST_F(SaverTest, ADeferredSaverTakesVariablesAddedLater) {
  const TempDir dir;
  const auto saver = Saver::Deferred();
  const GraphPtr graph = MakeModel({"w", "late"});
  EXPECT_FALSE(saver->built());
  {
    const auto session = Session::Create(graph);
    ASSERT_THAT(session, IsOk());
    EXPECT_THAT(saver->Save(**session, dir / "model"),
                StatusIs(Code::kFailedPrecondition, HasSubstr("not built")));
    EXPECT_THAT(saver->Restore(**session, dir / "model"),
                StatusIs(Code::kFailedPrecondition, HasSubstr("not built")));
    EXPECT_THAT(saver->Build(*graph),
                StatusIs(Code::kFailedPrecondition, HasSubstr("finalized")));
  }
  ASSERT_THAT(saver->Build(*graph), IsOk());
  const int nodes = graph->engine_graph().num_op_nodes();
  ASSERT_THAT(saver->Build(*graph), IsOk());
  EXPECT_EQ(graph->engine_graph().num_op_nodes(), nodes);

  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT(saver->Save(**session, dir / "model"), IsOk());
  const auto bundle = internal::Bundle::Open(dir / "model");
  ASSERT_THAT(bundle, IsOk());
  EXPECT_EQ((*bundle)->entries().count("late"), 1);
}

TEST_F(SaverTest, AGraphWithoutVariablesIsAnErrorUnlessAllowed) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  ops::NoOp(graph->scope().WithOpName("nothing"));
  EXPECT_THAT(Saver::Create(*graph),
              StatusIs(Code::kInvalidArgument, HasSubstr("allow_empty")));

  Saver::Options options;
  options.allow_empty = true;
  const auto saver = Saver::Create(*graph, options);
  ASSERT_THAT(saver, IsOk());
  EXPECT_TRUE((*saver)->built());
  EXPECT_TRUE((*saver)->empty());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*saver)->Save(**session, dir / "model"), IsOkAndHolds(""));
  EXPECT_THAT((*saver)->Restore(**session, dir / "model"), IsOk());
  EXPECT_THAT(dir.List(), IsEmpty());
}

// SVR-03
TEST_F(SaverTest, VariablesMayHaveOtherNamesInTheCheckpoint) {
  const TempDir dir;
  Program program;
  ASSERT_THAT(program.SetAndSave(4, dir / "model"), IsOk());

  const GraphPtr graph = MakeModel({"x", "y"});
  const auto saver = Saver::Create(*graph, OnlyThese({std::pair("w", "y")}));
  ASSERT_THAT(saver, IsOk());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model-4"), IsOk());
  const Fetch<std::vector<float>> x("x/Read/ReadVariableOp:0");
  const Fetch<std::vector<float>> y("y/Read/ReadVariableOp:0");
  EXPECT_THAT((*session)->Run(x), IsOkAndHolds(ElementsAre(0, 0)));
  EXPECT_THAT((*session)->Run(y), IsOkAndHolds(ElementsAre(4, 4)));
}

// SVR-03, SVR-04
TEST_F(SaverTest, NamesMustBeClear) {
  const GraphPtr graph = MakeModel({"weight", "b"});
  EXPECT_THAT(Saver::Create(*graph, OnlyThese({std::pair("a", "weigth")})),
              StatusIs(Code::kInvalidArgument,
                       AllOf(HasSubstr("weigth"), HasSubstr("\"weight\""))));
  EXPECT_THAT(Saver::Create(*graph, OnlyThese({{"a", "b"}, {"c", "b"}})),
              StatusIs(Code::kInvalidArgument, HasSubstr("saved twice")));
}

TEST_F(SaverTest, NegativeNumbersAreRefused) {
  const GraphPtr graph = MakeModel({"w"});
  EXPECT_THAT(Saver::Create(*graph, KeepAtMost(-1)),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"-1\"")));
  Saver::Options options;
  options.keep_checkpoint_every_n_hours = -0.5;
  EXPECT_THAT(Saver::Create(*graph, options),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"-0.5\"")));
}

// SVR-02, SVR-42
TEST_F(SaverTest, EveryTypeSurvives) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  std::map<std::string, Tensor> values;
  std::vector<tensorflow::Operation> inits;
  for (const DataType dtype :
       {tensorflow::DT_FLOAT, tensorflow::DT_DOUBLE, tensorflow::DT_HALF,
        tensorflow::DT_BFLOAT16, tensorflow::DT_INT8, tensorflow::DT_INT16,
        tensorflow::DT_INT32, tensorflow::DT_INT64, tensorflow::DT_UINT8,
        tensorflow::DT_UINT16, tensorflow::DT_UINT32, tensorflow::DT_UINT64,
        tensorflow::DT_COMPLEX64, tensorflow::DT_COMPLEX128,
        tensorflow::DT_BOOL, tensorflow::DT_STRING, tensorflow::DT_QINT8,
        tensorflow::DT_QUINT8}) {
    for (const tensorflow::TensorShape& shape :
         {tensorflow::TensorShape({}), tensorflow::TensorShape({3, 2}),
          tensorflow::TensorShape({0, 4})}) {
      Tensor tensor(dtype, shape);
      for (int64_t i = 0; i < tensor.NumElements(); ++i) {
        if (dtype == tensorflow::DT_STRING) {
          tensor.flat<tensorflow::tstring>()(i) =
              std::string("odd\0\xff text", static_cast<size_t>(2 * i));
        } else if (dtype == tensorflow::DT_BOOL) {
          tensor.flat<bool>()(i) = i % 2 == 1;
        } else {
          const int64_t width = tensorflow::DataTypeSize(dtype);
          for (int64_t k = 0; k < width; ++k) {
            static_cast<char*>(tensor.data())[i * width + k] =
                static_cast<char>(1 + i + k);
          }
        }
      }
      const std::string name =
          absl::StrCat("v_", tensorflow::DataTypeString(dtype), "_",
                       shape.dims(), "_", shape.num_elements());
      const auto variable =
          Variable::Create(*graph, scope, name, ops::Const(scope, tensor));
      ASSERT_THAT(variable, IsOk());
      inits.push_back(variable->initializer());
      values.emplace(name, tensor);
    }
  }
  Group(scope.WithOpName("init"), inits);
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  {
    const auto session = Session::Create(graph);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->Run(Target("init")), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir / "model"), IsOk());
  }

  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model"), IsOk());
  for (const auto& [name, tensor] : values) {
    const auto restored = (*session)->Run(
        Fetch<Tensor>(absl::StrCat(name, "/Read/ReadVariableOp:0")));
    ASSERT_THAT(restored, IsOk()) << name;
    tensorflow::TensorProto expected, actual;
    tensor.AsProtoTensorContent(&expected);
    restored->AsProtoTensorContent(&actual);
    EXPECT_EQ(actual.SerializeAsString(), expected.SerializeAsString()) << name;
  }
}

// SVR-23
TEST_F(SaverTest, AVariableWithoutAValueIsNamed) {
  const TempDir dir;
  Program program;
  EXPECT_THAT(program.saver().Save(program.session(), dir / "model"),
              StatusIs(Code::kFailedPrecondition,
                       AllOf(HasSubstr("has no value yet"), HasSubstr("\""),
                             Not(HasSubstr("uninitialized")))));
  EXPECT_THAT(dir.List(), IsEmpty());
}

// SVR-24, SVR-25, CKS-07
TEST_F(SaverTest, ThePathIsCheckedAndItsFolderMade) {
  const TempDir dir;
  Program program;
  program.Set(1);
  const auto save = [&](const std::string& path, const std::string& latest) {
    Saver::SaveOptions options;
    options.latest_filename = latest;
    return program.saver().Save(program.session(), path, options).status();
  };
  EXPECT_THAT(save("", "checkpoint"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(save(dir / "", "checkpoint"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(save(dir / "model", "a/b"),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"a/b\"")));
  EXPECT_THAT(save(dir / "model", ""), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(save(dir / "checkpoint", "checkpoint"),
              StatusIs(Code::kInvalidArgument, HasSubstr("state file")));
  EXPECT_THAT(dir.List(), IsEmpty());

  EXPECT_THAT(save(dir / "a/b/model", "latest"), IsOk());
  EXPECT_EQ(program.StateOf(dir / "a/b/model"), "1");
  EXPECT_THAT(FileExists(dir / "a/b/latest"), IsOkAndHolds(true));
  EXPECT_THAT(save(dir / "a/b/latest/model", "checkpoint"),
              StatusIs(Code::kFailedPrecondition));
}

// SVR-17, SVR-18, SVR-19
TEST_F(SaverTest, ACheckpointOfAnotherModelIsRefusedWithEveryDifference) {
  const TempDir dir;
  {
    const GraphPtr graph = Graph::Create();
    const tensorflow::Scope scope = graph->scope();
    std::vector<tensorflow::Operation> inits;
    const auto add = [&](const std::string& name, tensorflow::Output value) {
      inits.push_back(
          Variable::Create(*graph, scope, name, value)->initializer());
    };
    add("w", ops::Const(scope, {1.0f, 2.0f, 3.0f}));
    add("b", ops::Const(scope, {1.0, 2.0}));
    add("extra", ops::Const(scope, 5));
    Group(scope.WithOpName("init"), inits);
    const auto saver = Saver::Create(*graph);
    const auto session = Session::Create(graph);
    ASSERT_THAT((*session)->Run(Target("init")), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir / "other"), IsOk());
  }

  Program program(Saver::Options(), {"w", "b", "c"});
  program.Set(9);
  EXPECT_THAT(
      program.saver().Restore(program.session(), dir / "other"),
      StatusIs(Code::kInvalidArgument,
               AllOf(HasSubstr("it lacks 2 of 4 names: \"c\", \"global_step\""),
                     HasSubstr("\"b\" (double [2], not float [2])"),
                     HasSubstr("\"w\" (float [3], not float [2])"),
                     HasSubstr("only the checkpoint has 1: \"extra\""))));
  EXPECT_EQ(program.State(), "9");
}

TEST_F(SaverTest, ALongListOfDifferencesIsCutShort) {
  const TempDir dir;
  Program program;
  ASSERT_THAT(program.SetAndSave(1, dir / "model"), IsOk());
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) names.push_back(absl::StrCat("v", 100 + i));
  Program other(Saver::Options(), names);
  EXPECT_THAT(
      other.saver().Restore(other.session(), dir / "model-1"),
      StatusIs(Code::kInvalidArgument,
               AllOf(HasSubstr("lacks 30 of 31"), HasSubstr("\"v119\""),
                     Not(HasSubstr("\"v120\"")), HasSubstr("and 10 more"))));
}

// SVR-21
TEST_F(SaverTest, DamageIsFoundBeforeAnyVariableChanges) {
  const TempDir dir;
  Program program;
  ASSERT_THAT(program.SetAndSave(1, dir / "model"), IsOk());
  program.Set(9);
  const std::string data = dir / "model-1.data-00000-of-00001";
  const std::string index = dir / "model-1.index";
  for (const std::string& path : {data, index}) {
    const std::string bytes = *ReadFile(path, 1 << 20);
    std::string flipped = bytes;
    flipped[bytes.size() / 2] ^= 4;
    for (const std::string& damaged :
         {bytes.substr(0, bytes.size() - 1), bytes.substr(0, 3), std::string(),
          flipped, std::string(bytes.size(), '\0')}) {
      ASSERT_THAT(WriteFileAtomically(path, damaged), IsOk());
      EXPECT_THAT(program.saver().Restore(program.session(), dir / "model-1"),
                  StatusIs(Code::kDataLoss, HasSubstr("model-1")));
      EXPECT_EQ(program.State(), "9");
    }
    ASSERT_THAT(WriteFileAtomically(path, bytes), IsOk());
  }
  EXPECT_EQ(program.StateOf(dir / "model-1"), "1");
  ASSERT_THAT(RemoveFile(data), IsOk());
  EXPECT_THAT(program.saver().Restore(program.session(), dir / "model-1"),
              StatusIs(Code::kDataLoss, HasSubstr("missing")));
}

// SVR-15
TEST_F(SaverTest, ManyThreadsReadALargeCheckpoint) {
  constexpr int64_t kElements = 1 << 20;
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  std::vector<tensorflow::Operation> inits;
  for (int i = 0; i < 8; ++i) {
    const auto variable = Variable::Create(
        *graph, scope, absl::StrCat("v", i),
        ops::Fill(scope, {static_cast<int>(kElements)}, static_cast<float>(i)));
    ASSERT_THAT(variable, IsOk());
    inits.push_back(variable->initializer());
  }
  Group(scope.WithOpName("init"), inits);
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  const auto first = Session::Create(graph);
  ASSERT_THAT((*first)->Run(Target("init")), IsOk());
  const auto prefix = (*saver)->Save(**first, dir / "model");
  ASSERT_THAT(prefix, IsOk());

  const auto session = Session::Create(graph);
  ASSERT_THAT((*saver)->Restore(**session, *prefix), IsOk());
  for (int i = 0; i < 8; ++i) {
    const auto value = (*session)->Run(Fetch<std::vector<float>>(
        absl::StrCat("v", i, "/Read/ReadVariableOp:0")));
    EXPECT_THAT(value, IsOkAndHolds(Each(static_cast<float>(i))));
  }

  // However they share the work, the first damaged value is the one that is
  // told of.
  const std::string data = *prefix + ".data-00000-of-00001";
  std::string bytes = *ReadFile(data, 1 << 30);
  for (const size_t i : {2, 3, 6}) {
    bytes[(i * kElements + 5) * sizeof(float)] ^= 1;
  }
  ASSERT_THAT(WriteFileAtomically(data, bytes), IsOk());
  for (int trial = 0; trial < 20; ++trial) {
    EXPECT_THAT((*saver)->Restore(**session, *prefix),
                StatusIs(Code::kDataLoss, HasSubstr("\"v2\"")));
  }
}

TEST_F(SaverTest, KnowsTheCheckpointThatHoldsASessionsModel) {
  const TempDir dir;
  Program program;
  const std::string path = dir / "model";
  const auto checkpoint_at = [&](int64_t step) {
    return program.saver().CheckpointOf(program.session(), path, step);
  };
  EXPECT_EQ(checkpoint_at(3), std::nullopt);

  ASSERT_THAT(program.SetAndSave(3, path), IsOk());
  EXPECT_EQ(checkpoint_at(3), path + "-3");
  EXPECT_EQ(checkpoint_at(4), std::nullopt);
  EXPECT_EQ(program.saver().CheckpointOf(program.session(), dir / "other", 3),
            std::nullopt);

  Saver::SaveOptions options;
  options.global_step = 4;
  program.Set(4);
  ASSERT_THAT(program.saver().SaveAsync(program.session(), path, options),
              IsOk());
  ASSERT_THAT(program.saver().WaitForSave(), IsOk());
  EXPECT_EQ(checkpoint_at(4), path + "-4");

  // Back at step 3, the checkpoint of step 4 is not of this session's future.
  ASSERT_THAT(program.saver().Restore(program.session(), path + "-3"), IsOk());
  EXPECT_EQ(checkpoint_at(3), path + "-3");
  EXPECT_EQ(checkpoint_at(4), std::nullopt);

  program.Restart();
  EXPECT_EQ(checkpoint_at(3), std::nullopt);
}

TEST_F(SaverTest, ARewrittenCheckpointIsReadAnew) {
  const TempDir dir;
  Program program;
  for (int64_t number = 1; number <= 4; ++number) {
    program.Set(number);
    ASSERT_THAT(program.saver().Save(program.session(), dir / "model"),
                IsOkAndHolds(dir / "model"));
    EXPECT_EQ(program.StateOf(dir / "model"), absl::StrCat(number));
    // The former data must stay until the new one is there, so its names alter.
    EXPECT_THAT(dir.List(), testing::SizeIs(number % 2 == 1 ? 4 : 5));
  }
  EXPECT_THAT(program.saver().last_checkpoints(), ElementsAre(dir / "model"));
}

// SVR-27, SVR-28
TEST_F(SaverTest, KeepsTheNewest) {
  const TempDir dir;
  Program program(KeepAtMost(2));
  ASSERT_THAT(WriteFileAtomically(dir / "model-1.index.old", "mine"), IsOk());
  for (int step = 1; step <= 4; ++step) {
    ASSERT_THAT(program.SetAndSave(step, dir / "model"), IsOk());
  }
  EXPECT_THAT(Checkpoints(dir), ElementsAre("model-3", "model-4"));
  EXPECT_THAT(StatePaths(dir), ElementsAre("model-3", "model-4"));
  EXPECT_THAT(program.saver().last_checkpoints(),
              ElementsAre(dir / "model-3", dir / "model-4"));
  EXPECT_THAT(FileExists(dir / "model-1.index.old"), IsOkAndHolds(true));
  EXPECT_THAT(FileExists(dir / "model-1.meta"), IsOkAndHolds(false));

  ASSERT_THAT(program.SetAndSave(3, dir / "model"), IsOk());
  EXPECT_THAT(StatePaths(dir), ElementsAre("model-4", "model-3"));
}

// SVR-29
TEST_F(SaverTest, OfSeveralInAFolderEachListsAndDeletesItsOwn) {
  const TempDir dir;
  Program first(KeepAtMost(2));
  Program second(KeepAtMost(1));
  for (int step = 1; step <= 3; ++step) {
    ASSERT_THAT(first.SetAndSave(step, dir / "model"), IsOk());
    EXPECT_EQ(StatePaths(dir).back(), absl::StrCat("model-", step));
    ASSERT_THAT(second.SetAndSave(step, dir / "other"), IsOk());
    EXPECT_THAT(StatePaths(dir), ElementsAre(absl::StrCat("other-", step)));
  }
  EXPECT_THAT(Checkpoints(dir),
              UnorderedElementsAre("model-2", "model-3", "other-3"));
}

// SVR-30: Python's state file names the newest only.
TEST_F(SaverTest, KeepsAndListsAllForZero) {
  const TempDir dir;
  Program program(KeepAtMost(0));
  for (int step = 1; step <= 7; ++step) {
    ASSERT_THAT(program.SetAndSave(step, dir / "model"), IsOk());
  }
  EXPECT_THAT(Checkpoints(dir), testing::SizeIs(7));
  EXPECT_THAT(StatePaths(dir), testing::SizeIs(7));
}

// SVR-34, SVR-35: Python deletes one, and never more.
TEST_F(SaverTest, CatchesUpWithALowerLimit) {
  const TempDir dir;
  std::vector<std::string> former;
  {
    Program program(KeepAtMost(0));
    for (int step = 1; step <= 5; ++step) {
      former.push_back(*program.SetAndSave(step, dir / "model"));
    }
  }
  Program program(KeepAtMost(2));
  former.insert(former.begin(), dir / "model-0");
  program.saver().RecoverLastCheckpoints(former);
  EXPECT_THAT(program.saver().last_checkpoints(), testing::SizeIs(5));
  ASSERT_THAT(program.SetAndSave(6, dir / "model"), IsOk());
  EXPECT_THAT(Checkpoints(dir), ElementsAre("model-5", "model-6"));
}

TEST_F(SaverTest, DeletesNothingOfOthersElsewhere) {
  const TempDir dir;
  const TempDir other;
  Program first;
  ASSERT_THAT(first.SetAndSave(1, other / "model"), IsOk());

  Program program(KeepAtMost(1));
  program.saver().SetLastCheckpointsWithTime(
      {{other / "model-1", absl::InfinitePast()}});
  ASSERT_THAT(program.SetAndSave(2, dir / "model"), IsOk());
  EXPECT_THAT(program.saver().last_checkpoints(), ElementsAre(dir / "model-2"));
  EXPECT_THAT(Checkpoints(other), ElementsAre("model-1"));
}

// SVR-31, SVR-32, SVR-33
TEST_F(SaverTest, KeepsOneInEveryIntervalForGood) {
  const TempDir dir;
  FakeClock clock;
  Saver::Options options = KeepAtMost(1);
  options.keep_checkpoint_every_n_hours = 1;
  options.clock = &clock;
  Program program(options);
  const auto save_after = [&](int minutes, int step) {
    clock.Advance(absl::Minutes(minutes));
    ASSERT_THAT(program.SetAndSave(step, dir / "model"), IsOk());
  };
  save_after(50, 1);   // at 0:50, deleted
  save_after(15, 2);   // at 1:05, kept for good
  save_after(30, 3);   // at 1:35, deleted
  save_after(300, 4);  // at 6:35, kept: the first after a long pause
  save_after(10, 5);   // at 6:45, deleted, which Python keeps as well
  save_after(20, 6);   // at 7:05, kept
  save_after(1, 7);
  EXPECT_THAT(Checkpoints(dir),
              ElementsAre("model-2", "model-4", "model-6", "model-7"));
  EXPECT_THAT(StatePaths(dir), ElementsAre("model-7"));
}

// The first save into a folder removes what killed savers left.
TEST_F(SaverTest, RemovesLeftoversOfOthersThatDied) {
  const TempDir dir;
  const std::string dead = BaseName(TemporaryPrefix(dir.path()));
  for (const std::string name :
       {".index", ".data-00000-of-00001.tempstate123", ".meta"}) {
    ASSERT_THAT(WriteFileAtomically(dir / (dead + name), "x"), IsOk());
  }
  ASSERT_THAT(CreateFolders(dir / (dead + "_temp")), IsOk());
  ASSERT_THAT(WriteFileAtomically(dir / (dead + "_temp/part-0"), "x"), IsOk());
  const std::string old = ".tftrain.tmp-0123456789abcdef0123456789abcdef";
  const std::string young = ".tftrain.tmp-1123456789abcdef0123456789abcdef";
  ASSERT_THAT(WriteFileAtomically(dir / old, "x"), IsOk());
  ASSERT_THAT(WriteFileAtomically(dir / young, "x"), IsOk());
  utimbuf hour_ago;
  hour_ago.actime = hour_ago.modtime = ::time(nullptr) - 3600;
  ASSERT_EQ(::utime((dir / old).c_str(), &hour_ago), 0);

  Program program;
  ASSERT_THAT(program.SetAndSave(1, dir / "model"), IsOk());
  EXPECT_THAT(
      dir.List(),
      UnorderedElementsAre(young, "checkpoint", "model-1.data-00000-of-00001",
                           "model-1.index", "model-1.meta"));
}

// A disk that is full, by a limit on the size of files.
TEST_F(SaverTest, AFullDiskLeavesNothingBehind) {
  const TempDir dir;
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto large = Variable::Create(
      *graph, scope, "large",
      ops::Const(scope, Tensor(tensorflow::DT_UINT8,
                               tensorflow::TensorShape({1 << 20}))));
  ASSERT_THAT(large, IsOk());
  const auto saver = Saver::Create(*graph);
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target(large->initializer())), IsOk());
  ASSERT_THAT((*saver)->Save(**session, dir / "first"), IsOk());
  const std::vector<std::string> before = dir.List();

  rlimit former;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &former), 0);
  rlimit small = former;
  small.rlim_cur = 1 << 18;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status =
      (*saver)->Save(**session, dir / "second").status();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &former), 0);
  std::signal(SIGXFSZ, handler);

  EXPECT_THAT(status, StatusIs(Code::kResourceExhausted, HasSubstr("second")));
  EXPECT_FALSE(IsEndOfInput(status));
  EXPECT_EQ(dir.List(), before);
  EXPECT_THAT((*saver)->Save(**session, dir / "second"), IsOk());
}

// A graph whose names cannot be read runs its own operations.
TEST_F(SaverTest, LeavesAnUnusualGraphToItself) {
  const TempDir dir;
  const GraphPtr graph = MakeModel({"w"});
  const tensorflow::Scope scope = graph->scope().NewSubScope("own");
  const auto variables =
      Variable::FromCollection(*graph, collection_keys::kGlobalVariables);
  const Variable& step = (*variables)[0];
  const ops::PlaceholderWithDefault file(
      scope.WithOpName("file"), ops::Const(scope, std::string("model")), {});
  const ops::Unique names(scope, ops::Const(scope, {step.name()}));
  const auto whole = ops::Const(scope, {std::string()});
  const ops::SaveV2 save(scope, file, names.y, whole, {step.value()});
  const ops::Identity saved(
      scope.WithOpName("saved").WithControlDependencies({save.operation}),
      file);
  const ops::RestoreV2 restore(scope, file, names.y, whole,
                               {tensorflow::DT_INT64});
  const ops::AssignVariableOp assign(scope.WithOpName("restored"),
                                     step.handle(), restore.tensors[0]);
  ASSERT_THAT(graph->status(), IsOk());
  tensorflow::SaverDef def;
  def.set_filename_tensor_name("own/file:0");
  def.set_save_tensor_name("own/saved:0");
  def.set_restore_op_name("own/restored");
  const auto saver = Saver::FromSaverDef(*graph, def);
  ASSERT_THAT(saver, IsOk());
  const auto session = Session::Create(graph);
  EXPECT_THAT((*saver)->Save(**session, dir / "model"),
              StatusIs(Code::kFailedPrecondition));
  EXPECT_THAT(dir.List(), IsEmpty());

  for (const int64_t number : {5, 6}) {
    ASSERT_THAT((*session)->Run(Target("set"), {{"number:0", number}}), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir / "model"), IsOk());
  }
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model"), IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(6));
  EXPECT_THAT(dir.List(), testing::SizeIs(5));
}

// SVR-37, SVR-38: a file of TensorFlow's first format, as SaveSlices writes it.
TEST_F(SaverTest, ReadsTheFirstFormatAndWritesTheSecond) {
  const TempDir dir;
  const GraphPtr graph = MakeModel({"w"});
  const tensorflow::Scope scope = graph->scope().NewSubScope("old");
  const auto variables =
      Variable::FromCollection(*graph, collection_keys::kGlobalVariables);
  std::vector<std::string> names;
  std::vector<tensorflow::Output> values;
  for (const Variable& variable : *variables) {
    names.push_back(variable.name());
    values.push_back(variable.value());
  }
  const ops::Placeholder file(scope.WithOpName("file"), tensorflow::DT_STRING);
  const auto name_list = ops::Const(scope, {names[0], names[1]});
  const auto wholes = ops::Const(scope, {std::string(), std::string()});
  const ops::SaveSlices save(scope.WithOpName("save"), file, name_list, wholes,
                             tensorflow::OutputList(values));
  const ops::Identity saved(
      scope.WithOpName("saved").WithControlDependencies({save.operation}),
      file);
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  tensorflow::SaverDef def = (*saver)->saver_def();
  def.set_filename_tensor_name("old/file:0");
  def.set_save_tensor_name("old/saved:0");
  def.set_version(tensorflow::SaverDef::V1);
  const auto old = Saver::FromSaverDef(*graph, def);
  ASSERT_THAT(old, IsOk());

  const auto session = Session::Create(graph);
  const auto set = [&](int64_t number) {
    return (*session)->Run(Target("set"), {{"number:0", number}});
  };
  ASSERT_THAT(set(3), IsOk());
  ASSERT_THAT(
      (*session)->Run(Target("old/save"), {{"old/file:0", dir / "first"}}),
      IsOk());
  ASSERT_THAT((*old)->Save(**session, dir / "second"), IsOk());
  EXPECT_THAT(FileExists(dir / "second.index"), IsOkAndHolds(true));
  for (const std::string name : {"first", "second"}) {
    ASSERT_THAT(set(1), IsOk());
    ASSERT_THAT((*saver)->Restore(**session, dir / name), IsOk());
    EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(3)) << name;
  }
  ASSERT_THAT(WriteFileAtomically(dir / "first", "no table"), IsOk());
  EXPECT_THAT((*saver)->Restore(**session, dir / "first"),
              StatusIs(Code::kDataLoss, HasSubstr("first")));
}

// A session on a server of TensorFlow's.
TEST_F(SaverTest, SavesAndRestoresThroughAServer) {
  tensorflow::ServerDef def;
  def.set_protocol("grpc");
  def.set_job_name("local");
  auto* job = def.mutable_cluster()->add_job();
  job->set_name("local");
  (*job->mutable_tasks())[0] = "localhost:0";
  std::unique_ptr<tensorflow::ServerInterface> server;
  ASSERT_THAT(tensorflow::NewServer(def, &server), IsOk());
  ASSERT_THAT(server->Start(), IsOk());
  // TensorFlow's servers cannot be destroyed.
  const std::string target = server.release()->target();

  const TempDir dir;
  const GraphPtr graph = MakeModel({"w"});
  const auto saver = Saver::Create(*graph);
  ASSERT_THAT(saver, IsOk());
  Session::Options options;
  options.target = target;
  const auto session = Session::Create(graph, options);
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*saver)->Save(**session, dir / "model"),
              StatusIs(Code::kFailedPrecondition,
                       AllOf(HasSubstr("no value yet"),
                             Not(HasSubstr("uninitialized")))));
  for (const int64_t number : {5, 6}) {
    ASSERT_THAT((*session)->Run(Target("set"), {{"number:0", number}}), IsOk());
    ASSERT_THAT((*saver)->Save(**session, dir / "model"), IsOk());
  }
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  ASSERT_THAT((*saver)->Restore(**session, dir / "model"), IsOk());
  EXPECT_THAT((*session)->GlobalStep(), IsOkAndHolds(6));
  Program other(Saver::Options(), {"w"});
  EXPECT_EQ(other.StateOf(dir / "model"), "6");
}

}  // namespace
}  // namespace tftrain

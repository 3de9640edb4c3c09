// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <complex>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/non_finite.h"
#include "tftrain/testing/temp_dir.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {
namespace {

using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::TensorSlice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Code = absl::StatusCode;

template <typename T>
Tensor Values(const std::vector<T>& values) {
  Tensor tensor(tensorflow::DataTypeToEnum<T>::value,
                TensorShape({static_cast<int64_t>(values.size())}));
  std::copy(values.begin(), values.end(), tensor.flat<T>().data());
  return tensor;
}

Tensor Text(const std::vector<std::string>& values) {
  return Values(std::vector<tensorflow::tstring>(values.begin(), values.end()));
}

class CheckpointToolsTest : public ::testing::Test {
 protected:
  // Writes a checkpoint and returns its prefix.
  std::string Write(const std::string& name,
                    const std::vector<std::pair<std::string, Tensor>>& tensors,
                    const std::vector<std::string>& rows_of_parts = {}) {
    tensorflow::BundleWriter writer(tensorflow::Env::Default(), dir_ / name);
    for (const auto& [key, tensor] : tensors) {
      EXPECT_THAT(writer.Add(key, tensor), IsOk());
    }
    // The four rows of "parts" are the numbers 0 to 3.
    for (const std::string& rows : rows_of_parts) {
      const TensorSlice slice = TensorSlice::ParseOrDie(rows);
      TensorShape shape;
      EXPECT_THAT(slice.SliceTensorShape({4}, &shape), IsOk());
      Tensor part(tensorflow::DT_FLOAT, shape);
      for (int64_t i = 0; i < shape.num_elements(); ++i) {
        part.flat<float>()(i) = static_cast<float>(slice.start(0) + i);
      }
      EXPECT_THAT(writer.AddSlice("parts", {4}, slice, part), IsOk());
    }
    EXPECT_THAT(writer.Finish(), IsOk());
    return dir_ / name;
  }

  void FlipLastByte(const std::string& path) {
    std::string bytes = *ReadFile(path, 1 << 20);
    bytes.back() ^= 1;
    ASSERT_THAT(WriteFileAtomically(path, bytes), IsOk());
  }

  // The problems of the folder: "kind name".
  std::vector<std::string> Problems(const VerifyFolderOptions& options = {}) {
    const auto report = VerifyFolder(dir_.path(), options);
    if (!report.ok()) return {report.status().ToString()};
    std::vector<std::string> problems;
    for (const FolderProblem& problem : report->problems) {
      problems.push_back(
          absl::StrCat(ToString(problem.kind), " ", BaseName(problem.path)));
      EXPECT_THAT(report->ToString(), HasSubstr(problem.what));
    }
    return problems;
  }

  const TempDir dir_;
};

TEST_F(CheckpointToolsTest, AnIntactCheckpointIsIntact) {
  const std::string prefix =
      Write("m", {{"a", Values<float>({1, 2})}, {"text", Text({"x", ""})}},
            {"0,3", "3,1"});
  const auto report = VerifyCheckpoint(prefix, /*with_meta=*/true);
  ASSERT_THAT(report, IsOk());
  EXPECT_TRUE(report->intact()) << report->ToString();
  EXPECT_EQ(report->tensors, 3);
  EXPECT_EQ(report->shards, 1);
  EXPECT_THAT(report->ToString(), HasSubstr("intact, 3 tensors in 1 data"));
}

TEST_F(CheckpointToolsTest, EveryDamagedTensorIsTold) {
  const std::string prefix =
      Write("m", {{"a", Values<float>({1})}, {"b", Values<float>({2})}});
  std::string data = *ReadFile(DataFileName(prefix, 0, 1), 1 << 20);
  data[1] ^= 1;
  data[5] ^= 1;
  ASSERT_THAT(WriteFileAtomically(DataFileName(prefix, 0, 1), data), IsOk());
  ASSERT_THAT(WriteFileAtomically(MetaFileName(prefix), "no graph"), IsOk());

  const auto report = VerifyCheckpoint(prefix, /*with_meta=*/true);
  ASSERT_THAT(report, IsOk());
  EXPECT_FALSE(report->intact());
  EXPECT_THAT(report->problems,
              ElementsAre(HasSubstr("MetaGraphDef"), HasSubstr("\"a\""),
                          HasSubstr("\"b\"")));
  EXPECT_THAT(VerifyCheckpoint(prefix)->problems, SizeIs(2));
}

TEST_F(CheckpointToolsTest, ADamagedIndexIsTheOnlyProblem) {
  const std::string prefix = Write("m", {{"a", Values<float>({1})}});
  FlipLastByte(IndexFileName(prefix));
  const auto report = VerifyCheckpoint(prefix);
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, SizeIs(1));
  EXPECT_THAT(report->ToString(), HasSubstr("damaged"));
  EXPECT_THAT(VerifyCheckpoint(dir_ / "none"), StatusIs(Code::kNotFound));
}

TEST_F(CheckpointToolsTest, WhatASaverLeavesIsInOrder) {
  Program program;
  ASSERT_THAT(program.SetAndSave(1, dir_ / "m"), IsOk());
  ASSERT_THAT(program.SetAndSave(2, dir_ / "m"), IsOk());
  const auto report = VerifyFolder(dir_.path());
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, IsEmpty()) << report->ToString();
  EXPECT_THAT(report->intact, ElementsAre(dir_ / "m-2", dir_ / "m-1"));
}

TEST_F(CheckpointToolsTest, WhatIsKeptForGoodIsInOrder) {
  Saver::Options options;
  options.retention = {KeepNewest{1}, KeepEverySteps{10}};
  Program program(options);
  for (const int step : {10, 11, 12}) {
    ASSERT_THAT(program.SetAndSave(step, dir_ / "m"), IsOk());
  }
  const auto report = VerifyFolder(dir_.path());
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, IsEmpty()) << report->ToString();
  EXPECT_THAT(report->intact, ElementsAre(dir_ / "m-12", dir_ / "m-10"));
}

TEST_F(CheckpointToolsTest, ARunThatGoesOnIsNotDamaged) {
  UnsyncedFileOps file_ops;
  constexpr int kSteps = 200;
  std::atomic<bool> done = false;
  std::thread training([&] {
    Saver::Options options;
    options.max_to_keep = 1;
    Program program(options);
    for (int step = 1; step <= kSteps; ++step) {
      EXPECT_THAT(program.SetAndSave(step, dir_ / "m"), IsOk());
    }
    done = true;
  });
  while (!done) {
    const auto report = VerifyFolder(dir_.path());
    ASSERT_THAT(report, IsOk());
    for (const FolderProblem& problem : report->problems) {
      EXPECT_NE(problem.kind, FolderProblem::Kind::kDamaged) << problem.what;
    }
  }
  training.join();
}

TEST_F(CheckpointToolsTest, WhatPythonWroteIsInOrder) {
  for (const char* const kind : {"adam_queue", "linear", "partitioned",
                                 "placeholder", "table_iterator"}) {
    const std::string prefix =
        absl::StrCat(TFTRAIN_PARITY, "/fixtures/", kind, "/model.ckpt-5");
    const auto report = VerifyCheckpoint(prefix, /*with_meta=*/true);
    ASSERT_THAT(report, IsOk());
    EXPECT_TRUE(report->intact()) << report->ToString();
    EXPECT_GT(report->tensors, 0);
    const auto same = CompareCheckpoints(prefix, prefix);
    ASSERT_THAT(same, IsOk());
    EXPECT_EQ(same->equal, report->tensors);
    EXPECT_THAT(ScanForNonFinite(prefix), IsOkAndHolds(IsEmpty()));
  }
}

TEST_F(CheckpointToolsTest, AFolderShowsWhatIsWrongWithIt) {
  for (int step = 1; step <= 6; ++step) {
    Write(absl::StrCat("m-", step), {{"a", Values<float>({1})}});
  }
  CheckpointState state;
  state.model_checkpoint_path = dir_ / "m-5";
  state.all_model_checkpoint_paths = {dir_ / "m-0", dir_ / "m-1", dir_ / "m-2",
                                      dir_ / "m-4", dir_ / "m-5"};
  ASSERT_THAT(UpdateCheckpointState(dir_.path(), state), IsOk());
  FlipLastByte(DataFileName(dir_ / "m-1", 0, 1));
  ASSERT_THAT(RemoveFile(IndexFileName(dir_ / "m-2")), IsOk());
  ASSERT_THAT(RemoveFile(DataFileName(dir_ / "m-4", 0, 1)), IsOk());
  ASSERT_THAT(WriteFileAtomically(DataFileName(dir_ / "m-5", 1, 2), "x"),
              IsOk());
  ASSERT_THAT(
      WriteFileAtomically(IndexFileName(TemporaryPrefix(dir_.path())), "x"),
      IsOk());
  std::filesystem::create_directory(dir_ / "m-7_temp");

  const std::vector<std::string> problems = Problems();
  EXPECT_THAT(
      problems,
      ElementsAre("dangling m-0", "dangling m-2", "dangling m-4", "stale m-6",
                  "unlisted m-6", "orphaned m-5.data-00001-of-00002",
                  "incomplete m-4", "unlisted m-3", "orphaned m-2",
                  "damaged m-1", HasSubstr("leftover ."), "leftover m-7_temp"));
  EXPECT_THAT(VerifyFolder(dir_.path())->intact,
              ElementsAre(dir_ / "m-6", dir_ / "m-5", dir_ / "m-3"));

  VerifyFolderOptions names_only;
  names_only.contents = false;
  EXPECT_EQ(Problems(names_only).size(), problems.size() - 2);
}

TEST_F(CheckpointToolsTest, AStateFileThatCannotBeUsedIsTold) {
  Write("m-1", {{"a", Values<float>({1})}});
  EXPECT_THAT(Problems(), IsEmpty());
  ASSERT_THAT(WriteFileAtomically(dir_ / "checkpoint", "garbage {"), IsOk());
  EXPECT_THAT(Problems(), ElementsAre("unreadable checkpoint"));
  ASSERT_THAT(WriteFileAtomically(dir_ / "checkpoint", ""), IsOk());
  EXPECT_THAT(Problems(), ElementsAre("unreadable checkpoint"));
  ASSERT_THAT(
      WriteFileAtomically(dir_ / "checkpoint",
                          "model_checkpoint_path: \"m-1\"\n"
                          "all_model_checkpoint_paths: \"../other/m-0\"\n"
                          "all_model_checkpoint_paths: \"m-1\"\n"),
      IsOk());
  EXPECT_THAT(Problems(), ElementsAre("outside checkpoint"));
  EXPECT_THAT(VerifyFolder(dir_ / "none"), StatusIs(Code::kNotFound));
}

TEST_F(CheckpointToolsTest, ComparisonTellsHowFarTensorsAreApart) {
  const std::string a =
      Write("a",
            {{"equal", Values<float>({1, NAN})},
             {"floats", Values<float>({1, 2, 4, 0})},
             {"ints", Values<int64_t>({(int64_t{1} << 60) + 1, -3})},
             {"nan", Values<double>({1, NAN})},
             {"complex", Values<std::complex<float>>({{3, 4}})},
             {"old", Values<float>({0})},
             {"shape", Values<float>({0})},
             {"text", Text({"x", "y"})},
             {"type", Values<float>({0})}},
            {"0,2", "2,2"});
  const std::string b =
      Write("b", {{"equal", Values<float>({1, NAN})},
                  {"floats", Values<float>({1, 2.5, 3, 0})},
                  {"ints", Values<int64_t>({int64_t{1} << 60, -3})},
                  {"nan", Values<double>({1, 2})},
                  {"complex", Values<std::complex<float>>({{0, 0}})},
                  {"new", Values<float>({0})},
                  {"shape", Values<float>({0, 0})},
                  {"text", Text({"x", "z"})},
                  {"type", Values<int32_t>({0})},
                  {"parts", Values<float>({0, 1, 2, 3.5})}});
  const auto comparison = CompareCheckpoints(a, b);
  ASSERT_THAT(comparison, IsOk());
  EXPECT_EQ(comparison->equal, 1);
  std::vector<std::string> found;
  for (const TensorDifference& difference : comparison->differences) {
    found.push_back(
        absl::StrCat(difference.name, " ", static_cast<int>(difference.kind),
                     " ", difference.elements, " ", difference.max_absolute));
  }
  EXPECT_THAT(found, ElementsAre("complex 4 1 5", "floats 4 2 1", "ints 4 1 1",
                                 "nan 4 1 inf", "new 1 0 0", "old 0 0 0",
                                 "parts 4 1 0.5", "shape 3 0 0", "text 4 1 0",
                                 "type 2 0 0"));
  EXPECT_EQ(comparison->differences[1].max_relative, 0.25);
  EXPECT_EQ(comparison->differences[3].max_relative, kInfinity);
  EXPECT_THAT(comparison->ToString(),
              HasSubstr("1 tensors are equal, 10 differ"));
  EXPECT_THAT(comparison->ToString(), HasSubstr("only in the second"));
  EXPECT_THAT(comparison->ToString(), HasSubstr("float [1], int32 [1]"));
}

TEST_F(CheckpointToolsTest, CutsInOtherPlacesAreNoDifference) {
  const std::string a = Write("a", {}, {"0,2", "2,2"});
  const std::string b = Write("b", {}, {"0,1", "1,3"});
  const std::string whole =
      Write("whole", {{"parts", Values<float>({0, 1, 2, 3})}});
  for (const auto& [first, second] :
       {std::pair(a, b), std::pair(a, whole), std::pair(whole, b)}) {
    const auto comparison = CompareCheckpoints(first, second);
    ASSERT_THAT(comparison, IsOk());
    EXPECT_EQ(comparison->equal, 1) << comparison->ToString();
  }
  const std::string half = Write("half", {}, {"0,2"});
  EXPECT_THAT(CompareCheckpoints(a, half), StatusIs(Code::kInvalidArgument));
}

TEST_F(CheckpointToolsTest, StatisticsAreThoseOfTheFiniteNumbers) {
  const std::string prefix =
      Write("m",
            {{"floats", Values<float>({0, -2, 4, NAN, INFINITY, -INFINITY})},
             {"large", Values<double>({1e9 + 1, 1e9 + 3})},
             {"flags", Values<bool>({true, false, false})},
             {"nothing", Values<float>({})},
             {"text", Text({"x"})}},
            {"0,2", "2,2"});
  const auto all = CheckpointStatistics(prefix);
  ASSERT_THAT(all, IsOk());
  ASSERT_THAT(*all, SizeIs(6));
  const TensorStatistics& flags = (*all)[0];
  EXPECT_EQ(flags.name, "flags");
  EXPECT_EQ(flags.zeros, 2);
  EXPECT_EQ(flags.max, 1);
  const TensorStatistics& floats = (*all)[1];
  EXPECT_EQ(floats.shape, TensorShape({6}));
  EXPECT_EQ(floats.bytes, 24);
  EXPECT_EQ(floats.nans, 1);
  EXPECT_EQ(floats.infinities, 2);
  EXPECT_EQ(floats.zeros, 1);
  EXPECT_EQ(floats.min, -2);
  EXPECT_EQ(floats.max, 4);
  EXPECT_DOUBLE_EQ(floats.mean, 2.0 / 3);
  EXPECT_DOUBLE_EQ(floats.norm, std::sqrt(20.0));
  const TensorStatistics& large = (*all)[2];
  EXPECT_DOUBLE_EQ(large.mean, 1e9 + 2);
  EXPECT_DOUBLE_EQ(large.standard_deviation, 1);
  EXPECT_TRUE((*all)[3].numeric);
  EXPECT_EQ((*all)[3].norm, 0);
  const TensorStatistics& parts = (*all)[4];
  EXPECT_EQ(parts.parts, 2);
  EXPECT_EQ(parts.mean, 1.5);
  EXPECT_EQ(parts.bytes, 16);
  EXPECT_FALSE((*all)[5].numeric);
  EXPECT_THAT(
      ToString(*all),
      HasSubstr("floats    float    [6]     24     -2      4  0.666667"));

  const auto sick = ScanForNonFinite(prefix);
  ASSERT_THAT(sick, IsOk());
  ASSERT_THAT(*sick, SizeIs(1));
  EXPECT_EQ((*sick)[0].name, "floats");
}

TEST_F(CheckpointToolsTest, DamageIsAnErrorOfTheOtherTools) {
  const std::string prefix = Write("m", {{"a", Values<float>({1})}});
  const std::string good = Write("good", {{"a", Values<float>({1})}});
  FlipLastByte(DataFileName(prefix, 0, 1));
  EXPECT_THAT(CheckpointStatistics(prefix), StatusIs(Code::kDataLoss));
  EXPECT_THAT(ScanForNonFinite(prefix), StatusIs(Code::kDataLoss));
  EXPECT_THAT(CompareCheckpoints(good, prefix), StatusIs(Code::kDataLoss));
  EXPECT_THAT(CompareCheckpoints(dir_ / "none", good),
              StatusIs(Code::kNotFound));
}

}  // namespace
}  // namespace tftrain

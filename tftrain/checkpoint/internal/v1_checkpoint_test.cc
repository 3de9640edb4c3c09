// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/v1_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/util/saved_tensor_slice.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/index_table_for_test.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

namespace ops = ::tensorflow::ops;
using ::tensorflow::SavedTensorSlices;
using ::tensorflow::TensorShape;
using ::tensorflow::TensorSlice;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace table = table_for_test;

// A checkpoint of the first format that holds "w", 2 x 3 floats in two rows.
class V1CheckpointTest : public ::testing::Test {
 protected:
  V1CheckpointTest() {
    tensor_ = meta_.mutable_meta()->add_tensor();
    tensor_->set_name("w");
    tensor_->set_type(tensorflow::DT_FLOAT);
    TensorShape({2, 3}).AsProto(tensor_->mutable_shape());
    for (const char* const row : {"0,1:-", "1,1:-"}) {
      TensorSlice::ParseOrDie(row).AsProto(tensor_->add_slice());
      for (int i = 0; i < 3; ++i) Part(row).add_float_val(7);
    }
  }

  // The values of that part.
  tensorflow::TensorProto& Part(const std::string& row) {
    return *parts_[tensorflow::checkpoint::EncodeTensorNameSlice(
                       "w", TensorSlice::ParseOrDie(row))]
                .mutable_data()
                ->mutable_data();
  }

  // Writes the file with right checksums, and checks it.
  absl::Status Check() {
    std::string rows = table::Row(0, "", meta_.SerializeAsString());
    for (const auto& [key, part] : parts_) {
      rows += table::Row(0, key, part.SerializeAsString());
    }
    return CheckBytes(table::Table({{"z", table::Block(rows)}}));
  }
  absl::Status CheckBytes(const std::string& bytes) {
    EXPECT_THAT(WriteFileAtomically(prefix_, bytes, {/*durable=*/false}),
                IsOk());
    return CheckV1Checkpoint(prefix_);
  }

  static auto IsDamage(const std::string& what) {
    return StatusIs(absl::StatusCode::kDataLoss, HasSubstr(what));
  }

  const TempDir dir_;
  const std::string prefix_ = dir_ / "first";
  SavedTensorSlices meta_;
  tensorflow::SavedSliceMeta* tensor_;
  std::map<std::string, SavedTensorSlices> parts_;
};

// Lets TensorFlow write values of several types to `path`, among them many that
// could be compressed well.
void WriteAsTensorFlow(const std::string& path, const std::string& name) {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto eight = ops::Const(scope, {1, -2, 3, -4, 5, -6, 7, -8});
  tensorflow::OutputList values = {
      ops::Fill(scope, {1000, 5000}, 0.0f), ops::Const(scope, {"some", "text"}),
      ops::Const(scope, int64_t{-1}), ops::Const(scope, {true, false})};
  for (const auto type :
       {tensorflow::DT_DOUBLE, tensorflow::DT_HALF, tensorflow::DT_INT8,
        tensorflow::DT_UINT16, tensorflow::DT_INT32, tensorflow::DT_COMPLEX64,
        tensorflow::DT_COMPLEX128}) {
    values.push_back(ops::Cast(scope, eight, type));
  }
  values.push_back(ops::Fill(scope, {0, 3}, 1.0f));
  tensorflow::Tensor names(tensorflow::DT_STRING,
                           TensorShape({static_cast<int64_t>(values.size())}));
  for (size_t i = 0; i < values.size(); ++i) {
    names.vec<tensorflow::tstring>()(static_cast<int64_t>(i)) =
        absl::StrCat(name, i);
  }
  ops::Save(scope.WithOpName("save"), path, ops::Const(scope, names), values);
  ASSERT_THAT(graph->status(), IsOk());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("save")), IsOk());
}

// SVR-37, SVR-38
TEST_F(V1CheckpointTest, WhatTensorFlowWritesIsSound) {
  WriteAsTensorFlow(prefix_, "");
  EXPECT_THAT(CheckV1Checkpoint(prefix_), IsOk());

  WriteAsTensorFlow(dir_ / "m-00000-of-00002", "a/");
  WriteAsTensorFlow(dir_ / "m-00001-of-00002", "b/");
  const std::string pattern = dir_ / "m-?????" + std::string("-of-00002");
  EXPECT_THAT(CheckV1Checkpoint(pattern), IsOk());

  ASSERT_THAT(WriteFileAtomically(dir_ / "m-00001-of-00002", "torn"), IsOk());
  EXPECT_THAT(CheckV1Checkpoint(pattern), IsDamage("m-00001-of-00002"));
}

TEST_F(V1CheckpointTest, PartsAreSound) { EXPECT_THAT(Check(), IsOk()); }

// Promise S1
TEST_F(V1CheckpointTest, AFileThatIsNoTableIsDamage) {
  EXPECT_THAT(CheckBytes(""), IsDamage("too short"));
  EXPECT_THAT(CheckBytes(std::string(1000, 'x')), IsDamage("does not end"));
  EXPECT_THAT(CheckBytes(table::Table(
                  {{"z", table::Block(table::Row(0, "a", "no meta"))}})),
              IsDamage("does not tell what it holds"));
}

// Promise S1: TensorFlow's reader ends the program on each of these.
TEST_F(V1CheckpointTest, ATableThatLiesAboutItsLengthsIsDamage) {
  const std::string row = table::Varint(0) + table::Varint(0xffffffff) +
                          table::Varint(0) + std::string(20, 'k');
  EXPECT_THAT(CheckBytes(table::Table({{"z", table::Block(row)}})),
              IsDamage("a row of its table"));

  std::string footer = table::Written{uint64_t{1} << 63, 5}.place() +
                       table::Written{0, uint64_t{1} << 63}.place();
  footer.resize(40);
  EXPECT_THAT(CheckBytes(footer + table::Fixed(0xdb4775248b80fb57, 8)),
              IsDamage("points out of the file"));
}

// Promises S1, S2
TEST_F(V1CheckpointTest, AShapeThatCannotBeIsDamage) {
  for (const int64_t size : {int64_t{-1}, int64_t{1} << 20, int64_t{1} << 62}) {
    tensor_->mutable_shape()->mutable_dim(0)->set_size(size);
    EXPECT_THAT(Check(), IsDamage("\"w\" has no valid shape")) << size;
  }
  tensor_->mutable_shape()->add_dim()->set_size(0);  // hides the product
  EXPECT_THAT(Check(), IsDamage("\"w\" has no valid shape"));
  tensor_->mutable_shape()->set_unknown_rank(true);
  EXPECT_THAT(Check(), IsDamage("\"w\" has no valid shape"));
}

TEST_F(V1CheckpointTest, APartOutsideOfTheWholeIsDamage) {
  auto* const slice = tensor_->mutable_slice(1);
  slice->mutable_extent(0)->set_start(2);
  EXPECT_THAT(Check(), IsDamage("\"w\" has a part outside of it"));
  slice->mutable_extent(0)->set_start(-1);
  EXPECT_THAT(Check(), IsDamage("\"w\" has a part outside of it"));
  slice->clear_extent();
  EXPECT_THAT(Check(), IsDamage("\"w\" has a part outside of it"));
}

TEST_F(V1CheckpointTest, APartThatIsMissingIsDamage) {
  tensor_->mutable_slice(1)->mutable_extent(1)->set_start(0);
  tensor_->mutable_slice(1)->mutable_extent(1)->set_length(1);
  EXPECT_THAT(Check(), IsDamage("\"w\" lacks a part"));
}

TEST_F(V1CheckpointTest, APartOfAnotherSizeIsDamage) {
  Part("1,1:-").add_float_val(7);
  EXPECT_THAT(Check(), IsDamage("\"w\" has a part that does not fit"));
  Part("1,1:-").mutable_float_val()->Truncate(2);
  EXPECT_THAT(Check(), IsDamage("\"w\" has a part that does not fit"));
}

TEST_F(V1CheckpointTest, ATypeThatTheFormatDoesNotKnowIsDamage) {
  for (const auto type : {tensorflow::DT_INT32, tensorflow::DT_VARIANT,
                          tensorflow::DT_RESOURCE, tensorflow::DT_FLOAT_REF}) {
    tensor_->set_type(type);
    EXPECT_THAT(Check(), IsDamage("\"w\" has a part that does not fit"));
  }
}

TEST_F(V1CheckpointTest, MorePartsThanTensorFlowCanCompareAreDamage) {
  for (int i = 0; i < 10'000; ++i) {
    *tensor_->add_slice() = tensor_->slice(0);
  }
  EXPECT_THAT(Check(), IsDamage("\"w\" has more parts than can be"));
}

// A name is no pattern here, but it is one to TensorFlow.
TEST_F(V1CheckpointTest, EveryFileThatTensorFlowWouldOpenIsChecked) {
  WriteAsTensorFlow(dir_ / "m*", "");
  EXPECT_THAT(CheckV1Checkpoint(dir_ / "m*"), IsOk());
  ASSERT_THAT(WriteFileAtomically(dir_ / "mine", "text"), IsOk());
  EXPECT_THAT(CheckV1Checkpoint(dir_ / "m*"),
              AllOf(IsDamage("m*"), IsDamage("mine")));
}

}  // namespace
}  // namespace tftrain::internal

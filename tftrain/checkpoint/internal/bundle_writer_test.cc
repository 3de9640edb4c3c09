// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::tensorflow::DataType;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

constexpr int64_t kLimit = int64_t{1} << 30;

struct Saved {
  std::string key;
  std::string slice;
  Tensor value;
};

Tensor Plain(DataType dtype, const TensorShape& shape) {
  Tensor tensor(dtype, shape);
  char* const bytes = static_cast<char*>(tensor.data());
  for (size_t i = 0; i < tensor.TotalBytes(); ++i) {
    bytes[i] = static_cast<char>(i * i % 251);
  }
  return tensor;
}

Tensor Strings(const std::vector<std::string>& strings) {
  Tensor tensor(tensorflow::DT_STRING,
                TensorShape({static_cast<int64_t>(strings.size())}));
  for (size_t i = 0; i < strings.size(); ++i) {
    tensor.vec<tensorflow::tstring>()(static_cast<int64_t>(i)) = strings[i];
  }
  return tensor;
}

Tensor Variants(const std::vector<Tensor>& tensors) {
  Tensor tensor(tensorflow::DT_VARIANT,
                TensorShape({static_cast<int64_t>(tensors.size())}));
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensor.vec<tensorflow::Variant>()(static_cast<int64_t>(i)) = tensors[i];
  }
  return tensor;
}

// One value of each kind, small and larger than what is written at once.
std::vector<Saved> AllKinds() {
  return {
      {"w", "", Plain(tensorflow::DT_FLOAT, TensorShape({4}))},
      {"large", "", Plain(tensorflow::DT_UINT8, TensorShape({(1 << 20) + 77}))},
      {"huge", "", Plain(tensorflow::DT_INT16, TensorShape({3, 1 << 19}))},
      {"step", "", Tensor(int64_t{7})},
      {"none", "", Plain(tensorflow::DT_DOUBLE, TensorShape({0, 3}))},
      {"flags", "", Tensor(true)},
      {"half", "", Plain(tensorflow::DT_BFLOAT16, TensorShape({5}))},
      {"small", "", Plain(tensorflow::DT_QINT8, TensorShape({3}))},
      {"text", "", Strings({"some text", "", std::string(300, 'x')})},
      {"no text", "", Strings({})},
      {"book", "", Strings({std::string(3 << 20, 'y')})},
      {"nested", "",
       Variants({Plain(tensorflow::DT_FLOAT, TensorShape({9})),
                 Strings({"within"})})},
      {"no variants", "", Variants({})},
      {"parts", "3 2 0,1:-", Plain(tensorflow::DT_FLOAT, TensorShape({1, 2}))},
      {"parts", "3 2 1,2:-", Plain(tensorflow::DT_FLOAT, TensorShape({2, 2}))},
      {"one part", "3 2 -:-", Plain(tensorflow::DT_FLOAT, TensorShape({3, 2}))},
      {"counted part", "3 2 0,3:0,2",
       Plain(tensorflow::DT_FLOAT, TensorShape({3, 2}))},
  };
}

absl::Status Write(const std::string& prefix, const std::vector<Saved>& values,
                   const BundleOptions& options = {}) {
  return WriteBundle(prefix, options, [&](auto receive) -> absl::Status {
    for (const Saved& saved : values) {
      SavedTensor tensor;
      tensor.key = saved.key;
      tensor.slice = saved.slice;
      tensor.tensor = saved.key + ":0";
      const absl::Status status = receive(tensor, saved.value);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  });
}

void WriteWithTensorFlow(const std::string& prefix,
                         const std::vector<Saved>& values) {
  tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix);
  for (const Saved& saved : values) {
    if (saved.slice.empty()) {
      ASSERT_THAT(writer.Add(saved.key, saved.value), IsOk());
      continue;
    }
    TensorShape whole, part;
    tensorflow::TensorSlice slice;
    ASSERT_THAT(tensorflow::checkpoint::ParseShapeAndSlice(saved.slice, &whole,
                                                           &slice, &part),
                IsOk());
    ASSERT_THAT(writer.AddSlice(saved.key, whole, slice, saved.value), IsOk());
  }
  ASSERT_THAT(writer.Finish(), IsOk());
}

// The rows of an index, readable.
std::vector<std::string> RowsOf(const std::string& prefix) {
  std::vector<std::string> rows;
  tensorflow::BundleReader reader(tensorflow::Env::Default(), prefix);
  EXPECT_THAT(reader.status(), IsOk());
  for (reader.Seek(""); reader.Valid(); reader.Next()) {
    const std::string value(reader.value());
    tensorflow::BundleEntryProto entry;
    tensorflow::BundleHeaderProto header;
    const bool is_header = reader.key().empty();
    EXPECT_TRUE(is_header ? header.ParseFromString(value)
                          : entry.ParseFromString(value));
    rows.push_back(absl::StrCat(
        absl::CHexEscape(reader.key()), ": ",
        is_header ? header.ShortDebugString() : entry.ShortDebugString()));
  }
  return rows;
}

class BundleWriterTest : public ::testing::Test {
 protected:
  std::string DataOf(const std::string& prefix) {
    const auto bytes = ReadFile(DataFileName(prefix, 0, 1), kLimit);
    EXPECT_THAT(bytes, IsOk());
    return bytes.value_or("");
  }

  const TempDir dir_;
  const std::string prefix_ = dir_ / "model";
};

TEST_F(BundleWriterTest, WritesWhatTensorFlowsWriterWrites) {
  const std::vector<Saved> values = AllKinds();
  ASSERT_THAT(Write(prefix_, values), IsOk());
  const std::string theirs = dir_ / "theirs";
  WriteWithTensorFlow(theirs, values);
  EXPECT_TRUE(DataOf(prefix_) == DataOf(theirs));
  EXPECT_EQ(RowsOf(prefix_), RowsOf(theirs));
  EXPECT_EQ(*ReadFile(IndexFileName(prefix_), kLimit),
            *ReadFile(IndexFileName(theirs), kLimit));
}

TEST_F(BundleWriterTest, WritesABundleOfNothing) {
  ASSERT_THAT(Write(prefix_, {}), IsOk());
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_TRUE((*bundle)->entries().empty());
}

TEST_F(BundleWriterTest, WritesTheSamePastTheCache) {
  const std::vector<Saved> values = AllKinds();
  const std::string direct = dir_ / "direct";
  BundleOptions options;
  options.write.direct = true;
  ASSERT_THAT(Write(prefix_, values), IsOk());
  ASSERT_THAT(Write(direct, values, options), IsOk());
  EXPECT_TRUE(DataOf(direct) == DataOf(prefix_));
  EXPECT_EQ(RowsOf(direct), RowsOf(prefix_));
}

// A disk that takes a few bytes at a time leaves no rest aligned.
TEST_F(BundleWriterTest, WritesTheSameInPieces) {
  std::vector<Saved> values = AllKinds();
  ASSERT_THAT(Write(prefix_, values), IsOk());
  for (const bool direct : {false, true}) {
    const std::string pieces = dir_ / absl::StrCat("pieces", direct);
    FaultyFileOps faults;
    faults.LimitWrites(10000);
    BundleOptions options;
    options.write.direct = direct;
    ASSERT_THAT(Write(pieces, values, options), IsOk());
    EXPECT_TRUE(DataOf(pieces) == DataOf(prefix_));
  }
}

TEST_F(BundleWriterTest, RefusesWhatNoFileCanHold) {
  const Tensor handle(tensorflow::DT_RESOURCE, TensorShape({1}));
  EXPECT_THAT(Write(prefix_, {{"table", "", handle}}),
              StatusIs(Code::kInvalidArgument, HasSubstr("resource")));
}

TEST_F(BundleWriterTest, RefusesAKeyThatComesTwice) {
  const Saved whole = {"w", "", Tensor(1.0f)};
  EXPECT_THAT(Write(prefix_, {whole, whole}),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"w\"")));
  const Saved part = {"w", "2 0,1",
                      Plain(tensorflow::DT_FLOAT, TensorShape({1}))};
  EXPECT_THAT(Write(dir_ / "whole and part", {whole, part}),
              StatusIs(Code::kInvalidArgument, HasSubstr("twice")));
  EXPECT_THAT(Write(dir_ / "part and whole", {part, whole}),
              StatusIs(Code::kInvalidArgument, HasSubstr("twice")));
  EXPECT_THAT(Write(dir_ / "part and part", {part, part}),
              StatusIs(Code::kInvalidArgument, HasSubstr("twice")));
}

TEST_F(BundleWriterTest, RefusesPartsOfDifferentWholes) {
  const Tensor value = Plain(tensorflow::DT_FLOAT, TensorShape({1}));
  EXPECT_THAT(Write(prefix_, {{"w", "2 0,1", value}, {"w", "3 1,1", value}}),
              StatusIs(Code::kInvalidArgument, HasSubstr("parts of \"w\"")));
  EXPECT_THAT(Write(dir_ / "shape", {{"w", "4 0,2", value}}),
              StatusIs(Code::kInvalidArgument, HasSubstr("[1]")));
}

TEST_F(BundleWriterTest, TellsAValueThatIsNotFiniteWhenAsked) {
  const Tensor value(std::numeric_limits<float>::infinity());
  BundleOptions options;
  options.check_finite = true;
  const absl::Status status = Write(prefix_, {{"w", "", value}}, options);
  EXPECT_TRUE(IsNanLoss(status)) << status;
  EXPECT_THAT(Write(dir_ / "unchecked", {{"w", "", value}}), IsOk());
}

TEST_F(BundleWriterTest, TellsANanAloneWhenAsked) {
  BundleOptions options;
  options.check_nan = true;
  const Tensor nan(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(IsNanLoss(Write(prefix_, {{"w", "", nan}}, options)));
  const Tensor infinity(std::numeric_limits<float>::infinity());
  EXPECT_THAT(Write(dir_ / "infinite", {{"w", "", infinity}}, options), IsOk());
}

TEST_F(BundleWriterTest, ReportsADiskThatIsFull) {
  for (const bool direct : {false, true}) {
    FaultyFileOps faults;
    faults.FailCall(3, ENOSPC, FaultyFileOps::Fault::kSticky);
    BundleOptions options;
    options.write.direct = direct;
    EXPECT_THAT(Write(dir_ / absl::StrCat("full", direct), AllKinds(), options),
                StatusIs(Code::kResourceExhausted, HasSubstr("cannot write")));
  }
}

TEST_F(BundleWriterTest, EmptyShardsChangeNothingButNames) {
  const Tensor value = Plain(tensorflow::DT_INT32, TensorShape({4}));
  ASSERT_THAT(Write(prefix_, {{"w", "", value}}), IsOk());
  ASSERT_THAT(AddEmptyShards(prefix_, 1, 3), IsOk());
  EXPECT_THAT(
      dir_.List(),
      ElementsAre("model.data-00000-of-00003", "model.data-00001-of-00003",
                  "model.data-00002-of-00003", "model.index"));
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  const auto read = (*bundle)->Read("w");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->tensor_data(), value.tensor_data());
}

}  // namespace
}  // namespace tftrain::internal

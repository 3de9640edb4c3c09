// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/io/table_options.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::tensorflow::BundleEntryProto;
using ::tensorflow::BundleHeaderProto;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::TensorSlice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

Tensor Floats(const TensorShape& shape) {
  Tensor tensor(tensorflow::DT_FLOAT, shape);
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    tensor.flat<float>()(i) = static_cast<float>(i);
  }
  return tensor;
}

std::vector<float> ValuesOf(const absl::StatusOr<Tensor>& tensor) {
  if (!tensor.ok()) return {};
  const auto flat = tensor->flat<float>();
  return {flat.data(), flat.data() + flat.size()};
}

class BundleTest : public ::testing::Test {
 protected:
  // Writes "w" of four floats, "text", and two of the three rows of "parts".
  void SetUp() override {
    tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix_);
    ASSERT_THAT(writer.Add("w", Floats({4})), IsOk());
    Tensor text(tensorflow::DT_STRING, TensorShape({2}));
    text.vec<tensorflow::tstring>()(0) = "some text";
    ASSERT_THAT(writer.Add("text", text), IsOk());
    for (const char* const row : {"0,1:-", "1,1:-"}) {
      ASSERT_THAT(writer.AddSlice("parts", TensorShape({3, 2}),
                                  TensorSlice::ParseOrDie(row), Floats({1, 2})),
                  IsOk());
    }
    ASSERT_THAT(writer.Finish(), IsOk());
  }

  // Writes the index again, with valid checksums and changed rows.
  void ChangeIndex(
      const std::function<void(const std::string&, BundleEntryProto*)>& change,
      const std::function<void(BundleHeaderProto*)>& change_header =
          [](BundleHeaderProto*) {}) {
    std::map<std::string, std::string> rows;
    {
      tensorflow::BundleReader reader(tensorflow::Env::Default(), prefix_);
      ASSERT_THAT(reader.status(), IsOk());
      for (reader.Seek(""); reader.Valid(); reader.Next()) {
        const std::string key(reader.key());
        if (key.empty()) {
          BundleHeaderProto header;
          header.ParseFromString(std::string(reader.value()));
          change_header(&header);
          rows[key] = header.SerializeAsString();
        } else {
          BundleEntryProto entry;
          entry.ParseFromString(std::string(reader.value()));
          change(key, &entry);
          rows[key] = entry.SerializeAsString();
        }
      }
    }
    std::unique_ptr<tensorflow::WritableFile> file;
    ASSERT_THAT(tensorflow::Env::Default()->NewWritableFile(
                    IndexFileName(prefix_), &file),
                IsOk());
    tensorflow::table::TableBuilder builder(tensorflow::table::Options(),
                                            file.get());
    for (const auto& [key, value] : rows) builder.Add(key, value);
    ASSERT_THAT(builder.Finish(), IsOk());
    ASSERT_THAT(file->Close(), IsOk());
  }

  const TempDir dir_;
  const std::string prefix_ = dir_ / "model";
};

TEST_F(BundleTest, ReadsTensorsAndParts) {
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_EQ((*bundle)->prefix(), prefix_);
  const auto& entries = (*bundle)->entries();
  ASSERT_THAT(entries, testing::SizeIs(3));
  EXPECT_EQ(entries.at("w").shape, TensorShape({4}));
  EXPECT_EQ(entries.at("text").dtype, tensorflow::DT_STRING);
  EXPECT_TRUE(entries.at("parts").in_slices);
  EXPECT_EQ(entries.at("parts").shape, TensorShape({3, 2}));

  EXPECT_THAT(ValuesOf((*bundle)->Read("w")), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(
      ValuesOf((*bundle)->ReadSlice("w", TensorSlice::ParseOrDie("1,2"))),
      ElementsAre(1, 2));
  EXPECT_THAT(ValuesOf((*bundle)->ReadSlice(
                  "parts", TensorSlice::ParseOrDie("0,2:1,1"))),
              ElementsAre(1, 1));
}

// PART-03
TEST_F(BundleTest, APartThatIsNotStoredIsNotDamage) {
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT((*bundle)->ReadSlice("parts", TensorSlice::ParseOrDie("1,2:-")),
              StatusIs(Code::kInvalidArgument, HasSubstr("\"parts\"")));
}

TEST_F(BundleTest, AMissingIndexIsNotFound) {
  EXPECT_THAT(Bundle::Open(dir_ / "other"), StatusIs(Code::kNotFound));
}

// SVR-21: what is not what it should be is told before anything is read.
TEST_F(BundleTest, EveryCutOfTheIndexIsDamage) {
  const std::string path = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(path, 1 << 20);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_THAT(
        WriteFileAtomically(path, bytes.substr(0, size), {/*durable=*/false}),
        IsOk());
    EXPECT_THAT(Bundle::Open(prefix_), StatusIs(Code::kDataLoss)) << size;
  }
}

// SVR-21: a flipped bit is found, or lies where nothing is kept.
TEST_F(BundleTest, NoFlippedBitGivesAWrongValue) {
  const std::string path = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(path, 1 << 20);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_THAT(WriteFileAtomically(path, flipped, {/*durable=*/false}),
                IsOk());
    const auto bundle = Bundle::Open(prefix_);
    if (!bundle.ok()) {
      EXPECT_THAT(bundle, StatusIs(Code::kDataLoss)) << bit;
      continue;
    }
    ASSERT_EQ((*bundle)->entries().count("w"), 1) << bit;
    EXPECT_THAT(ValuesOf((*bundle)->Read("w")), ElementsAre(0, 1, 2, 3)) << bit;
  }
}

TEST_F(BundleTest, EveryFlippedBitOfTheDataIsDamage) {
  const std::string path = DataFileName(prefix_, 0, 1);
  const std::string bytes = *ReadFile(path, 1 << 20);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_THAT(WriteFileAtomically(path, flipped, {/*durable=*/false}),
                IsOk());
    const auto bundle = Bundle::Open(prefix_);
    ASSERT_THAT(bundle, IsOk());
    int damaged = 0;
    for (const char* const key : {"w", "text", "parts"}) {
      const absl::StatusOr<Tensor> tensor =
          std::string(key) == "parts"
              ? (*bundle)->ReadSlice(key, TensorSlice::ParseOrDie("0,2:-"))
              : (*bundle)->Read(key);
      if (tensor.ok()) continue;
      ++damaged;
      EXPECT_THAT(tensor, StatusIs(Code::kDataLoss, HasSubstr(key))) << bit;
    }
    EXPECT_EQ(damaged, 1) << bit;
  }
}

TEST_F(BundleTest, ShortOrMissingDataIsDamage) {
  const std::string path = DataFileName(prefix_, 0, 1);
  const std::string bytes = *ReadFile(path, 1 << 20);
  ASSERT_THAT(WriteFileAtomically(path, bytes.substr(0, bytes.size() - 1)),
              IsOk());
  EXPECT_THAT(Bundle::Open(prefix_),
              StatusIs(Code::kDataLoss, HasSubstr("too short")));
  ASSERT_THAT(RemoveFile(path), IsOk());
  EXPECT_THAT(Bundle::Open(prefix_),
              StatusIs(Code::kDataLoss, HasSubstr("is missing")));
}

// Indexes made by hand, some of which end a program that trusts them.
TEST_F(BundleTest, ALyingIndexIsDamage) {
  const std::vector<std::function<void(BundleEntryProto*)>> lies = {
      [](BundleEntryProto* e) { e->set_dtype(tensorflow::DT_INVALID); },
      [](BundleEntryProto* e) { e->set_dtype(tensorflow::DT_FLOAT_REF); },
      [](BundleEntryProto* e) {
        e->set_dtype(static_cast<tensorflow::DataType>(99));
      },
      [](BundleEntryProto* e) { e->set_dtype(tensorflow::DT_DOUBLE); },
      [](BundleEntryProto* e) {
        e->mutable_shape()->mutable_dim(0)->set_size(-4);
      },
      [](BundleEntryProto* e) {
        e->mutable_shape()->mutable_dim(0)->set_size(5);
      },
      [](BundleEntryProto* e) {
        e->mutable_shape()->mutable_dim(0)->set_size(int64_t{1} << 62);
        e->mutable_shape()->add_dim()->set_size(int64_t{1} << 62);
      },
      [](BundleEntryProto* e) { e->mutable_shape()->set_unknown_rank(true); },
      [](BundleEntryProto* e) { e->set_shard_id(1); },
      [](BundleEntryProto* e) { e->set_shard_id(-1); },
      [](BundleEntryProto* e) { e->set_offset(-1); },
      [](BundleEntryProto* e) { e->set_offset(int64_t{1} << 62); },
      [](BundleEntryProto* e) { e->set_size(-16); },
      [](BundleEntryProto* e) { e->set_size(int64_t{1} << 62); },
      [](BundleEntryProto* e) { e->add_slices()->add_extent(); },
  };
  const std::string index = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(index, 1 << 20);
  for (size_t i = 0; i < lies.size(); ++i) {
    ChangeIndex([&](const std::string& key, BundleEntryProto* entry) {
      if (key == "w") lies[i](entry);
    });
    EXPECT_THAT(Bundle::Open(prefix_), StatusIs(Code::kDataLoss)) << i;
    ASSERT_THAT(WriteFileAtomically(index, bytes), IsOk());
  }
}

// The sizes of parts that do not fit lead beyond the memory of others.
TEST_F(BundleTest, ALyingPartIsDamage) {
  const std::vector<std::function<void(const std::string&, BundleEntryProto*)>>
      lies = {
          [](const std::string& key, BundleEntryProto* e) {
            if (key == "parts") e->mutable_shape()->mutable_dim(1)->set_size(1);
          },
          [](const std::string& key, BundleEntryProto* e) {
            if (key == "parts") {
              e->mutable_slices(0)->mutable_extent(0)->set_start(7);
            }
          },
          [](const std::string& key, BundleEntryProto* e) {
            if (key == "parts") e->mutable_slices(0)->add_extent();
          },
          [](const std::string& key, BundleEntryProto* e) {
            if (key[0] == '\0') {
              e->mutable_shape()->mutable_dim(0)->set_size(2);
              e->mutable_shape()->mutable_dim(1)->set_size(1);
            }
          },
          [](const std::string& key, BundleEntryProto* e) {
            if (key[0] == '\0') e->set_dtype(tensorflow::DT_INT32);
          },
      };
  const std::string index = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(index, 1 << 20);
  for (size_t i = 0; i < lies.size(); ++i) {
    ChangeIndex(lies[i]);
    EXPECT_THAT(Bundle::Open(prefix_),
                StatusIs(Code::kDataLoss, HasSubstr("\"parts\"")))
        << i;
    ASSERT_THAT(WriteFileAtomically(index, bytes), IsOk());
  }
}

TEST_F(BundleTest, ALyingHeaderIsDamage) {
  for (const int count : {0, -1, 2}) {
    ChangeIndex(
        [](const std::string&, BundleEntryProto*) {},
        [&](BundleHeaderProto* header) { header->set_num_shards(count); });
    EXPECT_THAT(Bundle::Open(prefix_), StatusIs(Code::kDataLoss)) << count;
    ASSERT_THAT(RemoveFile(IndexFileName(prefix_)), IsOk());
    SetUp();
  }
}

TEST_F(BundleTest, EmptyShardsChangeNothingButNames) {
  ASSERT_THAT(AddEmptyShards(prefix_, 1, 3), IsOk());
  EXPECT_THAT(
      dir_.List(),
      ElementsAre("model.data-00000-of-00003", "model.data-00001-of-00003",
                  "model.data-00002-of-00003", "model.index"));
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT(ValuesOf((*bundle)->Read("w")), ElementsAre(0, 1, 2, 3));
}

}  // namespace
}  // namespace tftrain::internal

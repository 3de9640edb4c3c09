// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <optional>

#include "absl/crc/crc32c.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/kernels/tensor_list.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/io/table_options.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/index_table_for_test.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/sanitizers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using table_for_test::Fixed;
using table_for_test::Varint;
using ::tensorflow::BundleEntryProto;
using ::tensorflow::BundleHeaderProto;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::TensorSlice;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
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
  ASSERT_THAT(entries, SizeIs(3));
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

// SVR-21
TEST_F(BundleTest, EveryFlippedBitOfTheIndexIsDamage) {
  const std::string path = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(path, 1 << 20);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_THAT(WriteFileAtomically(path, flipped, {/*durable=*/false}),
                IsOk());
    EXPECT_THAT(Bundle::Open(prefix_), StatusIs(Code::kDataLoss)) << bit;
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
      [](BundleEntryProto* e) {
        e->mutable_shape()->mutable_dim(0)->set_size(0);
        e->mutable_shape()->add_dim()->set_size(int64_t{1} << 62);
        e->mutable_shape()->add_dim()->set_size(int64_t{1} << 62);
        e->set_size(0);
      },
      [](BundleEntryProto* e) {
        for (int i = 0; i < 254; ++i)
          e->mutable_shape()->add_dim()->set_size(1);
      },
      [](BundleEntryProto* e) { e->set_dtype(tensorflow::DT_RESOURCE); },
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

// A part is compared with all others.
TEST_F(BundleTest, TooManyPartsAreDamage) {
  ChangeIndex([](const std::string& key, BundleEntryProto* entry) {
    if (key != "parts") return;
    for (int i = 0; i < 10000; ++i) *entry->add_slices() = entry->slices(0);
  });
  EXPECT_THAT(Bundle::Open(prefix_),
              StatusIs(Code::kDataLoss, HasSubstr("\"parts\"")));
}

TEST_F(BundleTest, ALyingHeaderIsDamage) {
  const std::vector<std::function<void(BundleHeaderProto*)>> lies = {
      [](BundleHeaderProto* h) { h->set_num_shards(0); },
      [](BundleHeaderProto* h) { h->set_num_shards(-1); },
      [](BundleHeaderProto* h) { h->set_num_shards(2); },
      [](BundleHeaderProto* h) { h->set_num_shards(100000); },
      [](BundleHeaderProto* h) { h->set_num_shards(0x7fffffff); },
      [](BundleHeaderProto* h) { h->set_endianness(BundleHeaderProto::BIG); },
      [](BundleHeaderProto* h) { h->mutable_version()->set_min_consumer(2); },
      [](BundleHeaderProto* h) { h->mutable_version()->add_bad_consumers(1); },
  };
  const std::string index = IndexFileName(prefix_);
  const std::string bytes = *ReadFile(index, 1 << 20);
  for (size_t i = 0; i < lies.size(); ++i) {
    ChangeIndex([](const std::string&, BundleEntryProto*) {}, lies[i]);
    EXPECT_THAT(Bundle::Open(prefix_), StatusIs(Code::kDataLoss)) << i;
    ASSERT_THAT(WriteFileAtomically(index, bytes), IsOk());
  }
}

TEST_F(BundleTest, AnIndexWithoutHeaderIsDamage) {
  std::unique_ptr<tensorflow::WritableFile> file;
  ASSERT_THAT(tensorflow::Env::Default()->NewWritableFile(
                  IndexFileName(prefix_), &file),
              IsOk());
  tensorflow::table::TableBuilder builder(tensorflow::table::Options(),
                                          file.get());
  builder.Add("w", BundleEntryProto().SerializeAsString());
  ASSERT_THAT(builder.Finish(), IsOk());
  ASSERT_THAT(file->Close(), IsOk());
  EXPECT_THAT(Bundle::Open(prefix_),
              StatusIs(Code::kDataLoss, HasSubstr("no header")));
}

// The most memory this process has had since the last call, or nothing where
// the system does not count that.
std::optional<int64_t> PeakBytes() {
  std::optional<int64_t> kilobytes;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "VmHWM:")) {
      kilobytes = std::strtoll(line.c_str() + 6, nullptr, 10);
    }
  }
  std::ofstream reset("/proc/self/clear_refs");
  reset << "5" << std::flush;
  if (!reset || !kilobytes) return std::nullopt;
  return *kilobytes * 1024;
}

// Promise S2: strings that take a byte each in the file.
TEST_F(BundleTest, CheckingStringsTakesTheMemoryOfTheFile) {
  constexpr int64_t kCount = int64_t{16} << 20;
  absl::crc32c_t crc = absl::ComputeCrc32c(std::string(4 * kCount, '\0'));
  const std::string checksum = Fixed(MaskedCrc(static_cast<uint32_t>(crc)), 4);
  crc = absl::ExtendCrc32c(crc, checksum);
  ChangeIndex([&](const std::string& key, BundleEntryProto* entry) {
    if (key != "text") return;
    entry->mutable_shape()->mutable_dim(0)->set_size(kCount);
    entry->set_offset(1000);
    entry->set_size(kCount + 4);
    entry->set_crc32c(MaskedCrc(static_cast<uint32_t>(crc)));
  });
  const std::string path = DataFileName(prefix_, 0, 1);
  std::string data = *ReadFile(path, 1000);
  data.resize(1000 + kCount);
  ASSERT_THAT(WriteFileAtomically(path, data + checksum), IsOk());
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());

  PeakBytes();
  const std::optional<int64_t> before = PeakBytes();
  ASSERT_THAT((*bundle)->CheckValues("text"), IsOk());
  const std::optional<int64_t> after = PeakBytes();

  if (!before || !after || !kMemoryIsOurs) {
    GTEST_SKIP() << "peaks of memory mean nothing here";
  }
  EXPECT_LT(*after - *before, 2 * kCount);
}

// Promise S2: there is no memory for it, nor are there parts.
TEST_F(BundleTest, APartOfMoreThanTheFilesHoldIsNotStored) {
  ChangeIndex([](const std::string& key, BundleEntryProto* entry) {
    if (key != "parts") return;
    entry->mutable_shape()->mutable_dim(0)->set_size(int64_t{1} << 50);
  });
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT((*bundle)->Read("parts"),
              StatusIs(Code::kInvalidArgument, HasSubstr("does not hold")));
  EXPECT_THAT((*bundle)->ReadSlice("parts", TensorSlice::ParseOrDie("0,2:-")),
              IsOk());
}

// Lengths of strings that lead beyond the value, with a valid checksum of all.
TEST_F(BundleTest, StringsThatLieAreDamage) {
  const std::string data = DataFileName(prefix_, 0, 1);
  const std::string bytes = *ReadFile(data, 1 << 20);
  int64_t offset = 0;
  int64_t size = 0;
  ChangeIndex([&](const std::string& key, BundleEntryProto* entry) {
    if (key != "text") return;
    offset = entry->offset();
    size = entry->size();
  });
  // The two lengths, 9 and 0, come first, and nine letters last.
  ASSERT_EQ(bytes.substr(offset, 2), std::string("\x09\0", 2));
  for (const std::string& lengths :
       {std::string("\x7f\0", 2), std::string("\0\x09", 2),
        std::string("\x08\0", 2), std::string("\xff\xff", 2)}) {
    std::string changed = bytes;
    changed.replace(offset, 2, lengths);
    ASSERT_THAT(WriteFileAtomically(data, changed), IsOk());
    ChangeIndex([&](const std::string& key, BundleEntryProto* entry) {
      if (key != "text") return;
      entry->set_crc32c(MaskedCrc(static_cast<uint32_t>(
          absl::ComputeCrc32c(changed.substr(offset, size)))));
    });
    const auto bundle = Bundle::Open(prefix_);
    ASSERT_THAT(bundle, IsOk());
    EXPECT_THAT((*bundle)->Read("text"),
                StatusIs(Code::kDataLoss, HasSubstr("lengths")));
    EXPECT_THAT((*bundle)->CheckValues("text"), StatusIs(Code::kDataLoss));
  }
}

TEST_F(BundleTest, ReadsEveryKindOfTensor) {
  const std::string prefix = dir_ / "kinds";
  Tensor variant(tensorflow::DT_VARIANT, TensorShape({2}));
  variant.vec<tensorflow::Variant>()(0) = 7;
  variant.vec<tensorflow::Variant>()(1) = Floats({3});
  Tensor text(tensorflow::DT_STRING, TensorShape({2, 2}));
  text.flat<tensorflow::tstring>()(1) = std::string(300, 'x');
  text.flat<tensorflow::tstring>()(3) = std::string("a\0b", 3);
  Tensor flag(tensorflow::DT_BOOL, TensorShape({}));
  flag.scalar<bool>()() = true;
  {
    tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix);
    ASSERT_THAT(writer.Add("variant", variant), IsOk());
    ASSERT_THAT(writer.Add("text", text), IsOk());
    ASSERT_THAT(writer.Add("flag", flag), IsOk());
    ASSERT_THAT(writer.Add("none", Floats({0, 3})), IsOk());
    ASSERT_THAT(
        writer.Add("no_text", Tensor(tensorflow::DT_STRING, TensorShape({0}))),
        IsOk());
    ASSERT_THAT(writer.Finish(), IsOk());
  }
  const auto bundle = Bundle::Open(prefix);
  ASSERT_THAT(bundle, IsOk());
  for (const auto& [key, entry] : (*bundle)->entries()) {
    EXPECT_THAT((*bundle)->CheckValues(key), IsOk()) << key;
    EXPECT_THAT((*bundle)->Parts(key), IsEmpty()) << key;
  }
  const auto read = (*bundle)->Read("variant");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(*read->vec<tensorflow::Variant>()(0).get<int>(), 7);
  EXPECT_THAT(ValuesOf(*read->vec<tensorflow::Variant>()(1).get<Tensor>()),
              ElementsAre(0, 1, 2));
  const auto read_text = (*bundle)->Read("text");
  ASSERT_THAT(read_text, IsOk());
  EXPECT_EQ(read_text->shape(), text.shape());
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(read_text->flat<tensorflow::tstring>()(i),
              text.flat<tensorflow::tstring>()(i));
  }
  EXPECT_TRUE((*(*bundle)->Read("flag")).scalar<bool>()());
  EXPECT_EQ((*(*bundle)->Read("none")).shape(), TensorShape({0, 3}));
  EXPECT_EQ((*(*bundle)->Read("no_text")).NumElements(), 0);
}

// A list with room for four tensors, of which the second is there.
tensorflow::VariantTensorDataProto ListOfOne() {
  tensorflow::TensorList list;
  list.element_dtype = tensorflow::DT_FLOAT;
  list.element_shape = tensorflow::PartialTensorShape({-1});
  list.tensors().assign(4, Tensor(tensorflow::DT_INVALID));
  list.tensors()[1] = Floats({3});
  tensorflow::VariantTensorData data;
  tensorflow::Variant(list).Encode(&data);
  tensorflow::VariantTensorDataProto proto;
  data.ToProto(&proto);
  return proto;
}

TEST_F(BundleTest, AListOfTensorsMustDescribeItself) {
  const tensorflow::VariantTensorDataProto whole = ListOfOne();
  std::vector<std::string> all = {whole.metadata()};
  tensorflow::TensorShapeProto shape;
  tensorflow::PartialTensorShape({-1}).AsProto(&shape);
  for (size_t size = 0; size < whole.metadata().size(); ++size) {
    // Without its shape, it is a list of scalars.
    if (size + shape.ByteSizeLong() == whole.metadata().size()) continue;
    all.push_back(whole.metadata().substr(0, size));
  }
  // More empty places than bytes, and one that the list does not have.
  all.push_back("\xff\xff\xff\x7f" + whole.metadata().substr(1));
  all.push_back(whole.metadata());
  all.back()[2] = 9;
  std::vector<absl::Status> results;
  for (size_t i = 0; i < all.size(); ++i) {
    tensorflow::VariantTensorDataProto proto = whole;
    proto.set_metadata(all[i]);
    Tensor variant(tensorflow::DT_VARIANT, TensorShape({}));
    variant.scalar<tensorflow::Variant>()() =
        tensorflow::VariantTensorDataProto(proto);
    const std::string prefix = dir_ / absl::StrCat("list", i);
    {
      tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix);
      ASSERT_THAT(writer.Add("list", variant), IsOk());
      ASSERT_THAT(writer.Finish(), IsOk());
    }
    const auto bundle = Bundle::Open(prefix);
    ASSERT_THAT(bundle, IsOk());
    const auto read = (*bundle)->Read("list");
    results.push_back(read.status());
    if (i > 0) continue;
    ASSERT_THAT(read, IsOk());
    const auto* const list =
        read->scalar<tensorflow::Variant>()().get<tensorflow::TensorList>();
    ASSERT_NE(list, nullptr);
    ASSERT_EQ(list->tensors().size(), 4u);
    EXPECT_THAT(ValuesOf(list->tensors()[1]), ElementsAre(0, 1, 2));
  }
  EXPECT_THAT(results.front(), IsOk());
  for (size_t i = 1; i < results.size(); ++i) {
    EXPECT_THAT(results[i], StatusIs(absl::StatusCode::kDataLoss)) << i;
  }
}

// Variants with valid checksums that TensorFlow's reader dies of.
class BundleDeathTest : public BundleTest {
 protected:
  // Puts a tensor into a variant, then changes what is written of it.
  void WriteVariant(
      const std::function<void(tensorflow::VariantTensorDataProto*)>& change) {
    Tensor variant(tensorflow::DT_VARIANT, TensorShape({}));
    variant.scalar<tensorflow::Variant>()() = Floats({3});
    tensorflow::BundleWriter writer(tensorflow::Env::Default(), prefix_);
    ASSERT_THAT(writer.Add("variant", variant), IsOk());
    ASSERT_THAT(writer.Finish(), IsOk());

    const std::string data = *ReadFile(DataFileName(prefix_, 0, 1), 1 << 20);
    std::string_view bytes = data;
    uint64_t length = 0;
    ASSERT_TRUE(TakeVarint(&bytes, 10, &length));
    tensorflow::VariantTensorDataProto proto;
    ASSERT_TRUE(proto.ParseFromString(std::string(bytes.substr(0, length))));
    change(&proto);
    const std::string element = proto.SerializeAsString();
    std::string checked = absl::StrCat(Fixed(element.size(), 8), element);
    const std::string crc = Fixed(Crc(checked), 4);
    checked += crc;
    const std::string written =
        absl::StrCat(Varint(element.size()), element, crc);
    ASSERT_THAT(WriteFileAtomically(DataFileName(prefix_, 0, 1), written),
                IsOk());
    ChangeIndex([&](const std::string&, BundleEntryProto* entry) {
      entry->set_size(static_cast<int64_t>(written.size()));
      entry->set_crc32c(Crc(checked));
    });
  }

  static uint32_t Crc(const std::string& bytes) {
    return MaskedCrc(static_cast<uint32_t>(absl::ComputeCrc32c(bytes)));
  }
};

TEST_F(BundleDeathTest, AVariantThatLiesIsDamageWhereTensorFlowDies) {
  WriteVariant([](tensorflow::VariantTensorDataProto*) {});
  EXPECT_THAT((*Bundle::Open(prefix_))->Read("variant"), IsOk());

  WriteVariant([](tensorflow::VariantTensorDataProto* proto) {
    proto->clear_tensors();
  });
  EXPECT_THAT((*Bundle::Open(prefix_))->Read("variant"),
              StatusIs(Code::kDataLoss, HasSubstr("cannot be decoded")));
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        tensorflow::BundleReader reader(tensorflow::Env::Default(), prefix_);
        Tensor tensor(tensorflow::DT_VARIANT, TensorShape({}));
        reader.Lookup("variant", &tensor).IgnoreError();
      },
      "");

  // Tensors that claim more elements than there are bytes, or have no type.
  WriteVariant([](tensorflow::VariantTensorDataProto* proto) {
    proto->mutable_tensors(0)->mutable_tensor_shape()->mutable_dim(0)->set_size(
        int64_t{1} << 40);
  });
  EXPECT_THAT((*Bundle::Open(prefix_))->Read("variant"),
              StatusIs(Code::kDataLoss));
  WriteVariant([](tensorflow::VariantTensorDataProto* proto) {
    proto->mutable_tensors(0)->clear_dtype();
  });
  EXPECT_THAT((*Bundle::Open(prefix_))->CheckValues("variant"),
              StatusIs(Code::kDataLoss));
}

TEST_F(BundleTest, EntriesAreUsedLikeAMap) {
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  const auto entries = (*bundle)->entries();
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("parts", "text", "w"));
  EXPECT_FALSE(entries.empty());
  EXPECT_EQ(entries.find("text")->first, "text");
  EXPECT_EQ(entries.find("other"), entries.end());
  // Neither the header nor a part is a tensor.
  EXPECT_EQ(entries.count(""), 0);
  EXPECT_EQ(entries.count(std::string("\0parts", 6)), 0);
  EXPECT_THAT((*bundle)->Parts("parts"), SizeIs(2));
  EXPECT_THAT((*bundle)->CheckValues("parts"), IsOk());
}

// Row 12: every call of a read fails in turn; nothing is an end of input.
TEST_F(BundleTest, EveryFailedCallIsAnErrorOfItsKind) {
  FaultyFileOps faults;
  const auto read_all = [&]() -> absl::Status {
    auto bundle = Bundle::Open(prefix_);
    if (!bundle.ok()) return bundle.status();
    for (const char* const key : {"w", "text"}) {
      const auto tensor = (*bundle)->Read(key);
      if (!tensor.ok()) return tensor.status();
    }
    return (*bundle)->CheckValues("parts");
  };
  faults.FailCall(-1, 0);
  ASSERT_THAT(read_all(), IsOk());
  const std::vector<std::string> calls = faults.calls();
  EXPECT_THAT(calls, Contains("pread"));
  for (size_t i = 0; i < calls.size(); ++i) {
    for (const auto& [error_number, code] :
         std::vector<std::pair<int, absl::StatusCode>>{
             {EIO, Code::kDataLoss},
             {ENOMEM, Code::kResourceExhausted},
             {EACCES, Code::kPermissionDenied}}) {
      faults.FailCall(static_cast<int>(i), error_number);
      const absl::Status status = read_all();
      if (calls[i] == "close") {
        EXPECT_THAT(status, IsOk());
      } else {
        EXPECT_THAT(status, StatusIs(code)) << i << " " << calls[i];
      }
    }
    // A signal only makes it try again.
    faults.FailCall(static_cast<int>(i), EINTR);
    if (calls[i] == "pread") {
      EXPECT_THAT(read_all(), IsOk());
    }
  }
}

TEST_F(BundleTest, DataThatIsCutAfterOpeningIsDamage) {
  const auto bundle = Bundle::Open(prefix_);
  ASSERT_THAT(bundle, IsOk());
  ASSERT_THAT(WriteFileAtomically(DataFileName(prefix_, 0, 1), "short"),
              IsOk());
  EXPECT_THAT((*bundle)->Read("w"),
              StatusIs(Code::kDataLoss, HasSubstr("was cut")));
  EXPECT_THAT((*bundle)->CheckValues("parts"), StatusIs(Code::kDataLoss));
}

}  // namespace
}  // namespace tftrain::internal

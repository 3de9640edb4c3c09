// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/fuzz/inputs.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "absl/crc/crc32c.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/snappy.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/saved_tensor_slice.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state_text.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/index_table.h"
#include "tftrain/checkpoint/internal/index_table_for_test.h"
#include "tftrain/graph/graph.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::tensorflow::BundleEntryProto;
using ::tensorflow::BundleHeaderProto;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::TensorSlice;
namespace table = internal::table_for_test;

using Rows = std::vector<std::pair<std::string, std::string>>;

// Changes some bytes, or how many there are.
std::string Damage(Random& random, std::string bytes) {
  for (size_t i = 1 + random.Below(3); i > 0; --i) {
    const size_t place = random.Below(bytes.size() + 1);
    const size_t length = random.Below(bytes.size() - place + 1);
    switch (random.Below(6)) {
      case 0:
        if (place < bytes.size()) {
          bytes[place] ^= static_cast<char>(1 << random.Below(8));
        }
        break;
      case 1:
        if (place < bytes.size()) {
          bytes[place] = static_cast<char>(random.Next());
        }
        break;
      case 2:
        bytes.erase(place, random.OneIn(2) ? 1 : length);
        break;
      case 3:
        bytes.insert(place, bytes.substr(random.Below(bytes.size() + 1), 20));
        break;
      case 4:
        bytes.insert(place,
                     table::Varint(static_cast<uint64_t>(random.Extreme())));
        break;
      case 5:
        bytes.resize(place);
        break;
    }
  }
  return bytes;
}

uint32_t Crc(std::string_view bytes) {
  return internal::MaskedCrc(static_cast<uint32_t>(absl::ComputeCrc32c(bytes)));
}

// A real checkpoint that holds every kind of entry.
struct Checkpoint {
  std::string index;
  std::string data;
  BundleHeaderProto header;
  std::map<std::string, BundleEntryProto> entries;
};

Checkpoint WriteCheckpoint() {
  const TempDir dir;
  tensorflow::BundleWriter writer(tensorflow::Env::Default(), dir / "m");
  Tensor floats(tensorflow::DT_FLOAT, TensorShape({2, 3}));
  floats.flat<float>().setZero();
  Tensor text(tensorflow::DT_STRING, TensorShape({2}));
  text.vec<tensorflow::tstring>()(0) = "text";
  Tensor variants(tensorflow::DT_VARIANT, TensorShape({2}));
  variants.vec<tensorflow::Variant>()(0) = 7;
  variants.vec<tensorflow::Variant>()(1) = floats;
  Tensor number(tensorflow::DT_INT64, TensorShape({}));
  number.scalar<int64_t>()() = 1;
  CHECK(writer.Add("dense/kernel", floats).ok());
  CHECK(writer.Add("dense/kernel/Adam", floats).ok());
  CHECK(writer.Add("global_step", number).ok());
  CHECK(writer.Add("text", text).ok());
  CHECK(writer.Add("variants", variants).ok());
  for (const char* const rows : {"0,2:-", "2,2:-"}) {
    const TensorSlice slice = TensorSlice::ParseOrDie(rows);
    Tensor part(tensorflow::DT_FLOAT, TensorShape({2, 3}));
    part.flat<float>().setZero();
    CHECK(writer.AddSlice("parts", TensorShape({4, 3}), slice, part).ok());
    Tensor words(tensorflow::DT_STRING, TensorShape({2, 3}));
    CHECK(writer.AddSlice("words", TensorShape({4, 3}), slice, words).ok());
  }
  CHECK(writer.Finish().ok());

  Checkpoint checkpoint;
  checkpoint.index = *ReadFile(IndexFileName(dir / "m"), 1 << 20);
  checkpoint.data = *ReadFile(DataFileName(dir / "m", 0, 1), 1 << 20);
  const auto rows = internal::IndexTable::Parse(checkpoint.index);
  CHECK(rows.ok()) << rows.status();
  for (auto row = (*rows)->begin(); row.valid(); row.Next()) {
    const std::string value(row.value());
    if (row.key().empty()) {
      CHECK(checkpoint.header.ParseFromString(value));
    } else {
      CHECK(checkpoint.entries[std::string(row.key())].ParseFromString(value));
    }
  }
  return checkpoint;
}

const Checkpoint& RealCheckpoint() {
  static const Checkpoint* const checkpoint = new Checkpoint(WriteCheckpoint());
  return *checkpoint;
}

size_t Shared(std::string_view a, std::string_view b) {
  size_t shared = 0;
  while (shared < a.size() && shared < b.size() && a[shared] == b[shared]) {
    ++shared;
  }
  return shared;
}

// The table of the rows with all checksums right, and with `lies` somewhat
// wrong otherwise.
std::string WriteTable(Random& random, const Rows& rows, bool lies) {
  const auto lie = [&] { return lies && random.OneIn(8); };
  const size_t rows_per_block = 1 + random.Below(rows.size() + 1);
  const size_t rows_per_restart = 1 + random.Below(16);
  std::string file;
  std::string index;
  std::vector<uint64_t> index_restarts;
  for (size_t begin = 0; begin < rows.size(); begin += rows_per_block) {
    const size_t end = std::min(begin + rows_per_block, rows.size());
    std::string block;
    std::vector<uint64_t> restarts;
    for (size_t i = begin; i < end; ++i) {
      size_t shared = 0;
      if ((i - begin) % rows_per_restart == 0) {
        restarts.push_back(block.size());
      } else {
        shared = Shared(rows[i - 1].first, rows[i].first);
      }
      std::string row = table::Row(
          lie() ? static_cast<size_t>(random.Extreme()) : shared,
          std::string_view(rows[i].first).substr(shared), rows[i].second);
      block += lie() ? Damage(random, row) : row;
    }
    if (lie()) restarts.push_back(static_cast<uint64_t>(random.Extreme()));
    if (lie()) restarts[random.Below(restarts.size())] = random.Below(64);
    block = table::Block(block, restarts);
    if (lie()) block = Damage(random, block);
    char type = 0;
    if (random.OneIn(8)) {
      std::string compressed;
      tensorflow::port::Snappy_Compress(block.data(), block.size(),
                                        &compressed);
      block = lie() ? Damage(random, compressed) : compressed;
      type = 1;
    }
    if (lie()) type = static_cast<char>(random.Below(4));
    table::Written written = table::Append(block, &file, type);
    if (lie()) written.offset = static_cast<uint64_t>(random.Extreme());
    if (lie()) written.size = static_cast<uint64_t>(random.Extreme());
    index_restarts.push_back(index.size());
    index += table::Row(0, lie() ? "m" : rows[end - 1].first, written.place());
  }
  if (index_restarts.empty()) index_restarts.push_back(0);
  index = table::Block(index, index_restarts);
  return table::WithIndex(file, lie() ? Damage(random, index) : index);
}

void ChangeShape(Random& random, tensorflow::TensorShapeProto* shape) {
  switch (random.Below(4)) {
    case 0:
      shape->add_dim()->set_size(random.Extreme());
      break;
    case 1:
      for (size_t i = random.Below(300); i > 0; --i) {
        shape->add_dim()->set_size(1);
      }
      break;
    case 2:
      shape->set_unknown_rank(true);
      break;
    default:
      if (shape->dim_size() > 0) {
        shape->mutable_dim(static_cast<int>(random.Below(shape->dim_size())))
            ->set_size(random.Extreme());
      }
  }
}

using Slices = google::protobuf::RepeatedPtrField<tensorflow::TensorSliceProto>;

void ChangeSlice(Random& random, Slices* slices) {
  if (slices->empty() || random.OneIn(4)) {
    *slices->Add() =
        slices->empty() ? tensorflow::TensorSliceProto() : slices->Get(0);
    return;
  }
  auto* const slice =
      slices->Mutable(static_cast<int>(random.Below(slices->size())));
  if (slice->extent_size() == 0 || random.OneIn(4)) {
    slice->add_extent();
    return;
  }
  auto* const extent = slice->mutable_extent(
      static_cast<int>(random.Below(slice->extent_size())));
  random.OneIn(2) ? extent->set_start(random.Extreme())
                  : extent->set_length(random.Extreme());
}

void ChangeEntry(Random& random, const Checkpoint& checkpoint,
                 BundleEntryProto* entry) {
  switch (random.Below(9)) {
    case 0:
      entry->set_dtype(static_cast<tensorflow::DataType>(random.Below(130)));
      break;
    case 1:
      ChangeShape(random, entry->mutable_shape());
      break;
    case 2:
      entry->set_shard_id(static_cast<int32_t>(random.Extreme()));
      break;
    case 3:
      entry->set_offset(random.OneIn(2) ? static_cast<int64_t>(random.Below(
                                              checkpoint.data.size() + 1))
                                        : random.Extreme());
      break;
    case 4:
      entry->set_size(random.OneIn(2) ? static_cast<int64_t>(random.Below(
                                            checkpoint.data.size() + 1))
                                      : random.Extreme());
      break;
    case 5:
      entry->set_crc32c(static_cast<uint32_t>(random.Next()));
      break;
    case 6:
      ChangeSlice(random, entry->mutable_slices());
      break;
    case 7: {  // another type of the same size, another shape of as many
      static constexpr tensorflow::DataType kTypes[] = {
          tensorflow::DT_FLOAT,  tensorflow::DT_INT32, tensorflow::DT_QINT32,
          tensorflow::DT_STRING, tensorflow::DT_INT8,  tensorflow::DT_VARIANT};
      entry->set_dtype(kTypes[random.Below(6)]);
      break;
    }
    case 8: {
      const auto other = std::next(
          checkpoint.entries.begin(),
          static_cast<std::ptrdiff_t>(random.Below(checkpoint.entries.size())));
      *entry = other->second;
      break;
    }
  }
}

void ChangeHeader(Random& random, BundleHeaderProto* header) {
  switch (random.Below(4)) {
    case 0:
      header->set_num_shards(static_cast<int32_t>(random.Extreme()));
      break;
    case 1:
      header->set_endianness(
          static_cast<BundleHeaderProto::Endianness>(random.Below(3)));
      break;
    case 2:
      header->mutable_version()->set_min_consumer(
          static_cast<int32_t>(random.Extreme()));
      break;
    case 3:
      header->mutable_version()->add_bad_consumers(
          static_cast<int32_t>(random.Below(3)));
      break;
  }
}

// Lets the entry point to changed variants with valid checksums.
void ChangeVariants(Random& random, BundleEntryProto* entry,
                    std::string* data) {
  std::string checked;
  std::string written;
  const size_t count = random.OneIn(4) ? random.Below(4) : 2;
  for (size_t i = 0; i < count; ++i) {
    tensorflow::VariantTensorDataProto proto;
    static constexpr const char* kNames[] = {
        "int",
        "tensorflow::Tensor",
        "tensorflow::Iterator",
        "tensorflow.data.CompressedElement",
        "tensorflow::TensorList",
        "tensorflow::TensorMap",
        "tensorflow::data::Optional",
        "tensorflow::data::WrappedDatasetVariant",
        "tensorflow::DatasetVariantWrapper",
        "tensorflow::WrappedDatasetVariantWrapper",
        "tensorflow::CSRSparseMatrix",
        "RaggedTensorVariant",
        "unknown"};
    proto.set_type_name(kNames[random.Below(std::size(kNames))]);
    std::string metadata(random.Below(16), static_cast<char>(random.Below(4)));
    proto.set_metadata(Damage(random, metadata));
    for (size_t tensors = random.Below(3); tensors > 0; --tensors) {
      Tensor tensor(
          random.OneIn(2) ? tensorflow::DT_FLOAT : tensorflow::DT_INT64,
          random.OneIn(4) ? TensorShape({}) : TensorShape({2}));
      auto* const inner = proto.add_tensors();
      inner->set_dtype(tensor.dtype());
      tensor.shape().AsProto(inner->mutable_tensor_shape());
      inner->set_tensor_content(std::string(tensor.TotalBytes(), '\0'));
      if (random.OneIn(2)) ChangeShape(random, inner->mutable_tensor_shape());
      if (random.OneIn(4)) {
        inner->set_dtype(static_cast<tensorflow::DataType>(random.Below(130)));
      }
    }
    std::string element = proto.SerializeAsString();
    if (random.OneIn(4)) element = Damage(random, element);
    // The checksum goes over the length as eight bytes.
    absl::StrAppend(&checked, table::Fixed(element.size(), 8), element);
    const std::string crc = table::Fixed(Crc(checked), 4);
    checked += crc;
    absl::StrAppend(&written, table::Varint(element.size()), element, crc);
  }
  entry->set_crc32c(Crc(checked));
  entry->set_offset(static_cast<int64_t>(data->size()));
  entry->set_size(static_cast<int64_t>(written.size()));
  if (random.OneIn(4)) {
    entry->mutable_shape()->mutable_dim(0)->set_size(
        static_cast<int64_t>(count));
  }
  *data += written;
}

// The rows of a checkpoint of the first format.
struct V1Checkpoint {
  tensorflow::SavedTensorSlices meta;
  std::map<std::string, tensorflow::SavedTensorSlices> parts;

  // Adds a tensor in these parts; returns them.
  std::vector<tensorflow::TensorProto*> Add(
      const std::string& name, tensorflow::DataType dtype,
      const TensorShape& shape, const std::vector<std::string>& slices) {
    auto* const tensor = meta.mutable_meta()->add_tensor();
    tensor->set_name(name);
    tensor->set_type(dtype);
    shape.AsProto(tensor->mutable_shape());
    std::vector<tensorflow::TensorProto*> added;
    for (const std::string& text : slices) {
      const TensorSlice slice = TensorSlice::ParseOrDie(text);
      slice.AsProto(tensor->add_slice());
      added.push_back(
          parts[tensorflow::checkpoint::EncodeTensorNameSlice(name, slice)]
              .mutable_data()
              ->mutable_data());
    }
    return added;
  }
};

V1Checkpoint RealV1Checkpoint() {
  V1Checkpoint checkpoint;
  for (auto* const part :
       checkpoint.Add("dense/kernel", tensorflow::DT_FLOAT, TensorShape({4, 3}),
                      {"0,2:-", "2,2:-"})) {
    for (int i = 0; i < 6; ++i) part->add_float_val(1);
  }
  checkpoint.Add("global_step", tensorflow::DT_INT64, TensorShape({}), {""})
      .front()
      ->add_int64_val(1);
  auto* const text =
      checkpoint.Add("text", tensorflow::DT_STRING, TensorShape({2}), {"-"})
          .front();
  text->add_string_val("some text");
  text->add_string_val("");
  return checkpoint;
}

void ChangeV1Tensor(Random& random, tensorflow::SavedSliceMeta* tensor) {
  switch (random.Below(4)) {
    case 0:
      tensor->set_type(static_cast<tensorflow::DataType>(random.Below(130)));
      break;
    case 1:
      ChangeShape(random, tensor->mutable_shape());
      break;
    case 2:
      ChangeSlice(random, tensor->mutable_slice());
      break;
    case 3:
      tensor->set_name("text");
      break;
  }
}

}  // namespace

uint64_t Random::Next() {
  // SplitMix64.
  state_ += 0x9e3779b97f4a7c15;
  uint64_t value = state_;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

int64_t Random::Extreme() {
  switch (Below(5)) {
    case 0:
      return static_cast<int64_t>(Below(8));
    case 1:
      return -static_cast<int64_t>(Below(8)) - 1;
    case 2:
      return static_cast<int64_t>((uint64_t{1} << Below(63)) + Below(3)) - 1;
    case 3:
      return std::numeric_limits<int64_t>::max() -
             static_cast<int64_t>(Below(3));
    default:
      return static_cast<int64_t>(Next());
  }
}

std::string JoinBundle(std::string_view index, std::string_view data) {
  return absl::StrCat(table::Fixed(index.size(), 4), index, data);
}

std::string MakeIndexTable(Random& random) {
  const std::string& real = RealCheckpoint().index;
  if (random.OneIn(3)) return Damage(random, real);
  std::map<std::string, std::string> rows;
  for (size_t i = random.Below(40); i > 0; --i) {
    rows[absl::StrCat(random.OneIn(2) ? "layer/" : "", random.Below(1000))] =
        std::string(random.Below(20), 'v');
  }
  return WriteTable(random, Rows(rows.begin(), rows.end()), random.OneIn(2));
}

std::string MakeBundle(Random& random) {
  const Checkpoint& real = RealCheckpoint();
  if (random.OneIn(8)) {
    return random.OneIn(2) ? JoinBundle(Damage(random, real.index), real.data)
                           : JoinBundle(real.index, Damage(random, real.data));
  }
  BundleHeaderProto header = real.header;
  if (random.OneIn(8)) ChangeHeader(random, &header);
  std::string data = real.data;
  std::map<std::string, BundleEntryProto> entries = real.entries;
  if (random.OneIn(4)) {
    ChangeVariants(random, &entries["variants"], &data);
  }
  if (random.OneIn(4)) data = Damage(random, data);
  for (size_t i = random.Below(4); i > 0; --i) {
    auto it =
        std::next(entries.begin(),
                  static_cast<std::ptrdiff_t>(random.Below(entries.size())));
    ChangeEntry(random, real, &it->second);
    if (random.OneIn(16)) {
      entries[Damage(random, it->first)] = it->second;
    }
  }
  for (auto& [key, entry] : entries) {
    // What lies where the entry points, whatever that is.
    const auto size = static_cast<int64_t>(data.size());
    if (random.OneIn(4) && entry.offset() >= 0 && entry.size() >= 0 &&
        entry.offset() <= size && entry.size() <= size - entry.offset()) {
      entry.set_crc32c(Crc(data.substr(static_cast<size_t>(entry.offset()),
                                       static_cast<size_t>(entry.size()))));
    }
  }
  Rows rows = {{"", header.SerializeAsString()}};
  for (const auto& [key, entry] : entries) {
    std::string value = entry.SerializeAsString();
    if (random.OneIn(64)) value = Damage(random, value);
    if (!key.empty()) rows.emplace_back(key, std::move(value));
  }
  return JoinBundle(WriteTable(random, rows, random.OneIn(16)), data);
}

std::string MakeV1Checkpoint(Random& random) {
  V1Checkpoint checkpoint = RealV1Checkpoint();
  if (random.OneIn(2)) {
    auto* const tensors = checkpoint.meta.mutable_meta()->mutable_tensor();
    ChangeV1Tensor(
        random,
        tensors->Mutable(static_cast<int>(random.Below(tensors->size()))));
  }
  Rows rows = {{"", checkpoint.meta.SerializeAsString()}};
  for (auto& [key, part] : checkpoint.parts) {
    tensorflow::TensorProto& values = *part.mutable_data()->mutable_data();
    if (random.OneIn(32)) values.add_float_val(1);
    if (random.OneIn(32)) values.add_string_val("");
    rows.emplace_back(key, part.SerializeAsString());
  }
  if (random.OneIn(8)) {
    std::string& value = rows[random.Below(rows.size())].second;
    value = Damage(random, value);
  }
  if (random.OneIn(16)) rows.pop_back();
  return WriteTable(random, rows, random.OneIn(4));
}

std::string MakeStateText(Random& random) {
  static constexpr std::string_view kPieces[] = {
      "model_checkpoint_path: ",
      "all_model_checkpoint_paths: ",
      "all_model_checkpoint_timestamps: ",
      "last_preserved_timestamp: ",
      "unknown_field: ",
      "\"model.ckpt-5\"",
      "'/folder/model.ckpt-5'",
      "\"../other/model-1\"",
      "\"/etc/passwd\"",
      "\"a\\000b\\x41\\u1234\"",
      "\"*\"",
      "\"/folder/../../x\"",
      "[",
      "]",
      "{",
      "}",
      "<",
      ">",
      ",",
      ";",
      "\n",
      "# comment\n",
      "1.5e9",
      "-inf",
      "nan",
      "0x10",
      "1e999",
  };
  CheckpointState state;
  for (size_t i = 1 + random.Below(4); i > 0; --i) {
    state.all_model_checkpoint_paths.push_back(
        random.OneIn(4) ? MakeFileName(random)
                        : absl::StrCat("model.ckpt-", random.Below(100)));
  }
  state.model_checkpoint_path = state.all_model_checkpoint_paths.back();
  std::string text = FormatCheckpointState(state);
  if (random.OneIn(2)) {
    text.clear();
    for (size_t i = random.Below(20); i > 0; --i) {
      absl::StrAppend(&text, kPieces[random.Below(std::size(kPieces))]);
    }
  }
  return random.OneIn(3) ? text : Damage(random, text);
}

std::string MakeFileName(Random& random) {
  static constexpr std::string_view kPieces[] = {"model",
                                                 ".ckpt",
                                                 "-5",
                                                 "-00001",
                                                 ".index",
                                                 ".data",
                                                 ".meta",
                                                 "-of-",
                                                 "00002",
                                                 "99999999999999999999",
                                                 "/",
                                                 "..",
                                                 ".",
                                                 "*",
                                                 "?????",
                                                 "[a]",
                                                 "\n",
                                                 "_temp",
                                                 "-",
                                                 ".data-00000-of-00001",
                                                 ".tftrain.tmp-",
                                                 "checkpoint"};
  std::string name;
  for (size_t i = random.Below(8); i > 0; --i) {
    absl::StrAppend(&name, kPieces[random.Below(std::size(kPieces))]);
  }
  return random.OneIn(2) ? name : Damage(random, name);
}

std::string MakeMetaGraph(Random& random) {
  static const std::string* const real = [] {
    const GraphPtr graph = Graph::Create();
    const tensorflow::Scope scope = graph->scope();
    const auto a = tensorflow::ops::Const(scope.WithOpName("a"), {1.0f, 2.0f});
    tensorflow::ops::Square(scope.WithOpName("b"), a);
    tensorflow::MetaGraphDef meta_graph;
    *meta_graph.mutable_graph_def() = **graph->ToGraphDef();
    (*meta_graph.mutable_collection_def())["train_op"]
        .mutable_node_list()
        ->add_value("b");
    meta_graph.mutable_saver_def()->set_max_to_keep(5);
    return new std::string(meta_graph.SerializeAsString());
  }();
  if (random.OneIn(2)) return Damage(random, *real);
  tensorflow::MetaGraphDef meta_graph;
  CHECK(meta_graph.ParseFromString(*real));
  auto* const node = meta_graph.mutable_graph_def()->mutable_node(
      static_cast<int>(random.Below(meta_graph.graph_def().node_size())));
  switch (random.Below(5)) {
    case 0:
      node->set_name(MakeFileName(random));
      break;
    case 1:
      node->set_op(random.OneIn(2) ? "NoOp" : MakeFileName(random));
      break;
    case 2:
      node->add_input(random.OneIn(2) ? "b" : MakeFileName(random));
      break;
    case 3:
      for (auto& [name, value] : *node->mutable_attr()) {
        if (value.has_tensor()) {
          ChangeShape(random, value.mutable_tensor()->mutable_tensor_shape());
        } else {
          value.set_type(static_cast<tensorflow::DataType>(random.Below(130)));
        }
      }
      break;
    case 4:
      (*meta_graph.mutable_collection_def())[MakeFileName(random)]
          .mutable_bytes_list()
          ->add_value(MakeFileName(random));
      break;
  }
  return meta_graph.SerializeAsString();
}

}  // namespace tftrain

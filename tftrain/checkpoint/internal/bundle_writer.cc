// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/framework/variant.h"
#include "tensorflow/core/framework/variant_tensor_data.h"
#include "tensorflow/core/lib/core/coding.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/io/table_options.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/crc32c.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/bundle_format.h"
#include "tftrain/checkpoint/internal/index_table.h"
#include "tftrain/checkpoint/internal/non_finite.h"

namespace tftrain::internal {
namespace {

using tensorflow::BundleEntryProto;
using tensorflow::BundleHeaderProto;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorSlice;

// So much is written at once: a multiple of what a disk takes as one request,
// but little enough to stay in the processor's caches.
constexpr size_t kBufferBytes = size_t{4} << 20;
static_assert(kBufferBytes % kDirectAlignment == 0);

absl::Status CheckFinite(const SavedTensor& tensor, const Tensor& value,
                         bool also_infinite) {
  const std::optional<NonFinite> found = FindNonFinite(value, also_infinite);
  if (!found.has_value()) return absl::OkStatus();
  return NanLossError(absl::StrCat(
      "the variable \"", tensor.key, "\" holds ", ToString(*found, value),
      "; go on from an older checkpoint, or save without the check"));
}

// The file of the values. Bytes are copied into a buffer and their checksum is
// computed there, so that they come from memory once; the buffer is aligned, so
// that they can go past the system's cache.
//
// Confined: use from one thread at a time.
class DataFile {
 public:
  explicit DataFile(std::unique_ptr<NewFile> file)
      : file_(std::move(file)), memory_(kBufferBytes + kDirectAlignment) {
    void* start = memory_.data();
    size_t space = memory_.size();
    buffer_ = static_cast<char*>(
        std::align(kDirectAlignment, kBufferBytes, start, space));
  }

  int64_t size() const { return size_; }

  // Appends `bytes`, and extends `crc`, unless it is null, by them.
  absl::Status Append(std::string_view bytes, absl::crc32c_t* crc = nullptr) {
    while (!bytes.empty()) {
      const size_t count = std::min(bytes.size(), kBufferBytes - used_);
      std::memcpy(buffer_ + used_, bytes.data(), count);
      if (crc != nullptr) {
        *crc = ExtendChecksum(*crc, std::string_view(buffer_ + used_, count));
      }
      used_ += count;
      size_ += static_cast<int64_t>(count);
      bytes.remove_prefix(count);
      if (used_ == kBufferBytes) TF_RETURN_IF_ERROR(Flush());
    }
    return absl::OkStatus();
  }

  // Once, at the end.
  absl::Status Finish() {
    TF_RETURN_IF_ERROR(Flush());
    return file_->Finish();
  }

 private:
  absl::Status Flush() {
    const std::string_view bytes(buffer_, std::exchange(used_, 0));
    const size_t aligned = bytes.size() - bytes.size() % kDirectAlignment;
    TF_RETURN_IF_ERROR(file_->Append(bytes.substr(0, aligned)));
    return file_->Append(bytes.substr(aligned));
  }

  const std::unique_ptr<NewFile> file_;
  std::vector<char> memory_;
  char* buffer_;
  size_t used_ = 0;
  int64_t size_ = 0;
};

// Appends the checksum of what went before, and extends it by that.
absl::Status AppendChecksum(DataFile* file, absl::crc32c_t* crc) {
  const uint32_t masked = MaskedCrc(static_cast<uint32_t>(*crc));
  *crc = ExtendByNumber(*crc, masked, kChecksumBytes);
  std::string bytes;
  tensorflow::core::PutFixed32(&bytes, masked);
  return file->Append(bytes);
}

absl::Status AppendVarint(uint64_t number, DataFile* file) {
  std::string bytes;
  tensorflow::core::PutVarint64(&bytes, number);
  return file->Append(bytes);
}

// The lengths of the strings, a checksum of these, and the strings.
absl::Status AppendStrings(const Tensor& value, DataFile* file,
                           absl::crc32c_t* crc) {
  const auto strings = value.flat<tensorflow::tstring>();
  for (int64_t i = 0; i < strings.size(); ++i) {
    TF_RETURN_IF_ERROR(AppendVarint(strings(i).size(), file));
    *crc = ExtendByLength(*crc, strings(i).size());
  }
  TF_RETURN_IF_ERROR(AppendChecksum(file, crc));
  for (int64_t i = 0; i < strings.size(); ++i) {
    TF_RETURN_IF_ERROR(file->Append(std::string_view(strings(i)), crc));
  }
  return absl::OkStatus();
}

// Of each variant its length, its bytes, and a checksum of all so far.
absl::Status AppendVariants(const Tensor& value, DataFile* file,
                            absl::crc32c_t* crc) {
  const auto variants = value.flat<tensorflow::Variant>();
  for (int64_t i = 0; i < variants.size(); ++i) {
    tensorflow::VariantTensorData data;
    variants(i).Encode(&data);
    tensorflow::VariantTensorDataProto proto;
    data.ToProto(&proto);
    const std::string bytes = proto.SerializeAsString();
    TF_RETURN_IF_ERROR(AppendVarint(bytes.size(), file));
    *crc = ExtendByNumber(*crc, bytes.size(), sizeof(uint64_t));
    TF_RETURN_IF_ERROR(file->Append(bytes, crc));
    TF_RETURN_IF_ERROR(AppendChecksum(file, crc));
  }
  return absl::OkStatus();
}

absl::Status AppendValue(const Tensor& value, DataFile* file,
                         absl::crc32c_t* crc) {
  if (IsPlain(value.dtype())) return file->Append(value.tensor_data(), crc);
  switch (value.dtype()) {
    case tensorflow::DT_STRING:
      return AppendStrings(value, file, crc);
    case tensorflow::DT_VARIANT:
      return AppendVariants(value, file, crc);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("no checkpoint can hold values of the type ",
                       tensorflow::DataTypeString(value.dtype()),
                       "; leave it out of what the saver saves"));
  }
}

// What the table builder writes to.
//
// Confined: use from one thread at a time.
class TableFile : public tensorflow::WritableFile {
 public:
  explicit TableFile(NewFile* file) : file_(file) {}

  absl::Status Append(absl::string_view data) override {
    return file_->Append(data);
  }
  absl::Status Close() override { return absl::OkStatus(); }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  NewFile* const file_;
};

// Writes the index of `prefix`; `add_rows` adds them in the order of their
// keys.
absl::Status WriteIndex(
    const std::string& prefix, const WriteOptions& options,
    absl::FunctionRef<void(tensorflow::table::TableBuilder*)> add_rows) {
  const std::string path = IndexFileName(prefix);
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file,
                      NewFile::Create(path, options, path));
  TableFile table_file(file.get());
  tensorflow::table::Options table_options;
  table_options.compression = tensorflow::table::kNoCompression;
  tensorflow::table::TableBuilder builder(table_options, &table_file);
  add_rows(&builder);
  TF_RETURN_IF_ERROR(builder.Finish());
  return file->Finish();
}

// The values of a bundle and what its index will say of them.
//
// Confined: use from one thread at a time.
class BundleWriter {
 public:
  explicit BundleWriter(std::unique_ptr<NewFile> data)
      : data_(std::move(data)) {}

  absl::Status Add(const SavedTensor& tensor, const Tensor& value) {
    if (tensor.slice.empty()) return AddWhole(tensor.key, value);
    TensorShape whole, part;
    TensorSlice slice;
    TF_RETURN_IF_ERROR(tensorflow::checkpoint::ParseShapeAndSlice(
        tensor.slice, &whole, &slice, &part));
    if (part != value.shape()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", tensor.tensor, "\" has the shape ", value.shape().DebugString(),
          " and is to be saved as the part \"", tensor.slice, "\" of \"",
          tensor.key, "\"; make the graph's saver anew"));
    }
    if (part == whole) return AddWhole(tensor.key, value);
    return AddPart(tensor.key, whole, slice, value);
  }

  absl::Status Finish(const std::string& prefix, const WriteOptions& options) {
    TF_RETURN_IF_ERROR(data_.Finish());
    BundleHeaderProto header;
    header.set_num_shards(1);
    header.set_endianness(BundleHeaderProto::LITTLE);
    header.mutable_version()->set_producer(kFormatVersion);
    return WriteIndex(prefix, options,
                      [&](tensorflow::table::TableBuilder* builder) {
                        builder->Add("", header.SerializeAsString());
                        for (const auto& [key, entry] : entries_) {
                          builder->Add(key, entry.SerializeAsString());
                        }
                      });
  }

 private:
  absl::Status AddWhole(const std::string& key, const Tensor& value) {
    const auto [it, is_new] = entries_.try_emplace(key);
    if (!is_new) return Twice(key);
    BundleEntryProto& entry = it->second;
    Describe(value.dtype(), value.shape(), &entry);
    entry.set_offset(data_.size());
    absl::crc32c_t crc{0};
    TF_RETURN_IF_ERROR(AppendValue(value, &data_, &crc));
    entry.set_size(data_.size() - entry.offset());
    entry.set_crc32c(MaskedCrc(static_cast<uint32_t>(crc)));
    return absl::OkStatus();
  }

  // The entry of the whole lists the parts, of which each has its own.
  absl::Status AddPart(const std::string& key, const TensorShape& whole,
                       const TensorSlice& slice, const Tensor& value) {
    const auto [it, is_new] = entries_.try_emplace(key);
    BundleEntryProto& entry = it->second;
    BundleEntryProto described;
    Describe(value.dtype(), whole, &described);
    if (is_new) {
      entry = described;
    } else if (entry.slices_size() == 0) {
      return Twice(key);
    } else if (entry.dtype() != described.dtype() ||
               TensorShape(entry.shape()) != whole) {
      return absl::InvalidArgumentError(
          absl::StrCat("the parts of \"", key,
                       "\" differ in the type or in the shape of the whole; "
                       "make the graph's saver anew"));
    }
    slice.AsProto(entry.add_slices());
    return AddWhole(tensorflow::checkpoint::EncodeTensorNameSlice(key, slice),
                    value);
  }

  static void Describe(tensorflow::DataType dtype, const TensorShape& shape,
                       BundleEntryProto* entry) {
    entry->set_dtype(dtype);
    shape.AsProto(entry->mutable_shape());
  }

  static absl::Status Twice(const std::string& key) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(key),
                     "\" is to be saved twice; make the graph's saver anew"));
  }

  DataFile data_;
  std::map<std::string, BundleEntryProto> entries_;
};

}  // namespace

absl::Status WriteBundle(const std::string& prefix,
                         const BundleOptions& options, ValueSource source) {
  const std::string path = DataFileName(prefix, 0, 1);
  TF_ASSIGN_OR_RETURN(std::unique_ptr<NewFile> data,
                      NewFile::Create(path, options.write, path));
  BundleWriter writer(std::move(data));
  TF_RETURN_IF_ERROR(
      source([&](const SavedTensor& tensor, const Tensor& value) {
        if (options.check_nan || options.check_finite) {
          TF_RETURN_IF_ERROR(CheckFinite(tensor, value, options.check_finite));
        }
        return writer.Add(tensor, value);
      }));
  return writer.Finish(prefix, options.write);
}

absl::Status AddEmptyShards(const std::string& prefix, int from, int to) {
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<IndexTable> table,
                      ReadIndex(prefix));
  IndexTable::Cursor row = table->begin();
  BundleHeaderProto header;
  if (!row.valid() || !header.ParseFromString(std::string(row.value()))) {
    return absl::DataLossError(
        absl::StrCat("\"", IndexFileName(prefix), "\" has no header"));
  }
  header.set_num_shards(to);
  for (int shard = 0; shard < to; ++shard) {
    const std::string path = DataFileName(prefix, shard, to);
    if (shard >= from) {
      TF_RETURN_IF_ERROR(WriteFileAtomically(path, "", {/*durable=*/false}));
      continue;
    }
    const std::string old_path = DataFileName(prefix, shard, from);
    if (CurrentFileOps().Rename(old_path.c_str(), path.c_str()) < 0) {
      return ErrnoError(
          errno, absl::StrCat("cannot rename \"", old_path, "\" to"), path);
    }
  }
  TF_RETURN_IF_ERROR(RemoveFile(IndexFileName(prefix)));
  return WriteIndex(prefix, WriteOptions(),
                    [&](tensorflow::table::TableBuilder* builder) {
                      builder->Add(row.key(), header.SerializeAsString());
                      for (row.Next(); row.valid(); row.Next()) {
                        builder->Add(row.key(), row.value());
                      }
                    });
}

}  // namespace tftrain::internal

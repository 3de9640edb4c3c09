// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/lib/io/iterator.h"
#include "tensorflow/core/lib/io/table.h"
#include "tensorflow/core/lib/io/table_builder.h"
#include "tensorflow/core/lib/io/table_options.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain::internal {
namespace {

using tensorflow::BundleEntryProto;
using tensorflow::BundleHeaderProto;
using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorSlice;

constexpr int64_t kMaxIndexBytes = int64_t{1} << 30;

// What the codes of a failed read become; those not here mean damage.
bool IsTroubleOfThisMachine(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status);
}

// Calls `entry` with each key and value of the table `path`, checking the
// table's checksums.
absl::Status ForEachRow(
    const std::string& path,
    absl::FunctionRef<absl::Status(std::string_view, std::string_view)> row) {
  TF_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
  if (size > kMaxIndexBytes) {
    return absl::DataLossError(
        absl::StrCat("the index of ", size, " bytes is longer than any"));
  }
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  TF_RETURN_IF_ERROR(
      tensorflow::Env::Default()->NewRandomAccessFile(path, &file));
  tensorflow::table::Table* opened = nullptr;
  TF_RETURN_IF_ERROR(
      tensorflow::table::Table::Open(tensorflow::table::Options(), file.get(),
                                     static_cast<uint64_t>(size), &opened));
  const std::unique_ptr<tensorflow::table::Table> table(opened);
  const std::unique_ptr<tensorflow::table::Iterator> rows(table->NewIterator());
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    TF_RETURN_IF_ERROR(row(rows->key(), rows->value()));
  }
  return rows->status();
}

// Checks what the rows of an index say, before anyone acts on it. The errors
// are the causes alone.
class IndexChecker {
 public:
  IndexChecker(const std::string& prefix,
               std::map<std::string, Bundle::Entry>* entries)
      : prefix_(prefix), entries_(entries) {}

  absl::Status AddRow(std::string_view key, std::string_view value) {
    if (key.empty()) return ReadHeader(value);
    if (num_shards_ == 0) return absl::DataLossError("it has no header");
    BundleEntryProto proto;
    if (!proto.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      return Wrong(key, "cannot be read");
    }
    TF_ASSIGN_OR_RETURN(Bundle::Entry entry, CheckEntry(key, proto));
    // The values of slices have keys of their own, made of the name and the
    // place, which no tensor can have.
    if (key.front() == '\0') {
      slices_.emplace(key, std::move(entry));
      return absl::OkStatus();
    }
    if (entry.in_slices) in_slices_.emplace_back(key, proto.slices());
    entries_->emplace(key, std::move(entry));
    return absl::OkStatus();
  }

  // To be called after the last row.
  absl::Status Finish() const {
    if (num_shards_ == 0) return absl::DataLossError("it has no header");
    for (const auto& [key, protos] : in_slices_) {
      const Bundle::Entry& whole = entries_->at(key);
      for (const auto& proto : protos) {
        TF_RETURN_IF_ERROR(CheckSlice(key, whole, proto));
      }
    }
    return absl::OkStatus();
  }

 private:
  using SliceProtos =
      google::protobuf::RepeatedPtrField<tensorflow::TensorSliceProto>;

  static absl::Status Wrong(std::string_view key, std::string_view what) {
    return absl::DataLossError(
        absl::StrCat("the entry of \"", key, "\" ", what));
  }

  absl::Status ReadHeader(std::string_view value) {
    BundleHeaderProto header;
    if (!header.ParseFromArray(value.data(), static_cast<int>(value.size())) ||
        header.num_shards() < 1) {
      return absl::DataLossError("its header cannot be read");
    }
    num_shards_ = header.num_shards();
    return absl::OkStatus();
  }

  absl::StatusOr<Bundle::Entry> CheckEntry(std::string_view key,
                                           const BundleEntryProto& proto) {
    Bundle::Entry entry;
    entry.dtype = proto.dtype();
    entry.in_slices = proto.slices_size() > 0;
    if (!tensorflow::DataType_IsValid(proto.dtype()) ||
        proto.dtype() == tensorflow::DT_INVALID ||
        tensorflow::IsRefType(proto.dtype())) {
      return Wrong(key, "has no valid type");
    }
    if (proto.shape().unknown_rank() ||
        !TensorShape::BuildTensorShape(proto.shape(), &entry.shape).ok()) {
      return Wrong(key, "has no valid shape");
    }
    if (!entry.in_slices) TF_RETURN_IF_ERROR(CheckPlace(key, proto, entry));
    return entry;
  }

  // Whether the value lies within its file and has the size of its shape.
  absl::Status CheckPlace(std::string_view key, const BundleEntryProto& proto,
                          const Bundle::Entry& entry) {
    if (proto.shard_id() < 0 || proto.shard_id() >= num_shards_) {
      return Wrong(key, "points to a file that cannot be");
    }
    TF_ASSIGN_OR_RETURN(const int64_t file_size, SizeOfShard(proto.shard_id()));
    if (proto.offset() < 0 || proto.size() < 0 ||
        proto.size() > file_size - proto.offset()) {
      return absl::DataLossError(absl::StrCat(
          "\"", DataFileName(prefix_, proto.shard_id(), num_shards_),
          "\" is too short, it ends before \"", key, "\" does"));
    }
    const int64_t count = entry.shape.num_elements();
    const int64_t width = tensorflow::DataTypeSize(entry.dtype);
    // Elements of other types take a byte at least.
    const bool fits =
        width == 0 ? count <= proto.size()
                   : count <= std::numeric_limits<int64_t>::max() / width &&
                         count * width == proto.size();
    return fits ? absl::OkStatus() : Wrong(key, "has another size than shape");
  }

  absl::StatusOr<int64_t> SizeOfShard(int shard) {
    auto it = shard_sizes_.find(shard);
    if (it != shard_sizes_.end()) return it->second;
    const std::string path = DataFileName(prefix_, shard, num_shards_);
    absl::StatusOr<int64_t> size = FileSize(path);
    if (absl::IsNotFound(size.status())) {
      return absl::DataLossError(absl::StrCat("\"", path, "\" is missing"));
    }
    TF_RETURN_IF_ERROR(size.status());
    shard_sizes_[shard] = *size;
    return size;
  }

  // Whether a part is stored, with the type and shape it must have.
  absl::Status CheckSlice(const std::string& key, const Bundle::Entry& whole,
                          const tensorflow::TensorSliceProto& proto) const {
    TensorSlice slice;
    TensorShape shape;
    if (!TensorSlice::BuildTensorSlice(proto, &slice).ok() ||
        slice.dims() != whole.shape.dims() ||
        !slice.SliceTensorShape(whole.shape, &shape).ok()) {
      return Wrong(key, "has a part outside of it");
    }
    auto it =
        slices_.find(tensorflow::checkpoint::EncodeTensorNameSlice(key, slice));
    if (it == slices_.end()) return Wrong(key, "lacks a part");
    if (it->second.dtype != whole.dtype || it->second.in_slices ||
        it->second.shape != shape) {
      return Wrong(key, "has a part that does not fit");
    }
    return absl::OkStatus();
  }

  const std::string& prefix_;
  std::map<std::string, Bundle::Entry>* const entries_;
  int num_shards_ = 0;
  std::map<int, int64_t> shard_sizes_;
  std::map<std::string, Bundle::Entry> slices_;
  std::vector<std::pair<std::string, SliceProtos>> in_slices_;
};

absl::StatusOr<Tensor> Allocate(DataType dtype, const TensorShape& shape) {
  Tensor tensor(dtype, shape);
  if (tensor.IsInitialized() || shape.num_elements() == 0) return tensor;
  return absl::ResourceExhaustedError(
      absl::StrCat("there is no memory for ", shape.DebugString()));
}

}  // namespace

Bundle::Bundle(std::string_view prefix) : prefix_(prefix) {}

absl::StatusOr<std::unique_ptr<Bundle>> Bundle::Open(std::string_view prefix) {
  std::unique_ptr<Bundle> bundle(new Bundle(prefix));
  const absl::Status checked = bundle->CheckIndex();
  if (absl::IsNotFound(checked)) return checked;
  if (!checked.ok()) {
    return IsTroubleOfThisMachine(checked) ? checked
                                           : bundle->Damaged(checked.message());
  }
  bundle->reader_ = std::make_unique<tensorflow::BundleReader>(
      tensorflow::Env::Default(), prefix);
  const absl::Status status = bundle->reader_->status();
  if (!status.ok()) return bundle->Damaged(status.message());
  return bundle;
}

absl::Status Bundle::CheckIndex() {
  IndexChecker checker(prefix_, &entries_);
  TF_RETURN_IF_ERROR(CallCatching([&] {
    return ForEachRow(IndexFileName(prefix_),
                      [&](std::string_view key, std::string_view value) {
                        return checker.AddRow(key, value);
                      });
  }));
  return checker.Finish();
}

absl::Status Bundle::Damaged(std::string_view what) const {
  return absl::DataLossError(
      absl::StrCat("the checkpoint \"", prefix_, "\" is damaged: ", what,
                   "; use an older checkpoint or another copy of this one"));
}

absl::Status Bundle::ReadError(const std::string& key,
                               const absl::Status& status) const {
  if (IsTroubleOfThisMachine(status)) {
    return AnnotateBefore(
        status, absl::StrCat("cannot read \"", key, "\" of the checkpoint \"",
                             prefix_, "\""));
  }
  return Damaged(absl::StrCat("cannot read \"", key, "\": ", status.message()));
}

absl::StatusOr<Tensor> Bundle::Read(const std::string& key) {
  const Entry& entry = entries_.at(key);
  Tensor tensor;
  const absl::Status status = CallCatching([&]() -> absl::Status {
    TF_ASSIGN_OR_RETURN(tensor, Allocate(entry.dtype, entry.shape));
    return reader_->Lookup(key, &tensor);
  });
  if (!status.ok()) return ReadError(key, status);
  return tensor;
}

absl::StatusOr<Tensor> Bundle::ReadSlice(const std::string& key,
                                         const TensorSlice& slice) {
  const Entry& entry = entries_.at(key);
  TensorShape shape;
  TF_RETURN_IF_ERROR(slice.SliceTensorShape(entry.shape, &shape));
  Tensor tensor;
  const absl::Status status = CallCatching([&]() -> absl::Status {
    TF_ASSIGN_OR_RETURN(tensor, Allocate(entry.dtype, shape));
    return reader_->LookupSlice(key, slice, &tensor);
  });
  if (absl::IsInvalidArgument(status)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint \"", prefix_, "\" does not hold the part ",
                     slice.DebugString(), " of \"", key,
                     "\"; restore a checkpoint that holds all of it"));
  }
  if (!status.ok()) return ReadError(key, status);
  return tensor;
}

absl::Status AddEmptyShards(const std::string& prefix, int from, int to) {
  std::vector<std::pair<std::string, std::string>> rows;
  TF_RETURN_IF_ERROR(ForEachRow(
      IndexFileName(prefix), [&](std::string_view key, std::string_view value) {
        rows.emplace_back(key, value);
        return absl::OkStatus();
      }));
  BundleHeaderProto header;
  if (rows.empty() || !header.ParseFromString(rows[0].second)) {
    return absl::DataLossError(
        absl::StrCat("\"", IndexFileName(prefix), "\" has no header"));
  }
  header.set_num_shards(to);
  rows[0].second = header.SerializeAsString();

  tensorflow::Env* const env = tensorflow::Env::Default();
  for (int shard = 0; shard < to; ++shard) {
    const std::string path = DataFileName(prefix, shard, to);
    TF_RETURN_IF_ERROR(
        shard < from ? env->RenameFile(DataFileName(prefix, shard, from), path)
                     : WriteFileAtomically(path, "", {/*durable=*/false}));
  }
  std::unique_ptr<tensorflow::WritableFile> file;
  TF_RETURN_IF_ERROR(env->NewWritableFile(IndexFileName(prefix), &file));
  tensorflow::table::TableBuilder builder(tensorflow::table::Options(),
                                          file.get());
  for (const auto& [key, value] : rows) builder.Add(key, value);
  TF_RETURN_IF_ERROR(builder.Finish());
  return file->Close();
}

}  // namespace tftrain::internal

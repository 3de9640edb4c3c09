// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/crc/crc32c.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/crc32c.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle_format.h"

namespace tftrain::internal {
namespace {

using tensorflow::BundleEntryProto;
using tensorflow::BundleHeaderProto;
using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorSlice;

constexpr int64_t kMaxIndexBytes = int64_t{1} << 30;
// What five digits in the names of data files can tell.
constexpr int kMaxShards = 99999;
constexpr int kMaxRank = 254;
// The names of variants that hold a tensor, and a list of them.
constexpr std::string_view kTensorVariant = "tensorflow::Tensor";
constexpr std::string_view kListVariant = "tensorflow::TensorList";
constexpr std::string_view kDatasetVariant = "DatasetVariant";
// Read at once, so that the bytes are still in the processor's cache when their
// checksum is computed.
constexpr size_t kPieceBytes = size_t{256} << 10;

// The keys of the parts of tensors begin so, and those of no tensor; they come
// before the tensors.
constexpr char kPartMark = '\0';
constexpr std::string_view kFirstName = "\x01";

// What the codes of a failed read become; those not here mean damage.
bool IsTroubleOfThisMachine(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status);
}

absl::Status Wrong(std::string_view key, std::string_view what) {
  return absl::DataLossError(absl::StrCat("the entry of \"", key, "\" ", what));
}

absl::Status WrongChecksum() {
  return absl::DataLossError("its checksum is wrong");
}

bool Parse(std::string_view bytes, google::protobuf::MessageLite* proto) {
  return proto->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// Whether the header is that of a checkpoint that can be read here.
absl::Status CheckHeader(const BundleHeaderProto& header) {
  if (header.endianness() != BundleHeaderProto::LITTLE) {
    return absl::DataLossError(
        "it was written by a machine with another order of bytes");
  }
  const auto& bad = header.version().bad_consumers();
  if (header.version().min_consumer() > kFormatVersion ||
      std::find(bad.begin(), bad.end(), kFormatVersion) != bad.end()) {
    return absl::DataLossError("it is of a later format");
  }
  if (header.num_shards() < 1 || header.num_shards() > kMaxShards) {
    return absl::DataLossError(absl::StrCat(
        "its header speaks of ", header.num_shards(), " data files"));
  }
  return absl::OkStatus();
}

bool IsStorable(DataType dtype) {
  return tensorflow::DataType_IsValid(dtype) && !tensorflow::IsRefType(dtype) &&
         (IsPlain(dtype) || dtype == tensorflow::DT_STRING ||
          dtype == tensorflow::DT_VARIANT);
}

// The number of elements.
// REQUIRES: IsCountable.
int64_t CountOf(const tensorflow::TensorShapeProto& shape) {
  int64_t count = 1;
  for (const auto& dim : shape.dim()) count *= dim.size();
  return count;
}

// The tensor that an entry describes.
absl::StatusOr<Bundle::Entry> EntryFrom(std::string_view key,
                                        const BundleEntryProto& proto) {
  Bundle::Entry entry;
  entry.dtype = proto.dtype();
  entry.in_slices = proto.slices_size() > 0;
  if (!IsStorable(proto.dtype())) return Wrong(key, "has no valid type");
  const int64_t width = std::max(1, tensorflow::DataTypeSize(proto.dtype()));
  if (proto.shape().unknown_rank() || proto.shape().dim_size() > kMaxRank ||
      !IsCountable(proto.shape(), width) ||
      !TensorShape::BuildTensorShape(proto.shape(), &entry.shape).ok()) {
    return Wrong(key, "has no valid shape");
  }
  return entry;
}

Bundle::Entry EntryAt(const IndexTable::Cursor& cursor) {
  BundleEntryProto proto;
  Parse(cursor.value(), &proto);
  absl::StatusOr<Bundle::Entry> entry = EntryFrom(cursor.key(), proto);
  CHECK(entry.ok()) << entry.status();  // It was when the bundle was opened.
  return *std::move(entry);
}

// Takes a checksum off the front of `in` and compares it with `crc`, which goes
// on over it.
bool TakeChecksum(std::string_view* in, absl::crc32c_t* crc) {
  if (in->size() < kChecksumBytes) return false;
  const uint32_t masked = MaskedCrc(static_cast<uint32_t>(*crc));
  const absl::crc32c_t expected =
      ExtendByNumber(absl::crc32c_t{0}, masked, kChecksumBytes);
  const std::string_view stored = in->substr(0, kChecksumBytes);
  in->remove_prefix(kChecksumBytes);
  *crc = ExtendByNumber(*crc, masked, kChecksumBytes);
  return absl::ComputeCrc32c(stored) == expected;
}

absl::Status WrongLengths() {
  return absl::DataLossError("the lengths of its elements are wrong");
}

// Whether `bytes` are those of an entry of `count` strings: their lengths as
// varints, a checksum of these, then the strings, to which `strings` is set.
absl::Status CheckStrings(std::string_view bytes, int64_t count,
                          uint32_t checksum, std::string_view* strings) {
  std::string_view rest = bytes;
  absl::crc32c_t crc{0};
  uint64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t length = 0;
    if (!TakeVarint(&rest, kVarint64Bytes, &length) ||
        length > bytes.size() - total) {
      return WrongLengths();
    }
    total += length;
    crc = ExtendByLength(crc, length);
  }
  // Nothing at all stands for no strings, too.
  if (!bytes.empty() && !TakeChecksum(&rest, &crc)) return WrongLengths();
  if (total != rest.size()) return WrongLengths();
  *strings = rest;
  return MaskedCrc(static_cast<uint32_t>(absl::ExtendCrc32c(crc, rest))) ==
                 checksum
             ? absl::OkStatus()
             : WrongChecksum();
}

// Whether `metadata` is what TensorFlow writes of a list with `num_tensors`
// tensors: which places are empty, as a number and the places; the type and the
// greatest length, as varints; the shape of an element. Its decoder believes
// all of it, and takes what it happens to find in memory for what is missing.
bool DescribesList(std::string_view metadata, size_t num_tensors) {
  uint64_t num_empty = 0;
  if (!TakeVarint(&metadata, kVarint64Bytes, &num_empty) ||
      num_empty > metadata.size()) {
    return false;
  }
  uint64_t number = 0;
  for (uint64_t i = 0; i < num_empty; ++i) {
    if (!TakeVarint(&metadata, kVarint64Bytes, &number) ||
        number >= num_tensors + num_empty) {
      return false;
    }
  }
  tensorflow::TensorShapeProto shape;
  return TakeVarint(&metadata, kVarint64Bytes, &number) &&
         tensorflow::DataType_IsValid(static_cast<int>(number)) &&
         TakeVarint(&metadata, kVarint64Bytes, &number) &&
         Parse(metadata, &shape) &&
         tensorflow::PartialTensorShape::IsValid(shape);
}

// Whether TensorFlow can decode a variant of `limit` bytes. It allocates what
// the tensors in it claim to be, but those that it writes take a byte for each
// element at least; it passes over tensors that it cannot read, and then
// expects them to be there; and it never writes datasets, whose decoder
// believes all.
bool IsDecodable(const tensorflow::VariantTensorDataProto& variant,
                 int64_t limit) {
  if ((variant.type_name() == kTensorVariant && variant.tensors_size() != 1) ||
      absl::StrContains(variant.type_name(), kDatasetVariant) ||
      (variant.type_name() == kListVariant &&
       !DescribesList(variant.metadata(),
                      static_cast<size_t>(variant.tensors_size())))) {
    return false;
  }
  for (const tensorflow::TensorProto& tensor : variant.tensors()) {
    if (!IsCountable(tensor.tensor_shape(), 1) ||
        CountOf(tensor.tensor_shape()) > limit) {
      return false;
    }
    for (const auto& inner : tensor.variant_val()) {
      if (!IsDecodable(inner, limit)) return false;
    }
    if (!Tensor().FromProto(tensor)) return false;
  }
  return true;
}

// Whether `count` variants are as they were written: each its length as a
// varint, its bytes and a checksum of all so far.
absl::Status CheckVariants(std::string_view bytes, int64_t count,
                           uint32_t checksum) {
  absl::crc32c_t crc{0};
  for (int64_t i = 0; i < count; ++i) {
    uint64_t length = 0;
    if (!TakeVarint(&bytes, kVarint64Bytes, &length) || length > bytes.size()) {
      return WrongLengths();
    }
    const std::string_view element = bytes.substr(0, length);
    bytes.remove_prefix(length);
    crc = absl::ExtendCrc32c(ExtendByNumber(crc, length, 8), element);
    if (!TakeChecksum(&bytes, &crc)) return WrongChecksum();
    tensorflow::VariantTensorDataProto variant;
    if (!Parse(element, &variant) ||
        !IsDecodable(variant, static_cast<int64_t>(length))) {
      return absl::DataLossError("it cannot be decoded");
    }
  }
  if (!bytes.empty()) return WrongLengths();
  return MaskedCrc(static_cast<uint32_t>(crc)) == checksum ? absl::OkStatus()
                                                           : WrongChecksum();
}

absl::StatusOr<Tensor> Allocate(DataType dtype, const TensorShape& shape) {
  Tensor tensor(dtype, shape);
  if (tensor.IsInitialized() || shape.num_elements() == 0) return tensor;
  return absl::ResourceExhaustedError(
      absl::StrCat("there is no memory for ", shape.DebugString()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<IndexTable>> ReadIndex(std::string_view prefix) {
  const std::string path = IndexFileName(prefix);
  TF_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
  if (size > kMaxIndexBytes) {
    return absl::DataLossError(
        absl::StrCat("the index of ", size, " bytes is longer than any"));
  }
  TF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kMaxIndexBytes));
  return IndexTable::Parse(std::move(bytes));
}

Bundle::Entries::const_iterator::const_iterator(IndexTable::Cursor cursor)
    : cursor_(std::move(cursor)) {
  Load();
}

void Bundle::Entries::const_iterator::Load() {
  if (cursor_.valid()) value_ = {std::string(cursor_.key()), EntryAt(cursor_)};
}

Bundle::Entries::const_iterator& Bundle::Entries::const_iterator::operator++() {
  cursor_.Next();
  Load();
  return *this;
}

bool Bundle::Entries::const_iterator::operator==(
    const const_iterator& other) const {
  if (cursor_.valid() != other.cursor_.valid()) return false;
  return !cursor_.valid() || cursor_.key() == other.cursor_.key();
}

Bundle::Entries::const_iterator Bundle::Entries::begin() const {
  return const_iterator(table_->LowerBound(kFirstName));
}

Bundle::Entries::const_iterator Bundle::Entries::end() const {
  return const_iterator(table_->end());
}

Bundle::Entries::const_iterator Bundle::Entries::find(
    std::string_view name) const {
  if (name < kFirstName) return end();
  IndexTable::Cursor cursor = table_->LowerBound(name);
  if (!cursor.valid() || cursor.key() != name) return end();
  return const_iterator(std::move(cursor));
}

size_t Bundle::Entries::count(std::string_view name) const {
  return find(name) == end() ? 0 : 1;
}

Bundle::Entry Bundle::Entries::at(std::string_view name) const {
  const const_iterator it = find(name);
  CHECK(it != end()) << "there is no tensor \"" << name << "\"";
  return it->second;
}

Bundle::Bundle(std::string_view prefix) : prefix_(prefix) {}

Bundle::~Bundle() {
  if (fd_ >= 0) CurrentFileOps().Close(fd_);
}

absl::StatusOr<std::unique_ptr<Bundle>> Bundle::Open(std::string_view prefix) {
  std::unique_ptr<Bundle> bundle(new Bundle(prefix));
  const absl::Status checked = CallCatching([&]() -> absl::Status {
    TF_ASSIGN_OR_RETURN(bundle->table_, ReadIndex(prefix));
    return bundle->CheckIndex();
  });
  if (checked.ok()) return bundle;
  if (absl::IsNotFound(checked) || IsTroubleOfThisMachine(checked)) {
    return checked;
  }
  return bundle->Damaged(checked.message());
}

std::unique_ptr<Bundle> Bundle::ForAnotherThread() const {
  std::unique_ptr<Bundle> bundle(new Bundle(prefix_));
  bundle->table_ = table_;
  bundle->num_tensors_ = num_tensors_;
  bundle->shard_sizes_ = shard_sizes_;
  return bundle;
}

int64_t Bundle::num_bytes() const {
  return std::accumulate(shard_sizes_.begin(), shard_sizes_.end(), int64_t{0});
}

absl::Status Bundle::CheckIndex() {
  TF_RETURN_IF_ERROR(FindShards());
  BundleEntryProto proto;
  IndexTable::Cursor cursor = table_->begin();
  // The header is behind us.
  for (cursor.Next(); cursor.valid(); cursor.Next()) {
    if (!Parse(cursor.value(), &proto)) {
      return Wrong(cursor.key(), "cannot be read");
    }
    TF_RETURN_IF_ERROR(CheckRow(cursor.key(), proto));
    if (cursor.key().front() != kPartMark) ++num_tensors_;
  }
  return absl::OkStatus();
}

// Reads the header and looks for the data files it speaks of.
absl::Status Bundle::FindShards() {
  const IndexTable::Cursor first = table_->begin();
  if (!first.valid() || !first.key().empty()) {
    return absl::DataLossError("it has no header");
  }
  BundleHeaderProto header;
  if (!Parse(first.value(), &header)) {
    return absl::DataLossError("its header cannot be read");
  }
  TF_RETURN_IF_ERROR(CheckHeader(header));
  for (int shard = 0; shard < header.num_shards(); ++shard) {
    const std::string path = DataFileName(prefix_, shard, header.num_shards());
    const absl::StatusOr<int64_t> size = FileSize(path);
    if (absl::IsNotFound(size.status())) {
      return absl::DataLossError(absl::StrCat("\"", path, "\" is missing"));
    }
    TF_RETURN_IF_ERROR(size.status());
    shard_sizes_.push_back(*size);
  }
  return absl::OkStatus();
}

absl::Status Bundle::CheckRow(std::string_view key,
                              const BundleEntryProto& proto) const {
  TF_ASSIGN_OR_RETURN(const Entry entry, EntryFrom(key, proto));
  if (entry.in_slices) return CheckParts(key, entry, proto);
  if (proto.shard_id() < 0 || proto.shard_id() >= num_shards()) {
    return Wrong(key, "points to a file that cannot be");
  }
  const int64_t file_size = shard_sizes_[proto.shard_id()];
  if (proto.offset() < 0 || proto.size() < 0 ||
      proto.size() > file_size - proto.offset()) {
    return absl::DataLossError(absl::StrCat(
        "\"", DataFileName(prefix_, proto.shard_id(), num_shards()),
        "\" is too short, it ends before \"", key, "\" does"));
  }
  // Elements of other types than plain ones take a byte at least.
  const int64_t count = entry.shape.num_elements();
  const bool fits =
      IsPlain(entry.dtype)
          ? count * tensorflow::DataTypeSize(entry.dtype) == proto.size()
          : count <= proto.size();
  return fits ? absl::OkStatus() : Wrong(key, "has another size than shape");
}

// Whether all parts are stored, each with the type and shape it must have.
absl::Status Bundle::CheckParts(std::string_view key, const Entry& whole,
                                const BundleEntryProto& proto) const {
  if (key.front() == kPartMark || proto.slices_size() > kMaxParts) {
    return Wrong(key, "has parts that cannot be");
  }
  BundleEntryProto stored;
  for (const auto& slice_proto : proto.slices()) {
    TensorSlice slice;
    TensorShape shape;
    if (slice_proto.extent_size() != whole.shape.dims() ||
        !TensorSlice::BuildTensorSlice(slice_proto, &slice).ok() ||
        !slice.SliceTensorShape(whole.shape, &shape).ok()) {
      return Wrong(key, "has a part outside of it");
    }
    if (!FindProto(tensorflow::checkpoint::EncodeTensorNameSlice(
                       std::string(key), slice),
                   &stored)) {
      return Wrong(key, "lacks a part");
    }
    const absl::StatusOr<Entry> part = EntryFrom(key, stored);
    if (!part.ok() || part->dtype != whole.dtype || part->in_slices ||
        part->shape != shape) {
      return Wrong(key, "has a part that does not fit");
    }
  }
  return absl::OkStatus();
}

bool Bundle::FindProto(std::string_view key, BundleEntryProto* proto) const {
  const IndexTable::Cursor cursor = table_->LowerBound(key);
  return cursor.valid() && cursor.key() == key && Parse(cursor.value(), proto);
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

// Makes `shard` the data file that is open; one at a time, since there may be
// more of them than this process may open.
absl::Status Bundle::OpenShard(int shard) {
  if (shard == open_shard_) return absl::OkStatus();
  if (fd_ >= 0) CurrentFileOps().Close(std::exchange(fd_, -1));
  open_shard_ = -1;
  const std::string path = DataFileName(prefix_, shard, num_shards());
  do {
    fd_ = CurrentFileOps().Open(
        path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) return ErrnoError(errno, "cannot open", path);
  open_shard_ = shard;
  return absl::OkStatus();
}

// Reads what `proto` points to, into `to` unless that is null, and returns its
// CRC-32C.
absl::StatusOr<uint32_t> Bundle::ReadAndSum(const BundleEntryProto& proto,
                                            char* to) {
  TF_RETURN_IF_ERROR(OpenShard(proto.shard_id()));
  const size_t size = static_cast<size_t>(proto.size());
  std::string scratch(to == nullptr ? std::min(size, kPieceBytes) : 0, '\0');
  absl::crc32c_t crc{0};
  size_t done = 0;
  while (done < size) {
    char* const piece = to == nullptr ? scratch.data() : to + done;
    const ssize_t count =
        CurrentFileOps().Pread(fd_, piece, std::min(size - done, kPieceBytes),
                               proto.offset() + static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    const std::string path =
        count > 0 ? "" : DataFileName(prefix_, proto.shard_id(), num_shards());
    if (count < 0) return ErrnoError(errno, "cannot read", path);
    if (count == 0) {
      return absl::DataLossError(absl::StrCat("\"", path, "\" was cut"));
    }
    crc = ExtendChecksum(crc,
                         std::string_view(piece, static_cast<size_t>(count)));
    done += static_cast<size_t>(count);
  }
  return static_cast<uint32_t>(crc);
}

absl::Status Bundle::ReadPlain(const BundleEntryProto& proto, char* to) {
  TF_ASSIGN_OR_RETURN(const uint32_t crc, ReadAndSum(proto, to));
  return MaskedCrc(crc) == proto.crc32c() ? absl::OkStatus() : WrongChecksum();
}

absl::StatusOr<std::string> Bundle::ReadBytes(const BundleEntryProto& proto) {
  std::string bytes(static_cast<size_t>(proto.size()), '\0');
  TF_RETURN_IF_ERROR(ReadAndSum(proto, bytes.data()).status());
  return bytes;
}

// Whether one stored value is what was written.
absl::Status Bundle::CheckStored(const BundleEntryProto& proto) {
  if (IsPlain(proto.dtype())) return ReadPlain(proto, nullptr);
  TF_ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(proto));
  if (proto.dtype() == tensorflow::DT_VARIANT) {
    return CheckVariants(bytes, CountOf(proto.shape()), proto.crc32c());
  }
  std::string_view strings;
  return CheckStrings(bytes, CountOf(proto.shape()), proto.crc32c(), &strings);
}

absl::StatusOr<tensorflow::BundleReader*> Bundle::TensorFlowReader() {
  if (reader_ == nullptr) {
    reader_ = std::make_unique<tensorflow::BundleReader>(
        tensorflow::Env::Default(), prefix_);
  }
  TF_RETURN_IF_ERROR(reader_->status());
  return reader_.get();
}

// Reads a value that is stored as a whole.
absl::Status Bundle::ReadInto(const std::string& key,
                              const BundleEntryProto& proto, Tensor* tensor) {
  TF_ASSIGN_OR_RETURN(const Entry entry, EntryFrom(key, proto));
  if (IsPlain(entry.dtype)) {
    TF_ASSIGN_OR_RETURN(*tensor, Allocate(entry.dtype, entry.shape));
    return ReadPlain(proto, static_cast<char*>(tensor->data()));
  }
  if (entry.dtype == tensorflow::DT_VARIANT) {
    TF_RETURN_IF_ERROR(CheckStored(proto));
    TF_ASSIGN_OR_RETURN(*tensor, Allocate(entry.dtype, entry.shape));
    TF_ASSIGN_OR_RETURN(tensorflow::BundleReader* const reader,
                        TensorFlowReader());
    return reader->Lookup(key, tensor);
  }
  TF_ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(proto));
  std::string_view strings;
  TF_RETURN_IF_ERROR(
      CheckStrings(bytes, CountOf(proto.shape()), proto.crc32c(), &strings));
  TF_ASSIGN_OR_RETURN(*tensor, Allocate(entry.dtype, entry.shape));
  auto flat = tensor->flat<tensorflow::tstring>();
  std::string_view lengths = bytes;
  for (int64_t i = 0; i < flat.size(); ++i) {
    uint64_t length = 0;
    TakeVarint(&lengths, kVarint64Bytes, &length);
    flat(i).assign(strings.data(), length);
    strings.remove_prefix(length);
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> Bundle::Read(const std::string& key) {
  BundleEntryProto proto;
  CHECK(FindProto(key, &proto)) << "there is no tensor \"" << key << "\"";
  if (proto.slices_size() > 0) {
    return ReadSlice(key, TensorSlice(proto.shape().dim_size()));
  }
  Tensor tensor;
  const absl::Status status =
      CallCatching([&] { return ReadInto(key, proto, &tensor); });
  if (!status.ok()) return ReadError(key, status);
  return tensor;
}

absl::StatusOr<Tensor> Bundle::ReadSlice(const std::string& key,
                                         const TensorSlice& slice) {
  const Entry entry = entries().at(key);
  TensorShape shape;
  TF_RETURN_IF_ERROR(slice.SliceTensorShape(entry.shape, &shape));
  if (!entry.in_slices && slice.IsFull()) return Read(key);
  const int64_t width =
      IsPlain(entry.dtype) ? tensorflow::DataTypeSize(entry.dtype) : 1;
  Tensor tensor;
  const absl::Status status = CallCatching([&]() -> absl::Status {
    // Then no parts cover it, and there may be no memory for what it claims.
    if (shape.num_elements() > num_bytes() / width) {
      return absl::InvalidArgumentError("it is larger than all files");
    }
    // TensorFlow's reader believes the lengths it finds among plain bytes.
    if (!IsPlain(entry.dtype)) TF_RETURN_IF_ERROR(CheckAll(key));
    TF_ASSIGN_OR_RETURN(tensor, Allocate(entry.dtype, shape));
    TF_ASSIGN_OR_RETURN(tensorflow::BundleReader* const reader,
                        TensorFlowReader());
    return reader->LookupSlice(key, slice, &tensor);
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

std::vector<TensorSlice> Bundle::Parts(const std::string& key) const {
  BundleEntryProto proto;
  CHECK(FindProto(key, &proto)) << "there is no tensor \"" << key << "\"";
  std::vector<TensorSlice> parts;
  for (const auto& slice : proto.slices()) parts.emplace_back(slice);
  return parts;
}

absl::Status Bundle::CheckValues(const std::string& key) {
  const absl::Status status = CallCatching([&] { return CheckAll(key); });
  return status.ok() ? status : ReadError(key, status);
}

absl::Status Bundle::CheckAll(const std::string& key) {
  BundleEntryProto proto;
  const std::vector<TensorSlice> parts = Parts(key);
  if (parts.empty()) {
    FindProto(key, &proto);
    return CheckStored(proto);
  }
  for (const TensorSlice& part : parts) {
    FindProto(tensorflow::checkpoint::EncodeTensorNameSlice(key, part), &proto);
    TF_RETURN_IF_ERROR(CheckStored(proto));
  }
  return absl::OkStatus();
}

}  // namespace tftrain::internal

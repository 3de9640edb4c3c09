// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/v1_checkpoint.h"

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/util/saved_tensor_slice.pb.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/bundle_format.h"
#include "tftrain/checkpoint/internal/index_table.h"

namespace tftrain::internal {
namespace {

using tensorflow::SavedTensorSlices;
using tensorflow::TensorShape;
using tensorflow::TensorSlice;

constexpr int64_t kMaxFileBytes = int64_t{4} << 30;
// As a message it takes many times the memory of its bytes.
constexpr size_t kMaxMetaBytes = size_t{64} << 20;

// The number of values that `tensor` holds for elements of `dtype`; nothing for
// a type that the format does not know.
std::optional<int64_t> CountValues(tensorflow::DataType dtype,
                                   const tensorflow::TensorProto& tensor) {
  switch (dtype) {
    case tensorflow::DT_FLOAT:
      return tensor.float_val_size();
    case tensorflow::DT_DOUBLE:
      return tensor.double_val_size();
    case tensorflow::DT_HALF:
      return tensor.half_val_size();
    case tensorflow::DT_INT8:
    case tensorflow::DT_UINT8:
    case tensorflow::DT_INT16:
    case tensorflow::DT_UINT16:
    case tensorflow::DT_INT32:
    case tensorflow::DT_QINT8:
    case tensorflow::DT_QUINT8:
    case tensorflow::DT_QUINT16:
    case tensorflow::DT_QINT32:
      return tensor.int_val_size();
    case tensorflow::DT_UINT32:
      return tensor.uint32_val_size();
    case tensorflow::DT_INT64:
      return tensor.int64_val_size();
    case tensorflow::DT_UINT64:
      return tensor.uint64_val_size();
    case tensorflow::DT_BOOL:
      return tensor.bool_val_size();
    case tensorflow::DT_COMPLEX64:
      return tensor.scomplex_val_size() / 2;
    case tensorflow::DT_COMPLEX128:
      return tensor.dcomplex_val_size() / 2;
    case tensorflow::DT_STRING:
      return tensor.string_val_size();
    default:
      return std::nullopt;
  }
}

bool ParseRow(const IndexTable::Cursor& row, SavedTensorSlices* slices) {
  const std::string_view value = row.value();
  return value.size() <= std::numeric_limits<int>::max() &&
         slices->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

absl::Status Wrong(std::string_view name, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the entry of \"", name, "\" ", what));
}

// Checks the files of one checkpoint, one after the other.
//
// Confined: use from one thread at a time.
class Checker {
 public:
  // `num_bytes` is what all files hold together.
  explicit Checker(int64_t num_bytes) : num_bytes_(num_bytes) {}

  absl::Status CheckFile(const std::string& path) {
    TF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kMaxFileBytes));
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<IndexTable> table,
                        IndexTable::Parse(std::move(bytes)));
    const IndexTable::Cursor first = table->begin();
    SavedTensorSlices slices;
    if (!first.valid() || !first.key().empty() ||
        first.value().size() > kMaxMetaBytes || !ParseRow(first, &slices)) {
      return absl::DataLossError("it does not tell what it holds");
    }
    for (const auto& tensor : slices.meta().tensor()) {
      TF_RETURN_IF_ERROR(CheckTensor(*table, tensor));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckTensor(const IndexTable& table,
                           const tensorflow::SavedSliceMeta& tensor) {
    TensorShape whole;
    // Each element takes a byte at least.
    if (tensor.shape().unknown_rank() || !IsCountable(tensor.shape(), 1) ||
        !TensorShape::BuildTensorShape(tensor.shape(), &whole).ok() ||
        whole.num_elements() > num_bytes_) {
      return Wrong(tensor.name(), "has no valid shape");
    }
    if ((num_parts_[tensor.name()] += tensor.slice_size()) > kMaxParts) {
      return Wrong(tensor.name(), "has more parts than can be");
    }
    for (const auto& slice : tensor.slice()) {
      TF_RETURN_IF_ERROR(CheckPart(table, tensor, whole, slice));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckPart(const IndexTable& table,
                                const tensorflow::SavedSliceMeta& tensor,
                                const TensorShape& whole,
                                const tensorflow::TensorSliceProto& proto) {
    TensorSlice slice;
    TensorShape shape;
    if (proto.extent_size() != whole.dims() ||
        !TensorSlice::BuildTensorSlice(proto, &slice).ok() ||
        !slice.SliceTensorShape(whole, &shape).ok()) {
      return Wrong(tensor.name(), "has a part outside of it");
    }
    const std::string key =
        tensorflow::checkpoint::EncodeTensorNameSlice(tensor.name(), slice);
    const IndexTable::Cursor row = table.LowerBound(key);
    SavedTensorSlices stored;
    if (!row.valid() || row.key() != key || !ParseRow(row, &stored)) {
      return Wrong(tensor.name(), "lacks a part");
    }
    if (CountValues(tensor.type(), stored.data().data()) !=
        shape.num_elements()) {
      return Wrong(tensor.name(), "has a part that does not fit");
    }
    return absl::OkStatus();
  }

  const int64_t num_bytes_;
  std::map<std::string, int> num_parts_;
};

absl::Status CheckFiles(const std::string& prefix) {
  // What TensorFlow opens, also where it takes a name for a pattern.
  std::vector<std::string> paths;
  TF_RETURN_IF_ERROR(
      tensorflow::Env::Default()->GetMatchingPaths(prefix, &paths));
  int64_t num_bytes = 0;
  for (const std::string& path : paths) {
    TF_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
    num_bytes += size;
  }
  Checker checker(num_bytes);
  for (const std::string& path : paths) {
    TF_RETURN_IF_ERROR(AnnotateBefore(checker.CheckFile(path),
                                      absl::StrCat("\"", path, "\"")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckV1Checkpoint(const std::string& prefix) {
  const absl::Status status = CallCatching([&] { return CheckFiles(prefix); });
  if (status.ok() || absl::IsResourceExhausted(status) ||
      absl::IsPermissionDenied(status)) {
    return status;
  }
  return absl::DataLossError(absl::StrCat(
      "the checkpoint \"", prefix,
      "\", of TensorFlow's first format, is damaged: ", status.message(),
      "; use an older checkpoint or another copy of this one"));
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Reading TensorFlow's V2 checkpoints ("bundles") without trusting them.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/framework/types.pb.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace tftrain::internal {

// One checkpoint, opened for reading. TensorFlow's reader ends the program, or
// reads beyond its memory, on an index made by hand; and it cannot tell a
// damaged part of the index from a tensor that was never there. So the whole
// index is checked here before that reader sees it: the checksums of its
// blocks, types, shapes, slices, and that every value lies within its file.
// The checksum of a value is checked when it is read.
//
// Errors of all functions: kDataLoss when the checkpoint is damaged or a file
// of it is missing, naming what; kResourceExhausted when memory or files run
// out; kPermissionDenied. Never kOutOfRange, which TensorFlow answers when a
// file is too short.
//
// Confined: use from one thread at a time.
class Bundle {
 public:
  // A tensor of the checkpoint.
  struct Entry {
    tensorflow::DataType dtype = tensorflow::DT_INVALID;
    tensorflow::TensorShape shape;  // of the whole
    // Whether it is stored in parts, which need not cover the whole.
    bool in_slices = false;
  };

  // Opens the checkpoint `prefix` and checks its index.
  // Errors: kNotFound when there is no index.
  static absl::StatusOr<std::unique_ptr<Bundle>> Open(std::string_view prefix);

  const std::string& prefix() const { return prefix_; }
  // By name.
  const std::map<std::string, Entry>& entries() const { return entries_; }

  // The tensor `key`, whole.
  // REQUIRES: entries() holds `key`.
  absl::StatusOr<tensorflow::Tensor> Read(const std::string& key);

  // A part of it, however it is stored.
  // Errors: kInvalidArgument when the stored parts do not cover `slice`.
  // REQUIRES: entries() holds `key`, with the rank of `slice`.
  absl::StatusOr<tensorflow::Tensor> ReadSlice(
      const std::string& key, const tensorflow::TensorSlice& slice);

 private:
  explicit Bundle(std::string_view prefix);

  absl::Status CheckIndex();
  absl::Status Damaged(std::string_view what) const;
  absl::Status ReadError(const std::string& key,
                         const absl::Status& status) const;

  const std::string prefix_;
  std::map<std::string, Entry> entries_;
  std::unique_ptr<tensorflow::BundleReader> reader_;
};

// Gives the bundle `prefix` of `from` data files the data files of one of `to`:
// empty ones are added, and the names and the index changed accordingly. Not
// atomic, and nothing is forced to the disk.
// Errors: those of reading and writing the files.
// REQUIRES: from < to.
absl::Status AddEmptyShards(const std::string& prefix, int from, int to);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_

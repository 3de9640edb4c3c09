// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Writing TensorFlow's V2 checkpoints ("bundles").

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_WRITER_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_WRITER_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/save_graph.h"

namespace tftrain::internal {

// Hands each tensor and its value to the function it is called with.
using ValueSource = absl::FunctionRef<absl::Status(
    absl::FunctionRef<absl::Status(const SavedTensor&,
                                   const tensorflow::Tensor&)>)>;

// How a bundle is written.
struct BundleOptions {
  WriteOptions write;
  // Whether a value that holds a NaN is an error, and one with an infinity,
  // too.
  bool check_nan = false;
  bool check_finite = false;
};

// Writes the bundle `prefix` of all the values of `source`, one data file and
// an index, where there is none. The data file holds the bytes that
// TensorFlow's own writer writes. Takes the memory of the index and 4 MiB.
// Errors: kInvalidArgument when a value is not the part it should be, comes
// twice or has a type that no file can hold; NanLossError() for the first that
// should be finite, or no NaN, and is not; those of base/file.h; those of
// `source`. On error the files stay as far as they were written.
absl::Status WriteBundle(const std::string& prefix,
                         const BundleOptions& options, ValueSource source);

// Gives the bundle `prefix` of `from` data files the data files of one of `to`:
// empty ones are added, and the names and the index changed accordingly. Not
// atomic, and the names are not forced to the disk.
// Errors: those of reading and writing the files.
// REQUIRES: from < to.
absl::Status AddEmptyShards(const std::string& prefix, int from, int to);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_WRITER_H_

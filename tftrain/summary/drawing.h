// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Histograms and images of tensors. Used by EventFileWriter.

#ifndef TFTRAIN_SUMMARY_DRAWING_H_
#define TFTRAIN_SUMMARY_DRAWING_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"

namespace tensorflow {
class Summary;
}  // namespace tensorflow

namespace tftrain::internal {

// A tensor that is to become a summary, which is costly and done later, in
// another thread. Shares the tensor's memory.
//
// Thread-compatible: const calls may run together.
class Drawing {
 public:
  // `tag` is for the messages of errors.
  // Errors: those of EventFileWriter::AddHistogram and AddImage.
  static absl::StatusOr<std::unique_ptr<Drawing>> Histogram(
      std::string_view tag, const tensorflow::Tensor& values);
  static absl::StatusOr<std::unique_ptr<Drawing>> Images(
      std::string_view tag, const tensorflow::Tensor& images, int max_images);

  // Adds its values, under tags that begin with `tag`, to `summary`.
  //
  // Errors: kInvalidArgument if a histogram's value is infinite or NaN, and for
  // an image that is too large for TensorFlow.
  absl::Status AddTo(const std::string& tag,
                     tensorflow::Summary* summary) const;

  // Of the tensor.
  size_t bytes() const { return tensor_.TotalBytes(); }

 private:
  Drawing(const tensorflow::Tensor& tensor, int max_images)
      : tensor_(tensor), max_images_(max_images) {}

  const tensorflow::Tensor tensor_;
  const int max_images_;  // 0 for a histogram.
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_DRAWING_H_

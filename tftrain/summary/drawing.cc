// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/drawing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/memory/memory.h"
#include "absl/strings/str_format.h"
#include "tensorflow/core/framework/register_types.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/lib/histogram/histogram.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/summary/summary_converter.h"

namespace tftrain::internal {
namespace {

using tensorflow::Tensor;

// The types that a histogram takes.
bool IsReal(tensorflow::DataType type) {
  switch (type) {
#define TFTRAIN_CASE(T) case tensorflow::DataTypeToEnum<T>::value:
    TF_CALL_REAL_NUMBER_TYPES(TFTRAIN_CASE)
#undef TFTRAIN_CASE
    return true;
    default:
      return false;
  }
}

// Adds the values of `tensor` up to the first that is not finite; false if
// there is one.
template <typename T>
bool CountValues(const Tensor& tensor,
                 tensorflow::histogram::Histogram* histogram) {
  const auto values = tensor.unaligned_flat<T>();
  for (int64_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values(i));
    if (!std::isfinite(value)) return false;
    histogram->Add(value);
  }
  return true;
}

absl::Status DrawHistogram(const std::string& tag, const Tensor& tensor,
                           tensorflow::Summary* summary) {
  tensorflow::histogram::Histogram histogram;
  bool finite = true;
  switch (tensor.dtype()) {
#define TFTRAIN_CASE(T)                          \
  case tensorflow::DataTypeToEnum<T>::value:     \
    finite = CountValues<T>(tensor, &histogram); \
    break;
    TF_CALL_REAL_NUMBER_TYPES(TFTRAIN_CASE)
#undef TFTRAIN_CASE
    default:
      break;
  }
  if (!finite) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the values of the histogram \"%s\" are not all finite, look for what "
        "made them so",
        tag));
  }
  auto* value = summary->add_value();
  value->set_tag(tag);
  histogram.EncodeToProto(value->mutable_histo(),
                          /*preserve_zero_buckets=*/false);
  return absl::OkStatus();
}

// Red, for pixels that are not finite, in as many channels as `images` have.
Tensor BadColor(const Tensor& images) {
  constexpr uint8_t kRed[] = {255, 0, 0, 255};
  Tensor color(tensorflow::DT_UINT8, {images.dim_size(3)});
  std::copy_n(kRed, color.NumElements(), color.flat<uint8_t>().data());
  return color;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Drawing>> Drawing::Histogram(
    std::string_view tag, const Tensor& values) {
  if (!IsReal(values.dtype())) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the values of the histogram \"%s\" are of type %s, give real numbers",
        tag, tensorflow::DataTypeString(values.dtype())));
  }
  return absl::WrapUnique(new Drawing(values, 0));
}

absl::StatusOr<std::unique_ptr<Drawing>> Drawing::Images(std::string_view tag,
                                                         const Tensor& images,
                                                         int max_images) {
  const tensorflow::DataType type = images.dtype();
  if (type != tensorflow::DT_UINT8 && type != tensorflow::DT_HALF &&
      type != tensorflow::DT_FLOAT && type != tensorflow::DT_DOUBLE) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the images of \"%s\" are of type %s, give bytes or floats", tag,
        tensorflow::DataTypeString(type)));
  }
  const int64_t channels = images.dims() == 4 ? images.dim_size(3) : 0;
  if ((channels != 1 && channels != 3 && channels != 4) ||
      images.dim_size(1) == 0 || images.dim_size(2) == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the images of \"%s\" have the shape %s, give [batch, height, width, "
        "channels] with 1, 3 or 4 channels",
        tag, images.shape().DebugString()));
  }
  if (max_images < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "max_images is %d for the images \"%s\", it must be 1 or more",
        max_images, tag));
  }
  return absl::WrapUnique(new Drawing(images, max_images));
}

absl::Status Drawing::AddTo(const std::string& tag,
                            tensorflow::Summary* summary) const {
  if (max_images_ == 0) return DrawHistogram(tag, tensor_, summary);
  return tensorflow::AddTensorAsImageToSummary(tensor_, tag, max_images_,
                                               BadColor(tensor_), summary);
}

}  // namespace tftrain::internal

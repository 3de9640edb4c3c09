// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Looks for NaN and infinities in tensors.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_NON_FINITE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_NON_FINITE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

namespace tftrain::internal {

// An element of a tensor that is a NaN or an infinity; of a complex number,
// either part.
//
// Thread-compatible: const calls may run together.
struct NonFinite {
  int64_t element = 0;
  bool is_nan = false;
};

// Whether tensors of this type are looked into: half, bfloat16, float, double
// and complex numbers of the two.
bool CanBeNonFinite(tensorflow::DataType dtype);

// The first NaN of `tensor`, or the first infinity, if that counts as well.
// Nothing for a type that is not looked into.
std::optional<NonFinite> FindNonFinite(const tensorflow::Tensor& tensor,
                                       bool also_infinite);

// "a NaN", or "an infinity (element 2 of 10)" where there are several.
std::string ToString(const NonFinite& found, const tensorflow::Tensor& tensor);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_NON_FINITE_H_

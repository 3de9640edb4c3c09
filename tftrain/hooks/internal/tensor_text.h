// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_TENSOR_TEXT_H_
#define TFTRAIN_HOOKS_INTERNAL_TENSOR_TEXT_H_

#include <string>

#include "tensorflow/core/framework/tensor.h"

namespace tftrain::internal {

// `tensor` as text for people, in one line, much as numpy prints it: `0.5`,
// `[1. 0.25]`, `[[1 2] [3 4]]`, `True`, `b'text'`. Numbers are the shortest
// that read back as the same value; in arrays they have at most eight digits
// after the point and, below 1e16, no exponent. Of more than 1000 elements,
// the first and the last three of each dimension are printed; of values of
// other types (complex, resource ...), the type and the shape.
//
// Python: `str` of the value a session returns, with print options
// `suppress=True`; numpy pads the elements of an array to the same width and
// breaks lines.
std::string TensorText(const tensorflow::Tensor& tensor);

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_TENSOR_TEXT_H_

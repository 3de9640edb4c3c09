// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Tensors as text that is the same in C++ and in Python, to the last digit; see
// scenario_trace.py.

#ifndef TFTRAIN_TESTS_PARITY_TENSOR_TEXT_H_
#define TFTRAIN_TESTS_PARITY_TENSOR_TEXT_H_

#include <string>

#include "tensorflow/core/framework/tensor.h"
#include "tftrain/session/fetch.h"

namespace tftrain {

// "DT_FLOAT[2] 1 2.5"; lists and maps in brackets and braces, and "-" for an
// operation.
std::string Describe(const tensorflow::Tensor& tensor);
std::string Describe(const Value& value);

// The tensor that is described as `text`; ends the program for another text.
tensorflow::Tensor ParseTensor(const std::string& text);

}  // namespace tftrain

#endif  // TFTRAIN_TESTS_PARITY_TENSOR_TEXT_H_

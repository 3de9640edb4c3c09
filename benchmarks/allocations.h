// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Counts heap allocations. A program that links allocations.cc has its
// operator new replaced, for TensorFlow's libraries too.

#ifndef TFTRAIN_BENCHMARKS_ALLOCATIONS_H_
#define TFTRAIN_BENCHMARKS_ALLOCATIONS_H_

#include <cstdint>

namespace tftrain::benchmarks {

// How often this thread has called operator new.
int64_t AllocationsOfThisThread();

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_ALLOCATIONS_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One target as libFuzzer wants it; TFTRAIN_FUZZ_TARGET names it.

#include <algorithm>
#include <cstring>
#include <string>

#include "tensorflow/core/platform/logging.h"
#include "tests/fuzz/inputs.h"
#include "tests/fuzz/targets.h"

namespace {

const tftrain::FuzzTarget& Target() {
  for (const tftrain::FuzzTarget& target : tftrain::FuzzTargets()) {
    if (target.name == TFTRAIN_FUZZ_TARGET) return target;
  }
  LOG(FATAL) << "there is no fuzz target \"" << TFTRAIN_FUZZ_TARGET << "\"";
}

}  // namespace

extern "C" {

size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return Target().run(data, size);
}

// Now and then an input that knows the format, from which libFuzzer goes on.
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                               unsigned int seed) {
  tftrain::Random random(seed);
  if (!random.OneIn(4)) return LLVMFuzzerMutate(data, size, max_size);
  const std::string made = Target().make(random);
  const size_t length = std::min(made.size(), max_size);
  std::memcpy(data, made.data(), length);
  return length;
}

}  // extern "C"

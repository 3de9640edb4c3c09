// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What is fuzzed: functions that take any bytes, as libFuzzer calls them. Each
// ends the program when a promise is broken, beside what sanitizers see.
//
// Event files are missing here: the library writes them and never reads one.

#ifndef TFTRAIN_TESTS_FUZZ_TARGETS_H_
#define TFTRAIN_TESTS_FUZZ_TARGETS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/fuzz/inputs.h"

namespace tftrain {

// The index of a checkpoint: what is read is in order and is found again.
int FuzzIndexTable(const uint8_t* data, size_t size);

// A whole checkpoint (see JoinBundle): a Status of the codes that are promised,
// and every tensor has the type and shape that was said.
int FuzzBundle(const uint8_t* data, size_t size);

// A checkpoint of TensorFlow's first format: what passes our check does not end
// TensorFlow's reader.
int FuzzV1Checkpoint(const uint8_t* data, size_t size);

// A state file: what is understood is written and understood again, and the
// paths taken from it stay in the folder.
int FuzzStateText(const uint8_t* data, size_t size);

// The name or path of a file: what it says about itself makes it again.
int FuzzFileName(const uint8_t* data, size_t size);

// A MetaGraph: a graph, or kInvalidArgument.
int FuzzMetaGraph(const uint8_t* data, size_t size);

// A target and what makes inputs for it.
struct FuzzTarget {
  std::string name;
  // How many inputs the ordinary run makes; those with files take longer.
  uint64_t runs;
  int (*run)(const uint8_t* data, size_t size);
  std::string (*make)(Random& random);
};

const std::vector<FuzzTarget>& FuzzTargets();

}  // namespace tftrain

#endif  // TFTRAIN_TESTS_FUZZ_TARGETS_H_

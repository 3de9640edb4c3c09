// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Makes hostile inputs from numbers: one number, one input, on every machine.
// They know the formats: what lies does so behind valid checksums.

#ifndef TFTRAIN_TESTS_FUZZ_INPUTS_H_
#define TFTRAIN_TESTS_FUZZ_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tftrain {

// Numbers that look random and are the same for one seed everywhere.
//
// Confined: use from the thread that created it.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  // From 0 to `limit` - 1.
  size_t Below(size_t limit) { return static_cast<size_t>(Next() % limit); }
  bool OneIn(size_t count) { return Below(count) == 0; }
  // Small, huge, negative, or near a power of two.
  int64_t Extreme();

 private:
  uint64_t state_;
};

// A checkpoint as the target FuzzBundle takes it: four bytes that tell the
// length of the index, the index, the data.
std::string JoinBundle(std::string_view index, std::string_view data);

std::string MakeIndexTable(Random& random);
std::string MakeBundle(Random& random);
std::string MakeV1Checkpoint(Random& random);
std::string MakeStateText(Random& random);
std::string MakeFileName(Random& random);
std::string MakeMetaGraph(Random& random);

}  // namespace tftrain

#endif  // TFTRAIN_TESTS_FUZZ_INPUTS_H_

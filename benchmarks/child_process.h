// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that a benchmark compares itself with.

#ifndef TFTRAIN_BENCHMARKS_CHILD_PROCESS_H_
#define TFTRAIN_BENCHMARKS_CHILD_PROCESS_H_

#include <string>
#include <vector>

namespace tftrain::benchmarks {

struct ChildResult {
  std::string output;            // what it wrote to its standard output
  double seconds_to_output = 0;  // from its start to the first byte of that
  int exit_code = -1;
};

// Runs a program to its end, its standard error going nowhere.
ChildResult RunChild(const std::vector<std::string>& command);

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_CHILD_PROCESS_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_BENCHMARKS_STEP_EXTREMES_H_
#define TFTRAIN_BENCHMARKS_STEP_EXTREMES_H_

#include <string>

namespace tftrain::benchmarks {

// Steps at the ends of the scale: empty, with a hundred hooks, with a hundred
// nested fetches, and how often ours allocates. `run_dir` is for what hooks
// write.
void MeasureExtremes(const std::string& run_dir, int rounds);

// The slowest of many steps, with hooks of unequal cadences on a graph of
// 130,000 operations.
void MeasureWorstStep(const std::string& run_dir);

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_STEP_EXTREMES_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_BENCHMARKS_REPORT_H_
#define TFTRAIN_BENCHMARKS_REPORT_H_

#include <cstdio>
#include <string>

namespace tftrain::benchmarks {

// Prints one line `figure value unit`.
inline void Print(const std::string& figure, double value,
                  const std::string& unit) {
  std::printf("%s %.3f %s\n", figure.c_str(), value, unit.c_str());
  std::fflush(stdout);
}

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_REPORT_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Timing of things against each other on a machine whose clock changes speed:
// short blocks of each in turn, and medians of paired differences.

#ifndef TFTRAIN_BENCHMARKS_PAIRED_BLOCKS_H_
#define TFTRAIN_BENCHMARKS_PAIRED_BLOCKS_H_

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tftrain::benchmarks {

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Confined: use from one thread.
class PairedBlocks {
 public:
  explicit PairedBlocks(int steps_per_block) : steps_(steps_per_block) {}

  // `step` runs one step of what is called `name`.
  void Add(std::string name, std::function<void()> step) {
    subjects_.push_back({std::move(name), std::move(step)});
  }

  // Runs `rounds` rounds, each with one block of every subject; the order is
  // turned by one from round to round, so that nobody always comes first.
  void Run(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < subjects_.size(); ++i) {
        const auto& [name, step] =
            subjects_[(i + static_cast<size_t>(round)) % subjects_.size()];
        const auto start = std::chrono::steady_clock::now();
        for (int n = 0; n < steps_; ++n) step();
        const std::chrono::duration<double, std::micro> took =
            std::chrono::steady_clock::now() - start;
        us_per_step_[name].push_back(took.count() / steps_);
      }
    }
  }

  // Drops what was measured, as a warm-up.
  void Forget() { us_per_step_.clear(); }

  // Microseconds per step, the median over the rounds.
  double Us(const std::string& name) const {
    return Median(us_per_step_.at(name));
  }
  // The median over the rounds of `a` minus `b`, and of `a` over `b`.
  double Difference(const std::string& a, const std::string& b) const {
    return MedianOfPairs(a, b, [](double x, double y) { return x - y; });
  }
  double Ratio(const std::string& a, const std::string& b) const {
    return MedianOfPairs(a, b, [](double x, double y) { return x / y; });
  }

 private:
  template <typename Fn>
  double MedianOfPairs(const std::string& a, const std::string& b,
                       Fn fn) const {
    const std::vector<double>& as = us_per_step_.at(a);
    const std::vector<double>& bs = us_per_step_.at(b);
    std::vector<double> pairs;
    for (size_t i = 0; i < as.size(); ++i) pairs.push_back(fn(as[i], bs[i]));
    return Median(std::move(pairs));
  }

  const int steps_;
  std::vector<std::pair<std::string, std::function<void()>>> subjects_;
  std::map<std::string, std::vector<double>> us_per_step_;
};

}  // namespace tftrain::benchmarks

#endif  // TFTRAIN_BENCHMARKS_PAIRED_BLOCKS_H_

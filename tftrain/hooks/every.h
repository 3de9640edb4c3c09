// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// How often a hook acts.

#ifndef TFTRAIN_HOOKS_EVERY_H_
#define TFTRAIN_HOOKS_EVERY_H_

#include <cstdint>
#include <optional>

namespace tftrain {

// A cadence: once every so many steps, or once every so many seconds. Carries
// Python's pair of arguments `every_steps` / `every_secs` as one value, of
// which exactly one is set; a default-made one has neither, and the hook's
// `Create` refuses it.
//
// Thread-compatible: const calls may run together.
//
//   options.every = Every::Steps(500);
struct Every {
  static constexpr Every Steps(int64_t steps) { return {steps, std::nullopt}; }
  static constexpr Every Secs(double secs) { return {std::nullopt, secs}; }

  std::optional<int64_t> every_steps;
  std::optional<double> every_secs;
};

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_EVERY_H_

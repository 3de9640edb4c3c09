// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Numbers that are none, for tests.

#ifndef TFTRAIN_TESTING_NON_FINITE_H_
#define TFTRAIN_TESTING_NON_FINITE_H_

#include <limits>

namespace tftrain {

// As floats, which become doubles where those are wanted.
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_NON_FINITE_H_

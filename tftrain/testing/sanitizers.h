// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What a test cannot ask of a program that a sanitizer instruments.
//
// Thread-safe: constants.

#ifndef TFTRAIN_TESTING_SANITIZERS_H_
#define TFTRAIN_TESTING_SANITIZERS_H_

namespace tftrain {

// Whether the memory of this process is what the program asks for: sanitizers
// keep what was freed, and notes of their own.
#if defined(TFTRAIN_WITH_THREAD_SANITIZER) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kMemoryIsOurs = false;
#elif defined(__has_feature)
inline constexpr bool kMemoryIsOurs = !__has_feature(address_sanitizer);
#else
inline constexpr bool kMemoryIsOurs = true;
#endif

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_SANITIZERS_H_

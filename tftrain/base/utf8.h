// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Text from anywhere, made such that every reader takes it.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_BASE_UTF8_H_
#define TFTRAIN_BASE_UTF8_H_

#include <string>
#include <string_view>

namespace tftrain {

// What stands in the place of a byte that is no UTF-8.
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// Takes the first character off `text`, which is UTF-8; the replacement and one
// byte if it is not.
// REQUIRES: !text.empty().
char32_t TakeCharacter(std::string_view& text);

// Puts U+FFFD in the place of each byte of `text` that is no UTF-8.
void MakeUtf8(std::string* text);

}  // namespace tftrain

#endif  // TFTRAIN_BASE_UTF8_H_

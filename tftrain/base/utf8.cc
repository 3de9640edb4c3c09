// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/utf8.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) >= 0; });
}

}  // namespace

char32_t TakeCharacter(std::string_view& text) {
  const auto byte = [&](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  const unsigned char first = byte(0);
  const size_t size = first < 0x80    ? 1
                      : first < 0xC2  ? 0
                      : first < 0xE0  ? 2
                      : first < 0xF0  ? 3
                      : first <= 0xF4 ? 4
                                      : 0;
  constexpr unsigned char kFirstBits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  char32_t character = first & kFirstBits[size];
  bool is_valid = size > 0 && size <= text.size();
  for (size_t i = 1; is_valid && i < size; ++i) {
    is_valid = (byte(i) & 0xC0) == 0x80;
    character = (character << 6) | (byte(i) & 0x3F);
  }
  const bool is_surrogate = character >= 0xD800 && character < 0xE000;
  if (!is_valid || character < kSmallest[size] || character > 0x10FFFF ||
      is_surrogate) {
    text.remove_prefix(1);
    return kReplacementCharacter;
  }
  text.remove_prefix(size);
  return character;
}

void MakeUtf8(std::string* text) {
  if (IsAscii(*text)) return;
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string made;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::string_view before = rest;
    const char32_t c = TakeCharacter(rest);
    absl::StrAppend(&made, c == kReplacementCharacter
                               ? kReplacement
                               : before.substr(0, before.size() - rest.size()));
  }
  *text = std::move(made);
}

}  // namespace tftrain

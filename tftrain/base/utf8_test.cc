// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace tftrain {
namespace {

std::string Made(std::string text) {
  MakeUtf8(&text);
  return text;
}

TEST(Utf8Test, LeavesCharactersAsTheyAre) {
  for (const std::string& text :
       {std::string(), std::string("loss\n\0/1", 8), std::string("größe"),
        std::string("損失 😀"), std::string("\xEF\xBF\xBD"),
        std::string("\xF4\x8F\xBF\xBF")}) {
    EXPECT_EQ(Made(text), text);
  }
}

TEST(Utf8Test, ReplacesEachByteThatIsNoPartOfOne) {
  EXPECT_EQ(Made("a\xff"), "a\uFFFD");
  EXPECT_EQ(Made("\x80\xfe!"), "\uFFFD\uFFFD!");
  // Cut short, too long, half of a pair, beyond the last character.
  EXPECT_EQ(Made("\xC3"), "\uFFFD");
  EXPECT_EQ(Made("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(Made("\xE0\x80\xAF"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Made("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Made("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

}  // namespace
}  // namespace tftrain

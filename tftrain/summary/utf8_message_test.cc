// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/utf8_message.h"

#include <gtest/gtest.h>

#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/util/event.pb.h"

namespace tftrain::internal {
namespace {

TEST(Utf8MessageTest, ReplacesInAllTextsOfAMessageAndInNoBytes) {
  tensorflow::Event event;
  for (const char* const tag : {"good", "bad\xff"}) {
    auto* const value = event.mutable_summary()->add_value();
    value->set_tag(tag);
    value->mutable_metadata()->set_display_name("shown\xff");
    value->mutable_tensor()->add_string_val("bytes\xff");
  }

  MakeTextsUtf8(&event);

  const auto& values = event.summary().value();
  EXPECT_EQ(values[0].tag(), "good");
  EXPECT_EQ(values[1].tag(), "bad\uFFFD");
  EXPECT_EQ(values[1].metadata().display_name(), "shown\uFFFD");
  EXPECT_EQ(values[1].tensor().string_val(0), "bytes\xff");
  EXPECT_TRUE(tensorflow::Event().ParseFromString(event.SerializeAsString()));
}

}  // namespace
}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/scalar_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/util/event.pb.h"

namespace tftrain::internal {
namespace {

using tensorflow::Event;
using tensorflow::Summary;

// The bytes that protobuf makes of the same event.
std::string Expected(double wall_time, int64_t step, const Summary& summary) {
  Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  *event.mutable_summary() = summary;
  return event.SerializeAsString();
}

Summary OfScalar(const std::string& tag, float value) {
  Summary summary;
  summary.add_value()->set_tag(tag);
  summary.mutable_value(0)->set_simple_value(value);
  return summary;
}

TEST(ScalarEventTest, BytesAreThoseOfProtobuf) {
  std::string record = "former";
  for (const double time : {0.0, 1.5, 1.8e9}) {
    for (const int64_t step :
         {int64_t{0}, int64_t{1}, int64_t{127}, int64_t{128}, int64_t{-7},
          std::numeric_limits<int64_t>::max()}) {
      for (const size_t size : {0, 1, 118, 119, 120, 127, 128, 20000}) {
        const std::string tag(size, 't');
        for (const float value : {0.0f, -0.0f, 0.5f, std::nanf("")}) {
          const Summary summary = OfScalar(tag, value);
          EncodeScalarEvent(time, step, tag, value, &record);
          ASSERT_EQ(record, Expected(time, step, summary)) << size;
          EncodeEvent(time, step, summary.SerializeAsString(), &record);
          ASSERT_EQ(record, Expected(time, step, summary)) << size;
        }
      }
    }
  }
}

TEST(ScalarEventTest, ScalarsAreToldFromAllElse) {
  EXPECT_TRUE(HoldsOnlyScalars(""));
  Summary summary;
  for (int i = 0; i < 20; ++i) {
    summary.MergeFrom(OfScalar(absl::StrCat("layer_", i, "/loss"), 1));
    EXPECT_TRUE(HoldsOnlyScalars(summary.SerializeAsString()));
  }
  Summary other = summary;
  other.mutable_value(7)->mutable_metadata()->set_display_name("shown");
  EXPECT_FALSE(HoldsOnlyScalars(other.SerializeAsString()));
  other = summary;
  other.mutable_value(19)->mutable_histo()->set_min(1);
  EXPECT_FALSE(HoldsOnlyScalars(other.SerializeAsString()));
  EXPECT_FALSE(HoldsOnlyScalars(OfScalar("\xc3\xa4", 1).SerializeAsString()));
}

// What is taken as it is must be readable, or it would hide what follows.
TEST(ScalarEventTest, WhatIsTakenCanBeParsed) {
  Summary summary = OfScalar("loss", 1);
  summary.MergeFrom(OfScalar("", 2));
  const std::string bytes = summary.SerializeAsString();
  int taken = 0;
  const auto check = [&](const std::string& damaged) {
    if (!HoldsOnlyScalars(damaged)) return;
    ++taken;
    ASSERT_TRUE(Summary().ParseFromString(damaged));
  };
  for (size_t i = 0; i < bytes.size(); ++i) {
    check(bytes.substr(0, i));
    for (int byte = 0; byte < 256; ++byte) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(byte);
      check(damaged);
    }
  }
  EXPECT_GT(taken, 256);
}

}  // namespace
}  // namespace tftrain::internal

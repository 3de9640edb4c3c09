// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/scalar_event.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "google/protobuf/io/coded_stream.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/util/event.pb.h"

namespace tftrain::internal {
namespace {

using google::protobuf::io::CodedInputStream;
using tensorflow::Event;
using tensorflow::Summary;

// What stands before a field: its number, which is below 16, and how it is
// written.
enum Form { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };
constexpr uint32_t Key(int field, Form form) {
  return static_cast<uint32_t>(field << 3 | form);
}
constexpr uint32_t kWallTime = Key(Event::kWallTimeFieldNumber, kFixed64);
constexpr uint32_t kStep = Key(Event::kStepFieldNumber, kVarint);
constexpr uint32_t kSummary = Key(Event::kSummaryFieldNumber, kLength);
constexpr uint32_t kValue = Key(Summary::kValueFieldNumber, kLength);
constexpr uint32_t kTag = Key(Summary::Value::kTagFieldNumber, kLength);
constexpr uint32_t kSimpleValue =
    Key(Summary::Value::kSimpleValueFieldNumber, kFixed32);

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) >= 0; });
}

// Reads the length of what comes next, and whether all of it is there.
bool ReadLength(CodedInputStream* input, int* length) {
  return input->ReadVarintSizeAsInt(length) &&
         *length <= input->BytesUntilLimit();
}

// Reads a value of a summary up to the limit.
bool IsScalar(std::string_view bytes, CodedInputStream* input) {
  while (const uint32_t key = input->ReadTag()) {
    int length = sizeof(float);
    if (key == kTag) {
      if (!ReadLength(input, &length)) return false;
      const auto at = static_cast<size_t>(input->CurrentPosition());
      if (!IsAscii(bytes.substr(at, static_cast<size_t>(length)))) return false;
    } else if (key != kSimpleValue) {
      return false;
    }
    if (!input->Skip(length)) return false;
  }
  return input->ConsumedEntireMessage();
}

// The most bytes that a number and what stands before it take.
constexpr size_t kMostOfNumber = 11;

char* PutVarint(uint64_t value, char* out) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<char>(value | 0x80);
  *out++ = static_cast<char>(value);
  return out;
}

template <typename T>
char* PutFixed(uint32_t key, T value, char* out) {
  *out++ = static_cast<char>(key);
  std::memcpy(out, &value, sizeof(T));
  return out + sizeof(T);
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

char* PutBytes(uint32_t key, std::string_view bytes, char* out) {
  out = PutVarint(bytes.size(), PutVarint(key, out));
  return std::copy(bytes.begin(), bytes.end(), out);
}

// What comes before the bytes of a summary. Zeros are left out, as everywhere.
char* PutBeginning(double wall_time, int64_t step, size_t summary_size,
                   char* out) {
  if (wall_time != 0) out = PutFixed(kWallTime, wall_time, out);
  if (step != 0) {
    out = PutVarint(static_cast<uint64_t>(step), PutVarint(kStep, out));
  }
  return PutVarint(summary_size, PutVarint(kSummary, out));
}

}  // namespace

bool HoldsOnlyScalars(std::string_view bytes) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                         static_cast<int>(bytes.size()));
  const auto all = input.PushLimit(static_cast<int>(bytes.size()));
  while (const uint32_t key = input.ReadTag()) {
    int length = 0;
    if (key != kValue || !ReadLength(&input, &length)) return false;
    const auto limit = input.PushLimit(length);
    if (!IsScalar(bytes, &input)) return false;
    input.PopLimit(limit);
  }
  input.PopLimit(all);
  return static_cast<size_t>(input.CurrentPosition()) == bytes.size();
}

void EncodeEvent(double wall_time, int64_t step, std::string_view summary,
                 std::string* record) {
  record->resize(3 * kMostOfNumber + summary.size());
  char* const begin = record->data();
  char* const end =
      std::copy(summary.begin(), summary.end(),
                PutBeginning(wall_time, step, summary.size(), begin));
  record->resize(static_cast<size_t>(end - begin));
}

void EncodeScalarEvent(double wall_time, int64_t step, std::string_view tag,
                       float value, std::string* record) {
  const size_t tag_size =
      tag.empty() ? 0 : 1 + VarintSize(tag.size()) + tag.size();
  const size_t value_size = tag_size + 1 + sizeof(float);
  record->resize(6 * kMostOfNumber + tag.size());
  char* const begin = record->data();
  char* out = PutBeginning(wall_time, step,
                           1 + VarintSize(value_size) + value_size, begin);
  out = PutVarint(value_size, PutVarint(kValue, out));
  if (!tag.empty()) out = PutBytes(kTag, tag, out);
  out = PutFixed(kSimpleValue, value, out);
  record->resize(static_cast<size_t>(out - begin));
}

}  // namespace tftrain::internal

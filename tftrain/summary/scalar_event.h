// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Events of scalars, written byte by byte: a step may bring many of them, and
// making an object for each costs several times as much. Used by
// EventFileWriter.

#ifndef TFTRAIN_SUMMARY_SCALAR_EVENT_H_
#define TFTRAIN_SUMMARY_SCALAR_EVENT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace tftrain::internal {

// Thread-safe: the functions share nothing.

// Whether `bytes` are those of a Summary with nothing but scalars whose tags
// are ASCII, as operations make them; then a reader takes them as they are.
bool HoldsOnlyScalars(std::string_view bytes);

// Replaces `record` by the bytes of an Event with that Summary, ...
void EncodeEvent(double wall_time, int64_t step, std::string_view summary,
                 std::string* record);

// ... or with a Summary of one scalar.
void EncodeScalarEvent(double wall_time, int64_t step, std::string_view tag,
                       float value, std::string* record);

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_SCALAR_EVENT_H_

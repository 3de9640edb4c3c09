// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What is known about a checkpoint beside its values: the small JSON file
// P.tftrain.json, such as
//
//   {"metrics":{"loss":0.25},"kept":true}
//
// A checkpoint without the file has no metrics. TensorFlow does not look at it.
//
// Thread-safe: the functions share nothing but the files.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_NOTES_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_NOTES_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/file.h"

namespace tftrain::internal {

// What the file may be at most, in bytes.
inline constexpr int64_t kNotesLimit = int64_t{1} << 16;

// The content of the file.
struct CheckpointNotes {
  // All finite.
  std::map<std::string, double> metrics;
  // Whether it is kept for good: no later run deletes it.
  bool kept = false;
};

// The notes on the checkpoint `prefix`; none if there is no file. One that
// cannot be read or is not what it should be is ignored, which is logged at
// WARNING; so are parts of it.
CheckpointNotes ReadNotes(const std::string& prefix);

// kInvalidArgument for a name of a metric that is empty or no UTF-8.
absl::Status CheckMetricName(const std::string& name);

// Writes `notes` as the file `path`. Metrics that are not finite are left out.
// Errors: those of CheckMetricName() and WriteFileAtomically; kInvalidArgument
// when the file would be longer than kNotesLimit.
absl::Status WriteNotes(const CheckpointNotes& notes, const std::string& path,
                        const WriteOptions& options);

// Changes the notes on the checkpoint `prefix`, durably, in one write. The file
// keeps its permissions; a new one gets those of the index. Metrics that are
// not among `metrics` stay.
// Errors: kNotFound when there is no such checkpoint (any more); those of
// WriteNotes().
absl::Status SetMetrics(const std::string& prefix,
                        const std::map<std::string, double>& metrics);
absl::Status MarkKept(const std::string& prefix);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_CHECKPOINT_NOTES_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/checkpoint_notes.h"

#include <cerrno>
#include <cmath>
#include <functional>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/utf8.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/checkpoint/filename.h"

namespace tftrain::internal {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr char kMetrics[] = "metrics";
constexpr char kKept[] = "kept";

absl::StatusOr<CheckpointNotes> Parse(const std::string& text) {
  Struct json;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &json);
  if (!status.ok()) return absl::InvalidArgumentError(status.ToString());
  CheckpointNotes notes;
  const auto& fields = json.fields();
  if (const auto it = fields.find(kKept); it != fields.end()) {
    notes.kept = it->second.bool_value();
  }
  const auto it = fields.find(kMetrics);
  if (it == fields.end()) return notes;
  for (const auto& [name, value] : it->second.struct_value().fields()) {
    if (value.kind_case() == Value::kNumberValue && !name.empty() &&
        std::isfinite(value.number_value())) {
      notes.metrics[name] = value.number_value();
    } else {
      LOG(WARNING) << "The metric \"" << name
                   << "\" of a checkpoint is ignored: it is no number";
    }
  }
  return notes;
}

// Lets `change` change the notes on `prefix`.
absl::Status Change(const std::string& prefix,
                    const std::function<void(CheckpointNotes*)>& change) {
  // Nobody deletes the checkpoint meanwhile and leaves the file alone.
  TF_ASSIGN_OR_RETURN(const CheckpointPin pin, CheckpointPin::Take(prefix));
  const std::string path = NotesFileName(prefix);
  struct stat stat;
  if (CurrentFileOps().Stat(path.c_str(), &stat) < 0 &&
      CurrentFileOps().Stat(IndexFileName(prefix).c_str(), &stat) < 0) {
    return ErrnoError(errno, "cannot read", IndexFileName(prefix));
  }
  CheckpointNotes notes = ReadNotes(prefix);
  change(&notes);
  WriteOptions options;
  options.mode = stat.st_mode & 0666;
  return WriteNotes(notes, path, options);
}

}  // namespace

CheckpointNotes ReadNotes(const std::string& prefix) {
  const std::string path = NotesFileName(prefix);
  const absl::StatusOr<std::string> text = ReadFile(path, kNotesLimit);
  if (absl::IsNotFound(text.status())) return {};
  absl::StatusOr<CheckpointNotes> notes =
      text.ok() ? Parse(*text) : text.status();
  if (notes.ok()) return *std::move(notes);
  LOG(WARNING) << "The notes \"" << path
               << "\" on a checkpoint are ignored: " << notes.status();
  return {};
}

absl::Status CheckMetricName(const std::string& name) {
  std::string valid = name;
  MakeUtf8(&valid);
  if (!name.empty() && name == valid) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the name \"", valid,
                   "\" of a metric of a checkpoint is empty or no UTF-8, give "
                   "it another"));
}

absl::Status WriteNotes(const CheckpointNotes& notes, const std::string& path,
                        const WriteOptions& options) {
  Struct json;
  Struct* const metrics =
      (*json.mutable_fields())[kMetrics].mutable_struct_value();
  for (const auto& [name, value] : notes.metrics) {
    TF_RETURN_IF_ERROR(CheckMetricName(name));
    if (std::isfinite(value)) {
      (*metrics->mutable_fields())[name].set_number_value(value);
    }
  }
  if (notes.kept) (*json.mutable_fields())[kKept].set_bool_value(true);
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(json, &text);
  if (!status.ok() || text.size() >= kNotesLimit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the metrics cannot be written to \"", path, "\": they take more than ",
        kNotesLimit, " bytes; give fewer, or shorter names"));
  }
  return WriteFileAtomically(path, text + "\n", options);
}

absl::Status SetMetrics(const std::string& prefix,
                        const std::map<std::string, double>& metrics) {
  return Change(prefix, [&](CheckpointNotes* notes) {
    for (const auto& [name, value] : metrics) notes->metrics[name] = value;
  });
}

absl::Status MarkKept(const std::string& prefix) {
  return Change(prefix, [](CheckpointNotes* notes) { notes->kept = true; });
}

}  // namespace tftrain::internal

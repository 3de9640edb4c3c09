// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/metrics_hook.h"

#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/utf8.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/named_tensors.h"
#include "tftrain/hooks/internal/tensor_text.h"

namespace tftrain {
namespace {

using tensorflow::Tensor;

constexpr std::string_view kStep = "step";
constexpr std::string_view kTime = "time";

std::string JsonText(std::string text) {
  MakeUtf8(&text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", std::string_view(&c, 1));
    } else if (static_cast<unsigned char>(c) < ' ') {
      absl::StrAppendFormat(&quoted, "\\u%04x", c);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string CsvText(std::string text) {
  MakeUtf8(&text);
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

// The value of one number for CSV.
absl::StatusOr<std::string> NumberText(const Tensor& tensor,
                                       std::string_view name) {
  TF_ASSIGN_OR_RETURN(const double value, internal::NumberIn(tensor, name));
  if (tensor.dtype() == tensorflow::DT_BOOL) return value != 0 ? "1" : "0";
  Tensor scalar;
  CHECK(scalar.CopyFrom(tensor, {}));  // It holds one element.
  return internal::TensorText(scalar);
}

// The same for JSON.
std::string ToJson(const std::string& number) {
  if (number == "nan") return "\"NaN\"";
  if (number == "inf") return "\"Infinity\"";
  if (number == "-inf") return "\"-Infinity\"";
  return number;
}

std::optional<int64_t> StepOfCsv(std::string_view row) {
  int64_t step = 0;
  if (!absl::SimpleAtoi(row.substr(0, row.find(',')), &step)) {
    return std::nullopt;
  }
  return step;
}

std::optional<int64_t> StepOfJson(std::string_view row) {
  if (!absl::ConsumePrefix(&row, "{\"step\":")) return std::nullopt;
  return StepOfCsv(row);
}

std::string CsvHeader(const std::vector<LoggedTensor>& tensors) {
  std::string header = absl::StrCat(kStep, ",", kTime);
  for (const LoggedTensor& tensor : tensors) {
    absl::StrAppend(&header, ",", CsvText(tensor.tag));
  }
  return header;
}

}  // namespace

MetricsHook::MetricsHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()) {}

absl::Status MetricsHook::CheckNames() const {
  if (options_.tensors.empty()) {
    return absl::InvalidArgumentError(
        "there are no tensors to write, name at least one");
  }
  if (options_.json_path.empty() && options_.csv_path.empty()) {
    return absl::InvalidArgumentError(
        "neither json_path nor csv_path is set, give a file to write to");
  }
  std::set<std::string_view> tags = {kStep, kTime};
  for (const LoggedTensor& tensor : options_.tensors) {
    if (!tags.insert(tensor.tag).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the name \"", tensor.tag,
                       "\" is taken in each row; call the tensor otherwise"));
    }
    if (absl::StrContains(tensor.tag, '\n')) {
      return absl::InvalidArgumentError(
          absl::StrCat("the name of the tensor \"", tensor.tensor,
                       "\" has more than one line; call the tensor otherwise"));
    }
  }
  return absl::OkStatus();
}

absl::Status MetricsHook::Begin(BeginContext& context) {
  TF_RETURN_IF_ERROR(CheckNames());
  TF_ASSIGN_OR_RETURN(
      timer_, SecondOrStepTimer::Create(options_.every, options_.clock));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "MetricsHook").status());
  std::vector<std::string> names;
  for (const LoggedTensor& tensor : options_.tensors) {
    TF_ASSIGN_OR_RETURN(names.emplace_back(),
                        internal::NumberName(context.graph(), tensor.tensor));
  }
  args_ = SessionRunArgs(internal::FetchAll(names));
  context.Declare(args_);
  return absl::OkStatus();
}

absl::Status MetricsHook::AfterCreateSession(Session& session, Coordinator&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
  step_.Start(step);
  is_requested_ = false;
  if (!options_.json_path.empty()) {
    json_ = std::make_unique<internal::RowFile>(
        options_.json_path, options_.file_mode, "", StepOfJson);
    TF_RETURN_IF_ERROR(json_->Open(step));
  }
  if (!options_.csv_path.empty()) {
    csv_ = std::make_unique<internal::RowFile>(
        options_.csv_path, options_.file_mode, CsvHeader(options_.tensors),
        StepOfCsv);
    TF_RETURN_IF_ERROR(csv_->Open(step));
  }
  return absl::OkStatus();
}

absl::Status MetricsHook::OnUndone(SessionRunContext& context) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  step_.Start(step);
  timer_->Reset();
  // A file that cannot be repaired now is by the next row.
  for (const auto* file : {&json_, &csv_}) {
    if (*file != nullptr) (*file)->Open(step).IgnoreError();
  }
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> MetricsHook::BeforeRun(SessionRunContext&) {
  is_requested_ = timer_->ShouldTriggerForStep(step_.next());
  return is_requested_ ? args_ : SessionRunArgs();
}

absl::Status MetricsHook::AfterRun(SessionRunContext& context,
                                   const SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  // A run that did not train, such as on other input, has no row.
  const bool has_trained = step_.Advance(step);
  // It may have seemed due, and the run was shorter than the one before.
  if (!has_trained || !is_requested_ || !timer_->ShouldTriggerForStep(step)) {
    return absl::OkStatus();
  }
  timer_->UpdateLastTriggeredStep(step);
  const std::string time = absl::StrFormat(
      "%.3f", absl::ToDoubleSeconds(clock_->Now() - absl::UnixEpoch()));
  std::string json =
      absl::StrCat("{\"", kStep, "\":", step, ",\"", kTime, "\":", time);
  std::string csv = absl::StrCat(step, ",", time);
  const StepValues& results = values.results();
  for (size_t i = 0; i < results.size(); ++i) {
    TF_ASSIGN_OR_RETURN(const std::string number,
                        NumberText(results[i], results.name(i)));
    absl::StrAppend(&json, ",", JsonText(options_.tensors[i].tag), ":",
                    ToJson(number));
    absl::StrAppend(&csv, ",", number);
  }
  if (json_ != nullptr) Append(json_.get(), step, json + "}");
  if (csv_ != nullptr) Append(csv_.get(), step, csv);
  return absl::OkStatus();
}

void MetricsHook::Append(internal::RowFile* file, int64_t step,
                         const std::string& row) {
  const absl::Status status = file->Append(step, row);
  if (status.ok()) {
    ++stats_.written;
  } else if (++stats_.lost == 1) {
    LOG(WARNING) << "Metrics are lost, and training goes on without them: "
                 << status.message();
  }
}

absl::Status MetricsHook::End(Session&) {
  json_.reset();
  csv_.reset();
  if (stats_.lost > 0) {
    LOG(WARNING) << "Rows of metrics that were lost: " << stats_.lost << " of "
                 << stats_.written + stats_.lost;
  }
  return absl::OkStatus();
}

void MetricsHook::OnAbort(const absl::Status&) {
  json_.reset();
  csv_.reset();
}

std::shared_ptr<MetricsHook> WriteMetrics(std::string path,
                                          std::vector<LoggedTensor> tensors,
                                          const Every& every) {
  MetricsHook::Options options;
  options.tensors = std::move(tensors);
  options.every = every;
  (absl::EndsWith(path, ".csv") ? options.csv_path : options.json_path) =
      std::move(path);
  return std::make_shared<MetricsHook>(std::move(options));
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/parity/fixtures.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"

namespace tftrain {
namespace {

using google::protobuf::Struct;
using Json = google::protobuf::Value;

// A value as text: whole numbers without a point, null as "none".
std::string Text(const Json& value) {
  switch (value.kind_case()) {
    case Json::kStringValue:
      return value.string_value();
    case Json::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case Json::kNumberValue:
      return absl::StrCat(value.number_value());
    default:
      return "none";
  }
}

std::vector<std::string> Texts(const Json& list) {
  std::vector<std::string> texts;
  for (const Json& value : list.list_value().values()) {
    texts.push_back(Text(value));
  }
  return texts;
}

std::vector<double> Numbers(const Json& list) {
  std::vector<double> numbers;
  for (const Json& value : list.list_value().values()) {
    numbers.push_back(value.number_value());
  }
  return numbers;
}

// What an event is, as describe_event in lifecycle_trace.py.
std::string Describe(const tensorflow::Event& event) {
  switch (event.what_case()) {
    case tensorflow::Event::kFileVersion:
      return "file_version";
    case tensorflow::Event::kGraphDef:
      return "graph_def";
    case tensorflow::Event::kMetaGraphDef:
      return "meta_graph_def";
    case tensorflow::Event::kSessionLog: {
      const tensorflow::SessionLog& log = event.session_log();
      std::string text = absl::StrCat(
          "session_log ",
          tensorflow::SessionLog::SessionStatus_Name(log.status()));
      if (!log.checkpoint_path().empty()) {
        absl::StrAppend(&text, " ", BaseName(log.checkpoint_path()));
      }
      return text;
    }
    case tensorflow::Event::kSummary: {
      std::string text = "summary ";
      for (const auto& value : event.summary().value()) {
        absl::StrAppend(&text, text.back() == ' ' ? "" : ",", value.tag());
      }
      return text;
    }
    default:
      return "something else";
  }
}

void AppendEvents(const std::string& path, std::vector<std::string>* events) {
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  CHECK(tensorflow::Env::Default()->NewRandomAccessFile(path, &file).ok());
  tensorflow::io::RecordReader reader(file.get());
  uint64_t offset = 0;
  tensorflow::tstring record;
  while (reader.ReadRecord(&offset, &record).ok()) {
    tensorflow::Event event;
    CHECK(event.ParseFromString(std::string(record)));
    events->push_back(absl::StrCat(event.step(), " ", Describe(event)));
  }
}

}  // namespace

Struct ReadJson(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 16 << 20);
  CHECK(text.ok()) << text.status();
  Struct json;
  const auto parsed = google::protobuf::util::JsonStringToMessage(*text, &json);
  CHECK(parsed.ok()) << path << ": " << parsed;
  return json;
}

const Json& At(const Struct& json, const std::string& key) {
  const auto it = json.fields().find(key);
  CHECK(it != json.fields().end()) << "no \"" << key << "\"";
  return it->second;
}

Fixture::Fixture(const std::string& kind)
    : folder_(absl::StrCat(TFTRAIN_FIXTURES, "/", kind)),
      expected_(ReadJson(folder_ + "/expected.json")) {}

std::string Fixture::checkpoint() const {
  return absl::StrCat(folder_, "/", Text(At(expected_, "checkpoint")));
}

std::vector<double> Fixture::losses() const {
  return Numbers(At(expected_, "losses"));
}

std::vector<double> Fixture::losses_resumed() const {
  const Struct& python = At(expected_, "resumed_by_python").struct_value();
  if (python.fields().count("losses") > 0) {
    return Numbers(At(python, "losses"));
  }
  const std::vector<double> all = losses();
  return {all.begin() + Number("checkpoint_step"), all.end()};
}

std::vector<double> Fixture::Variable(const std::string& when,
                                      const std::string& name) const {
  const Struct& variables = At(expected_, when).struct_value();
  return Numbers(At(At(variables, name).struct_value(), "values"));
}

std::vector<std::string> Fixture::VariableNames(const std::string& when) const {
  std::vector<std::string> names;
  for (const auto& [name, value] :
       At(expected_, when).struct_value().fields()) {
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t Fixture::Number(const std::string& name) const {
  return static_cast<int64_t>(At(expected_, name).number_value());
}

Feeds Fixture::FeedsAt(int64_t step) const {
  Feeds feeds;
  if (expected_.fields().count("feeds") == 0) return feeds;
  // batch_at in common.py.
  constexpr int kBatch = 4;
  tensorflow::Tensor x(tensorflow::DT_FLOAT, {kBatch, 2});
  tensorflow::Tensor y(tensorflow::DT_FLOAT, {kBatch, 1});
  for (int row = 0; row < kBatch; ++row) {
    const int64_t index = step * kBatch + row;
    const float a = (static_cast<float>(index % 5) - 2) / 2;
    const float b = (static_cast<float>(index % 3) - 1) / 2;
    x.matrix<float>()(row, 0) = a;
    x.matrix<float>()(row, 1) = b;
    y.matrix<float>()(row, 0) = 2 * a - b + 0.5f;
  }
  feeds.Add("x:0", x);
  feeds.Add("y:0", y);
  return feeds;
}

FolderTrace ReadFolder(const std::string& folder) {
  FolderTrace trace;
  const auto listed = ListCheckpoints(folder);
  CHECK(listed.ok()) << listed.status();
  for (const ListedCheckpoint& checkpoint : *listed) {
    trace.checkpoints.push_back(std::string(BaseName(checkpoint.prefix)));
  }
  std::sort(trace.checkpoints.begin(), trace.checkpoints.end());
  const auto names = ListFolder(folder);
  CHECK(names.ok()) << names.status();
  std::set<std::string> files;
  for (const std::string& name : *names) {
    const size_t events = name.find("tfevents");
    if (events == std::string::npos) {
      files.insert(name);
    } else {
      files.insert(name.substr(0, events + std::string("tfevents").size()));
      AppendEvents(JoinPath(folder, name), &trace.events);
    }
  }
  trace.files.assign(files.begin(), files.end());
  const auto state = GetCheckpointState(folder);
  trace.state_status = state.status();
  if (state.ok() && state->has_value()) {
    for (const std::string& path : (*state)->all_model_checkpoint_paths) {
      trace.state.push_back(std::string(BaseName(path)));
    }
  }
  return trace;
}

ExpectedTrace::ExpectedTrace(const std::string& scenario) {
  const Struct all =
      ReadJson(absl::StrCat(TFTRAIN_FIXTURES, "/lifecycle.json"));
  const Struct& record = At(all, scenario).struct_value();
  calls = Texts(At(record, "calls"));
  runs = Texts(At(record, "runs"));
  losses = Numbers(At(record, "losses"));
  should_stop = Texts(At(record, "should_stop"));
  last_step = Text(At(record, "last_step"));
  graph_finalized = At(record, "graph_finalized").bool_value();
  const Json& failure = At(record, "error");
  error = failure.has_struct_value()
              ? absl::StrCat(Text(At(failure.struct_value(), "kind")), " in ",
                             Text(At(failure.struct_value(), "where")))
              : "none";
  has_folder = record.fields().count("events") > 0;
  if (!has_folder) return;
  checkpoints = Texts(At(record, "checkpoints"));
  files = Texts(At(record, "files"));
  state = Texts(At(record, "state"));
  for (const Json& event : At(record, "events").list_value().values()) {
    events.push_back(absl::StrCat(Text(event.list_value().values(0)), " ",
                                  Text(event.list_value().values(1))));
  }
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Reads event files back, for the tests of this folder.
//
// Thread-safe: the functions share nothing but the files.

#ifndef TFTRAIN_SUMMARY_EVENT_READER_FOR_TEST_H_
#define TFTRAIN_SUMMARY_EVENT_READER_FOR_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/util/event.pb.h"

namespace tftrain {

// The events of a file up to its end or to the first damaged one. A file that
// is missing, or a record that is no Event, is a failure of the test.
inline std::vector<tensorflow::Event> ReadEvents(const std::string& path) {
  std::vector<tensorflow::Event> events;
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  const auto opened =
      tensorflow::Env::Default()->NewRandomAccessFile(path, &file);
  if (!opened.ok()) {
    ADD_FAILURE() << opened;
    return events;
  }
  tensorflow::io::SequentialRecordReader reader(file.get());
  tensorflow::tstring record;
  while (reader.ReadRecord(&record).ok()) {
    EXPECT_TRUE(events.emplace_back().ParseFromArray(
        record.data(), static_cast<int>(record.size())));
  }
  return events;
}

// What an event says, in one line: "version", "loss=0.5@3", "graph" ...
inline std::string Describe(const tensorflow::Event& event) {
  std::string text;
  if (event.has_summary()) {
    for (const auto& value : event.summary().value()) {
      absl::StrAppend(&text, text.empty() ? "" : ",", value.tag(), "=",
                      value.simple_value(), value.has_metadata() ? "+m" : "");
    }
  } else if (!event.file_version().empty()) {
    text = event.file_version();
  } else if (!event.graph_def().empty()) {
    text = "graph";
  } else if (!event.meta_graph_def().empty()) {
    text = "meta_graph";
  } else if (event.has_session_log()) {
    text = absl::StrCat(tensorflow::SessionLog::SessionStatus_Name(
                            event.session_log().status()),
                        "(", event.session_log().checkpoint_path(), ")",
                        event.session_log().msg());
  } else if (event.has_tagged_run_metadata()) {
    text = absl::StrCat("run:", event.tagged_run_metadata().tag());
  }
  if (event.step() != 0) absl::StrAppend(&text, "@", event.step());
  return text;
}

// The descriptions of the events of a file, without the version record.
inline std::vector<std::string> Describe(const std::string& path) {
  std::vector<std::string> lines;
  for (const tensorflow::Event& event : ReadEvents(path)) {
    lines.push_back(Describe(event));
  }
  if (!lines.empty() && lines.front() == "brain.Event:2") {
    lines.erase(lines.begin());
  }
  return lines;
}

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_EVENT_READER_FOR_TEST_H_

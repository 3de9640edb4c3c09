// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A folder of event files, for the tests of what a writer writes and how.

#ifndef TFTRAIN_SUMMARY_EVENT_FILE_WRITER_FOR_TEST_H_
#define TFTRAIN_SUMMARY_EVENT_FILE_WRITER_FOR_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tftrain/summary/event_file_writer.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {

// One at a time.
//
// Confined: use from the thread that created it.
class EventFileWriterTest : public ::testing::Test {
 protected:
  std::shared_ptr<EventFileWriter> Open(EventFileWriter::Options options = {}) {
    if (options.logdir.empty()) options.logdir = dir_.path();
    auto writer = EventFileWriter::Create(std::move(options));
    EXPECT_THAT(writer, IsOk());
    return *writer;
  }
  // The events of all files of the folder, in the order of their names.
  std::vector<std::string> Events() {
    std::vector<std::string> all;
    for (const std::string& name : dir_.List()) {
      for (const std::string& line : Describe(dir_ / name)) {
        all.push_back(line);
      }
    }
    return all;
  }

  const TempDir dir_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_EVENT_FILE_WRITER_FOR_TEST_H_

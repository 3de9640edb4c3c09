// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/summary/event_file_writer_for_test.h"
#include "tftrain/summary/event_reader_for_test.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

// WRT-01
TEST_F(EventFileWriterTest, FolderIsMadeAtOnceAndTheFileWithTheFirstEvent) {
  EventFileWriter::Options options;
  options.logdir = dir_ / "a/b";
  const auto writer = Open(options);
  EXPECT_THAT(ListFolder(dir_ / "a/b"), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(writer->path(), "");

  writer->AddScalar("loss", 0.5f, 3);
  ASSERT_THAT(writer->Flush(), IsOk());

  EXPECT_THAT(ListFolder(dir_ / "a/b"), IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(Describe(writer->path()), ElementsAre("loss=0.5@3"));
}

// WRT-01
TEST_F(EventFileWriterTest, WriterWithoutEventsLeavesNoFile) {
  EventFileWriter::Options options;
  options.filename_suffix = ".x";
  EXPECT_THAT(Open(options)->Close(), IsOk());
  EXPECT_THAT(dir_.List(), IsEmpty());
}

// WRT-02
TEST_F(EventFileWriterTest, FileIsNamedAndBegunAsTensorFlowDoes) {
  FakeClock clock(absl::FromUnixSeconds(12345));
  EventFileWriter::Options options;
  options.clock = &clock;
  options.filename_suffix = ".run";
  const auto writer = Open(options);
  writer->AddScalar("loss", 1);
  ASSERT_THAT(writer->Close(), IsOk());

  ASSERT_THAT(dir_.List(), ElementsAre(MatchesRegex(absl::StrCat(
                               "events\\.out\\.tfevents\\.0000012345\\..+\\.",
                               ::getpid(), "\\.[0-9]{5}\\.run"))));
  const auto events = ReadEvents(writer->path());
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[0].wall_time(), 12345);
  EXPECT_NE(events[0].source_metadata().writer(), "");
}

// WRT-04
TEST_F(EventFileWriterTest, EventsHaveTheTimeAndTheStepGiven) {
  FakeClock clock(absl::FromUnixMillis(1500));
  EventFileWriter::Options options;
  options.clock = &clock;
  const auto writer = Open(options);
  writer->AddScalar("a", 1, -7);
  clock.Advance(absl::Seconds(2));
  writer->AddSummary(tensorflow::Summary());
  tensorflow::Event event;
  event.set_wall_time(9);
  event.set_step(8);
  writer->AddEvent(event);
  event.set_wall_time(0);
  writer->AddEvent(event);
  ASSERT_THAT(writer->Close(), IsOk());

  const auto events = ReadEvents(writer->path());
  ASSERT_THAT(events, SizeIs(5));
  EXPECT_EQ(events[1].wall_time(), 1.5);
  EXPECT_EQ(events[1].step(), -7);
  EXPECT_EQ(events[2].wall_time(), 3.5);
  EXPECT_EQ(events[2].step(), 0);
  EXPECT_TRUE(events[2].has_summary());
  EXPECT_EQ(events[3].wall_time(), 9);
  EXPECT_EQ(events[3].step(), 8);
  EXPECT_EQ(events[4].wall_time(), 3.5);
}

// WRT-05
TEST_F(EventFileWriterTest, MetadataOfATagIsKeptOnce) {
  tensorflow::Summary summary;
  for (const char* tag : {"a", "a", "b"}) {
    auto* value = summary.add_value();
    value->set_tag(tag);
    value->set_simple_value(1);
    value->mutable_metadata()->set_display_name("shown");
  }
  const auto writer = Open();
  writer->AddSummary(summary, 1);
  ASSERT_THAT(writer->AddSummary(summary.SerializeAsString(), 2), IsOk());
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("a=1+m,a=1,b=1+m@1", "a=1,a=1,b=1@2"));
}

// WRT-05
TEST_F(EventFileWriterTest, TakesTheValueOfASummaryOp) {
  tensorflow::Summary summary;
  summary.add_value()->set_tag("t");
  tensorflow::Tensor tensor(tensorflow::DT_STRING, {});
  tensor.scalar<tensorflow::tstring>()() = summary.SerializeAsString();
  const auto writer = Open();

  EXPECT_THAT(writer->AddSummary(tensor.scalar<tensorflow::tstring>()(), 5),
              IsOk());
  EXPECT_THAT(
      writer->AddSummary("no summary", 5),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10 bytes")));
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("t=0@5"));
}

// A record that a reader cannot parse hides all behind it.
TEST_F(EventFileWriterTest, TextThatIsNoUtf8IsWrittenSoThatReadersGoOn) {
  const auto writer = Open();
  tensorflow::Summary summary;
  summary.add_value()->set_tag("summary\xff");
  tensorflow::Event event;
  event.set_file_version("version\xff");

  writer->AddScalar("scalar\xff", 1);
  writer->AddSummary(summary);
  writer->AddHistogram("histogram\xff", std::vector<float>{1});
  writer->AddText("text\xff", "bytes\xff");
  writer->AddSessionLog(EventFileWriter::SessionStatus::kStart, std::nullopt,
                        "run\xff", "\xC3");
  EXPECT_THAT(writer->AddRunMetadata(tensorflow::RunMetadata(), "step\xff", 1),
              IsOk());
  EXPECT_THAT(
      writer->AddSummary(summary.SerializeAsString()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no UTF-8")));
  writer->AddEvent(event);
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("scalar\uFFFD=1", "summary\uFFFD=0",
                                    "histogram\uFFFD=0", "text\uFFFD=0+m",
                                    "START(run\uFFFD)\uFFFD",
                                    "run:step\uFFFD@1", "version\uFFFD"));
  // TensorBoard shows nothing of a tag with such a text.
  const auto events = ReadEvents(writer->path());
  EXPECT_EQ(events[4].summary().value(0).tensor().string_val(0), "bytes\uFFFD");
}

TEST_F(EventFileWriterTest, HistogramCountsValuesInTensorFlowsBuckets) {
  const auto writer = Open();
  writer->AddHistogram("w", std::vector<double>{-1, 0, 0.5, 0.5, 3}, 7);
  writer->AddHistogram("f", std::vector<float>{0.25f});
  ASSERT_THAT(writer->AddHistogram("i", tensorflow::Tensor(int64_t{2})),
              IsOk());
  ASSERT_THAT(writer->Close(), IsOk());

  const auto events = ReadEvents(writer->path());
  ASSERT_THAT(events, SizeIs(4));
  EXPECT_EQ(events[1].step(), 7);
  const auto& value = events[1].summary().value(0);
  EXPECT_EQ(value.tag(), "w");
  EXPECT_EQ(value.histo().min(), -1);
  EXPECT_EQ(value.histo().max(), 3);
  EXPECT_EQ(value.histo().num(), 5);
  EXPECT_EQ(value.histo().sum(), 3);
  EXPECT_EQ(value.histo().sum_squares(), 10.5);
  EXPECT_THAT(value.histo().bucket(), testing::Contains(2));
  EXPECT_EQ(events[2].summary().value(0).histo().sum(), 0.25);
  EXPECT_EQ(events[3].summary().value(0).histo().max(), 2);
}

TEST_F(EventFileWriterTest, HistogramTakesAnyRealNumbers) {
  const auto writer = Open();
  int count = 0;
  for (int type = tensorflow::DataType_MIN; type <= tensorflow::DataType_MAX;
       ++type) {
    const auto dtype = static_cast<tensorflow::DataType>(type);
    if (!tensorflow::DataTypeCanUseMemcpy(dtype)) continue;
    tensorflow::Tensor tensor(dtype, {1});
    if (tensor.TotalBytes() == 0) continue;
    std::memset(tensor.data(), 0, tensor.TotalBytes());
    if (writer->AddHistogram(tensorflow::DataTypeString(dtype), tensor).ok()) {
      ++count;
    }
  }
  EXPECT_THAT(writer->AddHistogram("s", tensorflow::Tensor("text")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"s\""), HasSubstr("string"))));
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_GE(count, 10);
  EXPECT_EQ(writer->stats().written, count);
  EXPECT_EQ(writer->stats().dropped_invalid, 0);
}

TEST_F(EventFileWriterTest, HistogramOfANanIsLeftOutWithOneWarning) {
  LogCapture log;
  const auto writer = Open();
  for (int i = 0; i < 3; ++i) {
    writer->AddHistogram("w", std::vector<double>{1, std::nan("")});
  }
  writer->AddScalar("a", 1);
  EXPECT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("a=1"));
  EXPECT_EQ(writer->stats().accepted, 4);
  EXPECT_EQ(writer->stats().dropped_invalid, 3);
  EXPECT_THAT(log.lines(), testing::Contains(HasSubstr("\"w\"")).Times(1));
}

// The width, height and channels that the PNG file of `value` tells.
std::vector<int> ShapeOfPng(const tensorflow::Summary::Value& value) {
  const std::string& png = value.image().encoded_image_string();
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(static_cast<int>(png.at(19)), value.image().width());
  EXPECT_EQ(static_cast<int>(png.at(23)), value.image().height());
  const std::map<int, int> channels = {{0, 1}, {2, 3}, {6, 4}};
  EXPECT_EQ(channels.at(png.at(25)), value.image().colorspace());
  return {value.image().width(), value.image().height(),
          value.image().colorspace()};
}

TEST_F(EventFileWriterTest, ImagesOfABatchArePngFilesUnderTheirTags) {
  const auto writer = Open();
  tensorflow::Tensor bytes(tensorflow::DT_UINT8, {3, 2, 5, 3});
  bytes.flat<uint8_t>().setConstant(7);
  tensorflow::Tensor floats(tensorflow::DT_FLOAT, {1, 4, 4, 1});
  floats.flat<float>().setConstant(-0.5f);
  floats.flat<float>()(3) = std::nanf("");
  ASSERT_THAT(writer->AddImage("bytes", bytes, 7, 2), IsOk());
  ASSERT_THAT(writer->AddImage("floats", floats, 8, 1), IsOk());
  for (const auto type : {tensorflow::DT_HALF, tensorflow::DT_DOUBLE}) {
    tensorflow::Tensor image(type, {1, 1, 1, 4});
    std::memset(image.data(), 0, image.TotalBytes());
    EXPECT_THAT(writer->AddImage("other", image), IsOk());
  }
  ASSERT_THAT(writer->Close(), IsOk());

  const auto events = ReadEvents(writer->path());
  ASSERT_THAT(events, SizeIs(5));
  ASSERT_THAT(events[1].summary().value(), SizeIs(2));
  EXPECT_EQ(events[1].step(), 7);
  EXPECT_EQ(events[1].summary().value(0).tag(), "bytes/image/0");
  EXPECT_EQ(events[1].summary().value(1).tag(), "bytes/image/1");
  EXPECT_THAT(ShapeOfPng(events[1].summary().value(1)), ElementsAre(5, 2, 3));
  ASSERT_THAT(events[2].summary().value(), SizeIs(1));
  EXPECT_EQ(events[2].summary().value(0).tag(), "floats/image");
  EXPECT_THAT(ShapeOfPng(events[2].summary().value(0)), ElementsAre(4, 4, 1));
  EXPECT_THAT(ShapeOfPng(events[4].summary().value(0)), ElementsAre(1, 1, 4));
}

TEST_F(EventFileWriterTest, WhatIsNoImageIsRefused) {
  const auto writer = Open();
  const auto add = [&](tensorflow::DataType type, tensorflow::TensorShape shape,
                       int max_images = 3) {
    return writer->AddImage("i", tensorflow::Tensor(type, shape), {},
                            max_images);
  };
  const auto refused =
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"i\""));
  EXPECT_THAT(add(tensorflow::DT_INT32, {1, 2, 2, 3}), refused);
  EXPECT_THAT(add(tensorflow::DT_UINT8, {2, 2, 3}), refused);
  EXPECT_THAT(add(tensorflow::DT_UINT8, {1, 2, 2, 2}), refused);
  EXPECT_THAT(add(tensorflow::DT_UINT8, {1, 0, 2, 3}), refused);
  EXPECT_THAT(add(tensorflow::DT_UINT8, {1, 2, 2, 3}, 0), refused);
  EXPECT_THAT(writer->Close(), IsOk());
  EXPECT_THAT(dir_.List(), IsEmpty());
}

TEST_F(EventFileWriterTest, TextIsATensorForTheTextPlugin) {
  const auto writer = Open();
  writer->AddText("note", "# Title", 3);
  ASSERT_THAT(writer->Close(), IsOk());

  const auto events = ReadEvents(writer->path());
  ASSERT_THAT(events, SizeIs(2));
  const auto& value = events[1].summary().value(0);
  EXPECT_EQ(events[1].step(), 3);
  EXPECT_EQ(value.tag(), "note");
  EXPECT_EQ(value.metadata().plugin_data().plugin_name(), "text");
  EXPECT_EQ(value.tensor().string_val(0), "# Title");
}

// WRT-03, WRT-06, WRT-07
TEST_F(EventFileWriterTest, WritesGraphsAndNotesOnTheSession) {
  tensorflow::GraphDef graph;
  graph.add_node()->set_name("n");
  tensorflow::MetaGraphDef meta_graph;
  *meta_graph.mutable_graph_def() = graph;
  const auto writer = Open();
  writer->AddGraph(graph);
  writer->AddGraph(graph.SerializeAsString(), 1);
  writer->AddMetaGraph(meta_graph);
  writer->AddMetaGraph(meta_graph.SerializeAsString(), 2);
  using Status = EventFileWriter::SessionStatus;
  writer->AddSessionLog(Status::kStart, 10);
  writer->AddSessionLog(Status::kCheckpoint, 11, "run/m-11", "saved");
  writer->AddSessionLog(Status::kStop);
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("graph", "graph@1", "meta_graph",
                                    "meta_graph@2", "START()@10",
                                    "CHECKPOINT(run/m-11)saved@11", "STOP()"));
  const auto events = ReadEvents(writer->path());
  tensorflow::GraphDef read;
  ASSERT_TRUE(read.ParseFromString(events[1].graph_def()));
  EXPECT_EQ(read.node(0).name(), "n");
}

// WRT-07
TEST_F(EventFileWriterTest, RunMetadataNeedsATagOfItsOwn) {
  tensorflow::RunMetadata metadata;
  metadata.mutable_step_stats()->add_dev_stats()->set_device("cpu");
  const auto writer = Open();

  EXPECT_THAT(writer->AddRunMetadata(metadata, "step1", 1), IsOk());
  EXPECT_THAT(writer->AddRunMetadata(metadata, "step2", 2), IsOk());
  EXPECT_THAT(
      writer->AddRunMetadata(metadata, "step1", 3),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"step1\"")));
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("run:step1@1", "run:step2@2"));
}

// WRT-09, WRT-11
TEST_F(EventFileWriterTest, ClosedWriterTakesNothing) {
  const auto writer = Open();
  writer->AddScalar("a", 1);
  EXPECT_FALSE(writer->closed());
  EXPECT_THAT(writer->Close(), IsOk());
  EXPECT_TRUE(writer->closed());

  writer->AddScalar("a", 2);
  writer->AddGraph(std::string("graph"));
  EXPECT_THAT(writer->Flush(), IsOk());
  EXPECT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("a=1"));
  EXPECT_EQ(writer->stats().dropped_closed, 2);
}

// WRT-11, WRT-12: a new writer begins a file of its own, also within a second.
TEST_F(EventFileWriterTest, WritersOfOneSecondHaveTheirOwnFiles) {
  FakeClock clock;
  EventFileWriter::Options options;
  options.clock = &clock;
  for (int i = 0; i < 12; ++i) {
    const auto writer = Open(options);
    writer->AddScalar("a", static_cast<float>(i));
  }

  EXPECT_THAT(dir_.List(), SizeIs(12));
  EXPECT_THAT(Events(),
              ElementsAre("a=0", "a=1", "a=2", "a=3", "a=4", "a=5", "a=6",
                          "a=7", "a=8", "a=9", "a=10", "a=11"));
}

// Reliability row 20: a clock set back does not put new files before old ones.
TEST_F(EventFileWriterTest, NamesDoNotGoBackWithTheClock) {
  FakeClock clock(absl::FromUnixSeconds(2000));
  FaultyFileOps faults;
  EventFileWriter::Options options;
  options.clock = &clock;
  const auto writer = Open(options);
  writer->AddScalar("a", 1);
  ASSERT_THAT(writer->Flush(), IsOk());
  clock.SetNow(absl::FromUnixSeconds(1000));
  faults.FailCall(1, EIO);
  writer->AddScalar("a", 2);
  EXPECT_THAT(writer->Flush(), StatusIs(absl::StatusCode::kDataLoss));
  writer->AddScalar("a", 3);
  ASSERT_THAT(writer->Close(), IsOk());

  EXPECT_THAT(Events(), ElementsAre("a=1", "a=3"));
}

// Reliability row 20: nor do those of another writer, as a program that is
// started again has.
TEST_F(EventFileWriterTest, NamesFollowThoseThatAreThere) {
  const auto write = [&](int64_t seconds, float value) {
    FakeClock clock(absl::FromUnixSeconds(seconds));
    EventFileWriter::Options options;
    options.clock = &clock;
    const auto writer = Open(options);
    writer->AddScalar("a", value);
    EXPECT_THAT(writer->Close(), IsOk());
  };
  write(2000, 1);
  write(2000, 2);
  write(1000, 3);
  ASSERT_THAT(
      WriteFileAtomically(dir_ / "events.out.tfevents.9999999999.other", ""),
      IsOk());
  write(5000, 4);

  EXPECT_THAT(Events(), ElementsAre("a=1", "a=2", "a=3", "a=4"));
}

// Reliability S4
TEST_F(EventFileWriterTest, FileModeIsRespected) {
  EventFileWriter::Options options;
  options.file_mode = 0640;
  const mode_t former = ::umask(022);
  const auto writer = Open(options);
  writer->AddScalar("a", 1);
  ASSERT_THAT(writer->Close(), IsOk());
  ::umask(former);

  struct stat stat;
  ASSERT_EQ(::stat(writer->path().c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0640);
}

// Reliability S4
TEST_F(EventFileWriterTest, WhoSharesAWriterMayNarrowTheMode) {
  const mode_t former = ::umask(0);
  const auto writer = Open({});
  const auto mode = [&] {
    writer->AddScalar("a", 1);
    EXPECT_THAT(writer->Flush(), IsOk());
    struct stat stat;
    EXPECT_EQ(::stat(writer->path().c_str(), &stat), 0);
    return stat.st_mode & 0777;
  };
  writer->NarrowFileMode(0664);
  EXPECT_EQ(mode(), 0664);
  writer->NarrowFileMode(0642);
  EXPECT_EQ(mode(), 0640);  // the file that is open
  ASSERT_THAT(RemoveFile(writer->path()), IsOk());
  EXPECT_EQ(mode(), 0640);  // a new one
  ::umask(former);
}

TEST_F(EventFileWriterTest, BadOptionsAreRefused) {
  const auto create = [&](auto change) {
    EventFileWriter::Options options;
    options.logdir = dir_.path();
    change(options);
    return EventFileWriter::Create(options).status();
  };
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(create([](auto& o) { o.logdir = ""; }), refused);
  EXPECT_THAT(create([](auto& o) { o.filename_suffix = "/../x"; }), refused);
  EXPECT_THAT(create([](auto& o) { o.max_queue = 0; }), refused);
  EXPECT_THAT(create([](auto& o) { o.flush_events = 0; }), refused);
  EXPECT_THAT(create([](auto& o) { o.flush_secs = -1; }), refused);
  EXPECT_THAT(create([](auto& o) { o.wait_secs = std::nan(""); }), refused);
  ASSERT_THAT(WriteFileAtomically(dir_ / "file", "x"), IsOk());
  EXPECT_THAT(create([&](auto& o) { o.logdir = dir_ / "file"; }),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace tftrain

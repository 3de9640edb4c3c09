// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Input files and checkpoints that are cut short, at every length. Reliability
// R6: a file error is not the end of the input, and the end of a real input is.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/cc/ops/dataset_ops.h"
#include "tensorflow/cc/ops/dataset_ops_internal.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/monitored/singular_monitored_session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/small_graphs.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace fs = std::filesystem;
namespace ops = tensorflow::ops;
using absl::StatusCode;
using tensorflow::Operation;
using tensorflow::Output;
using tensorflow::Scope;
using tensorflow::tstring;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kRecords = 3;
constexpr int kRecordBytes = 8;
// A record's length and its checksum stand before it, the record's behind.
constexpr int kHeaderBytes = 12;
constexpr int kFrameBytes = kHeaderBytes + kRecordBytes + 4;

std::string Record(int i) {
  return std::string(kRecordBytes, static_cast<char>('a' + i));
}

// What `build` makes must have a string "next:0", and "start" to begin with.
using Build = std::function<void(const Scope&, const std::string& path)>;

// A queue of the one file `path`, filled and closed by "start".
Output FileQueue(const Scope& scope, const std::string& path) {
  const ops::FIFOQueue queue(scope.WithOpName("files"),
                             {tensorflow::DT_STRING});
  const ops::QueueEnqueue enqueue(
      scope, queue,
      tensorflow::InputList({Output(ops::Const(scope, tstring(path)))}));
  ops::QueueClose(scope.WithOpName("start").WithControlDependencies(
                      std::vector<Operation>{enqueue.operation}),
                  queue);
  return queue.handle;
}

void Read(const Scope& scope, const Output& reader, const std::string& path) {
  const ops::ReaderRead read(scope, reader, FileQueue(scope, path));
  ops::Identity(scope.WithOpName("next"), read.value);
}

void Iterate(const Scope& scope, const Output& dataset) {
  const tensorflow::DataTypeVector types = {tensorflow::DT_STRING};
  const std::vector<tensorflow::PartialTensorShape> shapes = {{}};
  const ops::Iterator iterator(scope, "iterator", "", types, shapes);
  ops::MakeIterator(scope.WithOpName("start"), dataset, iterator);
  ops::IteratorGetNext(scope.WithOpName("next"), iterator, types, shapes);
}

Build RecordReader(const std::string& compression) {
  return [compression](const Scope& scope, const std::string& path) {
    Read(scope,
         ops::TFRecordReader(scope,
                             ops::TFRecordReader::CompressionType(compression)),
         path);
  };
}

Build RecordDataset(const std::string& compression) {
  return [compression](const Scope& scope, const std::string& path) {
    Iterate(scope, ops::internal::TFRecordDataset(
                       scope, ops::Const(scope, {tstring(path)}),
                       ops::Const(scope, tstring(compression)),
                       ops::Const(scope, int64_t{0})));
  };
}

// The records that could be read, and what came then.
struct Reading {
  int records = 0;
  absl::Status status;
};

class InputFaultsTest : public ::testing::Test {
 protected:
  std::string WriteRecords(const std::string& compression) {
    const std::string path = dir_ / "records";
    std::unique_ptr<tensorflow::WritableFile> file;
    CHECK(tensorflow::Env::Default()->NewWritableFile(path, &file).ok());
    tensorflow::io::RecordWriter writer(
        file.get(),
        tensorflow::io::RecordWriterOptions::CreateRecordWriterOptions(
            compression));
    for (int i = 0; i < kRecords; ++i) {
      CHECK(writer.WriteRecord(Record(i)).ok());
    }
    CHECK(writer.Close().ok());
    CHECK(file->Close().ok());
    return path;
  }

  // A copy of the first bytes of `path`.
  std::string Cut(const std::string& path, uintmax_t length) {
    const std::string cut = dir_ / "cut";
    fs::copy_file(path, cut, fs::copy_options::overwrite_existing);
    fs::resize_file(cut, length);
    return cut;
  }

  static Reading ReadAll(const Build& build, const std::string& path) {
    const GraphPtr graph = Graph::Create();
    build(graph->scope(), path);
    CHECK(graph->status().ok());
    auto session = SingularMonitoredSession::Create(graph).value();
    CHECK(session->raw_session().Run(Target("start")).ok());
    Reading reading;
    while (true) {
      const absl::StatusOr<std::string> next =
          session->Run(Fetch<std::string>("next:0"));
      reading.status = next.status();
      if (!next.ok()) break;
      EXPECT_EQ(*next, Record(reading.records));
      ++reading.records;
    }
    EXPECT_EQ(session->Close(reading.status).ok(), IsCleanStop(reading.status));
    return reading;
  }

  const TempDir dir_;
};

TEST_F(InputFaultsTest, ARecordThatIsCutIsNotTheEnd) {  // R6
  const std::string path = WriteRecords("");
  ASSERT_EQ(fs::file_size(path), kRecords * kFrameBytes);
  int cut_records = 0;
  for (const Build& build : {RecordReader(""), RecordDataset("")}) {
    for (int length = 0; length <= kRecords * kFrameBytes; ++length) {
      const Reading reading =
          ReadAll(build, Cut(path, static_cast<uintmax_t>(length)));

      EXPECT_EQ(reading.records, length / kFrameBytes) << length;
      const int rest = length % kFrameBytes;
      if (rest == 0) {
        EXPECT_TRUE(IsEndOfInput(reading.status)) << length;
      } else if (rest >= kHeaderBytes) {
        ++cut_records;
        EXPECT_THAT(reading.status,
                    StatusIs(StatusCode::kDataLoss, HasSubstr("truncated")))
            << length;
      } else {
        // WART: TensorFlow itself takes less than a header for nothing at all.
        EXPECT_TRUE(IsEndOfInput(reading.status) ||
                    absl::IsDataLoss(reading.status))
            << length;
      }
    }
  }
  EXPECT_EQ(cut_records, 2 * kRecords * (kFrameBytes - kHeaderBytes));
}

TEST_F(InputFaultsTest, ACompressedFileThatIsCutGivesNoWrongRecord) {  // R6
  for (const std::string compression : {"GZIP", "ZLIB"}) {
    const std::string path = WriteRecords(compression);
    const uintmax_t size = fs::file_size(path);
    for (const Build& build :
         {RecordReader(compression), RecordDataset(compression)}) {
      int errors = 0;
      for (uintmax_t length = 0; length <= size; ++length) {
        const Reading reading = ReadAll(build, Cut(path, length));

        // WART: TensorFlow takes the end of the compressed bytes for that of
        // the records unless one is cut in its midst.
        EXPECT_TRUE(IsEndOfInput(reading.status) ||
                    absl::IsDataLoss(reading.status))
            << compression << " " << length << ": " << reading.status;
        errors += absl::IsDataLoss(reading.status);
        EXPECT_TRUE(length < size || reading.records == kRecords);
      }
      EXPECT_GT(errors, kRecords);
    }
  }
}

// WART: FixedLengthRecordReader drops a record that is cut; the dataset tells.
TEST_F(InputFaultsTest, AFileOfFixedRecordsThatIsCutIsNotTheEnd) {  // R6
  const std::string path = dir_ / "fixed";
  std::string content;
  for (int i = 0; i < kRecords; ++i) content += Record(i);
  CHECK(tensorflow::WriteStringToFile(tensorflow::Env::Default(), path, content)
            .ok());
  const Build build = [](const Scope& scope, const std::string& file) {
    const auto number = [&](int64_t n) { return ops::Const(scope, n); };
    Iterate(scope, ops::internal::FixedLengthRecordDatasetV2(
                       scope, ops::Const(scope, {tstring(file)}), number(0),
                       number(kRecordBytes), number(0), number(0),
                       ops::Const(scope, tstring(""))));
  };
  for (int length = 0; length <= kRecords * kRecordBytes; ++length) {
    const Reading reading =
        ReadAll(build, Cut(path, static_cast<uintmax_t>(length)));

    if (length % kRecordBytes == 0) {
      EXPECT_EQ(reading.records, length / kRecordBytes);
      EXPECT_TRUE(IsEndOfInput(reading.status)) << length;
    } else {
      EXPECT_THAT(reading.status, StatusIs(StatusCode::kInvalidArgument))
          << length;
    }
  }
}

// The input of TensorFlow 1: a queue runner reads files into a queue.
class InputQueueTest : public InputFaultsTest {
 protected:
  // Returns how training ended; counts the records it got.
  absl::StatusOr<Summary> Train(const std::string& path) {
    const GraphPtr graph = Graph::Create();
    const Scope scope = graph->scope();
    const ops::ReaderRead read(scope, ops::TFRecordReader(scope),
                               FileQueue(scope, path));
    const ops::FIFOQueue records(scope.WithOpName("records"),
                                 {tensorflow::DT_STRING});
    const ops::QueueEnqueue enqueue(scope.WithOpName("enqueue"), records,
                                    tensorflow::InputList({read.value}));
    const ops::QueueDequeue next(scope.WithOpName("record"), records,
                                 {tensorflow::DT_STRING});
    const auto runner =
        QueueRunner::Create(*graph, records.handle, {enqueue.operation});
    CHECK(runner.ok());
    CHECK(AddQueueRunner(*graph, **runner).ok());
    CHECK(graph->status().ok());
    auto session = SingularMonitoredSession::Create(graph).value();
    CHECK(session->raw_session().Run(Target("start")).ok());
    return session->RunUntilStop([&] {
      const auto record = session->Run(Fetch<std::string>("record:0"));
      records_ += record.ok();
      return record.status();
    });
  }

  int records_ = 0;
};

TEST_F(InputQueueTest, ARealEndIsClean) {  // R6, QRN-15
  const auto summary = Train(WriteRecords(""));

  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(summary->reason, StopReason::kEndOfInput);
  EXPECT_EQ(records_, kRecords);
}

TEST_F(InputQueueTest, ACutFileIsWhatCloseReturns) {  // R6, R7, QRN-16
  const std::string cut = Cut(WriteRecords(""), 2 * kFrameBytes + 13);

  EXPECT_THAT(Train(cut),
              StatusIs(StatusCode::kDataLoss,
                       AllOf(HasSubstr("truncated"),
                             HasSubstr("queue runner of \"records\""))));
}

class CheckpointFaultsTest : public ::testing::Test {
 protected:
  CheckpointFaultsTest() {
    auto session = SingularMonitoredSession::Create(CountingGraph(), [&] {
      SingularMonitoredSession::Options options;
      options.hooks = {SaveCheckpoints(run_.path(), Every::Steps(1))};
      return options;
    }());
    CHECK(session.ok());
    CHECK((*session)->Run(Target("train")).ok());
    CHECK((*session)->Close().ok());
  }

  absl::Status Restore() {
    SingularMonitoredSession::Options options;
    options.checkpoint_filename_with_path = run_ / "model.ckpt-1";
    options.config.mutable_graph_options()
        ->mutable_rewrite_options()
        ->set_disable_meta_optimizer(true);  // to make many sessions quickly
    auto session = SingularMonitoredSession::Create(graph_, options);
    if (!session.ok()) return session.status();
    EXPECT_THAT((*session)->raw_session().GlobalStep(), IsOkAndHolds(1));
    return (*session)->Close();
  }

  const TempDir run_;
  const GraphPtr graph_ = CountingGraph();
};

TEST_F(CheckpointFaultsTest, CutAtAnyLengthItIsDamaged) {  // R6, SVR-21
  for (const char* part : {".index", ".data-00000-of-00001"}) {
    const std::string path = run_ / absl::StrCat("model.ckpt-1", part);
    const std::string whole = run_ / "whole";
    fs::copy_file(path, whole, fs::copy_options::overwrite_existing);
    for (uintmax_t length = 0; length < fs::file_size(whole); ++length) {
      fs::resize_file(path, length);

      const absl::Status status = Restore();

      EXPECT_THAT(status,
                  StatusIs(StatusCode::kDataLoss, HasSubstr("model.ckpt-1")))
          << part << " " << length;
      EXPECT_FALSE(IsCleanStop(status));
    }
    fs::copy_file(whole, path, fs::copy_options::overwrite_existing);
    EXPECT_THAT(Restore(), IsOk()) << part;
  }
}

TEST_F(CheckpointFaultsTest, ReadInAStepItIsNotTheEnd) {  // R6
  const Scope scope = graph_->scope();
  ops::RestoreV2(scope.WithOpName("read"),
                 ops::Const(scope, tstring(run_ / "model.ckpt-1")),
                 ops::Const(scope, {tstring("w")}),
                 ops::Const(scope, {tstring("")}), {tensorflow::DT_FLOAT});
  auto session = SingularMonitoredSession::Create(graph_);
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*session)->Run(Fetch<float>("read:0")), IsOkAndHolds(1.0f));
  fs::resize_file(run_ / "model.ckpt-1.data-00000-of-00001", 1);

  const absl::Status status = (*session)->Run(Fetch<float>("read:0")).status();

  EXPECT_THAT(status, StatusIs(StatusCode::kDataLoss));
  EXPECT_FALSE(IsCleanStop(status));
  // The runtime's own answer looks like the end of an input.
  std::vector<tensorflow::Tensor> read;
  EXPECT_THAT(
      (*session)->raw_session().engine()->Run({}, {"read:0"}, {}, &read),
      StatusIs(StatusCode::kOutOfRange));
  EXPECT_THAT((*session)->Close(status), StatusIs(StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tftrain

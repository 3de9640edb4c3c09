// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Writes TensorFlow event files, which TensorBoard and Python's
// `summary_iterator` read.

#ifndef TFTRAIN_SUMMARY_EVENT_FILE_WRITER_H_
#define TFTRAIN_SUMMARY_EVENT_FILE_WRITER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/fork.h"
#include "tftrain/base/mutex.h"
#include "tftrain/base/thread.h"

namespace tensorflow {
class Event;
class GraphDef;
class MetaGraphDef;
class RunMetadata;
class Summary;
class Tensor;
}  // namespace tensorflow

namespace tftrain {
namespace internal {
class Drawing;
}  // namespace internal

// Adds events to a queue that a thread of its own writes to a file. Adding
// never waits for the disk: when the queue is full, the event is dropped and
// counted. Nor does it make a system call, but for the first event after a
// flush and the one that makes a batch full, which wake the thread. Summaries
// are worth less than the training they are about, so that no failure of the
// disk ends a step: it is logged once, counted, and told by the next `Flush` or
// `Close`; the next event then begins a new file, or the next batch where none
// can be made, so that a torn record hides nothing behind it. When the writer
// closes, the log tells how many events were lost, if any, and why.
//
// States: open -> closed. The folder is made at once, the file with the first
// event. What was written by a flush stays should this process die; it is not
// forced to the disk.
//
// A reader takes an event with a text that is no UTF-8 for the end of the file.
// In tags and other texts each byte that is none becomes U+FFFD.
//
// Thread-safe. In a child made by `fork` every call does nothing.
//
//   TF_ASSIGN_OR_RETURN(std::shared_ptr<EventFileWriter> writer,
//                       EventFileWriter::Create({"run"}));
//   writer->AddScalar("loss", 0.5f, 100);
//   TF_RETURN_IF_ERROR(writer->Close());
//
// Python: `tf.compat.v1.summary.FileWriter`, whose `add` methods wait while
// the queue is full and raise after a failure of the disk, and whose messages
// cannot hold a text that is no UTF-8.
class EventFileWriter {
 public:
  struct Options {
    // The folder, made if it is missing.
    std::string logdir;

    // Events that may wait to be written before further ones are dropped.
    // Python: 10, and further ones wait.
    size_t max_queue = 65536;

    // Bytes of events that may wait; one event may exceed it.
    size_t max_queue_bytes = size_t{64} << 20;

    // What waits is written after this many seconds at the latest, the first
    // event at once ...
    double flush_secs = 120;

    // ... and as soon as there are this many events. 1 writes each at once.
    size_t flush_events = 1024;

    // The end of the name of each file; no slash in it.
    std::string filename_suffix;

    // Permissions of the files; the process's umask is taken off them. See
    // also NarrowFileMode().
    mode_t file_mode = 0666;

    // The longest that `Flush` and `Close` wait for the disk, in seconds of
    // real time. While a monitored session closes, all writers together have
    // half of its grace period. Where one has waited in vain, the next call
    // does not wait until the disk goes on.
    double wait_secs = 60;

    // Where events get their time from; null for the real clock. Outlives the
    // writer, and a thread that `Close` left to itself.
    Clock* clock = nullptr;
  };

  // What became of the events added, the version records not counted.
  struct Stats {
    int64_t accepted = 0;  // Taken into the queue.
    int64_t written = 0;   // Handed to the system in full.
    // Lost because the queue was full, ...
    int64_t dropped_full = 0;
    // ... because of an error of the disk, ...
    int64_t dropped_error = 0;
    // ... because they are larger than a record may be (2 GiB), ...
    int64_t dropped_large = 0;
    // ... because they cannot be drawn, such as the histogram of a NaN, ...
    int64_t dropped_invalid = 0;
    // ... or because the writer was closed.
    int64_t dropped_closed = 0;
    int64_t files = 0;  // Files begun.
  };

  enum class SessionStatus { kStart, kStop, kCheckpoint };

  // Makes the folder and starts the thread.
  //
  // Errors: kInvalidArgument for an empty `logdir`, a suffix with a slash, a
  // queue of no events, or times that are negative; those of `CreateFolders`;
  // kResourceExhausted without another thread.
  static absl::StatusOr<std::shared_ptr<EventFileWriter>> Create(
      Options options);

  EventFileWriter(const EventFileWriter&) = delete;
  EventFileWriter& operator=(const EventFileWriter&) = delete;

  // Closes; an error is in the log.
  ~EventFileWriter();

  // Adds `event`, with the present time if it has none. Also the other
  // methods that add give their event the present time, and `step` if there
  // is one.
  void AddEvent(tensorflow::Event event);

  // Adds a summary. Of each tag, the metadata of the first value in a file is
  // kept and that of later ones left out, as TensorBoard needs it only once.
  void AddSummary(tensorflow::Summary summary,
                  std::optional<int64_t> step = std::nullopt);

  // The same for the bytes that a summary op made.
  //
  // Errors: kInvalidArgument if they are no Summary, or hold a text that is no
  // UTF-8, as in Python.
  absl::Status AddSummary(std::string_view serialized,
                          std::optional<int64_t> step = std::nullopt);

  // Adds a summary of one value: cheaper than by way of a `Summary`.
  void AddScalar(std::string_view tag, float value,
                 std::optional<int64_t> step = std::nullopt);

  // Adds how the values of a tensor are distributed, over TensorFlow's default
  // buckets. The writer's thread counts them; the tensor's memory is shared
  // until then. Where a value is infinite or NaN, nothing is written, with one
  // warning.
  //
  // Errors: kInvalidArgument if the values are no real numbers.
  //
  // Python: `tf.compat.v1.summary.histogram`, which fails the step for such a
  // value.
  absl::Status AddHistogram(std::string_view tag,
                            const tensorflow::Tensor& values,
                            std::optional<int64_t> step = std::nullopt);

  // The same for a copy of `values`.
  void AddHistogram(std::string_view tag, absl::Span<const float> values,
                    std::optional<int64_t> step = std::nullopt);
  void AddHistogram(std::string_view tag, absl::Span<const double> values,
                    std::optional<int64_t> step = std::nullopt);

  // Adds the first `max_images` of a batch as PNG files, under the tags
  // `tag/image/0`, `tag/image/1` ..., or `tag/image` if `max_images` is 1. The
  // tensor has the shape [batch, height, width, channels] with 1 (grey),
  // 3 (RGB) or 4 (RGBA) channels, and holds bytes, or floats that are scaled
  // for each image: by its largest value if none is negative, otherwise so that
  // 0 becomes 127. Pixels that are not finite become red. The writer's thread
  // does all this; the tensor's memory is shared until then.
  //
  // Errors: kInvalidArgument for another type or shape, an image without
  // pixels, or `max_images` below 1.
  //
  // Python: `tf.compat.v1.summary.image`.
  absl::Status AddImage(std::string_view tag, const tensorflow::Tensor& images,
                        std::optional<int64_t> step = std::nullopt,
                        int max_images = 3);

  // Adds a text, which TensorBoard shows as Markdown.
  //
  // Python: `tf.compat.v1.summary.text`.
  void AddText(std::string_view tag, std::string_view text,
               std::optional<int64_t> step = std::nullopt);

  // Adds a graph or a meta graph, or the bytes of one. Graphs are never
  // dropped because the queue is full.
  void AddGraph(const tensorflow::GraphDef& graph,
                std::optional<int64_t> step = std::nullopt);
  void AddGraph(std::string serialized,
                std::optional<int64_t> step = std::nullopt);
  void AddMetaGraph(const tensorflow::MetaGraphDef& meta_graph,
                    std::optional<int64_t> step = std::nullopt);
  void AddMetaGraph(std::string serialized,
                    std::optional<int64_t> step = std::nullopt);

  // Adds a note on the session, which is never dropped because the queue is
  // full. After a restart, kStart at the restored step tells TensorBoard which
  // of the earlier points to forget.
  void AddSessionLog(SessionStatus status,
                     std::optional<int64_t> step = std::nullopt,
                     std::string_view checkpoint_path = "",
                     std::string_view message = "");

  // Adds what a step recorded about itself under a tag of its own.
  //
  // Errors: kInvalidArgument if `tag` was used before in this writer.
  absl::Status AddRunMetadata(const tensorflow::RunMetadata& metadata,
                              std::string_view tag,
                              std::optional<int64_t> step = std::nullopt);

  // Waits until everything added before has been handed to the system. OK on
  // a writer that is closed in full.
  //
  // Errors: the first one of the disk since the last `Flush`;
  // kDeadlineExceeded after `wait_secs`, and at once while the disk has not
  // written what an earlier call waited for.
  absl::Status Flush();

  // The same for one of several users of the writer: errors are left for the
  // next `Flush` or `Close` to tell.
  void AwaitFlush();

  // Writes what waits, closes the file and ends the thread; a thread that the
  // disk holds up is left to itself after `wait_secs`. Later calls only tell
  // whether it is held up still.
  //
  // Errors: as `Flush`.
  absl::Status Close();

  // True after `Close`, and in a forked child.
  bool closed() const;

  // Takes the permissions beyond `mode` from all files that are begun later,
  // and from the present one before more is written to it: those who share a
  // writer get the least that any of them asked for. What was taken is not
  // given back.
  void NarrowFileMode(mode_t mode);

  const std::string& logdir() const { return logdir_; }

  // The path of the file begun last; empty before the first event is written.
  std::string path() const;

  Stats stats() const;

 private:
  struct Core;

  EventFileWriter(std::string logdir, std::shared_ptr<Core> core,
                  std::shared_ptr<Thread> thread);

  void AddDrawing(std::string_view tag,
                  std::unique_ptr<internal::Drawing> drawing,
                  std::optional<int64_t> step);

  const std::string logdir_;
  const ForkCheck fork_;
  // Shared with the thread, which may outlive this object.
  const std::shared_ptr<Core> core_;
  const std::shared_ptr<Thread> thread_;

  mutable Mutex mu_;
  std::set<std::string, std::less<>> run_tags_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_EVENT_FILE_WRITER_H_

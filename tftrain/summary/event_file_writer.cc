// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/base/utf8.h"
#include "tftrain/summary/disk_patience.h"
#include "tftrain/summary/drawing.h"
#include "tftrain/summary/event_logger.h"
#include "tftrain/summary/event_queue.h"
#include "tftrain/summary/scalar_event.h"

namespace tftrain {
namespace {

using internal::LargeEvent;
using internal::QueuedEvent;
using tensorflow::Event;
using tensorflow::SessionLog;
using tensorflow::Tensor;

// A copy of `values`, as a tensor.
template <typename T>
Tensor TensorOf(absl::Span<const T> values) {
  Tensor tensor(tensorflow::DataTypeToEnum<T>::value,
                {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.flat<T>().data());
  return tensor;
}

absl::Status CheckOptions(const EventFileWriter::Options& options) {
  if (options.logdir.empty()) {
    return absl::InvalidArgumentError(
        "the folder for events is empty, give its path as logdir");
  }
  if (absl::StrContains(options.filename_suffix, '/') ||
      absl::StrContains(options.filename_suffix, '\0')) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the suffix \"%s\" of event files holds a slash or a zero byte, choose "
        "another filename_suffix",
        absl::CHexEscape(options.filename_suffix)));
  }
  if (options.max_queue == 0 || options.flush_events == 0) {
    return absl::InvalidArgumentError(
        "max_queue and flush_events of an event file writer must be 1 or more");
  }
  if (!(options.flush_secs >= 0) || !(options.wait_secs >= 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "flush_secs \"%g\" and wait_secs \"%g\" of an event file writer must "
        "not be negative",
        options.flush_secs, options.wait_secs));
  }
  return absl::OkStatus();
}

}  // namespace

// What the writer shares with its thread.
//
// Thread-safe.
struct EventFileWriter::Core {
  explicit Core(const Options& options)
      : clock(options.clock == nullptr ? Clock::Real() : options.clock),
        queue(options, clock),
        logger(options, clock) {}

  // Adds an event as it is, but for the time if it has none, and the step if
  // one is given.
  void AddLarge(QueuedEvent::Kind kind, std::string_view text,
                std::unique_ptr<LargeEvent> large, size_t bytes,
                std::optional<int64_t> step, bool droppable) {
    if (large->event.wall_time() == 0) {
      large->event.set_wall_time(internal::EventTime(*clock));
    }
    if (step) large->event.set_step(*step);
    queue.Add(bytes, droppable, [&](QueuedEvent* event) {
      event->kind = kind;
      event->text.assign(text);
      event->large = std::move(large);
    });
  }
  void AddEvent(std::unique_ptr<LargeEvent> large, std::optional<int64_t> step,
                bool droppable = true) {
    const size_t bytes = large->event.ByteSizeLong();
    AddLarge(QueuedEvent::Kind::kEvent, "", std::move(large), bytes, step,
             droppable);
  }
  void AddDrawing(std::string_view tag,
                  std::unique_ptr<internal::Drawing> drawing,
                  std::optional<int64_t> step) {
    const size_t bytes = sizeof(QueuedEvent) + tag.size() + drawing->bytes();
    auto large = std::make_unique<LargeEvent>();
    large->drawing = std::move(drawing);
    AddLarge(QueuedEvent::Kind::kDrawing, tag, std::move(large), bytes, step,
             /*droppable=*/true);
  }

  Clock* const clock;
  internal::EventQueue queue;
  internal::EventLogger logger;
};

namespace {

// The bytes of `message`, or nothing but the size if they are too many.
template <typename Message>
std::optional<std::string> Serialized(const Message& message) {
  if (message.ByteSizeLong() > internal::kMaxEventBytes) return std::nullopt;
  return message.SerializeAsString();
}

}  // namespace

absl::StatusOr<std::shared_ptr<EventFileWriter>> EventFileWriter::Create(
    Options options) {
  TF_RETURN_IF_ERROR(CheckOptions(options));
  TF_RETURN_IF_ERROR(CreateFolders(options.logdir));
  auto core = std::make_shared<Core>(options);
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Thread> thread,
                      Thread::Start("event_writer", [core] {
                        core->logger.Run(&core->queue);
                      }));
  return std::shared_ptr<EventFileWriter>(new EventFileWriter(
      std::move(options.logdir), std::move(core), std::move(thread)));
}

EventFileWriter::EventFileWriter(std::string logdir, std::shared_ptr<Core> core,
                                 std::shared_ptr<Thread> thread)
    : logdir_(std::move(logdir)),
      core_(std::move(core)),
      thread_(std::move(thread)) {}

EventFileWriter::~EventFileWriter() {
  if (fork_.InChild()) return;
  Close().IgnoreError();  // It is in the log.
}

void EventFileWriter::AddEvent(Event event) {
  if (fork_.InChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event = std::move(event);
  core_->AddEvent(std::move(large), std::nullopt);
}

void EventFileWriter::AddSummary(tensorflow::Summary summary,
                                 std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  auto large = std::make_unique<LargeEvent>();
  *large->event.mutable_summary() = std::move(summary);
  core_->AddEvent(std::move(large), step);
}

absl::Status EventFileWriter::AddSummary(std::string_view serialized,
                                         std::optional<int64_t> step) {
  if (fork_.InChild()) return absl::OkStatus();
  if (serialized.size() <= internal::kMaxEventBytes &&
      internal::HoldsOnlyScalars(serialized)) {
    const double now = internal::EventTime(*core_->clock);
    core_->queue.Add(sizeof(QueuedEvent) + serialized.size(),
                     /*droppable=*/true, [&](QueuedEvent* event) {
                       event->kind = QueuedEvent::Kind::kScalars;
                       event->wall_time = now;
                       event->step = step.value_or(0);
                       event->text.assign(serialized);
                     });
    return absl::OkStatus();
  }
  auto large = std::make_unique<LargeEvent>();
  if (serialized.size() > internal::kMaxEventBytes ||
      !large->event.mutable_summary()->ParseFromArray(
          serialized.data(), static_cast<int>(serialized.size()))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the %d bytes given as a summary are no Summary, or hold a tag that is "
        "no UTF-8; give the value of a summary op",
        serialized.size()));
  }
  core_->AddEvent(std::move(large), step);
  return absl::OkStatus();
}

void EventFileWriter::AddScalar(std::string_view tag, float value,
                                std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  const double now = internal::EventTime(*core_->clock);
  core_->queue.Add(sizeof(QueuedEvent) + tag.size(), /*droppable=*/true,
                   [&](QueuedEvent* event) {
                     event->wall_time = now;
                     event->step = step.value_or(0);
                     event->value = value;
                     event->text.assign(tag);
                   });
}

absl::Status EventFileWriter::AddHistogram(std::string_view tag,
                                           const Tensor& values,
                                           std::optional<int64_t> step) {
  TF_ASSIGN_OR_RETURN(std::unique_ptr<internal::Drawing> drawing,
                      internal::Drawing::Histogram(tag, values));
  AddDrawing(tag, std::move(drawing), step);
  return absl::OkStatus();
}

void EventFileWriter::AddHistogram(std::string_view tag,
                                   absl::Span<const float> values,
                                   std::optional<int64_t> step) {
  AddHistogram(tag, TensorOf(values), step).IgnoreError();
}

void EventFileWriter::AddHistogram(std::string_view tag,
                                   absl::Span<const double> values,
                                   std::optional<int64_t> step) {
  AddHistogram(tag, TensorOf(values), step).IgnoreError();
}

absl::Status EventFileWriter::AddImage(std::string_view tag,
                                       const Tensor& images,
                                       std::optional<int64_t> step,
                                       int max_images) {
  TF_ASSIGN_OR_RETURN(std::unique_ptr<internal::Drawing> drawing,
                      internal::Drawing::Images(tag, images, max_images));
  AddDrawing(tag, std::move(drawing), step);
  return absl::OkStatus();
}

void EventFileWriter::AddDrawing(std::string_view tag,
                                 std::unique_ptr<internal::Drawing> drawing,
                                 std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  core_->AddDrawing(tag, std::move(drawing), step);
}

void EventFileWriter::AddText(std::string_view tag, std::string_view text,
                              std::optional<int64_t> step) {
  tensorflow::Summary summary;
  auto* value = summary.add_value();
  value->set_tag(std::string(tag));
  value->mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  auto* tensor = value->mutable_tensor();
  tensor->set_dtype(tensorflow::DT_STRING);
  tensor->mutable_tensor_shape();
  tensor->add_string_val(std::string(text));
  MakeUtf8(tensor->mutable_string_val(0));  // The message takes any bytes.
  AddSummary(std::move(summary), step);
}

void EventFileWriter::AddGraph(const tensorflow::GraphDef& graph,
                               std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  std::optional<std::string> bytes = Serialized(graph);
  if (!bytes) return core_->queue.RefuseTooLarge();
  AddGraph(*std::move(bytes), step);
}

void EventFileWriter::AddGraph(std::string serialized,
                               std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event.set_graph_def(std::move(serialized));
  core_->AddEvent(std::move(large), step, /*droppable=*/false);
}

void EventFileWriter::AddMetaGraph(const tensorflow::MetaGraphDef& meta_graph,
                                   std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  std::optional<std::string> bytes = Serialized(meta_graph);
  if (!bytes) return core_->queue.RefuseTooLarge();
  AddMetaGraph(*std::move(bytes), step);
}

void EventFileWriter::AddMetaGraph(std::string serialized,
                                   std::optional<int64_t> step) {
  if (fork_.InChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event.set_meta_graph_def(std::move(serialized));
  core_->AddEvent(std::move(large), step, /*droppable=*/false);
}

void EventFileWriter::AddSessionLog(SessionStatus status,
                                    std::optional<int64_t> step,
                                    std::string_view checkpoint_path,
                                    std::string_view message) {
  if (fork_.InChild()) return;
  auto large = std::make_unique<LargeEvent>();
  SessionLog& log = *large->event.mutable_session_log();
  switch (status) {
    case SessionStatus::kStart:
      log.set_status(SessionLog::START);
      break;
    case SessionStatus::kStop:
      log.set_status(SessionLog::STOP);
      break;
    case SessionStatus::kCheckpoint:
      log.set_status(SessionLog::CHECKPOINT);
      break;
  }
  log.set_checkpoint_path(std::string(checkpoint_path));
  log.set_msg(std::string(message));
  core_->AddEvent(std::move(large), step, /*droppable=*/false);
}

absl::Status EventFileWriter::AddRunMetadata(
    const tensorflow::RunMetadata& metadata, std::string_view tag,
    std::optional<int64_t> step) {
  if (fork_.InChild()) return absl::OkStatus();
  {
    MutexLock lock(mu_);
    if (!run_tags_.emplace(tag).second) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the tag \"%s\" was used for run metadata before, choose another",
          tag));
    }
  }
  std::optional<std::string> bytes = Serialized(metadata);
  if (!bytes) {
    core_->queue.RefuseTooLarge();
    return absl::OkStatus();
  }
  auto large = std::make_unique<LargeEvent>();
  large->event.mutable_tagged_run_metadata()->set_tag(std::string(tag));
  large->event.mutable_tagged_run_metadata()->set_run_metadata(
      *std::move(bytes));
  core_->AddEvent(std::move(large), step);
  return absl::OkStatus();
}

absl::Status EventFileWriter::Flush() {
  if (fork_.InChild()) return absl::OkStatus();
  TF_RETURN_IF_ERROR(core_->queue.AwaitFlush());
  return core_->logger.TakeError();
}

void EventFileWriter::AwaitFlush() {
  if (!fork_.InChild()) core_->queue.AwaitFlush().IgnoreError();
}

absl::Status EventFileWriter::Close() {
  if (fork_.InChild()) return absl::OkStatus();
  core_->queue.Close();
  const internal::DiskPatience::Wait wait(core_->queue.patience());
  if (thread_->JoinFor(wait.left())) return core_->logger.TakeError();
  thread_->Detach();
  return core_->queue.NoteStalledClose(wait.limit());
}

bool EventFileWriter::closed() const {
  return fork_.InChild() || core_->queue.closed();
}

void EventFileWriter::NarrowFileMode(mode_t mode) {
  if (!fork_.InChild()) core_->logger.NarrowFileMode(mode);
}

std::string EventFileWriter::path() const {
  return fork_.InChild() ? std::string() : core_->logger.path();
}

EventFileWriter::Stats EventFileWriter::stats() const {
  if (fork_.InChild()) return Stats();
  // In this order, so that nothing is written that was not accepted.
  const internal::EventLogger::Stats logged = core_->logger.stats();
  const internal::EventQueue::Stats queued = core_->queue.stats();
  Stats all;
  all.accepted = queued.accepted;
  all.written = logged.written;
  all.dropped_full = queued.dropped_full;
  all.dropped_error = logged.dropped_error;
  all.dropped_large = queued.dropped_large;
  all.dropped_invalid = logged.dropped_invalid;
  all.dropped_closed = queued.dropped_closed;
  all.files = logged.files;
  return all;
}

}  // namespace tftrain

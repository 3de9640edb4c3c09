// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file_writer.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
#include "tftrain/base/fork.h"
#include "tftrain/base/utf8.h"
#include "tftrain/summary/disk_patience.h"
#include "tftrain/summary/drawing.h"
#include "tftrain/summary/event_file.h"
#include "tftrain/summary/scalar_event.h"
#include "tftrain/summary/utf8_message.h"

namespace tftrain {
namespace {

using tensorflow::Event;
using tensorflow::SessionLog;
using tensorflow::Tensor;

constexpr char kFileVersion[] = "brain.Event:2";
constexpr char kWriterName[] = "tftrain.summary.event_file_writer";

// A record of the buffer is handed on when it holds this many bytes.
constexpr size_t kBufferBytes = size_t{1} << 20;

// The largest message that can be written or read.
constexpr size_t kMaxEventBytes = std::numeric_limits<int32_t>::max();

// An event that costs more than a scalar, and what is to be drawn in it.
struct LargeEvent {
  Event event;
  std::unique_ptr<internal::Drawing> drawing;
};

// One event that waits. Small: as many as fit into the queue go from one
// processor's memory to another's.
struct Item {
  enum class Kind {
    kScalar,   // of the tag `text`
    kScalars,  // in `text`, the bytes of their Summary
    kEvent,    // in `large`
    kDrawing,  // in `large`, under the tag `text`
  };

  double wall_time = 0;
  int64_t step = 0;
  std::string text;
  std::unique_ptr<LargeEvent> large;
  float value = 0;
  Kind kind = Kind::kScalar;
};

// To the microsecond, as exactly as a double can.
double SecondsSince1970(absl::Time time) {
  return static_cast<double>(absl::ToUnixMicros(time)) / 1e6;
}

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

// What the writer shares with its thread. `Run` is the thread.
//
// Thread-safe.
class EventFileWriter::Core {
 public:
  explicit Core(Options options)
      : options_(std::move(options)),
        clock_(options_.clock == nullptr ? Clock::Real() : options_.clock),
        file_mode_(options_.file_mode) {}

  double Now() const { return SecondsSince1970(clock_->Now()); }

  // Adds an event as it is, but for the time if it has none, and the step if
  // one is given.
  void AddLarge(Item::Kind kind, std::string_view text,
                std::unique_ptr<LargeEvent> large, size_t bytes,
                std::optional<int64_t> step, bool droppable) {
    if (large->event.wall_time() == 0) large->event.set_wall_time(Now());
    if (step) large->event.set_step(*step);
    Add(bytes, droppable, [&](Item* item) {
      item->kind = kind;
      item->text.assign(text);
      item->large = std::move(large);
    });
  }
  void AddEvent(std::unique_ptr<LargeEvent> large, std::optional<int64_t> step,
                bool droppable = true) {
    const size_t bytes = large->event.ByteSizeLong();
    AddLarge(Item::Kind::kEvent, "", std::move(large), bytes, step, droppable);
  }
  void AddDrawing(std::string_view tag,
                  std::unique_ptr<internal::Drawing> drawing,
                  std::optional<int64_t> step) {
    const size_t bytes = sizeof(Item) + tag.size() + drawing->bytes();
    auto large = std::make_unique<LargeEvent>();
    large->drawing = std::move(drawing);
    AddLarge(Item::Kind::kDrawing, tag, std::move(large), bytes, step,
             /*droppable=*/true);
  }
  // Counts one that cannot be added.
  void AddTooLarge() {
    Add(std::numeric_limits<size_t>::max(), /*droppable=*/true, [](Item*) {});
  }

  // Adds an item that `fill` makes in its place.
  template <typename Fill>
  void Add(size_t bytes, bool droppable, Fill fill) {
    bool wake = false;
    const char* warning = nullptr;
    {
      MutexLock lock(mu_);
      warning = Refuse(bytes, droppable);
      if (warning == nullptr) {
        // The thread knows of what was there before.
        const bool first = queue_.empty();
        const bool had_batch = IsBatch();
        queued_bytes_ += bytes;
        fill(&queue_.emplace_back());
        ++stats_.accepted;
        wake = first || (!had_batch && IsBatch());
      } else if (!warned_.insert(warning).second) {
        warning = nullptr;
      }
    }
    if (wake) wake_.NotifyOne();
    if (warning != nullptr) {
      LOG(WARNING) << "An event for \"" << options_.logdir
                   << "\" was dropped because " << warning
                   << "; this is not said again";
    }
  }

  // Waits until all that was added before is written, or the disk stands still.
  absl::Status AwaitFlush() {
    const internal::DiskPatience::Wait wait(patience());
    uint64_t wanted = 0;
    {
      MutexLock lock(mu_);
      if (closing_ || !Stall().ok()) return Stall();
      wanted = ++flush_requested_;
      wake_.NotifyOne();
      while (flush_done_ < wanted && flushed_.WaitFor(mu_, wait.left())) {
      }
      if (flush_done_ >= wanted) return absl::OkStatus();
    }
    return NoteStall(wanted, wait.limit());
  }

  // Tells the thread to end.
  void RequestClose() {
    MutexLock lock(mu_);
    closing_ = true;
    wake_.NotifyOne();
  }

  // Says once what keeps the disk from the flush `wanted`, for which `waited`
  // was too short.
  absl::Status NoteStall(uint64_t wanted, absl::Duration waited) {
    absl::Status stall;
    {
      MutexLock lock(mu_);
      if (!Stall().ok()) return Stall();
      stalled_flush_ = wanted;
      stall = stall_ = absl::DeadlineExceededError(absl::StrFormat(
          "the events for \"%s\" were not written within %g s, check the "
          "disk",
          options_.logdir, absl::ToDoubleSeconds(waited)));
    }
    LOG(WARNING) << "Nobody waits any longer: " << stall.message();
    return stall;
  }

  // The most that a caller waits for the thread: nothing while what a former
  // one waited for in vain is still to be written.
  absl::Duration patience() const {
    MutexLock lock(mu_);
    return Stall().ok() ? absl::Seconds(options_.wait_secs)
                        : absl::ZeroDuration();
  }

  absl::Status TakeError() {
    MutexLock lock(mu_);
    return std::exchange(error_, absl::OkStatus());
  }

  bool closed() const {
    MutexLock lock(mu_);
    return closing_;
  }

  std::string path() const {
    MutexLock lock(mu_);
    return path_;
  }

  void NarrowFileMode(mode_t mode) {
    MutexLock lock(mu_);
    file_mode_ &= mode;
  }

  Stats stats() const {
    MutexLock lock(mu_);
    return stats_;
  }

  // Writes what is added until the writer is closed.
  void Run() {
    std::vector<Item> batch;
    bool last = false;
    while (!last) {
      uint64_t flushes = 0;
      {
        MutexLock lock(mu_);
        AwaitWork();
        last = closing_;
        flushes = flush_requested_;
        batch.swap(queue_);
        writing_events_ = batch.size();
        writing_bytes_ = std::exchange(queued_bytes_, 0);
      }
      if (!batch.empty()) {
        LeaveDeletedFile();
        NarrowFile();
      }
      for (Item& item : batch) Write(&item);
      FlushFile();
      if (last) {
        CloseFile();
        TellLost();
      }
      batch.clear();
      MutexLock lock(mu_);
      writing_events_ = 0;
      writing_bytes_ = 0;
      next_flush_ = clock_->Monotonic() + absl::Seconds(options_.flush_secs);
      flush_done_ = last ? std::numeric_limits<uint64_t>::max() : flushes;
      flushed_.NotifyAll();
    }
  }

 private:
  // The error of a disk that stands still, until it goes on.
  absl::Status Stall() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return flush_done_ < stalled_flush_ ? stall_ : absl::OkStatus();
  }

  // Why an item is not taken into the queue, or null; counts it.
  const char* Refuse(size_t bytes, bool droppable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (closing_) {
      ++stats_.dropped_closed;
      return "the writer is closed";
    }
    if (bytes > kMaxEventBytes) {
      ++stats_.dropped_large;
      return "it is larger than 2 GiB";
    }
    if (droppable &&
        (queue_.size() + writing_events_ >= options_.max_queue ||
         queued_bytes_ + writing_bytes_ >= options_.max_queue_bytes)) {
      ++stats_.dropped_full;
      return "too many wait for the disk";
    }
    return nullptr;
  }

  // Whether enough waits to be written at once.
  bool IsBatch() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return queue_.size() >=
               std::min(options_.flush_events, options_.max_queue) ||
           queued_bytes_ >= std::min(kBufferBytes, options_.max_queue_bytes);
  }

  void AwaitWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    while (!closing_ && flush_requested_ == flush_done_ && !IsBatch()) {
      absl::Duration left = absl::InfiniteDuration();
      if (!queue_.empty()) left = next_flush_ - clock_->Monotonic();
      if (left <= absl::ZeroDuration()) return;
      clock_->WaitFor(mu_, wake_, left);
    }
  }

  // The methods below belong to the thread.

  void Write(Item* item) {
    if (file_ == nullptr && !BeginFile()) {
      MutexLock lock(mu_);
      ++stats_.dropped_error;
      return;
    }
    if (!Encode(item)) return;
    file_->Append(record_);
    if (file_->buffered() >= kBufferBytes) FlushFile();
  }

  // Makes `record_` of it; false if that cannot be done.
  bool Encode(Item* item) {
    switch (item->kind) {
      case Item::Kind::kScalar:
        MakeUtf8(&item->text);
        internal::EncodeScalarEvent(item->wall_time, item->step, item->text,
                                    item->value, &record_);
        return true;
      case Item::Kind::kScalars:
        internal::EncodeEvent(item->wall_time, item->step, item->text,
                              &record_);
        return true;
      case Item::Kind::kDrawing: {
        const absl::Status drawn = item->large->drawing->AddTo(
            item->text, item->large->event.mutable_summary());
        if (!drawn.ok()) {
          NoteUndrawable(drawn);
          return false;
        }
        break;
      }
      case Item::Kind::kEvent:
        break;
    }
    Event* const event = &item->large->event;
    internal::MakeTextsUtf8(event);
    StripMetadata(event);
    event->SerializeToString(&record_);
    return true;
  }

  // Counts what cannot be drawn.
  void NoteUndrawable(const absl::Status& status) {
    {
      MutexLock lock(mu_);
      ++stats_.dropped_invalid;
      if (!warned_.insert("invalid").second) return;
    }
    LOG(WARNING) << "An event for \"" << options_.logdir
                 << "\" was dropped: " << status.message()
                 << "; this is not said again";
  }

  // Leaves out the metadata of tags that the file has it for.
  void StripMetadata(Event* event) {
    if (!event->has_summary()) return;
    for (auto& value : *event->mutable_summary()->mutable_value()) {
      if (!value.has_metadata()) continue;
      if (!tags_with_metadata_.insert(value.tag()).second) {
        value.clear_metadata();
      }
    }
  }

  mode_t file_mode() const {
    MutexLock lock(mu_);
    return file_mode_;
  }

  absl::StatusOr<std::unique_ptr<internal::EventFile>> MakeFile() const {
    // Somebody may have removed the folder.
    TF_RETURN_IF_ERROR(CreateFolders(options_.logdir));
    return internal::EventFile::Create({options_.logdir, name_seconds_,
                                        options_.filename_suffix, begun_with_});
  }

  bool BeginFile() {
    begun_with_ = file_mode();
    const double now = Now();
    // The names must not go back when the clock does.
    name_seconds_ = std::max(name_seconds_, static_cast<int64_t>(now));
    absl::StatusOr<std::unique_ptr<internal::EventFile>> file = MakeFile();
    if (!file.ok()) {
      NoteError(file.status());
      return false;
    }
    file_ = *std::move(file);
    name_seconds_ = file_->seconds();
    tags_with_metadata_.clear();
    Event version;
    version.set_wall_time(now);
    version.set_file_version(kFileVersion);
    version.mutable_source_metadata()->set_writer(kWriterName);
    version.SerializeToString(&record_);
    file_->Append(record_);
    MutexLock lock(mu_);
    path_ = file_->path();
    ++stats_.files;
    return true;
  }

  void FlushFile() {
    if (file_ == nullptr) return;
    const int64_t before = file_->written();
    const absl::Status status = file_->Flush();
    CountWritten(before);
    if (!status.ok()) return GiveUpFile(status);
    failing_ = false;
  }

  // Leaves a file that nobody can find any more.
  void LeaveDeletedFile() {
    if (file_ == nullptr || !file_->deleted()) return;
    LOG(WARNING) << "The event file \"" << file_->path()
                 << "\" is gone; a new one is begun";
    file_.reset();
  }

  // Gives the file up where its permissions cannot be taken away, once.
  void NarrowFile() {
    const mode_t mode = file_mode();
    if (file_ == nullptr || mode == begun_with_) return;
    begun_with_ = mode;
    const absl::Status status = file_->NarrowMode(mode);
    if (!status.ok()) GiveUpFile(status);
  }

  void CloseFile() {
    if (file_ == nullptr) return;
    const absl::Status status = file_->Close();
    if (!status.ok()) NoteError(status);
    file_.reset();
  }

  void TellLost() const {
    const Stats now = stats();
    std::vector<std::string> reasons;
    int64_t lost = 0;
    const auto add = [&](int64_t count, const char* reason) {
      lost += count;
      if (count > 0) reasons.push_back(absl::StrCat(count, " ", reason));
    };
    add(now.dropped_full, "as too many waited for the disk");
    add(now.dropped_error, "by errors of the disk");
    add(now.dropped_large, "larger than 2 GiB");
    add(now.dropped_invalid, "that cannot be drawn");
    if (lost == 0) return;
    LOG(WARNING) << "Events for \"" << options_.logdir
                 << "\" that were lost: " << lost << " of "
                 << now.written + lost << " (" << absl::StrJoin(reasons, ", ")
                 << ")";
  }

  // Adds what the file gained since it had `before` records.
  void CountWritten(int64_t before) {
    // The first record is the version.
    const int64_t gained = file_->written() - before -
                           (before == 0 && file_->written() > 0 ? 1 : 0);
    MutexLock lock(mu_);
    stats_.written += gained;
  }

  // Leaves the file, whose end may be torn, to its readers.
  void GiveUpFile(const absl::Status& status) {
    NoteError(status);
    const int64_t lost =
        file_->appended() - std::max<int64_t>(file_->written(), 1);
    const bool nothing_in_it = file_->written() <= 1;
    const std::string path = file_->path();
    file_.reset();
    // A disk that stays full must not be littered with empty files.
    if (nothing_in_it) RemoveFile(path).IgnoreError();
    MutexLock lock(mu_);
    stats_.dropped_error += lost;
  }

  void NoteError(const absl::Status& status) {
    if (!std::exchange(failing_, true)) {
      LOG(WARNING) << "Events for \"" << options_.logdir
                   << "\" are lost, training goes on: " << status.message();
    }
    MutexLock lock(mu_);
    error_.Update(status);
  }

  const Options options_;
  Clock* const clock_;

  // Of the thread alone.
  std::unique_ptr<internal::EventFile> file_;
  std::set<std::string> tags_with_metadata_;
  std::string record_;
  int64_t name_seconds_ = 0;
  mode_t begun_with_ = 0;  // the permissions of the file
  bool failing_ = false;

  mutable Mutex mu_;
  CondVar wake_;     // For the thread: there is work.
  CondVar flushed_;  // For callers: flush_done_ has changed.
  std::vector<Item> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // What the thread has taken out of the queue and not written yet.
  size_t writing_events_ ABSL_GUARDED_BY(mu_) = 0;
  size_t writing_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // On the clock's monotonic time; the first event is due at once.
  absl::Duration next_flush_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  uint64_t flush_requested_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t flush_done_ ABSL_GUARDED_BY(mu_) = 0;
  // The last one that was waited for in vain, and what was said then.
  uint64_t stalled_flush_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status stall_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  std::string path_ ABSL_GUARDED_BY(mu_);
  mode_t file_mode_ ABSL_GUARDED_BY(mu_);
  Stats stats_ ABSL_GUARDED_BY(mu_);
  std::set<std::string_view> warned_ ABSL_GUARDED_BY(mu_);
};

namespace {

// The bytes of `message`, or nothing but the size if they are too many.
template <typename Message>
std::optional<std::string> Serialized(const Message& message) {
  if (message.ByteSizeLong() > kMaxEventBytes) return std::nullopt;
  return message.SerializeAsString();
}

}  // namespace

absl::StatusOr<std::shared_ptr<EventFileWriter>> EventFileWriter::Create(
    Options options) {
  TF_RETURN_IF_ERROR(CheckOptions(options));
  TF_RETURN_IF_ERROR(CreateFolders(options.logdir));
  std::string logdir = options.logdir;
  auto core = std::make_shared<Core>(std::move(options));
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Thread> thread,
                      Thread::Start("event_writer", [core] { core->Run(); }));
  return std::shared_ptr<EventFileWriter>(new EventFileWriter(
      std::move(logdir), std::move(core), std::move(thread)));
}

EventFileWriter::EventFileWriter(std::string logdir, std::shared_ptr<Core> core,
                                 std::shared_ptr<Thread> thread)
    : logdir_(std::move(logdir)),
      fork_generation_(ForkGeneration()),
      core_(std::move(core)),
      thread_(std::move(thread)) {}

EventFileWriter::~EventFileWriter() {
  if (InForkedChild()) {
    // The thread is the parent's: neither joining nor asking is possible.
    new std::shared_ptr<Thread>(thread_);
    return;
  }
  Close().IgnoreError();  // It is in the log.
}

bool EventFileWriter::InForkedChild() const {
  return ForkGeneration() != fork_generation_;
}

void EventFileWriter::AddEvent(Event event) {
  if (InForkedChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event = std::move(event);
  core_->AddEvent(std::move(large), std::nullopt);
}

void EventFileWriter::AddSummary(tensorflow::Summary summary,
                                 std::optional<int64_t> step) {
  if (InForkedChild()) return;
  auto large = std::make_unique<LargeEvent>();
  *large->event.mutable_summary() = std::move(summary);
  core_->AddEvent(std::move(large), step);
}

absl::Status EventFileWriter::AddSummary(std::string_view serialized,
                                         std::optional<int64_t> step) {
  if (InForkedChild()) return absl::OkStatus();
  if (serialized.size() <= kMaxEventBytes &&
      internal::HoldsOnlyScalars(serialized)) {
    const double now = core_->Now();
    core_->Add(sizeof(Item) + serialized.size(), /*droppable=*/true,
               [&](Item* item) {
                 item->kind = Item::Kind::kScalars;
                 item->wall_time = now;
                 item->step = step.value_or(0);
                 item->text.assign(serialized);
               });
    return absl::OkStatus();
  }
  auto large = std::make_unique<LargeEvent>();
  if (serialized.size() > kMaxEventBytes ||
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
  if (InForkedChild()) return;
  const double now = core_->Now();
  core_->Add(sizeof(Item) + tag.size(), /*droppable=*/true, [&](Item* item) {
    item->wall_time = now;
    item->step = step.value_or(0);
    item->value = value;
    item->text.assign(tag);
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
  if (InForkedChild()) return;
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
  AddSummary(std::move(summary), step);
}

void EventFileWriter::AddGraph(const tensorflow::GraphDef& graph,
                               std::optional<int64_t> step) {
  if (InForkedChild()) return;
  std::optional<std::string> bytes = Serialized(graph);
  if (!bytes) return core_->AddTooLarge();
  AddGraph(*std::move(bytes), step);
}

void EventFileWriter::AddGraph(std::string serialized,
                               std::optional<int64_t> step) {
  if (InForkedChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event.set_graph_def(std::move(serialized));
  core_->AddEvent(std::move(large), step, /*droppable=*/false);
}

void EventFileWriter::AddMetaGraph(const tensorflow::MetaGraphDef& meta_graph,
                                   std::optional<int64_t> step) {
  if (InForkedChild()) return;
  std::optional<std::string> bytes = Serialized(meta_graph);
  if (!bytes) return core_->AddTooLarge();
  AddMetaGraph(*std::move(bytes), step);
}

void EventFileWriter::AddMetaGraph(std::string serialized,
                                   std::optional<int64_t> step) {
  if (InForkedChild()) return;
  auto large = std::make_unique<LargeEvent>();
  large->event.set_meta_graph_def(std::move(serialized));
  core_->AddEvent(std::move(large), step, /*droppable=*/false);
}

void EventFileWriter::AddSessionLog(SessionStatus status,
                                    std::optional<int64_t> step,
                                    std::string_view checkpoint_path,
                                    std::string_view message) {
  if (InForkedChild()) return;
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
  if (InForkedChild()) return absl::OkStatus();
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
    core_->AddTooLarge();
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
  if (InForkedChild()) return absl::OkStatus();
  TF_RETURN_IF_ERROR(core_->AwaitFlush());
  return core_->TakeError();
}

void EventFileWriter::AwaitFlush() {
  if (!InForkedChild()) core_->AwaitFlush().IgnoreError();
}

absl::Status EventFileWriter::Close() {
  if (InForkedChild()) return absl::OkStatus();
  core_->RequestClose();
  const internal::DiskPatience::Wait wait(core_->patience());
  if (thread_->JoinFor(wait.left())) return core_->TakeError();
  thread_->Detach();
  return core_->NoteStall(std::numeric_limits<uint64_t>::max(), wait.limit());
}

bool EventFileWriter::closed() const {
  return InForkedChild() || core_->closed();
}

void EventFileWriter::NarrowFileMode(mode_t mode) {
  if (!InForkedChild()) core_->NarrowFileMode(mode);
}

std::string EventFileWriter::path() const {
  return InForkedChild() ? std::string() : core_->path();
}

EventFileWriter::Stats EventFileWriter::stats() const {
  return InForkedChild() ? Stats() : core_->stats();
}

}  // namespace tftrain

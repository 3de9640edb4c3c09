// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/profiler_hook.h"

#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/profiler_claim.h"
#include "tftrain/hooks/internal/writer_of.h"
#include "tftrain/summary/timeline.h"
#include "tsl/profiler/lib/profiler_lock.h"

namespace tftrain {
namespace {

SessionRunArgs FullTrace() {
  tensorflow::RunOptions options;
  options.set_trace_level(tensorflow::RunOptions::FULL_TRACE);
  return SessionRunArgs::FeedOnly({}, options);
}

}  // namespace

ProfilerHook::ProfilerHook(Options options)
    : options_(std::move(options)), traced_(FullTrace()) {}

absl::Status ProfilerHook::Begin(BeginContext& context) {
  TF_ASSIGN_OR_RETURN(
      timer_, SecondOrStepTimer::Create(
                  {options_.save_secs, options_.save_steps, options_.clock}));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "ProfilerHook").status());
  TF_ASSIGN_OR_RETURN(
      writer_, EventFileWriterCache::Get(
                   options_.output_dir.empty() ? "." : options_.output_dir));
  writer_->NarrowFileMode(options_.file_mode);
  return absl::OkStatus();
}

absl::Status ProfilerHook::AfterCreateSession(Session&, Coordinator&) {
  timer_->Reset();
  last_step_.reset();
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> ProfilerHook::BeforeRun(
    SessionRunContext& context) {
  is_traced_ = false;
  if (!last_step_.has_value()) {
    TF_ASSIGN_OR_RETURN(first_step_, context.GlobalStep());
    return SessionRunArgs();
  }
  if (!timer_->ShouldTriggerForStep(*last_step_ + 1)) return SessionRunArgs();
  auto claim = internal::ProfilerClaim::Take(context.session());
  // The runtime fails a traced step while somebody else uses its profiler.
  if (claim == nullptr || tsl::profiler::ProfilerLock::HasActiveSession()) {
    return SessionRunArgs();
  }
  context.KeepForStep(std::move(claim));
  is_traced_ = true;
  return traced_;
}

absl::Status ProfilerHook::AfterRun(SessionRunContext& context,
                                    const SessionRunValues& values) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  // The time of the first run, which may fill queues, does not count.
  if (!last_step_.has_value()) timer_->UpdateLastTriggeredStep(first_step_);
  last_step_ = step;
  if (!is_traced_) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  Save(step, *values.run_metadata());
  return absl::OkStatus();
}

void ProfilerHook::Save(int64_t step, const tensorflow::RunMetadata& metadata) {
  const std::string path =
      JoinPath(options_.output_dir, absl::StrCat("timeline-", step, ".json"));
  Timeline::Options shown;
  shown.show_dataflow = options_.show_dataflow;
  shown.show_memory = options_.show_memory;
  const absl::Status written = WriteFileAtomically(
      path, Timeline(metadata.step_stats()).GenerateChromeTraceFormat(shown),
      {/*durable=*/false, options_.file_mode});
  if (written.ok()) {
    LOG(INFO) << "The timeline of step " << step << " is in \"" << path << "\"";
  } else if (++files_failed_ == 1) {
    LOG(WARNING) << "A timeline is lost because " << written.message()
                 << "; this is not said again";
  }
  const std::string tag = absl::StrCat("step_", step);
  absl::Status added = writer_->AddRunMetadata(metadata, tag);
  for (int i = 2; !added.ok(); ++i) {
    added = writer_->AddRunMetadata(metadata, absl::StrCat(tag, "_", i));
  }
}

absl::Status ProfilerHook::End(Session&) {
  internal::LetGoOf(&writer_);
  return absl::OkStatus();
}

void ProfilerHook::OnAbort(const absl::Status&) { internal::LetGoOf(&writer_); }

std::shared_ptr<ProfilerHook> SaveTimelines(std::string output_dir,
                                            const Every& every) {
  ProfilerHook::Options options;
  options.save_steps = every.every_steps;
  options.save_secs = every.every_secs;
  options.output_dir = std::move(output_dir);
  return std::make_shared<ProfilerHook>(std::move(options));
}

}  // namespace tftrain

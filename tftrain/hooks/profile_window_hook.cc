// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/profile_window_hook.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/host_info.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/util/event.pb.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/profiler_claim.h"
#include "tftrain/summary/event_file.h"
#include "tsl/profiler/lib/profiler_session.h"
#include "tsl/profiler/lib/traceme.h"
#include "tsl/profiler/lib/traceme_encode.h"
#include "tsl/profiler/protobuf/xplane.pb.h"

namespace tftrain {
namespace {

using tensorflow::profiler::XSpace;

absl::Status CheckOptions(const ProfileWindowHook::Options& options) {
  const int given = options.first_step.has_value() +
                    options.save_steps.has_value() +
                    options.save_secs.has_value();
  if (given != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        given == 0 ? "none" : "several",
        " of first_step, save_steps and save_secs are set, set exactly one of "
        "them"));
  }
  if (options.first_step.value_or(1) < 1 || options.num_steps < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the steps to profile, %d from \"%d\" on, must both be 1 or more",
        options.num_steps, options.first_step.value_or(1)));
  }
  if (options.host_tracer_level < 0 || options.host_tracer_level > 3 ||
      options.device_tracer_level < 0 || options.device_tracer_level > 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "host_tracer_level \"%d\" must be 0 to 3, device_tracer_level \"%d\" 0 "
        "or 1",
        options.host_tracer_level, options.device_tracer_level));
  }
  return absl::OkStatus();
}

// TensorBoard looks for profiles where it finds an event file.
absl::Status EnsureEventFile(const std::string& folder, absl::Time now,
                             mode_t file_mode) {
  TF_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  if (std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return absl::StrContains(name, "tfevents");
      })) {
    return absl::OkStatus();
  }
  internal::EventFile::Options options;
  options.folder = folder;
  options.seconds = absl::ToUnixSeconds(now);
  options.suffix = ".profile-empty";
  options.mode = file_mode;
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<internal::EventFile> file,
                      internal::EventFile::Create(options));
  tensorflow::Event version;
  version.set_wall_time(static_cast<double>(options.seconds));
  version.set_file_version("brain.Event:2");
  file->Append(version.SerializeAsString());
  return file->Close();
}

}  // namespace

// The steps that are being recorded.
struct ProfileWindowHook::Window {
  int64_t first_step;
  // What `num_steps` counts from: earlier in a window that a restored session
  // enters late.
  int64_t begin;
  // Outlives the profiler.
  std::shared_ptr<const internal::ProfilerClaim> claim;
  std::unique_ptr<tsl::ProfilerSession> profiler;
  // The mark of the run that is under way, and how many ended.
  std::optional<tsl::profiler::TraceMe> run;
  int64_t runs = 0;
};

ProfileWindowHook::ProfileWindowHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock == nullptr ? Clock::Real() : options_.clock) {}

ProfileWindowHook::~ProfileWindowHook() = default;

absl::Status ProfileWindowHook::Begin(BeginContext& context) {
  TF_RETURN_IF_ERROR(CheckOptions(options_));
  if (!options_.first_step.has_value()) {
    TF_ASSIGN_OR_RETURN(
        timer_, SecondOrStepTimer::Create(
                    {options_.save_secs, options_.save_steps, options_.clock}));
  }
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "ProfileWindowHook").status());
  is_done_ = false;
  return options_.output_dir.empty() ? absl::OkStatus()
                                     : CreateFolders(options_.output_dir);
}

absl::Status ProfileWindowHook::AfterCreateSession(Session&, Coordinator&) {
  window_.reset();
  last_step_.reset();
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> ProfileWindowHook::BeforeRun(
    SessionRunContext& context) {
  if (!last_step_.has_value()) {
    TF_ASSIGN_OR_RETURN(last_step_, context.GlobalStep());
    if (timer_.has_value()) timer_->UpdateLastTriggeredStep(*last_step_);
    StartWindowIfDue(context.session());
  }
  if (window_ != nullptr) {
    // TensorBoard tells steps apart by these marks.
    window_->run.emplace([next_step = *last_step_ + 1] {
      return tsl::profiler::TraceMeEncode("train",
                                          {{"step_num", next_step}, {"_r", 1}});
    });
  }
  return SessionRunArgs();
}

absl::Status ProfileWindowHook::AfterRun(SessionRunContext& context,
                                         const SessionRunValues&) {
  TF_ASSIGN_OR_RETURN(last_step_, context.GlobalStep());
  if (window_ != nullptr) {
    window_->run.reset();
    ++window_->runs;
    // A window ends early when training is taken back to before it.
    if (*last_step_ - window_->begin >= options_.num_steps - 1 ||
        *last_step_ < window_->first_step - 1) {
      EndWindow();
    }
  }
  // Now rather than before the next run, so that every hook's BeforeRun() sees
  // that the profiler is in use.
  if (window_ == nullptr) StartWindowIfDue(context.session());
  return absl::OkStatus();
}

absl::Status ProfileWindowHook::End(Session&) {
  if (window_ != nullptr && window_->runs > 0) EndWindow();
  window_.reset();
  return absl::OkStatus();
}

void ProfileWindowHook::OnAbort(const absl::Status&) { window_.reset(); }

void ProfileWindowHook::StartWindowIfDue(const Session& session) {
  const int64_t next_step = *last_step_ + 1;
  if (timer_.has_value()) {
    if (!timer_->ShouldTriggerForStep(next_step)) return;
    timer_->UpdateLastTriggeredStep(next_step);
  } else if (is_done_ || next_step < *options_.first_step ||
             next_step - *options_.first_step >= options_.num_steps) {
    return;
  }
  tensorflow::ProfileOptions options = tsl::ProfilerSession::DefaultOptions();
  options.set_host_tracer_level(
      static_cast<uint32_t>(options_.host_tracer_level));
  options.set_device_tracer_level(
      static_cast<uint32_t>(options_.device_tracer_level));
  auto window = std::make_unique<Window>();
  window->first_step = next_step;
  window->begin = options_.first_step.value_or(next_step);
  window->claim = internal::ProfilerClaim::Take(session);
  if (window->claim == nullptr) {
    return Lose(absl::AlreadyExistsError(
        "a hook of another session uses the profiler"));
  }
  window->profiler = tsl::ProfilerSession::Create(options);
  const absl::Status started = window->profiler->Status();
  if (!started.ok()) return Lose(started);
  window_ = std::move(window);
}

void ProfileWindowHook::EndWindow() {
  const std::unique_ptr<Window> window = std::move(window_);
  XSpace space;
  absl::Status status = window->profiler->CollectData(&space);
  // Others may profile while this is written.
  window->profiler.reset();
  window->claim.reset();
  std::string profile;
  if (status.ok() && !space.SerializeToString(&profile)) {
    status = absl::ResourceExhaustedError(
        "the profile is larger than 2 GiB, profile fewer steps");
  }
  if (status.ok()) status = Write(*window, profile);
  if (!status.ok()) return Lose(status);
  is_done_ = true;
  ++windows_written_;
}

absl::Status ProfileWindowHook::Write(const Window& window,
                                      const std::string& profile) const {
  const absl::Time now = clock_->Now();
  const std::string name = absl::StrCat(
      absl::FormatTime("%Y_%m_%d_%H_%M_%S", now, absl::LocalTimeZone()),
      "_step_", window.first_step);
  const std::string folder =
      JoinPath(options_.output_dir, JoinPath("plugins/profile", name));
  TF_RETURN_IF_ERROR(CreateFolders(folder));
  TF_RETURN_IF_ERROR(WriteFileAtomically(
      JoinPath(folder, tensorflow::port::Hostname() + ".xplane.pb"), profile,
      {/*durable=*/false, options_.file_mode}));
  TF_RETURN_IF_ERROR(
      EnsureEventFile(options_.output_dir.empty() ? "." : options_.output_dir,
                      now, options_.file_mode));
  LOG(INFO) << "The profile of the steps from " << window.first_step
            << " on is in \"" << folder << "\"";
  return absl::OkStatus();
}

void ProfileWindowHook::Lose(const absl::Status& status) {
  is_done_ = true;
  if (++windows_lost_ > 1) return;
  LOG(WARNING) << "A profile is lost because " << status.message()
               << "; this is not said again";
}

std::shared_ptr<ProfileWindowHook> ProfileSteps(std::string output_dir,
                                                int64_t first_step,
                                                int64_t num_steps) {
  ProfileWindowHook::Options options;
  options.output_dir = std::move(output_dir);
  options.first_step = first_step;
  options.num_steps = num_steps;
  return std::make_shared<ProfileWindowHook>(std::move(options));
}

}  // namespace tftrain

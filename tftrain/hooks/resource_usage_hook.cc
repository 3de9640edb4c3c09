// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/resource_usage_hook.h"

#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/summary.pb.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/hooks/internal/process_usage.h"
#include "tftrain/hooks/internal/writer_of.h"

namespace tftrain {
namespace {

// The memory that tensors hold on a device.
struct DeviceUsage {
  std::string device;  // "GPU:0"
  int64_t bytes_in_use;
  int64_t peak_bytes_in_use;
};

std::vector<DeviceUsage> ReadDevices(const Session& session) {
  std::vector<DeviceUsage> usages;
  const tensorflow::DeviceMgr* devices = nullptr;
  if (!session.is_local() ||
      !session.engine()->LocalDeviceManager(&devices).ok()) {
    return usages;
  }
  for (tensorflow::Device* const device : devices->ListDevices()) {
    const auto stats = device->GetAllocator({})->GetStats();
    // Those that do not count say nothing, or that nothing was ever in use.
    if (!stats.has_value() || stats->peak_bytes_in_use == 0) continue;
    usages.push_back({absl::StrCat(device->parsed_name().type, ":",
                                   device->parsed_name().id),
                      stats->bytes_in_use, stats->peak_bytes_in_use});
  }
  return usages;
}

// A measurement, as scalars and as words.
//
// Confined: use from the thread that created it.
class Report {
 public:
  void Add(const std::string& name, double value, std::string text) {
    tensorflow::Summary::Value& scalar = *summary_.add_value();
    scalar.set_tag(absl::StrCat("resources/", name));
    scalar.set_simple_value(static_cast<float>(value));
    words_.push_back(std::move(text));
  }

  void AddBytes(const std::string& name, std::optional<int64_t> bytes,
                const std::string& text) {
    if (!bytes.has_value()) return;
    const auto value = static_cast<double>(*bytes);
    Add(name, value, absl::StrFormat("%.1f MiB %s", value / (1 << 20), text));
  }

  void AddCount(const std::string& name, std::optional<int64_t> count,
                const std::string& text) {
    if (!count.has_value()) return;
    Add(name, static_cast<double>(*count), absl::StrCat(*count, " ", text));
  }

  const tensorflow::Summary& summary() const { return summary_; }
  std::string text() const { return absl::StrJoin(words_, ", "); }

 private:
  tensorflow::Summary summary_;
  std::vector<std::string> words_;
};

}  // namespace

ResourceUsageHook::ResourceUsageHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock == nullptr ? Clock::Real() : options_.clock) {}

absl::Status ResourceUsageHook::Begin(BeginContext& context) {
  TF_ASSIGN_OR_RETURN(timer_, SecondOrStepTimer::Create({options_.every_n_secs,
                                                         options_.every_n_steps,
                                                         options_.clock}));
  TF_RETURN_IF_ERROR(
      RequireGlobalStep(context.graph(), "ResourceUsageHook").status());
  TF_ASSIGN_OR_RETURN(writer_, internal::WriterOf(options_.summary_writer,
                                                  options_.output_dir));
  return absl::OkStatus();
}

absl::Status ResourceUsageHook::AfterCreateSession(Session&, Coordinator&) {
  timer_->Reset();
  last_cpu_ = ReadCpu();
  return absl::OkStatus();
}

absl::Status ResourceUsageHook::AfterRun(SessionRunContext& context,
                                         const SessionRunValues&) {
  TF_ASSIGN_OR_RETURN(const int64_t step, context.GlobalStep());
  if (!timer_->ShouldTriggerForStep(step)) return absl::OkStatus();
  timer_->UpdateLastTriggeredStep(step);
  Measure(context.session(), step);
  return absl::OkStatus();
}

ResourceUsageHook::CpuReading ResourceUsageHook::ReadCpu() const {
  return {internal::ProcessCpuTime(), clock_->Monotonic()};
}

void ResourceUsageHook::Measure(const Session& session, int64_t step) {
  Report report;
  const internal::ProcessUsage process = internal::ReadProcessUsage();
  report.AddBytes("resident_bytes", process.resident_bytes, "resident");
  report.AddBytes("peak_resident_bytes", process.peak_resident_bytes,
                  "at most");
  const CpuReading cpu = ReadCpu();
  // A clock too coarse for the steps tells nothing about them.
  if (cpu.at > last_cpu_.at) {
    const double cpus =
        absl::FDivDuration(cpu.used - last_cpu_.used, cpu.at - last_cpu_.at);
    report.Add("cpus", cpus, absl::StrFormat("%.2f processors", cpus));
  }
  last_cpu_ = cpu;
  report.AddCount("threads", process.threads, "threads");
  report.AddCount("open_files", process.open_files, "open files");
  for (const DeviceUsage& usage : ReadDevices(session)) {
    report.AddBytes(usage.device + "/bytes_in_use", usage.bytes_in_use,
                    "on " + usage.device);
    report.AddBytes(usage.device + "/peak_bytes_in_use",
                    usage.peak_bytes_in_use, "at most");
  }
  if (writer_ != nullptr) writer_->AddSummary(report.summary(), step);
  if (options_.log) {
    LOG(INFO) << "Resources at step " << step << ": " << report.text();
  }
}

absl::Status ResourceUsageHook::End(Session&) {
  internal::LetGoOf(&writer_);
  return absl::OkStatus();
}

void ResourceUsageHook::OnAbort(const absl::Status&) {
  internal::LetGoOf(&writer_);
}

std::shared_ptr<ResourceUsageHook> TellResourceUsage(std::string output_dir,
                                                     const Every& every) {
  ResourceUsageHook::Options options;
  options.every_n_steps = every.every_steps;
  options.every_n_secs = every.every_secs;
  options.output_dir = std::move(output_dir);
  return std::make_shared<ResourceUsageHook>(std::move(options));
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Tells what training takes from the machine.

#ifndef TFTRAIN_HOOKS_RESOURCE_USAGE_HOOK_H_
#define TFTRAIN_HOOKS_RESOURCE_USAGE_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

// Measures this process after the first step of a session and then once every
// so many steps or seconds, logs it in a line at INFO and, where it has a
// writer, records these scalars:
//
//   resources/resident_bytes        memory that is in use, of the machine's
//   resources/peak_resident_bytes   the most of it so far
//   resources/cpus                  processors busy with this process since the
//                                   measurement before: 1.5 is one and a half
//   resources/threads
//   resources/open_files            files, sockets and other descriptors
//   resources/GPU:0/bytes_in_use    memory that tensors hold on a device of the
//   resources/GPU:0/peak_bytes_in_use   session, and the most of it so far
//
// What cannot be told is left out: all but `cpus` without Linux's /proc, and
// the devices of a server and those whose allocators do not count. A
// measurement takes some 0.1 ms, more where thousands of files are open.
//
// Python has no such hook.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {TellResourceUsage("run", Every::Secs(60))};
class ResourceUsageHook : public SessionRunHook {
 public:
  struct Options {
    // Exactly one of the two must be set.
    std::optional<int64_t> every_n_steps = 100;
    std::optional<double> every_n_secs;

    // Where to record; `output_dir` counts only without a writer. With
    // neither, the measurements are only logged.
    std::string output_dir;
    std::shared_ptr<EventFileWriter> summary_writer;

    // Whether each measurement is logged.
    bool log = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit ResourceUsageHook(Options options);

  // Errors: kInvalidArgument as SecondOrStepTimer::Create;
  // kFailedPrecondition without a global step; those of EventFileWriterCache.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

 private:
  // Processor time, and when it was read.
  struct CpuReading {
    absl::Duration used;
    absl::Duration at;
  };

  CpuReading ReadCpu() const;
  void Measure(const Session& session, int64_t step);

  const Options options_;
  Clock* const clock_;
  std::optional<SecondOrStepTimer> timer_;
  std::shared_ptr<EventFileWriter> writer_;
  CpuReading last_cpu_;
};

// Measures at the cadence `every`, recording in the folder `output_dir`.
std::shared_ptr<ResourceUsageHook> TellResourceUsage(
    std::string output_dir, const Every& every = Every::Steps(100));

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_RESOURCE_USAGE_HOOK_H_

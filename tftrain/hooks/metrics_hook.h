// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Writes values of the graph into files that other programs read.

#ifndef TFTRAIN_HOOKS_METRICS_HOOK_H_
#define TFTRAIN_HOOKS_METRICS_HOOK_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/coming_step.h"
#include "tftrain/hooks/internal/row_file.h"
#include "tftrain/hooks/logging_tensor_hook.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Writes scalars in the first step of a session and then once every so many
// steps or seconds, under the global step after that step, as JSON lines, as
// CSV, or both:
//
//   {"step":100,"time":1700000000.250,"loss":0.5}
//
//   step,time,loss
//   100,1700000000.250,0.5
//
// `time` is in seconds since 1970. Numbers are the shortest that read back as
// the same value, bools are 0 and 1. What JSON has no number for is a text
// there, "NaN", "Infinity" or "-Infinity"; in CSV it is nan, inf or -inf. Bytes
// of a name that are no UTF-8 become U+FFFD.
//
// Each row is handed to the system at once, by the thread that runs the step,
// and not forced to the disk. A session goes on with the file of an earlier
// one: rows of steps beyond the one it begins at, which will come again, and a
// last line that is not whole are taken away first, which the log tells; so are
// those beyond the step that training is taken back to. So a run that begins at
// step 0, as without a checkpoint, empties the file: give it another one. Only
// the end of the file is read. Where somebody moves or deletes it meanwhile, a
// new one is begun. Within a session, too, a step that comes
// again replaces what was written of it and after it, and a run that leaves the
// global step where it was writes nothing. So there is one row for a step at
// most, in order.
//
// A file that cannot be opened when the session is created is an error; a
// failure of the disk after that spoils no training: it is warned of once, the
// row is lost and counted, and the next row tries again.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {WriteMetrics("run/metrics.jsonl", {{"loss", "loss:0"}},
//                                 Every::Steps(100))};
class MetricsHook : public SessionRunHook {
 public:
  struct Options {
    // The scalars, and what the files call them.
    std::vector<LoggedTensor> tensors;

    Every every = Every::Steps(100);

    // The files; one of the two at least. Folders are made if need be.
    std::string json_path;
    std::string csv_path;

    // Permissions of new files; the process's umask is taken off them.
    mode_t file_mode = 0666;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  // Rows, each counted once for each file.
  struct Stats {
    int64_t written = 0;
    int64_t lost = 0;  // because of an error of the disk
  };

  explicit MetricsHook(Options options);

  // Errors: kInvalidArgument without tensors or without a path, for a tensor
  // that the graph does not have or that is no number, for two that are called
  // the same, or "step" or "time", and for `every` as
  // SecondOrStepTimer::Create; kFailedPrecondition without a global step.
  absl::Status Begin(BeginContext& context) override;

  // Errors: kFailedPrecondition for a CSV file with other columns; those of
  // base/file.h.
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: kInvalidArgument when a tensor holds more than one number.
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

  const Stats& stats() const { return stats_; }

 private:
  absl::Status CheckNames() const;
  void Append(internal::RowFile* file, int64_t step, const std::string& row);

  const Options options_;
  Clock* const clock_;
  std::optional<SecondOrStepTimer> timer_;
  SessionRunArgs args_;
  std::unique_ptr<internal::RowFile> json_;
  std::unique_ptr<internal::RowFile> csv_;

  // The global step after the step before, and whether the step that runs
  // fetches the tensors.
  internal::ComingStep step_;
  bool is_requested_ = false;
  Stats stats_;
};

// Writes `tensors` at the cadence `every` to the file `path`: as CSV where the
// name ends in ".csv", else as JSON lines.
std::shared_ptr<MetricsHook> WriteMetrics(
    std::string path, std::vector<LoggedTensor> tensors,
    const Every& every = Every::Steps(100));

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_METRICS_HOOK_H_

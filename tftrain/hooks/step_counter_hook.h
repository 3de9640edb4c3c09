// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Measures how fast training goes.

#ifndef TFTRAIN_HOOKS_STEP_COUNTER_HOOK_H_
#define TFTRAIN_HOOKS_STEP_COUNTER_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

// Logs the steps per second at INFO now and then and, where it has a writer,
// records them as the scalar "global_step/sec" (the global step's name). The
// first step of a session starts the clock, and so does the first one after
// training was taken back, so that neither counts.
//
// Warns, at most five times in a process, when the global step stands still
// from one run to the next. Where the graph's collection "train_op" tells what
// trains, only runs that ask for it are judged.
//
// Python: `tf.compat.v1.train.StepCounterHook`, which judges all runs.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {CountSteps("run", Every::Steps(100))};
class StepCounterHook : public SessionRunHook {
 public:
  struct Options {
    // Exactly one of the two must be set.
    std::optional<int64_t> every_n_steps = 100;
    std::optional<double> every_n_secs;

    // Where to record; `output_dir` counts only without a writer. With
    // neither, the rate is only logged.
    std::string output_dir;
    std::shared_ptr<EventFileWriter> summary_writer;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit StepCounterHook(Options options);

  // Errors: kInvalidArgument as SecondOrStepTimer::Create;
  // kFailedPrecondition without a global step; those of EventFileWriterCache.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

 private:
  void StartAnew();
  void Record(int64_t step);
  void WarnIfTraining(const Request& request, int64_t step) const;

  const Options options_;
  std::optional<SecondOrStepTimer> timer_;
  std::shared_ptr<EventFileWriter> writer_;
  std::string tag_;
  // The operations of the collection "train_op".
  std::vector<std::string> train_ops_;
  // After the last run.
  std::optional<int64_t> last_step_;
  // Whether there was another run since; not if the hook is listed twice.
  bool has_run_ = false;
};

// Counts steps at the cadence `every`, recording in the folder `output_dir`.
std::shared_ptr<StepCounterHook> CountSteps(
    std::string output_dir, const Every& every = Every::Steps(100));

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_STEP_COUNTER_HOOK_H_

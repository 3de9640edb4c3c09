// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Shows now and then what a step does, operation by operation.

#ifndef TFTRAIN_HOOKS_PROFILER_HOOK_H_
#define TFTRAIN_HOOKS_PROFILER_HOOK_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/summary/event_file_writer.h"

namespace tensorflow {
class RunMetadata;
}  // namespace tensorflow

namespace tftrain {

// Traces a step in full once every so many steps or seconds, never the first
// one of a session, and writes what it did to `timeline-<step>.json` (see
// Timeline), <step> being the global step after it. The same data goes to the
// event file, under the tag `step_<step>`, which TensorBoard offers on its page
// of graphs.
//
// A traced step takes several times as long as another. It needs TensorFlow's
// profiler, of which a process has one: while somebody else uses that, it
// waits. A step fails with kAlreadyExists all the same if the program itself,
// or a FULL_TRACE it asks for, takes the profiler at the very moment in which
// the step begins; hooks of other sessions never do. A file that cannot be
// written is warned of once and counted; training goes on. For many steps in a
// row see ProfileWindowHook.
//
// Python: `tf.compat.v1.train.ProfilerHook`, which ends training with the error
// of the disk, while the profiler is in use, and when it traces a step of the
// same number again in the same folder; here that trace replaces the file, and
// its tag is `step_<step>_2`.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {SaveTimelines("run", Every::Steps(1000))};
class ProfilerHook : public SessionRunHook {
 public:
  struct Options {
    // Exactly one of the two must be set.
    std::optional<int64_t> save_steps;
    std::optional<double> save_secs;

    // Where to write; made if it is missing. Empty means the current folder.
    std::string output_dir;

    // Permissions of the files; the process's umask is taken off them. The
    // event file gets no wider ones, whoever else writes to it.
    mode_t file_mode = 0666;

    // What the timelines show; see Timeline::Options.
    bool show_dataflow = true;
    bool show_memory = false;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit ProfilerHook(Options options);

  // Errors: kInvalidArgument as SecondOrStepTimer::Create; kFailedPrecondition
  // without a global step; those of EventFileWriterCache.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

  // Timelines that could not be written so far.
  int64_t files_failed() const { return files_failed_; }

 private:
  void Save(int64_t step, const tensorflow::RunMetadata& metadata);

  const Options options_;
  const SessionRunArgs traced_;
  std::optional<SecondOrStepTimer> timer_;
  std::shared_ptr<EventFileWriter> writer_;
  int64_t files_failed_ = 0;

  // The global step after the step before, if there was one in this session.
  std::optional<int64_t> last_step_;
  // Before the session's first one.
  int64_t first_step_ = 0;
  bool is_traced_ = false;
};

// Writes timelines into the folder `output_dir` at the cadence `every`.
std::shared_ptr<ProfilerHook> SaveTimelines(std::string output_dir,
                                            const Every& every);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_PROFILER_HOOK_H_

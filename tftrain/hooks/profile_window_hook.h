// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Profiles a few steps in a row for TensorBoard.

#ifndef TFTRAIN_HOOKS_PROFILE_WINDOW_HOOK_H_
#define TFTRAIN_HOOKS_PROFILE_WINDOW_HOOK_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Runs TensorFlow's profiler during a window of steps, which records what every
// thread of this process did, and its GPUs, at some 10 us for a small step.
// Each window becomes a run of TensorBoard's profile page (its package
// `tensorboard-plugin-profile`):
//
//   <output_dir>/plugins/profile/<time>_step_<first step>/<host>.xplane.pb
//
// A process has one profiler. While another hook or program uses it, a window
// is left out; that, and a file that cannot be written, is warned of once and
// counted, and training goes on. The step that ends a window also takes the
// time to write it. A window that the end of training cuts short is written;
// one that an error cuts short is not. Work on a server is not seen.
//
// Python: `tf.profiler.experimental.start` and `stop` called by hand.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {ProfileSteps("run", /*first_step=*/100,
//                                 /*num_steps=*/5)};
class ProfileWindowHook : public SessionRunHook {
 public:
  struct Options {
    // Where to write; made if it is missing. Empty means the current folder.
    std::string output_dir;

    // Permissions of the files; the process's umask is taken off them.
    mode_t file_mode = 0666;

    // When a window begins; exactly one of the three must be set. Once: with
    // the run that leads to this global step, or with the first run of a
    // session that was restored within the window. Or after every so many steps
    // or seconds, for the first time that long after the session began.
    std::optional<int64_t> first_step;
    std::optional<int64_t> save_steps;
    std::optional<double> save_secs;

    // How many global steps a window lasts, 1 or more.
    int64_t num_steps = 5;

    // How much is recorded: of the threads nothing (0), what the program marks
    // (1), operations (2) or details (3); of GPUs nothing (0) or all (1).
    int host_tracer_level = 2;
    int device_tracer_level = 1;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit ProfileWindowHook(Options options);
  ~ProfileWindowHook() override;

  // Errors: kInvalidArgument unless exactly one of `first_step`, `save_steps`
  // and `save_secs` is set, if it is negative, `first_step` or `num_steps` is
  // less than 1, or a level is not one of those named; kFailedPrecondition
  // without a global step; those of CreateFolders.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

  // Windows written, and windows lost, so far.
  int64_t windows_written() const { return windows_written_; }
  int64_t windows_lost() const { return windows_lost_; }

 private:
  struct Window;

  void StartWindowIfDue(const Session& session);
  void EndWindow();
  absl::Status Write(const Window& window, const std::string& profile) const;
  void Lose(const absl::Status& status);

  const Options options_;
  Clock* const clock_;
  // None for a single window.
  std::optional<SecondOrStepTimer> timer_;
  // Whether the single window is over.
  bool is_done_ = false;
  // The one that is being recorded, or null.
  std::unique_ptr<Window> window_;
  // The global step after the run before, or at the start of the session.
  std::optional<int64_t> last_step_;
  int64_t windows_written_ = 0;
  int64_t windows_lost_ = 0;
};

// Profiles the steps from `first_step` on, `num_steps` of them, into the folder
// `output_dir`.
std::shared_ptr<ProfileWindowHook> ProfileSteps(std::string output_dir,
                                                int64_t first_step,
                                                int64_t num_steps = 5);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_PROFILE_WINDOW_HOOK_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Writes summaries for TensorBoard while a model trains.

#ifndef TFTRAIN_HOOKS_SUMMARY_SAVER_HOOK_H_
#define TFTRAIN_HOOKS_SUMMARY_SAVER_HOOK_H_

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
#include "tftrain/setup/scaffold.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

// Fetches summaries in the first step of a session and then once every so many
// steps or seconds, and writes them under the global step after that step. The
// first step also writes the note from which TensorBoard learns which points of
// a former run to forget; so does the first one after training was taken back.
//
// Where the summaries need inputs that the caller's steps bring, a step without
// them (one that feeds no batch, or reads none) is left out, and the next one
// is taken; with a warning, once.
//
// Python: `tf.compat.v1.train.SummarySaverHook`, whose fetches fail such a step
// or take a batch away from training.
//
// Confined: the session calls a hook from one thread.
//
//   options.scaffold = std::make_shared<Scaffold>();
//   options.hooks = {SaveSummaries("run", Every::Steps(100),
//   options.scaffold)};
class SummarySaverHook : public SessionRunHook {
 public:
  struct Options {
    // Exactly one of the two must be set.
    std::optional<int64_t> save_steps;
    std::optional<double> save_secs;

    // Where to write; `output_dir` counts only without a writer. With neither,
    // nothing is fetched.
    std::string output_dir;
    std::shared_ptr<EventFileWriter> summary_writer;

    // What to write: the scaffold's summary_op, if it has one, or these tensors
    // of serialized summaries ("merge:0"), each as an event of its own. Exactly
    // one of the two must be set.
    std::shared_ptr<Scaffold> scaffold;
    std::vector<std::string> summary_op;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit SummarySaverHook(Options options);

  // Errors: kInvalidArgument as SecondOrStepTimer::Create, if both or none of
  // `scaffold` and `summary_op` are set, and for a tensor the graph does not
  // have; kFailedPrecondition without a global step; those of
  // EventFileWriterCache.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: kInvalidArgument when a tensor holds no summary.
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

 private:
  // The next step writes, and tells readers to forget what comes again.
  void StartAnew();

  const Options options_;
  std::optional<SecondOrStepTimer> timer_;
  std::shared_ptr<EventFileWriter> writer_;
  SessionRunArgs args_;

  // The global step after the step before; whether this session has run no step
  // yet, and whether the step that runs fetches the summaries.
  int64_t last_step_ = 0;
  bool is_first_run_ = true;
  bool is_requested_ = false;
};

// Writes the scaffold's summaries into the folder `output_dir` at the cadence
// `every`.
std::shared_ptr<SummarySaverHook> SaveSummaries(
    std::string output_dir, const Every& every,
    std::shared_ptr<Scaffold> scaffold);

// The same for the tensor `summary_op`, "merge:0".
std::shared_ptr<SummarySaverHook> SaveSummaries(std::string output_dir,
                                                const Every& every,
                                                std::string summary_op);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_SUMMARY_SAVER_HOOK_H_

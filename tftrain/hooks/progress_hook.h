// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Shows how far training has come.

#ifndef TFTRAIN_HOOKS_PROGRESS_HOOK_H_
#define TFTRAIN_HOOKS_PROGRESS_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/coming_step.h"
#include "tftrain/hooks/logging_tensor_hook.h"
#include "tftrain/hooks/progress_sink.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Shows the global step, the steps per second, the time left and some tensors:
// on a terminal as a bar that is written over and over again, elsewhere as
// lines of a log, beginning with the first step of the session and ending with
// its last one:
//
//    45% [#########-----------] 450/1000, 12.3 steps/s, 0:45 left, loss = 0.5
//   step 450 of 1000 (45%), 12.3 steps/s, 0:45 left, loss = 0.5
//
// The rate is that of this session after its first step, over the time spent
// on training: saves, evaluations and restores by hooks of this library do not
// count. Between two bars the cursor waits at the beginning of the line: a line
// of the log covers the bar, and the next bar comes below it.
//
// Confined: the session calls a hook from one thread.
// Python: tf.train has none; Keras's Progbar.
//
//   options.hooks = {StopAtStep(1000), ShowProgress(1000, {{"loss",
//   "loss:0"}})};
class ProgressHook : public SessionRunHook {
 public:
  // kAuto: a bar where the sink is a terminal, lines elsewhere.
  enum class Style { kAuto, kBar, kLines };

  struct Options {
    // The global step at which training ends, as that of StopAtStepHook; tells
    // how much is left. Nothing: there is no bar and no time left.
    std::optional<int64_t> last_step;

    // Shown as "tag = value".
    std::vector<LoggedTensor> tensors;

    // When it is shown; in steps of this session. Default: every half second as
    // a bar, every 30 seconds as lines.
    std::optional<Every> every;

    Style style = Style::kAuto;

    // Null means the standard error stream.
    std::shared_ptr<ProgressSink> sink;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit ProgressHook(Options options);

  // Errors: kInvalidArgument for a `last_step` that is not positive, for
  // `every` as SecondOrStepTimer::Create, and for a tensor that the graph does
  // not have; kFailedPrecondition without a global step.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

 private:
  // How fast and how long, and the tensors; with a ", " before each.
  std::string Details() const;
  std::string Line() const;
  // A bar and its columns, colours not counted.
  struct Drawn {
    std::string text;
    size_t columns;
  };
  Drawn Bar() const;
  void Show();
  // Leaves the cursor at the beginning of a line.
  void EndLine();

  const Options options_;
  Clock* const clock_;
  const std::shared_ptr<ProgressSink> sink_;
  const bool is_bar_;
  std::optional<SecondOrStepTimer> timer_;
  SessionRunArgs args_;

  // The steps of this session in which the hook took part, and whether the one
  // that runs is shown.
  int64_t num_runs_ = 0;
  bool is_requested_ = false;

  // The global step, how far it has come since the first step of this session,
  // and from when to when that was, in training time.
  internal::ComingStep step_;
  int64_t steps_timed_ = 0;
  absl::Duration timed_since_;
  absl::Duration timed_until_;

  // What was shown last: the tensors, the step, and the columns of a bar whose
  // line has not ended.
  std::string tensors_text_;
  std::optional<int64_t> shown_step_;
  size_t open_columns_ = 0;
};

// Shows progress up to `last_step` with those tensors.
std::shared_ptr<ProgressHook> ShowProgress(
    std::optional<int64_t> last_step = std::nullopt,
    std::vector<LoggedTensor> tensors = {});

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_PROGRESS_HOOK_H_

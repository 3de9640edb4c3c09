// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Logs values of the graph while a model trains.

#ifndef TFTRAIN_HOOKS_LOGGING_TENSOR_HOOK_H_
#define TFTRAIN_HOOKS_LOGGING_TENSOR_HOOK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/base/clock.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// A tensor to log, by name ("loss:0", or "loss" where the operation has but one
// output), and what the log calls it.
//
// Thread-compatible: const calls may run together.
struct LoggedTensor {
  LoggedTensor(std::string tensor_name)  // NOLINT: implicit by design
      : tag(tensor_name), tensor(std::move(tensor_name)) {}
  LoggedTensor(const char* tensor_name)  // NOLINT: implicit by design
      : LoggedTensor(std::string(tensor_name)) {}
  LoggedTensor(std::string called, std::string tensor_name)
      : tag(std::move(called)), tensor(std::move(tensor_name)) {}

  std::string tag;
  std::string tensor;
};

// The tensors of a map from tag to tensor, in the order of the tags.
std::vector<LoggedTensor> TaggedTensors(
    const std::map<std::string, std::string>& tensors);

// What one line of the log is about. Valid during the call.
//
// Thread-compatible: const calls may run together.
struct LoggedValues {
  struct Item {
    const std::string& tag;
    const tensorflow::Tensor& value;
  };
  std::vector<Item> items;

  // The global step now; nothing when the graph has none.
  std::optional<int64_t> global_step;
  // Since the line before, in seconds and in steps of this session; nothing
  // for the first.
  std::optional<double> elapsed_secs;
  std::optional<int64_t> elapsed_steps;
};

// Logs tensors at INFO, once every so many steps or seconds beginning with the
// first step, at the end, or both, as `tag = value` separated by ", ", with the
// time since the line before: "loss = 0.5, step = 11 (1.250 sec)". They are
// fetched only in those steps.
//
// The steps counted are those of this session, which need not be global steps.
// Where the tensors need inputs that the caller's steps bring, a step without
// them is left out, as SummarySaverHook does.
//
// Python: `tf.compat.v1.train.LoggingTensorHook`.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {
//       LogTensors({"loss:0", {"step", "global_step/Read:0"}},
//                  Every::Steps(100))};
class LoggingTensorHook : public SessionRunHook {
 public:
  using Formatter = std::function<std::string(const LoggedValues&)>;

  struct Options {
    std::vector<LoggedTensor> tensors;

    // Exactly one of the two must be set, unless `at_end` is.
    std::optional<int64_t> every_n_iter;
    std::optional<double> every_n_secs;

    // Whether to log at the end as well, in a run of its own, which must not
    // need feeds nor input, and had better have no effects. A failure of it is
    // a warning.
    bool at_end = false;

    // Makes the whole text in place of the usual one.
    Formatter formatter;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit LoggingTensorHook(Options options);

  // Errors: kInvalidArgument if there are no tensors; if both or, without
  // `at_end`, none of `every_n_iter` and `every_n_secs` are set; if
  // `every_n_iter` is not positive or `every_n_secs` negative; for a tensor the
  // graph does not have, and for the name of an operation without outputs or
  // with more than one.
  absl::Status Begin(BeginContext& context) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

  absl::Status End(Session& session) override;
  bool waits_for_input() const override { return options_.waits_for_input; }

 private:
  absl::Status MakeTimer();
  absl::Status LogAtEnd(Session& session);
  void Log(const std::vector<tensorflow::Tensor>& values,
           std::optional<int64_t> global_step);

  const Options options_;
  // Nothing when only the end is logged.
  std::optional<SecondOrStepTimer> timer_;
  std::optional<FetchTree> fetches_;
  SessionRunArgs args_;
  bool has_global_step_ = false;

  int64_t num_runs_ = 0;
  // Whether the step that runs fetches the tensors.
  bool is_requested_ = false;
};

// Logs `tensors` at the cadence `every`.
std::shared_ptr<LoggingTensorHook> LogTensors(std::vector<LoggedTensor> tensors,
                                              const Every& every);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_LOGGING_TENSOR_HOOK_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/looper_thread.h"

#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/clock.h"

namespace tftrain {
namespace {

absl::Status RunLoop(const Coordinator& coordinator,
                     const LooperThread::Options& options,
                     const std::function<absl::Status()>& run_loop) {
  if (options.start_loop) TF_RETURN_IF_ERROR(options.start_loop());
  const absl::Duration interval =
      absl::Seconds(options.timer_interval_secs.value_or(0));
  Clock* const clock = coordinator.clock();
  absl::Duration next = clock->Monotonic();
  while (!coordinator.WaitForStop(next - clock->Monotonic())) {
    next += interval;
    TF_RETURN_IF_ERROR(run_loop());
  }
  return options.stop_loop ? options.stop_loop() : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Thread>> LooperThread::Loop(
    std::shared_ptr<Coordinator> coordinator, Options options,
    std::function<absl::Status()> run_loop) {
  CHECK(coordinator != nullptr) << "a looper thread needs a coordinator";
  CHECK(run_loop != nullptr) << "a looper thread needs a function";
  // Written so that NaN is refused as well.
  if (options.timer_interval_secs.has_value() &&
      !(*options.timer_interval_secs >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("timer_interval_secs is \"", *options.timer_interval_secs,
                     "\", give a number of seconds that is not negative"));
  }
  std::string name = options.name;
  TF_ASSIGN_OR_RETURN(
      std::shared_ptr<Thread> thread,
      Thread::Start(std::move(name), [coordinator, options = std::move(options),
                                      run_loop = std::move(run_loop)] {
        coordinator->StopOnError(
            [&] { return RunLoop(*coordinator, options, run_loop); });
      }));
  coordinator->RegisterThread(thread);
  return thread;
}

}  // namespace tftrain

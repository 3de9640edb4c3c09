// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/hook_costs.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_format.h"

namespace tftrain {

std::string HookCosts::ToTable() const {
  constexpr std::string_view kStep = "the step itself";
  size_t width = kStep.size();
  absl::Duration total = running;
  for (const Hook& hook : hooks) {
    width = std::max(width, hook.name.size());
    total += hook.before_run + hook.after_run;
  }
  const auto per_step = [this](absl::Duration time) {
    return steps == 0
               ? 0.0
               : absl::ToDoubleMicroseconds(time) / static_cast<double>(steps);
  };
  const auto percent = [&total](absl::Duration time) {
    return total == absl::ZeroDuration()
               ? 0.0
               : 100 * absl::FDivDuration(time, total);
  };

  std::string table = absl::StrFormat(
      "%d steps, microseconds per step\n%-*s %10s %10s %10s "
      "%7s\n",
      steps, static_cast<int>(width), "hook", "BeforeRun", "AfterRun", "worst",
      "share");
  for (const Hook& hook : hooks) {
    absl::StrAppendFormat(&table, "%-*s %10.2f %10.2f %10.1f %6.1f%%\n",
                          static_cast<int>(width), hook.name,
                          per_step(hook.before_run), per_step(hook.after_run),
                          absl::ToDoubleMicroseconds(hook.worst),
                          percent(hook.before_run + hook.after_run));
  }
  absl::StrAppendFormat(&table, "%-*s %21.2f %10s %6.1f%%\n",
                        static_cast<int>(width), kStep, per_step(running), "",
                        percent(running));
  return table;
}

}  // namespace tftrain

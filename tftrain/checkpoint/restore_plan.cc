// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/restore_plan.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

std::string_view ActionText(RestorePlan::Action action) {
  switch (action) {
    case RestorePlan::Action::kRestore:
      return "restore";
    case RestorePlan::Action::kExcluded:
      return "leave, excluded";
    case RestorePlan::Action::kMissing:
      return "missing";
    case RestorePlan::Action::kMismatched:
      return "does not fit";
  }
  return "";
}

}  // namespace

std::string RestorePlan::ToString() const {
  std::string text = absl::StrCat("restoring \"", prefix, "\"\n");
  for (const Item& item : items) {
    absl::StrAppend(&text, "  ", item.name, ": ", ActionText(item.action));
    if (item.stored_name != item.name) {
      absl::StrAppend(&text, ", called ", item.stored_name);
    }
    if (item.action == Action::kMismatched) {
      absl::StrAppend(&text, ", ", item.stored, " instead of ", item.wanted);
    } else if (!item.wanted.empty()) {
      absl::StrAppend(&text, ", ", item.wanted);
    }
    absl::StrAppend(&text, "\n");
  }
  for (const std::string& name : extra) {
    absl::StrAppend(&text, "  ", name, ": only in the checkpoint\n");
  }
  if (!status.ok()) absl::StrAppend(&text, status.message(), "\n");
  return text;
}

}  // namespace tftrain

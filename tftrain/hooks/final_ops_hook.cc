// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/final_ops_hook.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tftrain/base/errors.h"

namespace tftrain {

FinalOpsHook::FinalOpsHook(std::optional<FetchTree> final_ops,
                           Feeds final_ops_feed_dict)
    : final_ops_(std::move(final_ops)),
      final_ops_feed_dict_(std::move(final_ops_feed_dict)) {}

absl::Status FinalOpsHook::Begin(BeginContext&) {
  final_ops_values_.reset();
  return absl::OkStatus();
}

absl::Status FinalOpsHook::AfterCreateSession(Session& session, Coordinator&) {
  if (!final_ops_.has_value()) return absl::OkStatus();
  return session.CheckRequest(
      session.Intern(MakeRequest(*final_ops_, final_ops_feed_dict_.names())));
}

absl::Status FinalOpsHook::End(Session& session) {
  if (!final_ops_.has_value()) return absl::OkStatus();
  absl::StatusOr<Value> values = session.Run(*final_ops_, final_ops_feed_dict_);
  // Not the end that training was meant to have.
  if (IsEndOfInput(values.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the final ops read the input, which has ended (",
        values.status().message(),
        "); let them read variables, such as the value of a metric and not its "
        "update"));
  }
  if (!values.ok()) return values.status();
  final_ops_values_ = *std::move(values);
  return absl::OkStatus();
}

}  // namespace tftrain

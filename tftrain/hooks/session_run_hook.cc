// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/session_run_hook.h"

#include <cxxabi.h>

#include <cstdlib>
#include <typeinfo>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {

SessionRunArgs::SessionRunArgs(Request request, const Feeds& feeds,
                               std::optional<tensorflow::RunOptions> options)
    : content_(std::make_shared<const Content>(
          Content{std::make_shared<const Request>(std::move(request)),
                  {feeds.values().begin(), feeds.values().end()},
                  std::move(options)})) {}

absl::StatusOr<int64_t> SessionRunContext::GlobalStep() {
  if (!global_step_.has_value()) {
    tensorflow::RunOptions options;
    options.set_timeout_in_ms(timeout_in_ms_);
    TF_ASSIGN_OR_RETURN(
        global_step_,
        session_->GlobalStep(timeout_in_ms_ > 0 ? &options : nullptr));
  }
  return *global_step_;
}

void SessionRunContext::RequestStop(std::string reason) {
  // The first reason is the one that ends training.
  if (!stop_requested_) stop_reason_ = std::move(reason);
  stop_requested_ = true;
}

absl::Status SessionRunValues::NotAsked(const Request& asked) const {
  return absl::FailedPreconditionError(absl::StrCat(
      "the hook reads ", asked.fetches.size(), " tensors and asked for ",
      values_.size(), " in this step; return them from BeforeRun first"));
}

std::string SessionRunHook::name() const {
  const char* mangled = typeid(*this).name();
  int error = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &error);
  std::string full = error == 0 ? demangled : mangled;
  std::free(demangled);
  constexpr std::string_view kOurs = "tftrain::";
  if (full.rfind(kOurs, 0) == 0) full.erase(0, kOurs.size());
  return full;
}

absl::Status SessionRunHook::Begin(BeginContext&) { return absl::OkStatus(); }

absl::Status SessionRunHook::AfterCreateSession(Session&, Coordinator&) {
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> SessionRunHook::BeforeRun(SessionRunContext&) {
  return SessionRunArgs();
}

absl::StatusOr<StepVerdict> SessionRunHook::Judge(SessionRunContext&,
                                                  const SessionRunValues&) {
  return StepVerdict::kGood;
}

absl::Status SessionRunHook::OnUndone(SessionRunContext&) {
  return absl::OkStatus();
}

absl::Status SessionRunHook::AfterRun(SessionRunContext&,
                                      const SessionRunValues&) {
  return absl::OkStatus();
}

absl::Status SessionRunHook::End(Session&) { return absl::OkStatus(); }

void SessionRunHook::OnAbort(const absl::Status&) {}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A hook that does harm in one of its callbacks.

#ifndef TFTRAIN_FAULTS_FAULTY_HOOK_H_
#define TFTRAIN_FAULTS_FAULTY_HOOK_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/testing/recording_hook.h"

namespace tftrain {

// What a fault can get at: null where the callback knows no such thing.
struct FaultContext {
  BeginContext* begin = nullptr;
  Session* session = nullptr;
  Coordinator* coordinator = nullptr;
  SessionRunContext* run = nullptr;
  StepVerdict* verdict = nullptr;  // kGood unless the fault says otherwise
};

// A RecordingHook that calls a function the first time that `callback` is
// called, and answers with what it returns (in OnAbort() that is dropped).
// From AfterCreateSession() on the function gets the session and the
// Coordinator in every callback.
//
// Confined: the session calls a hook from one thread.
class FaultyHook : public RecordingHook {
 public:
  using Fault = std::function<absl::Status(const FaultContext&)>;

  FaultyHook(std::string name, std::vector<std::string>* calls,
             std::string callback, Fault fault)
      : RecordingHook(std::move(name), calls),
        callback_(std::move(callback)),
        fault_(std::move(fault)) {}

  // How often the function was called: 1 when the fault took place.
  int faults() const { return faults_; }

  absl::Status Begin(BeginContext& context) override {
    TF_RETURN_IF_ERROR(RecordingHook::Begin(context));
    known_.begin = &context;
    const absl::Status status = Act("Begin");
    known_.begin = nullptr;
    return status;
  }
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override {
    TF_RETURN_IF_ERROR(RecordingHook::AfterCreateSession(session, coordinator));
    known_.session = &session;
    known_.coordinator = &coordinator;
    return Act("AfterCreateSession");
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(
      SessionRunContext& context) override {
    absl::StatusOr<SessionRunArgs> args = RecordingHook::BeforeRun(context);
    known_.run = &context;
    absl::Status status = Act("BeforeRun");
    known_.run = nullptr;
    if (!status.ok()) return status;
    return args;
  }
  absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                    const SessionRunValues& values) override {
    TF_ASSIGN_OR_RETURN(StepVerdict verdict,
                        RecordingHook::Judge(context, values));
    known_.run = &context;
    known_.verdict = &verdict;
    const absl::Status status = Act("Judge");
    known_.run = nullptr;
    known_.verdict = nullptr;
    if (!status.ok()) return status;
    return verdict;
  }
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override {
    TF_RETURN_IF_ERROR(RecordingHook::AfterRun(context, values));
    known_.run = &context;
    const absl::Status status = Act("AfterRun");
    known_.run = nullptr;
    return status;
  }
  absl::Status End(Session& session) override {
    TF_RETURN_IF_ERROR(RecordingHook::End(session));
    return Act("End");
  }
  void OnAbort(const absl::Status& status) override {
    RecordingHook::OnAbort(status);
    Act("OnAbort").IgnoreError();
  }

 private:
  absl::Status Act(const std::string& callback) {
    if (callback != callback_ || faults_ > 0) return absl::OkStatus();
    ++faults_;
    return fault_(known_);
  }

  const std::string callback_;
  const Fault fault_;
  FaultContext known_;
  int faults_ = 0;
};

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_FAULTY_HOOK_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A hook for tests that notes what is called.

#ifndef TFTRAIN_TESTING_RECORDING_HOOK_H_
#define TFTRAIN_TESTING_RECORDING_HOOK_H_

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tftrain/hooks/checkpoint_saver_listener.h"
#include "tftrain/hooks/session_run_hook.h"

namespace tftrain {

// Appends "NAME.Callback" to a list that several hooks may share, in each
// callback; asks for what it is told to, and fails or stops where it is told
// to.
//
// Confined: the session calls a hook from one thread.
//
//   std::vector<std::string> calls;
//   auto a = std::make_shared<RecordingHook>("A", &calls);
//   a->StopAtRun(2);
class RecordingHook : public SessionRunHook {
 public:
  // `calls` must outlive the hook.
  RecordingHook(std::string name, std::vector<std::string>* calls)
      : name_(std::move(name)), calls_(calls) {}

  // Asks for `args` in every step.
  void Ask(const SessionRunArgs& args) { args_ = args; }

  // Makes `callback` ("AfterRun") return `status`; those around a step do so
  // in the run number `at_run`, counted from 1.
  void FailIn(std::string callback, absl::Status status, int at_run = 1) {
    failing_ = std::move(callback);
    failure_ = std::move(status);
    failing_run_ = at_run;
  }

  // Judges each step from now on, and finds all of them good.
  void JudgeSteps() { judges_ = true; }

  // Requests a stop in AfterRun() of the run number `run`, counted from 1.
  void StopAtRun(int run) { stop_at_run_ = run; }

  // The global steps that AfterRun() saw.
  const std::vector<int64_t>& steps() const { return steps_; }

  std::string name() const override { return name_; }
  bool judges() const override { return judges_; }

  absl::Status Begin(BeginContext& context) override {
    if (!args_.empty()) context.Declare(args_);
    return Note("Begin");
  }
  absl::Status AfterCreateSession(Session&, Coordinator&) override {
    return Note("AfterCreateSession");
  }
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext&) override {
    ++runs_;
    absl::Status status = Note("BeforeRun");
    if (!status.ok()) return status;
    return args_;
  }
  absl::StatusOr<StepVerdict> Judge(SessionRunContext&,
                                    const SessionRunValues&) override {
    absl::Status status = Note("Judge");
    if (!status.ok()) return status;
    return StepVerdict::kGood;
  }
  absl::Status OnUndone(SessionRunContext&) override {
    return Note("OnUndone");
  }
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues&) override {
    if (absl::StatusOr<int64_t> step = context.GlobalStep(); step.ok()) {
      steps_.push_back(*step);
    }
    if (runs_ == stop_at_run_) {
      context.RequestStop(absl::StrCat(name_, " asked for it"));
    }
    return Note("AfterRun");
  }
  absl::Status End(Session&) override { return Note("End"); }
  void OnAbort(const absl::Status&) override { Note("OnAbort").IgnoreError(); }

 private:
  absl::Status Note(const std::string& callback) {
    calls_->push_back(absl::StrCat(name_, ".", callback));
    const bool in_run = callback == "BeforeRun" || callback == "Judge" ||
                        callback == "OnUndone" || callback == "AfterRun";
    if (callback != failing_ || (in_run && runs_ != failing_run_)) {
      return absl::OkStatus();
    }
    return failure_;
  }

  const std::string name_;
  std::vector<std::string>* const calls_;
  SessionRunArgs args_;
  std::string failing_;
  absl::Status failure_;
  int failing_run_ = 0;
  bool judges_ = false;
  int stop_at_run_ = 0;
  int runs_ = 0;
  std::vector<int64_t> steps_;
};

// The same for a CheckpointSaverListener: "NAME.BeforeSave 5".
//
// Confined: as the hook that calls it.
class RecordingListener : public CheckpointSaverListener {
 public:
  // `calls` must outlive the listener.
  RecordingListener(std::string name, std::vector<std::string>* calls)
      : name_(std::move(name)), calls_(calls) {}

  // Wants a stop after the checkpoint of this step.
  void StopAfterStep(int64_t step) { stop_after_step_ = step; }

  // Makes `callback` return `status`.
  void FailIn(std::string callback, absl::Status status) {
    failing_ = std::move(callback);
    failure_ = std::move(status);
  }

  // Makes `callback` throw an exception.
  void ThrowIn(std::string callback) {
    FailIn(std::move(callback), absl::OkStatus());
  }

  absl::Status Begin(BeginContext&) override { return Note("Begin", ""); }
  absl::Status BeforeSave(Session&, int64_t step) override {
    return Note("BeforeSave", absl::StrCat(" ", step));
  }
  absl::StatusOr<bool> AfterSave(Session&, int64_t step) override {
    absl::Status status = Note("AfterSave", absl::StrCat(" ", step));
    if (!status.ok()) return status;
    return step == stop_after_step_;
  }
  absl::Status End(Session&, int64_t step) override {
    return Note("End", absl::StrCat(" ", step));
  }
  void OnAbort(const absl::Status&) override {
    Note("OnAbort", "").IgnoreError();
  }

 private:
  absl::Status Note(const std::string& callback, const std::string& detail) {
    calls_->push_back(absl::StrCat(name_, ".", callback, detail));
    if (callback != failing_) return absl::OkStatus();
    if (failure_.ok()) throw std::runtime_error("thrown by a listener");
    return failure_;
  }

  const std::string name_;
  std::vector<std::string>* const calls_;
  int64_t stop_after_step_ = -1;
  std::string failing_;
  absl::Status failure_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_RECORDING_HOOK_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/coordinator.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tftrain/base/fork.h"
#include "tftrain/base/mutex.h"

namespace tftrain {
namespace {

using Threads = std::vector<std::shared_ptr<Thread>>;

bool Runs(const std::shared_ptr<Thread>& thread) { return !thread->done(); }

std::vector<std::string> DescribeLive(const Threads& threads) {
  std::vector<std::string> live;
  for (const std::shared_ptr<Thread>& thread : threads) {
    if (Runs(thread)) live.push_back(thread->Describe());
  }
  return live;
}

// Not a number counts as zero.
absl::Duration GracePeriod(double secs) {
  return secs > 0 ? absl::Seconds(secs) : absl::ZeroDuration();
}

std::string StillRunning(const std::vector<std::string>& live,
                         absl::Duration grace) {
  return absl::StrCat("threads still run after the grace period of ",
                      absl::FormatDuration(grace), ": ",
                      absl::StrJoin(live, ", "));
}

}  // namespace

struct Coordinator::State {
  void Stop(std::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (stop_message.empty()) stop_message = std::string(why);
    stop = true;
    changed.NotifyAll();
  }

  // Nobody waits for it there, and a thread of the parent may hold the lock.
  void StopInChild() { stop = true; }

  const ForkCheck fork;

  // Written under `mu`, so that no waiter misses the change.
  std::atomic<bool> stop{false};

  mutable Mutex mu;
  CondVar changed;
  bool joined ABSL_GUARDED_BY(mu) = false;
  FirstError error ABSL_GUARDED_BY(mu);
  std::string stop_message ABSL_GUARDED_BY(mu);  // the first one given
  Threads registered ABSL_GUARDED_BY(mu);
};

Coordinator::Coordinator(Options options)
    : clean_stop_(std::move(options.clean_stop)),
      clock_(options.clock == nullptr ? Clock::Real() : options.clock),
      state_(std::make_shared<State>()) {}

Coordinator::Coordinator() : Coordinator(Options()) {}

Coordinator::~Coordinator() = default;

void Coordinator::RequestStop(const absl::Status& reason) {
  if (state_->fork.InChild()) return state_->StopInChild();
  const bool failure =
      !reason.ok() && (clean_stop_ == nullptr || !clean_stop_(reason));
  bool after_join = false;
  bool stored = false;
  bool attached = false;
  {
    MutexLock lock(state_->mu);
    after_join = state_->joined;
    if (failure) {
      stored = state_->error.ok() && (after_join || !state_->stop);
      attached = !state_->error.ok() && !absl::IsCancelled(reason);
      if (stored || attached) state_->error.Update(reason);
    }
    // An error that is dropped, as the echo of stopping, is no reason for it.
    state_->Stop(failure && !stored ? "" : reason.message());
  }
  if (!failure) return;
  if (after_join) {
    LOG(ERROR) << "an error was reported to a coordinator that is joined: "
               << reason;
  } else if (stored) {
    LOG(INFO) << "an error was reported to the coordinator: " << reason;
  } else if (!attached && !absl::IsCancelled(reason)) {
    LOG(WARNING) << "an error was reported after a stop was requested and is "
                    "dropped: "
                 << reason;
  }
}

void Coordinator::RequestStop(std::string_view why) {
  if (state_->fork.InChild()) return state_->StopInChild();
  MutexLock lock(state_->mu);
  state_->Stop(why);
}

std::string Coordinator::stop_message() const {
  if (state_->fork.InChild()) return "";
  MutexLock lock(state_->mu);
  return state_->stop_message;
}

bool Coordinator::ShouldStop() const { return state_->stop; }

bool Coordinator::WaitForStop(absl::Duration timeout) const {
  if (state_->fork.InChild()) return state_->stop;
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  MutexLock lock(state_->mu);
  while (!state_->stop) {
    const absl::Duration left = deadline - clock_->Monotonic();
    if (left <= absl::ZeroDuration()) break;
    clock_->WaitFor(state_->mu, state_->changed, left);
  }
  return state_->stop;
}

void Coordinator::ClearStop() {
  if (state_->fork.InChild()) return;
  MutexLock lock(state_->mu);
  state_->joined = false;
  state_->error = FirstError();
  state_->stop_message.clear();
  state_->stop = false;
}

void Coordinator::RegisterThread(std::shared_ptr<Thread> thread) {
  CHECK(thread != nullptr) << "cannot register a thread that is null";
  if (state_->fork.InChild()) return;
  MutexLock lock(state_->mu);
  Threads& all = state_->registered;
  if (std::find(all.begin(), all.end(), thread) == all.end()) {
    all.push_back(std::move(thread));
  }
}

Coordinator::Threads Coordinator::ThreadsToJoin(const Threads& extra) const {
  Threads threads;
  {
    MutexLock lock(state_->mu);
    threads = state_->registered;
  }
  for (const std::shared_ptr<Thread>& thread : extra) {
    CHECK(thread != nullptr) << "cannot join a thread that is null";
    if (std::find(threads.begin(), threads.end(), thread) == threads.end()) {
      threads.push_back(thread);
    }
  }
  return threads;
}

void Coordinator::WaitForThreads(const Threads& threads, bool until_stop,
                                 absl::Duration timeout) const {
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  MutexLock lock(state_->mu);
  while (!(until_stop && state_->stop) &&
         std::any_of(threads.begin(), threads.end(), Runs)) {
    const absl::Duration left = deadline - clock_->Monotonic();
    if (left <= absl::ZeroDuration()) return;
    clock_->WaitFor(state_->mu, state_->changed, left);
  }
}

absl::Status Coordinator::Join(const JoinOptions& options) {
  if (state_->fork.InChild()) return absl::OkStatus();
  const Threads threads = ThreadsToJoin(options.threads);
  for (const std::shared_ptr<Thread>& thread : threads) {
    if (!Runs(thread)) continue;
    thread->OnDone([state = state_] {
      MutexLock lock(state->mu);
      state->changed.NotifyAll();
    });
  }
  WaitForThreads(threads, /*until_stop=*/true, absl::InfiniteDuration());
  const absl::Duration grace = GracePeriod(options.stop_grace_period_secs);
  WaitForThreads(threads, /*until_stop=*/false, grace);

  const std::vector<std::string> live = DescribeLive(threads);
  for (const std::shared_ptr<Thread>& thread : threads) {
    if (Runs(thread)) {
      thread->OnDone([kept = options.kept_by_live_threads] {});
    } else {
      thread->Join();
    }
  }
  absl::Status error;
  {
    MutexLock lock(state_->mu);
    state_->joined = true;
    Threads& all = state_->registered;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&threads](const auto& thread) {
                               return std::find(threads.begin(), threads.end(),
                                                thread) != threads.end();
                             }),
              all.end());
    error = state_->error.status();
  }
  if (live.empty()) return error;
  const std::string text = StillRunning(live, grace);
  if (!error.ok() || options.ignore_live_threads) {
    LOG(INFO) << text;
    return error;
  }
  return absl::DeadlineExceededError(absl::StrCat(
      text, "; close what they wait in, or raise stop_grace_period_secs"));
}

bool Coordinator::joined() const {
  if (state_->fork.InChild()) return false;
  MutexLock lock(state_->mu);
  return state_->joined;
}

absl::Status Coordinator::status() const {
  if (state_->fork.InChild()) return absl::OkStatus();
  MutexLock lock(state_->mu);
  return state_->error.status();
}

void Coordinator::StopOnError(absl::FunctionRef<absl::Status()> fn) {
  const absl::Status status = CallCatching(fn);
  if (!status.ok()) RequestStop(status);
}

std::vector<std::string> Coordinator::LiveThreads() const {
  if (state_->fork.InChild()) return {};
  Threads threads;
  {
    MutexLock lock(state_->mu);
    threads = state_->registered;
  }
  return DescribeLive(threads);
}

}  // namespace tftrain

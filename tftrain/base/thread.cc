// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/thread.h"

#include <pthread.h>

#include <cstddef>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tftrain/base/clock.h"
#include "tftrain/base/fork.h"
#include "tftrain/base/mutex.h"

namespace tftrain {
namespace {

constexpr size_t kMaxSystemName = 15;

}  // namespace

struct Thread::State {
  explicit State(std::string thread_name) : name(std::move(thread_name)) {}

  const std::string name;
  const ForkCheck fork;

  mutable Mutex mu;
  CondVar ended;
  bool done ABSL_GUARDED_BY(mu) = false;
  std::optional<std::thread> handle ABSL_GUARDED_BY(mu);
  std::function<std::string()> activity ABSL_GUARDED_BY(mu);
  std::vector<std::function<void()>> callbacks ABSL_GUARDED_BY(mu);

  void Run(std::function<void()> fn) {
    pthread_setname_np(pthread_self(), name.substr(0, kMaxSystemName).c_str());
    current = this;
    fn();
    fn = nullptr;
    std::function<std::string()> last_activity;
    std::vector<std::function<void()>> due;
    {
      MutexLock lock(mu);
      done = true;
      last_activity.swap(activity);
      due.swap(callbacks);
      ended.NotifyAll();
    }
    for (const std::function<void()>& callback : due) callback();
  }

  // The state of the thread that asks.
  static thread_local State* current;
};

thread_local Thread::State* Thread::State::current = nullptr;

absl::StatusOr<std::shared_ptr<Thread>> Thread::Start(
    std::string name, std::function<void()> fn) {
  CHECK(fn != nullptr) << "a thread needs a function";
  auto state = std::make_shared<State>(std::move(name));
  MutexLock lock(state->mu);
  try {
    state->handle.emplace([state, fn = std::move(fn)]() mutable {
      // The function is destroyed inside Run, before the thread is done.
      std::shared_ptr<State> self = std::move(state);
      self->Run(std::move(fn));
    });
  } catch (const std::system_error& e) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot start the thread \"", state->name, "\": ", e.what(),
        "; raise the limit of processes (ulimit -u) or start fewer threads"));
  }
  return std::shared_ptr<Thread>(new Thread(state));
}

Thread::Thread(std::shared_ptr<State> state) : state_(std::move(state)) {}

Thread::~Thread() {
  if (InForkedChild()) {
    // Neither joining nor asking is possible, nor is it to end unjoined.
    new std::shared_ptr<State>(state_);
    return;
  }
  std::optional<std::thread> handle;
  bool done = false;
  {
    MutexLock lock(state_->mu);
    handle.swap(state_->handle);
    done = state_->done;
  }
  if (!handle.has_value()) return;
  const bool self = State::current == state_.get();
  if (done && !self) {
    handle->join();
    return;
  }
  handle->detach();
  if (!done && !self) {
    LOG(WARNING) << "a thread still runs and is left to itself: " << Describe();
  }
}

const std::string& Thread::name() const { return state_->name; }

bool Thread::done() const {
  if (InForkedChild()) return true;
  MutexLock lock(state_->mu);
  return state_->done;
}

bool Thread::InForkedChild() const { return state_->fork.InChild(); }

void Thread::Join() { JoinFor(absl::InfiniteDuration()); }

bool Thread::JoinFor(absl::Duration timeout) {
  if (InForkedChild()) return false;
  Clock* const clock = Clock::Real();
  const absl::Duration deadline = clock->Monotonic() + timeout;
  CHECK(State::current != state_.get())
      << "a thread cannot wait for its own end: " << state_->name;
  std::optional<std::thread> handle;
  {
    MutexLock lock(state_->mu);
    while (!state_->done) {
      const absl::Duration left = deadline - clock->Monotonic();
      if (left <= absl::ZeroDuration()) return false;
      state_->ended.WaitFor(state_->mu, left);
    }
    handle.swap(state_->handle);
  }
  if (handle.has_value()) handle->join();
  return true;
}

void Thread::Detach() {
  if (InForkedChild()) return;
  std::optional<std::thread> handle;
  MutexLock lock(state_->mu);
  handle.swap(state_->handle);
  if (handle.has_value()) handle->detach();
}

void Thread::OnDone(std::function<void()> callback) {
  {
    MutexLock lock(state_->mu);
    if (!state_->done) {
      state_->callbacks.push_back(std::move(callback));
      return;
    }
  }
  callback();
}

void Thread::SetActivity(std::string_view activity) {
  SetActivity([text = std::string(activity)] { return text; });
}

void Thread::SetActivity(std::function<std::string()> describe) {
  State* const state = State::current;
  if (state == nullptr) return;
  MutexLock lock(state->mu);
  // What was noted before goes with the argument, after the lock.
  state->activity.swap(describe);
}

void Thread::LetOthersFinish() {
  const sched_param priority = {};
  // Where it is not allowed, the thread is like any other.
  ::pthread_setschedparam(::pthread_self(), SCHED_BATCH, &priority);
}

std::string Thread::activity() const {
  std::function<std::string()> describe;
  {
    MutexLock lock(state_->mu);
    describe = state_->activity;
  }
  return describe == nullptr ? "" : describe();
}

std::string Thread::Describe() const {
  const std::string what = activity();
  if (what.empty()) return absl::StrCat("\"", name(), "\"");
  return absl::StrCat("\"", name(), "\" in \"", what, "\"");
}

}  // namespace tftrain

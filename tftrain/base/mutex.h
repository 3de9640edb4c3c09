// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// `std::mutex` and `std::condition_variable` with the annotations that let
// clang check which member needs which lock.
//
// Not `absl::Mutex`: that one lives in TensorFlow's library, which no
// sanitizer instruments, so that ThreadSanitizer would report races on members
// that are locked correctly.
//
//   class Counter {
//    public:
//     void Add() {
//       MutexLock lock(mu_);
//       ++count_;
//     }
//    private:
//     Mutex mu_;
//     int count_ ABSL_GUARDED_BY(mu_) = 0;
//   };

#ifndef TFTRAIN_BASE_MUTEX_H_
#define TFTRAIN_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tftrain/base/fork.h"

namespace tftrain {

// A mutual exclusion lock, not recursive.
//
// Thread-safe.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return mu_.try_lock();
  }

  // Tells the analysis, which cannot see it, that the caller holds the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  friend class CondVar;
  std::mutex mu_;
};

// Holds a Mutex from its construction to the end of the scope.
//
// Confined: use from the thread that created it.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_.Lock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }

 private:
  Mutex& mu_;
};

// Lets threads that hold a Mutex wait until another one notifies them. A wait
// may also end without reason: test the condition in a loop.
//
// Thread-safe.
class CondVar {
 public:
  CondVar() { ::new (&cv_) std::condition_variable; }
  // What waits in a forked child's parent never leaves: it is not waited for.
  ~CondVar() {
    if (!fork_.InChild()) cv_.~condition_variable();
  }
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  // Releases `mu`, waits for a notification, and takes `mu` again.
  void Wait(Mutex& mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }

  // As `Wait`, for at most `timeout` on the machine's monotonic clock. Returns
  // false when the time ran out. A timeout of zero or less does not wait.
  bool WaitFor(Mutex& mu, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (timeout <= absl::ZeroDuration()) return false;
    if (timeout > kForever) {
      Wait(mu);
      return true;
    }
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    const std::cv_status status =
        cv_.wait_for(lock, absl::ToChronoNanoseconds(timeout));
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  // As `WaitFor`, until the wall clock shows `deadline`. A step of that clock
  // while the thread waits is not noticed.
  bool WaitUntil(Mutex& mu, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return WaitFor(mu, deadline - absl::Now());
  }

  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  // Far below what the standard library's clocks can count to.
  static constexpr absl::Duration kForever = absl::Hours(24 * 365);

  const ForkCheck fork_;
  union {
    std::condition_variable cv_;
  };
};

}  // namespace tftrain

#endif  // TFTRAIN_BASE_MUTEX_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/step_gate.h"

#include <algorithm>
#include <chrono>

namespace tftrain::internal {
namespace {

// Far below what a clock can count to.
constexpr absl::Duration kLongest = absl::Hours(24 * 365);

}  // namespace

// Enter() counts itself before it looks whether the gate is closed, and Close()
// closes it before it looks at the count, so that one of the two sees the
// other. That needs the one order of all that seq_cst gives.

void StepGate::Enter() {
  while (true) {
    inside_.fetch_add(1, std::memory_order_seq_cst);
    if (!closed_.load(std::memory_order_seq_cst) || IsHeldByThisThread()) {
      return;
    }
    Leave();
    MutexLock lock(mu_);
    while (closed_.load(std::memory_order_relaxed)) changed_.Wait(mu_);
  }
}

void StepGate::Leave() {
  if (inside_.fetch_sub(1, std::memory_order_seq_cst) > 1) return;
  if (!closed_.load(std::memory_order_seq_cst)) return;
  MutexLock lock(mu_);
  changed_.NotifyAll();
}

bool StepGate::Close(absl::Duration patience) {
  const auto until = std::chrono::steady_clock::now() +
                     absl::ToChronoNanoseconds(std::min(patience, kLongest));
  MutexLock lock(mu_);
  if (IsHeldByThisThread()) {
    ++depth_;
  } else {
    while (closed_.load(std::memory_order_relaxed)) changed_.Wait(mu_);
    depth_ = 1;
    holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    closed_.store(true, std::memory_order_seq_cst);
  }
  while (inside_.load(std::memory_order_seq_cst) > 0) {
    const auto left = until - std::chrono::steady_clock::now();
    if (!changed_.WaitFor(mu_, absl::FromChrono(left)) &&
        inside_.load(std::memory_order_seq_cst) > 0) {
      return false;
    }
  }
  return true;
}

void StepGate::Open() {
  MutexLock lock(mu_);
  if (--depth_ > 0) return;
  holder_.store(std::thread::id(), std::memory_order_relaxed);
  closed_.store(false, std::memory_order_seq_cst);
  changed_.NotifyAll();
}

}  // namespace tftrain::internal

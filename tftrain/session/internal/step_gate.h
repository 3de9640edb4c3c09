// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_STEP_GATE_H_
#define TFTRAIN_SESSION_INTERNAL_STEP_GATE_H_

#include <atomic>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "tftrain/base/mutex.h"

namespace tftrain::internal {

// Lets many steps pass at once, until one thread closes it to be alone with the
// variables. Passing costs two atomic additions.
//
// States: open <-> closed by one thread, which passes its own gate freely.
// Thread-safe.
class StepGate {
 public:
  StepGate() = default;
  StepGate(const StepGate&) = delete;
  StepGate& operator=(const StepGate&) = delete;

  // A step goes in, and waits while another thread has the gate closed.
  void Enter();
  // It goes out.
  void Leave();

  // Closes the gate, waiting for another thread that has it closed, and then
  // waits for those inside, at most for `patience`. Returns whether all are
  // out. Open() must follow in any case, from the same thread.
  bool Close(absl::Duration patience);
  void Open();

 private:
  bool IsHeldByThisThread() const {
    return holder_.load(std::memory_order_relaxed) ==
           std::this_thread::get_id();
  }

  std::atomic<int> inside_{0};
  std::atomic<bool> closed_{false};
  std::atomic<std::thread::id> holder_{std::thread::id()};
  int depth_ = 0;  // of Close() by the holder; its own

  Mutex mu_;
  CondVar changed_;
};

// Goes through a gate for as long as it lives.
// Confined: use from one thread.
class GatePass {
 public:
  // Null: there is no gate to go through.
  explicit GatePass(StepGate* gate) : gate_(gate) {
    if (gate_ != nullptr) gate_->Enter();
  }
  ~GatePass() {
    if (gate_ != nullptr) gate_->Leave();
  }
  GatePass(const GatePass&) = delete;
  GatePass& operator=(const GatePass&) = delete;

 private:
  StepGate* const gate_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_STEP_GATE_H_

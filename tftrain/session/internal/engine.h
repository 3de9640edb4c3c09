// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_ENGINE_H_
#define TFTRAIN_SESSION_INTERNAL_ENGINE_H_

#include <atomic>
#include <future>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/session_options.h"
#include "tftrain/base/fork.h"
#include "tftrain/base/thread.h"
#include "tftrain/session/internal/step_gate.h"

namespace tftrain::internal {

// Owns a `tensorflow::Session`. Plans and running calls share it, so that it
// is destroyed only after the last of them: the runtime does not survive the
// loss of a session in which a step runs.
// Thread-safe.
class Engine {
 public:
  // Errors: kFailedPrecondition when no runtime takes such a target;
  // kResourceExhausted when the system refuses a thread; else those of the
  // runtime.
  static absl::StatusOr<std::shared_ptr<Engine>> Create(
      const tensorflow::SessionOptions& options,
      const tensorflow::GraphDef& graph_def);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  tensorflow::Session* session() const { return session_.get(); }
  // The devices, when the runtime is in this process, else null.
  const tensorflow::DeviceMgr* devices() const { return devices_; }
  bool is_local() const { return devices_ != nullptr; }
  // What steps that change variables go through; here, so that it outlives
  // every step.
  StepGate& gate() { return gate_; }
  // Whether this process was forked from the one that made the engine. The
  // runtime's threads are not here, so that even closing it might hang.
  bool is_inherited() const { return fork_.InChild(); }

  // Closes the session. The answer of a server is awaited for `patience`, and
  // after that by a thread alone, which was started with the engine: closing
  // must not fail for want of a thread.
  // Errors: kDeadlineExceeded then; else those of the runtime.
  // REQUIRES: !is_inherited().
  absl::Status Close(absl::Duration patience);

 private:
  explicit Engine(std::shared_ptr<tensorflow::Session> session);

  absl::Status StartCloser();

  const ForkCheck fork_;
  std::shared_ptr<tensorflow::Session> session_;
  std::atomic<bool> closed_{false};
  StepGate gate_;
  const tensorflow::DeviceMgr* devices_ = nullptr;

  // The thread that closes a remote session, when it is told to; null for one
  // in this process.
  std::shared_ptr<Thread> closer_;
  std::promise<void> close_now_;
  const std::shared_ptr<absl::Status> close_status_ =
      std::make_shared<absl::Status>();
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_ENGINE_H_

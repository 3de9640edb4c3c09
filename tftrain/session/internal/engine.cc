// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/thread.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

absl::StatusOr<std::shared_ptr<Engine>> Engine::Create(
    const tensorflow::SessionOptions& options,
    const tensorflow::GraphDef& graph_def) {
  tensorflow::Session* raw = nullptr;
  const absl::Status made = tensorflow::NewSession(options, &raw);
  if (!made.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "TensorFlow cannot open a session for \"", options.target,
        "\": ", made.message(),
        "; link libtensorflow_cc with --no-as-needed, and write a server's "
        "address as grpc://host:port"));
  }
  std::shared_ptr<Engine> engine(
      new Engine(std::shared_ptr<tensorflow::Session>(raw)));
  TF_RETURN_IF_ERROR(engine->session_->Create(graph_def));
  if (!engine->session_->LocalDeviceManager(&engine->devices_).ok()) {
    engine->devices_ = nullptr;
  }
  return engine;
}

Engine::Engine(std::shared_ptr<tensorflow::Session> session)
    : session_(std::move(session)) {}

Engine::~Engine() {
  if (is_inherited()) {
    // Kept for good: the runtime's threads are not here to let go of it.
    new std::shared_ptr<tensorflow::Session>(std::move(session_));
  } else if (!closed_) {
    Close(kSessionClosePatience).IgnoreError();
  }
}

absl::Status Engine::Close(absl::Duration patience) {
  closed_ = true;
  if (is_local()) return session_->Close();
  auto closed = std::make_shared<absl::Status>();
  TF_ASSIGN_OR_RETURN(
      const std::shared_ptr<Thread> thread,
      Thread::Start("close_session", [session = session_, closed] {
        *closed = session->Close();
      }));
  if (thread->JoinFor(patience)) return *closed;
  return absl::DeadlineExceededError(absl::StrCat(
      "the server did not answer within ", absl::FormatDuration(patience),
      " that the session is closed; it may be gone"));
}

}  // namespace tftrain::internal

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
  if (!engine->session_->LocalDeviceManager(&engine->devices_).ok()) {
    engine->devices_ = nullptr;
    TF_RETURN_IF_ERROR(engine->StartCloser());
  }
  TF_RETURN_IF_ERROR(engine->session_->Create(graph_def));
  return engine;
}

Engine::Engine(std::shared_ptr<tensorflow::Session> session)
    : session_(std::move(session)) {}

Engine::~Engine() {
  if (is_inherited()) {
    // Kept for good: the runtime's threads are not here to let go of it.
    new auto(std::move(session_));
  } else if (!closed_) {
    Close(kSessionClosePatience).IgnoreError();
  }
}

absl::Status Engine::StartCloser() {
  TF_ASSIGN_OR_RETURN(closer_,
                      Thread::Start("close_session",
                                    [session = session_, status = close_status_,
                                     now = close_now_.get_future().share()] {
                                      now.wait();
                                      *status = session->Close();
                                    }));
  return absl::OkStatus();
}

absl::Status Engine::Close(absl::Duration patience) {
  closed_ = true;
  if (closer_ == nullptr) return session_->Close();
  close_now_.set_value();
  if (closer_->JoinFor(patience)) return *close_status_;
  return absl::DeadlineExceededError(absl::StrCat(
      "the server did not answer within ", absl::FormatDuration(patience),
      " that the session is closed; it may be gone"));
}

}  // namespace tftrain::internal

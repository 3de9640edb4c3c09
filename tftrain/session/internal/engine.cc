// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tftrain/base/errors.h"

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
      new Engine(std::unique_ptr<tensorflow::Session>(raw)));
  TF_RETURN_IF_ERROR(engine->session_->Create(graph_def));
  if (!engine->session_->LocalDeviceManager(&engine->devices_).ok()) {
    engine->devices_ = nullptr;
  }
  return engine;
}

Engine::Engine(std::unique_ptr<tensorflow::Session> session)
    : session_(std::move(session)) {}

Engine::~Engine() {
  if (is_inherited()) {
    static_cast<void>(session_.release());
  } else {
    session_->Close().IgnoreError();
  }
}

}  // namespace tftrain::internal

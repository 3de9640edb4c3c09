// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Opens a session and brings its model to a state in which it can train.

#ifndef TFTRAIN_SETUP_SESSION_MANAGER_H_
#define TFTRAIN_SETUP_SESSION_MANAGER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"

namespace tftrain {

// Creates sessions: restored from a checkpoint where there is one, initialised
// otherwise, with local state initialised and checked to be ready.
//
// Confined: use from one thread at a time.
// Python: tf.compat.v1.train.SessionManager.
class SessionManager {
 public:
  struct Options {
    // Initialises local variables and tables; run after a restore too.
    std::optional<std::string> local_init_op;
    Feeds local_init_feed_dict;
    // String tensors that name what has no value yet: of all that must have
    // one before the session is used, and before local_init_op runs.
    std::optional<std::string> ready_op;
    std::optional<std::string> ready_for_local_init_op;
    // How the sessions are opened.
    Session::Options session;
  };

  struct PrepareOptions {
    // Run when nothing was restored, in this order.
    std::optional<std::string> init_op;
    Feeds init_feed_dict;
    std::function<absl::Status(Session&)> init_fn;
    // Restores; nothing is restored without it.
    std::shared_ptr<Saver> saver;
    // The folder whose newest intact checkpoint is restored, if it has one, or
    // the one checkpoint to restore, which must exist.
    std::string checkpoint_dir;
    std::string checkpoint_filename_with_path;
  };

  // Errors: kInvalidArgument for a ready_for_local_init_op without a
  // local_init_op.
  static absl::StatusOr<std::unique_ptr<SessionManager>> Create(
      GraphPtr graph, Options options);

  // Opens a session and makes it ready: restore, else init_op and init_fn;
  // then local_init_op; then the positions of iterators are restored, which
  // their initializers had set back; then the check.
  //
  // A checkpoint that is damaged is passed over for the newest intact one of
  // the folder, with a warning that names both.
  // Errors: those of Saver::Restore; kDataLoss when the folder has checkpoints
  // and none is intact; kFailedPrecondition when the model is not ready
  // afterwards (the variables without a value are named), or when nothing can
  // initialise it. The session is closed then.
  // Python: prepare_session.
  absl::StatusOr<std::shared_ptr<Session>> PrepareSession(
      const PrepareOptions& options);

 private:
  SessionManager(GraphPtr graph, Options options);

  absl::Status Prepare(const std::shared_ptr<Session>& session,
                       const PrepareOptions& options);
  // Restores all but iterators; returns the path of what was restored, if
  // anything was.
  absl::StatusOr<std::optional<std::string>> Restore(
      Session& session, const PrepareOptions& options);
  // The same for the newest intact checkpoint of a folder.
  absl::StatusOr<std::optional<std::string>> RestoreNewest(
      Session& session, Saver& saver, const std::string& folder);
  // Empty when ready, else the names of what has no value.
  absl::StatusOr<std::string> NotReady(
      Session& session, const std::optional<std::string>& ready_op);

  const GraphPtr graph_;
  const Options options_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SETUP_SESSION_MANAGER_H_

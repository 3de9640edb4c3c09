// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// How a monitored session gets its plain session.

#ifndef TFTRAIN_SETUP_SESSION_CREATOR_H_
#define TFTRAIN_SETUP_SESSION_CREATOR_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/base/clock.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/setup/session_manager.h"

namespace tftrain {

// Makes sessions that are ready to run; asked again after a session was lost.
// Confined: use from one thread at a time.
// Python: tf.compat.v1.train.SessionCreator.
class SessionCreator {
 public:
  virtual ~SessionCreator() = default;
  virtual absl::StatusOr<std::shared_ptr<Session>> CreateSession() = 0;
};

// What the creators below take.
struct SessionCreatorOptions {
  // Default: a Scaffold() of its own.
  std::shared_ptr<Scaffold> scaffold;
  // "" for the runtime in this process, else "grpc://host:port".
  std::string master;
  tensorflow::ConfigProto config;
  ThreadMode thread_mode = ThreadMode::kPool;
};

// Makes the session of the one who initialises and restores the model.
// Python: tf.compat.v1.train.ChiefSessionCreator.
class ChiefSessionCreator : public SessionCreator {
 public:
  struct Options : SessionCreatorOptions {
    // Restored from when it has a checkpoint, or the one checkpoint to restore.
    std::string checkpoint_dir;
    std::string checkpoint_filename_with_path;
    // Whether an older checkpoint may take the place of one that is damaged.
    bool fall_back = true;
  };

  ChiefSessionCreator(GraphPtr graph, Options options);

  // Finalizes the scaffold, and with it the graph, then restores or
  // initialises.
  // Errors: those of Scaffold::Finalize() and SessionManager.
  absl::StatusOr<std::shared_ptr<Session>> CreateSession() override;

  const std::shared_ptr<Scaffold>& scaffold() const {
    return options_.scaffold;
  }

  // How the last session was restored.
  RestoreReport restore_report() const {
    return manager_ != nullptr ? manager_->restore_report() : RestoreReport();
  }

 private:
  const GraphPtr graph_;
  Options options_;
  // Made at the first creation and used again for later ones.
  std::unique_ptr<SessionManager> manager_;
};

// Makes the session of one who trains beside the chief, on the same server:
// waits until the chief has initialised the model, and never runs init_op nor
// restores.
// Python: tf.compat.v1.train.WorkerSessionCreator.
class WorkerSessionCreator : public SessionCreator {
 public:
  // `master` names the chief's server; a model in this process has no chief
  // elsewhere.
  struct Options : SessionCreatorOptions {
    // How long to wait for the model at most, in seconds, and how often to
    // look.
    double max_wait_secs = 30 * 60;
    double recovery_wait_secs = 30;
    // Must outlive the creator. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  WorkerSessionCreator(GraphPtr graph, Options options);

  // Finalizes the scaffold, and with it the graph, then waits for the model.
  // Errors: those of Scaffold::Finalize() and
  // SessionManager::WaitForSession().
  absl::StatusOr<std::shared_ptr<Session>> CreateSession() override;

  const std::shared_ptr<Scaffold>& scaffold() const {
    return options_.scaffold;
  }

 private:
  const GraphPtr graph_;
  Options options_;
  // Made at the first creation and used again for later ones.
  std::unique_ptr<SessionManager> manager_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SETUP_SESSION_CREATOR_H_

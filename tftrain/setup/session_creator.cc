// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/session_creator.h"

#include <utility>

#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {
namespace {

// What a creator's SessionManager takes from its scaffold and options.
SessionManager::Options ManagerOptions(const SessionCreatorOptions& from) {
  SessionManager::Options options;
  options.local_init_op = from.scaffold->local_init_op();
  options.local_init_feed_dict = from.scaffold->local_init_feed_dict();
  options.ready_op = from.scaffold->ready_op();
  options.ready_for_local_init_op = from.scaffold->ready_for_local_init_op();
  options.session.target = from.master;
  options.session.config = from.config;
  options.session.thread_mode = from.thread_mode;
  return options;
}

}  // namespace

ChiefSessionCreator::ChiefSessionCreator(GraphPtr graph, Options options)
    : graph_(std::move(graph)), options_(std::move(options)) {
  if (options_.scaffold == nullptr) {
    options_.scaffold = std::make_shared<Scaffold>();
  }
}

absl::StatusOr<std::shared_ptr<Session>> ChiefSessionCreator::CreateSession() {
  Scaffold& scaffold = *options_.scaffold;
  TF_RETURN_IF_ERROR(scaffold.Finalize(*graph_));
  if (manager_ == nullptr) {
    TF_ASSIGN_OR_RETURN(
        manager_, SessionManager::Create(graph_, ManagerOptions(options_)));
  }
  SessionManager::PrepareOptions prepare;
  prepare.init_op = scaffold.init_op();
  prepare.init_feed_dict = scaffold.init_feed_dict();
  prepare.warm_start = scaffold.warm_start();
  if (scaffold.has_init_fn()) {
    prepare.init_fn = [&scaffold](Session& session) {
      return scaffold.RunInitFn(session);
    };
  }
  prepare.saver = scaffold.saver();
  prepare.checkpoint_dir = options_.checkpoint_dir;
  prepare.checkpoint_filename_with_path =
      options_.checkpoint_filename_with_path;
  prepare.fall_back = options_.fall_back;
  return manager_->PrepareSession(prepare);
}

WorkerSessionCreator::WorkerSessionCreator(GraphPtr graph, Options options)
    : graph_(std::move(graph)), options_(std::move(options)) {
  if (options_.scaffold == nullptr) {
    options_.scaffold = std::make_shared<Scaffold>();
  }
}

absl::StatusOr<std::shared_ptr<Session>> WorkerSessionCreator::CreateSession() {
  TF_RETURN_IF_ERROR(options_.scaffold->Finalize(*graph_));
  if (manager_ == nullptr) {
    SessionManager::Options options = ManagerOptions(options_);
    options.recovery_wait_secs = options_.recovery_wait_secs;
    options.clock = options_.clock;
    TF_ASSIGN_OR_RETURN(manager_,
                        SessionManager::Create(graph_, std::move(options)));
  }
  return manager_->WaitForSession(options_.max_wait_secs);
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Opens a session and brings its model to a state in which it can train.

#ifndef TFTRAIN_SETUP_SESSION_MANAGER_H_
#define TFTRAIN_SETUP_SESSION_MANAGER_H_

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/checkpoint_pin.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"

namespace tftrain {

// What a session was restored from, and what had to be passed over.
//
// Thread-compatible: const calls may run together.
struct RestoreReport {
  // Something that could not be used, a checkpoint or a state file, and why.
  struct Skipped {
    std::string path;
    absl::Status status;
  };

  // The checkpoint; empty when nothing was restored.
  std::string restored;
  // What would have been better, best first.
  std::vector<Skipped> skipped;
};

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
    std::optional<tensorflow::RunOptions> local_init_run_options;
    // String tensors that name what has no value yet: of all that must have
    // one before the session is used, and before local_init_op runs.
    std::optional<std::string> ready_op;
    std::optional<std::string> ready_for_local_init_op;
    // Seconds between two looks for a checkpoint or at a model that is not
    // ready; positive.
    double recovery_wait_secs = 30;
    // Must outlive the manager. Null means the machine's clock.
    Clock* clock = nullptr;
    // How the sessions are opened.
    Session::Options session;
  };

  struct RecoverOptions {
    // Restores; nothing is restored without it.
    std::shared_ptr<Saver> saver;
    // The folder whose newest intact checkpoint is restored, if it has one, or
    // the one checkpoint to restore, which must exist; not both.
    std::string checkpoint_dir;
    std::string checkpoint_filename_with_path;
    // Whether an older checkpoint may take the place of one in the folder that
    // is damaged or lacks files, and of the one a damaged state file named.
    // Without it that is an error.
    bool fall_back = true;
    // Whether to wait for a first checkpoint in the folder, and for how many
    // seconds at most.
    bool wait_for_checkpoint = false;
    double max_wait_secs = 7200;
  };

  struct PrepareOptions : RecoverOptions {
    // Run when nothing was restored, in this order.
    std::optional<std::string> init_op;
    Feeds init_feed_dict;
    std::optional<WarmStart> warm_start;  // by the saver, which must be given
    std::function<absl::Status(Session&)> init_fn;
  };

  // What RecoverSession() came to.
  struct Recovered {
    std::shared_ptr<Session> session;
    // Whether a checkpoint was restored and made the model ready.
    bool initialized = false;
    // Why not; empty when it is.
    std::string reason;
  };

  // Errors: kInvalidArgument for a ready_for_local_init_op without a
  // local_init_op, and for a recovery_wait_secs that is not positive and
  // finite.
  static absl::StatusOr<std::unique_ptr<SessionManager>> Create(
      GraphPtr graph, Options options);

  // Opens a session and makes it ready: restore, else init_op and init_fn;
  // then local_init_op; then the positions of iterators are restored, which
  // their initializers had set back (from the same checkpoint, which nobody
  // deletes until then: CheckpointPin); then the check.
  //
  // A checkpoint that is damaged is passed over for the next that is intact, in
  // the order of RankCheckpoints(), with a warning that names both;
  // restore_report() tells. One that does not fit the graph is passed over only
  // where its base name is not that of the state file's newest. The saver takes
  // over the checkpoints that the state file lists, those that a crash kept it
  // from listing, and the one restored; it deletes no others.
  // Errors: kInvalidArgument for a folder and a checkpoint at once; those of
  // Saver::Restore; kDataLoss when the folder has checkpoints and none is
  // intact, or not the best and fall_back is not set; kFailedPrecondition when
  // it has a state file, of whatever content, and no checkpoint, and when
  // the model is not ready afterwards (the variables without a value are
  // named), or when nothing can initialise it. The session is closed then.
  // Python: prepare_session.
  absl::StatusOr<std::shared_ptr<Session>> PrepareSession(
      const PrepareOptions& options);

  // Opens a session and restores what there is, without init_op: local_init_op
  // runs as soon as the model is ready for it, restored or not. A model that is
  // not ready then is no error; whoever gets the session initialises it.
  // Errors: as for PrepareSession(), but for a model that is not ready. The
  // session is closed then.
  // Python: recover_session.
  absl::StatusOr<Recovered> RecoverSession(const RecoverOptions& options);

  // Opens a session on a model that somebody else initialises, on the same
  // server: looks every recovery_wait_secs seconds, in a new session each time,
  // and a last time when `max_wait_secs` have passed (infinite: never). Runs
  // local_init_op as soon as the model is ready for it.
  // Errors: kDeadlineExceeded, with what has no value, when the model was not
  // ready in time; those of Session::Create() and Run() at once.
  // Python: wait_for_session, which gives up as soon as less than
  // recovery_wait_secs is left.
  absl::StatusOr<std::shared_ptr<Session>> WaitForSession(
      double max_wait_secs = std::numeric_limits<double>::infinity());

  // How the last session of PrepareSession() or RecoverSession() was restored,
  // or why it could not be.
  const RestoreReport& restore_report() const { return report_; }

 private:
  // The checkpoints of a folder.
  struct FolderContent {
    // All, best first.
    std::vector<std::string> candidates;
    // Those of the run so far, oldest first, which its retention may delete.
    std::vector<std::string> own;
    // The base name of the run's; empty when no state file tells it.
    std::string base;
  };

  SessionManager(GraphPtr graph, Options options);

  absl::Status Prepare(Session& session, const PrepareOptions& options);
  // Empty when the model was restored and is ready, else why it is not.
  absl::StatusOr<std::string> Recover(Session& session,
                                      const RecoverOptions& options);

  // Restores all but iterators; returns what was restored, if anything was, so
  // that it stays until the iterators are restored as well.
  absl::StatusOr<std::optional<PinnedCheckpoint>> Restore(
      Session& session, const RecoverOptions& options);
  // The same for the first candidate that is intact.
  absl::StatusOr<PinnedCheckpoint> RestoreFirstIntact(
      Session& session, const RecoverOptions& options, FolderContent content);
  absl::StatusOr<FolderContent> LookIntoFolder(const RecoverOptions& options);
  // The same; waits for a checkpoint if told to.
  absl::StatusOr<FolderContent> FindCheckpoints(const RecoverOptions& options);

  // Runs local_init_op if the model is ready for it. Empty when it is, else
  // the names of what has no value.
  absl::StatusOr<std::string> RunLocalInit(Session& session);
  // Empty when ready, else the names of what has no value.
  absl::StatusOr<std::string> NotReady(
      Session& session, const std::optional<std::string>& ready_op);

  // Notes that `path` cannot be used; returns the error if that is one.
  absl::Status Skip(const RecoverOptions& options, const std::string& path,
                    const absl::Status& status);

  // Logs `why` and waits until it is time to look again; returns false at once
  // when it is `deadline` already, in the clock's monotonic time.
  bool WaitToLookAgain(absl::Duration deadline, std::string_view why);

  const GraphPtr graph_;
  const Options options_;
  Clock* const clock_;

  RestoreReport report_;
};

}  // namespace tftrain

#endif  // TFTRAIN_SETUP_SESSION_MANAGER_H_

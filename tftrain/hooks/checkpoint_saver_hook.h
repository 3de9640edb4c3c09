// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves checkpoints while a model trains.

#ifndef TFTRAIN_HOOKS_CHECKPOINT_SAVER_HOOK_H_
#define TFTRAIN_HOOKS_CHECKPOINT_SAVER_HOOK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/hooks/checkpoint_saver_listener.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/setup/scaffold.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

namespace internal {
class FolderLock;
}

// Saves the model into a folder: when the session is created, then once every
// so many steps or seconds, and at the end. The end is saved always, each step
// once: not again when this hook has just saved it, nor at the start when the
// session was restored from this folder's newest checkpoint.
//
// Beside the checkpoints it writes the graph: as text into `graph.pbtxt`, and
// into the folder's event file, where each save is noted as well, both with the
// saver's `file_mode` (the event file for all who write to it). A save is
// durable before training goes on (see Saver), unless it is `async`. An error
// of a save is returned: Create(), Run() or Close() fails with it, and
// `tolerated_failures` says when not.
//
// With `async` a step in which a save is due takes only as long as it takes to
// hold the values, and a thread writes them. There is one save at a time: one
// that falls due meanwhile is made as soon as the other has ended. What follows
// a save (the note in the event file, the listeners' AfterSave(), the stop they
// wish for, its error) happens after the step during which it ended, or at the
// end, always on the thread that steps. The first save and the last one are not
// in the background. Where several hooks save by one saver, a save comes after
// the other's in a later step, and each hears of its own alone.
//
// What a hook judged to be bad (SessionRunHook::Judge()), such as
// NanTensorHook, is not saved, wherever that hook is in the list: a save that
// is due then is made after the next good step, and the last one is left out.
// Nor are, by `non_finite`, variables that a step spoiled whose loss was good.
// When a hook takes the session back behind the last save, the next good step
// is saved.
//
// Python: `tf.compat.v1.train.CheckpointSaverHook`, which writes the step that
// was restored once more, and what is NaN when it comes first in the list.
//
// Confined: the session calls a hook from one thread.
//
//   options.checkpoint_dir = "run";
//   options.hooks = {SaveCheckpoints("run", Every::Steps(500))};
class CheckpointSaverHook : public SessionRunHook {
 public:
  // What becomes of a save in which a variable of floating or complex type
  // holds a NaN or an infinity.
  enum class NonFinite {
    kSave,  // nobody looks
    kSkip,  // a warning that names the variable; the next one that is due, and
            // the last, try again
    kFail,  // NanLossError(), which names it; not for tolerated_failures
  };

  struct Options {
    // The folder; made if it is missing.
    std::string checkpoint_dir;

    // Exactly one of the two must be set.
    std::optional<double> save_secs;
    std::optional<int64_t> save_steps;

    // What saves: this saver, or the scaffold's, at most one of which may be
    // set; with neither, the saver of the session's own scaffold.
    // Python: with neither, the only one in the collection "savers".
    std::shared_ptr<Saver> saver;
    std::shared_ptr<Scaffold> scaffold;

    // Checkpoints are `checkpoint_dir`/`checkpoint_basename`-STEP.
    std::string checkpoint_basename = "model.ckpt";

    std::vector<CheckpointSaverListenerPtr> listeners;

    // Whether `graph.pbtxt` and, beside each checkpoint, its `.meta` are
    // written. The event file gets the graph in any case.
    bool save_graph_def = true;

    // Whether checkpoints are written in the background while training goes on.
    bool async = false;

    // What becomes of the values while they are written; its price stands
    // there. kStream does not go together with `async`.
    SnapshotMode snapshot = SnapshotMode::kShare;

    // Whether the values are looked at as they are written (on the thread that
    // writes them: training pays nothing when it is `async`). What is not saved
    // leaves the newest checkpoint the newest. Not on a server.
    // Nothing: kSkip for a NaN, but not for an infinity, if a hook of the
    // session judges and Saver::CanCheckFinite(); else kSave.
    std::optional<NonFinite> non_finite;

    // So many failed saves in a row, in steps, are only warned of; each is made
    // up for when the next one is due. The first save of a session and the last
    // must not fail in any case.
    int tolerated_failures = 0;
    // Of those, none later than so many seconds after the last good save.
    std::optional<double> tolerated_secs;

    // How long the end of the session waits for a save in the background, and
    // how long one that is due is put off, and then waits, for that of another
    // hook; one that still cannot begin has failed.
    double save_patience_secs = 600;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit CheckpointSaverHook(Options options);

  // Errors: kInvalidArgument if none or both of `save_secs` and `save_steps`
  // or both of `saver` and `scaffold` are set, `checkpoint_dir` is empty,
  // kStream goes with `async`, a listener is null, or a number is negative;
  // kFailedPrecondition without a global step; those of EventFileWriterCache
  // and of the listeners.
  absl::Status Begin(BeginContext& context) override;

  // From here to its end the session has the folder for itself.
  // Errors: kFailedPrecondition if there is no saver, or one that has nothing
  // to save, and if another process, or another hook with another saver, saves
  // into the folder; those of writing and of the listeners.
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::Status OnUndone(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

 private:
  absl::Status CheckSaving() const;
  absl::Status BeginListeners(BeginContext& context);
  void AbortListeners(const absl::Status& status);

  absl::Status LockFolder();
  // Finds `saver_`, once; the session is at `step`.
  absl::Status FindSaver(int64_t step);
  // Lets a saver that knows no checkpoint delete, in their turn, the
  // checkpoints of the run that the session continues, if it does.
  void TakeOverCheckpoints(int64_t step);
  bool IsOwnCheckpoint(const std::string& prefix, int64_t step) const;
  absl::Status WriteGraph(const Graph& graph);
  // Whether this folder's newest checkpoint is what the session holds.
  bool IsSaved(const Session& session, int64_t step) const;

  // Lets the next step be saved: the newest checkpoint may not be of the
  // session's past any more.
  void StartAnew();

  // Whether a save that is due leaves another hook's to end first.
  bool IsPutOff();

  // A whole save, in the foreground, which must not fail.
  absl::Status Save(Session& session, int64_t step);
  // One after a step, in the background if that is asked for, and what follows.
  absl::Status SaveInStep(SessionRunContext& context, int64_t step);
  absl::Status FinishInStep(SessionRunContext& context);
  // Their parts.
  absl::Status TellBeforeSave(Session& session, int64_t step);
  absl::Status StartSave(Session& session, int64_t step, bool async);
  absl::Status AwaitSave();
  // Returns whether a listener wants a stop.
  absl::StatusOr<bool> TellAfterSave(Session& session, int64_t step);
  // OK, with a warning, if `status` is of a save that is skipped.
  absl::Status SkipNonFinite(const absl::Status& status) const;
  // The same for one that is tolerated.
  absl::Status Tolerate(const absl::Status& status);

  const Options options_;
  const std::string save_path_;
  Clock* const clock_;
  std::optional<SecondOrStepTimer> timer_;
  std::shared_ptr<Scaffold> scaffold_;  // where the saver is, unless given
  std::shared_ptr<Saver> saver_;
  std::shared_ptr<EventFileWriter> writer_;
  // Held while there is a session.
  std::shared_ptr<internal::FolderLock> folder_lock_;
  // The listeners that have begun and were told neither of an end nor of an
  // abort: the first so many.
  size_t listeners_begun_ = 0;
  std::optional<int64_t> last_saved_step_;
  // The step of the save that was begun and not ended, and that save if it is
  // in the background; others may save by the same saver.
  std::optional<int64_t> saving_step_;
  Saver::PendingSave saving_;
  // When a save that is due was first put off.
  std::optional<absl::Duration> put_off_since_;
  int failures_ = 0;  // in a row
  absl::Duration last_saved_time_;
};

// Saves into the folder `checkpoint_dir` at the cadence `every`.
std::shared_ptr<CheckpointSaverHook> SaveCheckpoints(std::string checkpoint_dir,
                                                     const Every& every);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_CHECKPOINT_SAVER_HOOK_H_

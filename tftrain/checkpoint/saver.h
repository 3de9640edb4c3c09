// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Saves a model's state into checkpoints and restores it.

#ifndef TFTRAIN_CHECKPOINT_SAVER_H_
#define TFTRAIN_CHECKPOINT_SAVER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/restore_plan.h"
#include "tftrain/checkpoint/retention.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/session.h"

namespace tftrain {

// What becomes of the values while they are written.
enum class SnapshotMode {
  // They are shared with the variables: taking them costs microseconds, and no
  // memory. Until a value is written, a step that changes its variable copies
  // it first; at the worst the checkpoint is in memory once more, and the next
  // step takes as long as it takes to copy it. Variables that ever saw a sparse
  // update cannot be shared, and are copied at once as with kCopy.
  kShare,
  // They are copied at once, into memory that is kept for the next save (the
  // checkpoint once more, from the first save on); steps are as fast as ever.
  kCopy,
  // They are written from where they are, and steps of other threads wait until
  // that is done. No memory; not in the background.
  kStream,
};

// How a save gets at a value.
enum class ValueAccess {
  kVariable,  // from the resource variable itself, as SnapshotMode says
  kFetched,   // by a run, which copies it: reference variables, tables,
              // iterators
};

// Writes checkpoints that Python's tf.train.Saver reads and reads those it
// writes, keeps the newest few, and keeps the state file "checkpoint" that
// names them.
//
//   TF_ASSIGN_OR_RETURN(std::shared_ptr<Saver> saver, Saver::Create(*graph));
//   TF_ASSIGN_OR_RETURN(auto session, Session::Create(graph));
//   TF_RETURN_IF_ERROR(session->Run(Target("init")));
//   Saver::SaveOptions options;
//   options.global_step = 100;
//   TF_RETURN_IF_ERROR(
//       saver->Save(*session, "run/model.ckpt", options).status());
//   TF_RETURN_IF_ERROR(saver->Restore(*session, "run/model.ckpt-100"));
//
// States: made -> built (the graph holds the save and restore operations).
//
// The graph's save operations say what belongs to a checkpoint: variables,
// parts of variables, tables, iterators. In this process resource variables are
// read and set where the runtime keeps them; for all else the operations'
// inputs are fetched in one run, and what they would read is fed. On a server,
// and where the operations are not those that TensorFlow makes, they run
// themselves; such a server must see the same files as this process.
//
// A save is acknowledged, by returning OK, only when it would survive a power
// cut: written under hidden names, synced, renamed, and named by a synced
// state file; older checkpoints are deleted after that. No error or crash on
// the way harms a checkpoint that was there, the one of the same name
// included: its place is taken in one step, and only by a whole one.
//
// A save may go on in the background: SaveAsync() returns as soon as the values
// are held, which for variables in this process takes a fraction of a
// millisecond, and a thread writes them. What that costs in memory, and later
// steps in time, is a matter of SnapshotMode; what is kFetched is copied in any
// case. A restore holds the checkpoint once, and hands it to the variables.
//
// Confined: use from one thread at a time.
// Python: tf.compat.v1.train.Saver.
class Saver {
 public:
  struct Options {
    // The variables to save, as checkpoint name -> name of the variable, or of
    // the whole whose parts are variables. Empty: all of the collections
    // "variables" and "saveable_objects".
    std::map<std::string, std::string> var_list;
    // Whether a variable may be restored from one of another shape with as many
    // elements.
    bool reshape = false;
    // How many checkpoints are kept; 0 keeps all. More than that, left by an
    // earlier run or another setting, are deleted at once.
    // Python: one at most per save; 0 leaves all but the newest out of the
    // state file.
    int max_to_keep = 5;
    // Beside those, one in this many hours is kept for good; 0 keeps none.
    // Python: several in a row after a longer pause; 0 keeps all.
    double keep_checkpoint_every_n_hours = 10000;
    // In the place of those two, which must be left alone then: whatever one of
    // these policies keeps is kept, and the newest in any case.
    std::vector<RetentionPolicy> retention;
    // Permissions of all the files of a checkpoint and of the state file; the
    // process's umask is taken off them. A checkpoint holds what the model
    // learned: 0600 keeps that to yourself.
    mode_t file_mode = 0666;
    // Whether a graph without variables is no error; nothing is written then.
    bool allow_empty = false;
    // Writes step numbers with eight digits, so that names sort by step.
    bool pad_step_number = false;
    // The time of checkpoints and of intervals; must outlive the saver.
    Clock* clock = Clock::Real();
  };

  struct SaveOptions {
    // Becomes part of the name, "model.ckpt-100".
    std::optional<int64_t> global_step;
    // The name of the state file, in the folder of the checkpoint.
    std::string latest_filename = "checkpoint";
    // Whether the graph is written beside the values, as "P.meta".
    bool write_meta_graph = true;
    // Whether the state file is written and older checkpoints are deleted.
    bool write_state = true;
    // What becomes of the values while they are written.
    SnapshotMode snapshot = SnapshotMode::kShare;
    // Whether the save fails when a value of floating or complex type holds a
    // NaN or an infinity, which is looked for as the values are written.
    bool check_finite = false;
    // The same for a NaN alone.
    bool check_nan = false;
    // What is known of the model at this moment, for KeepBest: kept beside the
    // checkpoint as "P.tftrain.json". One that is not finite is left out.
    std::map<std::string, double> metrics;
  };

  // A checkpoint this saver knows, and when it was written.
  struct Checkpoint {
    std::string prefix;
    absl::Time time;
  };

  // One save in the background, for whoever will ask what became of it.
  //
  // Confined: as the saver.
  class PendingSave {
   public:
    // Of no save: as one that has ended well.
    PendingSave() = default;

    // What is written; empty when the saver is empty().
    const std::string& prefix() const { return prefix_; }
    // Whether it has ended, well or not.
    bool done() const;

   private:
    friend class Saver;
    struct Running;
    explicit PendingSave(std::string prefix,
                         std::shared_ptr<Running> running = nullptr)
        : prefix_(std::move(prefix)), running_(std::move(running)) {}

    std::string prefix_;
    // Null when it was made in the foreground.
    std::shared_ptr<Running> running_;
  };

  // A saver to be built later, by Scaffold::Finalize() or Build(): variables
  // that hooks add in Begin() are saved as well.
  // Python: Saver(defer_build=True), which takes no var_list.
  static std::shared_ptr<Saver> Deferred(Options options);
  static std::shared_ptr<Saver> Deferred();

  // A saver of the variables `graph` has now.
  // Errors: those of Build().
  static absl::StatusOr<std::shared_ptr<Saver>> Create(Graph& graph,
                                                       Options options);
  static absl::StatusOr<std::shared_ptr<Saver>> Create(Graph& graph);

  // A saver on the operations that a MetaGraph brought along, with the number
  // of checkpoints and the hours that `def` says. A `def` for TensorFlow's
  // first format writes the second all the same.
  // Errors: kInvalidArgument when `def` lacks an operation's name or the graph
  // lacks the operation, or for a negative number.
  static absl::StatusOr<std::shared_ptr<Saver>> FromSaverDef(
      const Graph& graph, const tensorflow::SaverDef& def,
      Clock* clock = Clock::Real());

  // Waits for a save in the background, unless it was given up; in a forked
  // child it is left to the parent.
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Adds the save and restore operations to `graph`, once.
  // Errors: kInvalidArgument when there is nothing to save (unless
  // allow_empty), a variable is not in the graph or would be saved under two
  // names, two would be saved under one, a number in the options is negative,
  // or the retention is not in order (CheckRetention) or not alone;
  // kFailedPrecondition when the graph is frozen.
  absl::Status Build(Graph& graph);
  bool built() const;
  // Whether there is nothing to save, so that Save and Restore do nothing.
  bool empty() const;

  // Writes a checkpoint of `session` to `path`, or `path`-STEP, and returns
  // that prefix (an empty text when empty()). Makes the folder if need be. The
  // first save into a folder also removes there what savers left that were
  // killed.
  //
  // Errors: kFailedPrecondition before Build(), when a variable has no value
  // yet (its name is told), or when another process saves into the folder;
  // kInvalidArgument for a latest_filename with a folder in it, and for a
  // `path` without a name or with that of the state file; NanLossError(), which
  // names the variable, and kUnimplemented unless CanCheckFinite(), both for
  // check_finite and check_nan; kResourceExhausted when the disk is full; other
  // file errors; those of the graph's operations.
  // On error nothing new is left behind, and older checkpoints and the state
  // file are as before; only where the checkpoint had replaced one of the same
  // name already, the new one stays. Trouble with deleting old checkpoints is
  // logged, and no error.
  // Python: Saver.save, which does not make the folder.
  absl::StatusOr<std::string> Save(Session& session, const std::string& path,
                                   const SaveOptions& options);
  absl::StatusOr<std::string> Save(Session& session, const std::string& path);

  // The same in the background: returns when the values are held, and a thread
  // does the rest. One save at a time: a second one, of any kind, waits for
  // the first. What WaitForSave() answers tells whether the checkpoint is
  // there. A session on a server, and a graph whose operations must save, are
  // saved in the foreground.
  // Errors: kInvalidArgument for SnapshotMode::kStream; those of Save() that
  // have nothing to do with files; that of an earlier one of these saves, if
  // nobody was told, and then nothing is saved.
  absl::StatusOr<std::string> SaveAsync(Session& session,
                                        const std::string& path,
                                        const SaveOptions& options);

  // The same where others save by this saver as well, as hooks may: who holds
  // the answer can ask for what became of this save.
  // Errors: those of SaveAsync(), but never that of another save.
  absl::StatusOr<PendingSave> BeginSave(Session& session,
                                        const std::string& path,
                                        const SaveOptions& options);

  // Whether a save in the background has not ended yet; not that of a parent
  // process.
  bool saving() const;

  // Waits for a save in the background, whoever has begun it, and returns what
  // became of it, or the error of an earlier one: of one that nobody was told
  // of, once, also when another Save() or Restore() has waited. OK when there
  // is none. Errors: those of Save(); kDeadlineExceeded when it has not ended
  // within `patience`; it goes on then, and saving and restoring are
  // kFailedPrecondition until it has ended; kFailedPrecondition, at once, in a
  // forked child, where nobody writes.
  absl::Status WaitForSave(absl::Duration patience = absl::InfiniteDuration());

  // The same for the save `save` alone, as often as it is asked.
  // REQUIRES: this saver has begun it.
  absl::Status WaitForSave(const PendingSave& save,
                           absl::Duration patience = absl::InfiniteDuration());

  // Waits until no save is in the background; what became of it is still for
  // WaitForSave() to tell.
  // Errors: kDeadlineExceeded when it has not ended within `patience`, which
  // changes nothing for who waits longer; kFailedPrecondition, at once, for one
  // that WaitForSave() did not see the end of, and in a forked child.
  absl::Status AwaitSave(absl::Duration patience = absl::InfiniteDuration());

  // Notes what became known of the checkpoint `prefix` later, such as by an
  // evaluation, for the KeepBest of the next save, in whatever process that is;
  // all in one durable write. One that is not finite takes the metric away;
  // those of other names stay. From any thread and process, but not from two at
  // a time for one checkpoint.
  // Errors: kNotFound when there is no such checkpoint (any more);
  // kInvalidArgument for a name that is empty or no UTF-8, and for more than
  // 64 KiB of metrics; file errors. On error none is noted.
  static absl::Status SetMetrics(const std::string& prefix,
                                 const std::map<std::string, double>& metrics);
  // What is known of the checkpoint `prefix`; from any thread and process.
  static std::map<std::string, double> Metrics(const std::string& prefix);

  // How each value of a checkpoint of `session` would be read, by its name in
  // the checkpoint; empty when the graph's operations must save.
  std::map<std::string, ValueAccess> HowSaved(const Session& session) const;

  // Whether a save of `session` can look at the values (check_finite,
  // check_nan): in this process, unless the graph's operations must save.
  bool CanCheckFinite(const Session& session) const;

  // Sets the variables of `session` to those in the checkpoint at `path`: a
  // prefix, one of its files, or a folder (its newest checkpoint). All are
  // restored or none, and the checkpoint is not deleted meanwhile
  // (CheckpointPin). Waits for a save in the background, as AwaitSave() does.
  // Variables need no value before; iterators must have run
  // their initializer, so restore them in a second call where there are some.
  // Reads checkpoints of tf.train.Checkpoint and of TensorFlow's first format
  // as well; the latter is left to the graph's operations, like everything on a
  // server, and then an error may come after some variables were set.
  //
  // Errors: kInvalidArgument when there is no checkpoint at `path`, or when it
  // belongs to another model (every missing name and every other dtype or shape
  // is listed), or lacks a part of a variable; kDataLoss when it is damaged or
  // lacks a file; kNotFound when it is deleted at this moment;
  // kFailedPrecondition before Build(); file errors; those of the graph's
  // operations.
  // Python: Saver.restore, which lets a resource variable take another shape.
  absl::Status Restore(Session& session, const std::string& path,
                       RestorePart part = RestorePart::kAll);

  // The same for what `spec` takes of it: a warm start. All of that is set or
  // none; the rest stays as it is, so initialise it before.
  // On a server, the values are read here and sent there in one run: 2 GiB at
  // most, and an error may come after some were set.
  // Errors: kInvalidArgument also for a pattern that is none; kUnimplemented
  // for a checkpoint of TensorFlow's first format, for restore operations that
  // TensorFlow does not make, and for more than a server can be sent.
  absl::Status Restore(Session& session, const std::string& path,
                       const RestoreSpec& spec);

  // What that would do, found out without a session.
  // Errors: those of Restore() but for differences, which are in the plan's
  // `status`; kFailedPrecondition when there is nothing to restore.
  absl::StatusOr<RestorePlan> PlanRestore(const std::string& path,
                                          const RestoreSpec& spec = {}) const;

  // Keeps, from the next save on, also what `policy` keeps: what a hook needs
  // beside the options.
  // Errors: those of CheckRetention().
  absl::Status AddRetention(const RetentionPolicy& policy);

  // The checkpoint `path`-`step`, if it is the last one that was saved or
  // restored, and that was done in `session`: while the session is at this
  // step, the checkpoint is taken to hold its model.
  std::optional<std::string> CheckpointOf(const Session& session,
                                          const std::string& path,
                                          int64_t step) const;

  // Permissions of what it writes: those of the options.
  mode_t file_mode() const;

  // Whether the checkpoint holds positions of iterators.
  bool restores_iterators() const;

  // The checkpoints that are kept, oldest first; one that is still being
  // written is not among them. Python: empty when max_to_keep is 0.
  std::vector<std::string> last_checkpoints() const;

  // Takes over the checkpoints of an earlier run, oldest first, so that they
  // are deleted in their turn, when they lie where checkpoints are saved; those
  // without files, and those that are kept for good, are left out.
  void RecoverLastCheckpoints(const std::vector<std::string>& prefixes);
  // The same with times that are known, whether there are files or not.
  void SetLastCheckpointsWithTime(std::vector<Checkpoint> checkpoints);

  // Describes the saver in a MetaGraph; without the names of operations when
  // empty().
  // REQUIRES: built().
  const tensorflow::SaverDef& saver_def() const;

 private:
  class Impl;
  explicit Saver(Options options);

  std::unique_ptr<Impl> impl_;
};

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_SAVER_H_

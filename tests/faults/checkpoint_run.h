// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that save checkpoints on a disk that is recorded, and programs that
// start on what a crash left of it.

#ifndef TFTRAIN_FAULTS_CHECKPOINT_RUN_H_
#define TFTRAIN_FAULTS_CHECKPOINT_RUN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/faults/crash_disk.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/testing/fake_clock.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {

// How a program saves.
struct SaveHabits {
  enum class Names { kGrowing, kFalling, kOne };

  std::string name;
  // What it does, in letters: s saves; a saves in the background and trains on;
  // n saves without the state file; r ends, starts again and restores; d drops
  // the saver and makes another; h lets an hour pass.
  std::string script;
  int max_to_keep = 5;
  float keep_every_n_hours = 0;
  // Below the folder of the run, which the first save makes.
  std::string basename = "run/model";
  Names names = Names::kGrowing;
  SnapshotMode snapshot = SnapshotMode::kShare;
  bool write_meta_graph = true;
  std::vector<std::string> variables = {"w", "b"};
  ModelOptions model = {};
};

// The habits of all tests.
std::vector<SaveHabits> AllSaveHabits();

// Ends the program unless `status` is OK.
void MustSucceed(const absl::Status& status);

// Those of that name. Ends the program if there are none.
SaveHabits HabitsNamed(const std::string& name);

// A model and the programs that train it, one after the other: a saver, a
// session. The n-th save writes the number n into every variable.
//
// Confined: use from the thread that created it.
class SavingProgram {
 public:
  explicit SavingProgram(const SaveHabits& habits);

  const SaveHabits& habits() const { return habits_; }
  void set_script(std::string script) { habits_.script = std::move(script); }
  // The folder of checkpoints below `root`.
  std::string FolderBelow(const std::string& root) const;
  // The prefix of the checkpoint of that number.
  std::string PrefixBelow(const std::string& root, int64_t number) const;

  // A new saver that knows of no checkpoint yet; the session stays.
  absl::Status NewSaver();

  // Ends, and starts again with the newest intact checkpoint below `root`, or
  // initialised with the number 0.
  // Errors: those of SessionManager::PrepareSession().
  absl::Status Start(const std::string& root);

  // The number that all variables hold, or nothing when they differ.
  std::optional<int64_t> Number();

  void Set(int64_t number);
  // Sets the variables, and saves; `mode` is one of the script's letters.
  absl::Status Save(const std::string& root, int64_t number, char mode);
  void LetAnHourPass() { clock_.Advance(absl::Hours(1)); }

  Saver& saver() { return *saver_; }
  Session& session() { return *session_; }

 private:
  SaveHabits habits_;
  // Ahead of the files' times, so that what is left over is old.
  FakeClock clock_;
  Program model_;
  std::shared_ptr<Saver> saver_;
  std::shared_ptr<Session> session_;
};

// Makes `folder`, with that content.
void WriteFolder(const std::string& folder, const FolderContent& content);

// A folder whose content a test sets, over and over.
//
// Confined: use from one thread at a time.
class StagedFolder {
 public:
  const std::string& path() const { return dir_.path(); }

  // REQUIRES: nobody else changed the folder since Put() or Read().
  void Put(const FolderContent& content);
  const FolderContent& Read();

 private:
  const TempDir dir_;
  FolderContent there_;
};

// Whether the checkpoint `prefix` is whole and holds nothing but `number`.
absl::Status CheckCheckpoint(const std::string& prefix, int64_t number);

// The names of temporary files in `content`.
std::vector<std::string> TemporaryFilesIn(const FolderContent& content);

// What a start may find.
struct ExpectedState {
  // The number of the newest save that was acknowledged, 0 for none.
  int64_t acknowledged = 0;
  // That of the last one that was begun.
  int64_t begun = 0;
  // All checkpoints that must be whole, by their number.
  std::map<int64_t, std::string> kept;
};

// One play of a program's script on an empty disk.
//
// Confined: use from the thread that created it.
class RecordedRun {
 public:
  // Makes, in front of the disk, what breaks a promise; it is in use while the
  // script is played.
  using Breaker =
      std::function<std::unique_ptr<internal::FileOps>(CrashDisk& disk)>;

  RecordedRun(SavingProgram& program, size_t largest_write,
              const Breaker& breaker = nullptr);

  const std::vector<DiskCall>& calls() const { return calls_; }
  // When the first `count` calls are done.
  ExpectedState ExpectedAt(size_t count) const;
  // What the folder holds at the end.
  const FolderContent& end() const { return end_; }

 private:
  struct Mark {
    size_t calls = 0;
    int64_t number = 0;
    bool acknowledged = false;
    std::map<int64_t, std::string> kept;
  };

  void Play(SavingProgram& program, const CrashDisk& disk,
            const std::string& root);

  std::vector<DiskCall> calls_;
  std::vector<Mark> marks_;
  FolderContent end_;
};

// What is there before the last save of a script, and what a start may find
// until that save is acknowledged.
struct BeforeLastSave {
  FolderContent content;
  ExpectedState expected;
};

BeforeLastSave PlayUntilLastSave(const SaveHabits& habits);

// Starts a program on the states of a disk, and tells what is wrong.
//
// Confined: use from the thread that created it.
class RestartCheck {
 public:
  explicit RestartCheck(SavingProgram& program) : program_(program) {}

  // Empty when a start on `content` finds what is expected: a number between
  // the two, whole. With `thorough`, also when all that is kept is whole, and
  // when another save then succeeds, is found by the next start, and leaves no
  // temporary file.
  std::string Check(const FolderContent& content, const ExpectedState& expected,
                    bool thorough);

  // How many different states were looked at.
  int64_t states() const { return static_cast<int64_t>(known_.size()); }

 private:
  // The number, or what is wrong.
  absl::StatusOr<int64_t> Start();
  std::string SaveAgain(const ExpectedState& expected);

  SavingProgram& program_;
  StagedFolder folder_;
  // What a start on a state came to, by a hash of the state.
  std::map<size_t, absl::StatusOr<int64_t>> known_;
};

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_CHECKPOINT_RUN_H_

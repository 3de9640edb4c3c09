// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Programs that run beside a test, and are killed.

#ifndef TFTRAIN_FAULTS_CHILD_PROGRAM_H_
#define TFTRAIN_FAULTS_CHILD_PROGRAM_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace tftrain {

// A program whose standard input and output are the test's; its standard error
// goes nowhere.
//
// Confined: use from the thread that created it.
class ChildProgram {
 public:
  explicit ChildProgram(std::vector<std::string> words);
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;
  ~ChildProgram();

  // Writes a line to its input.
  void Tell(const std::string& line);

  // What it wrote so far and was read.
  const std::string& said() const { return said_; }

  // Waits until it writes something, for so long at most, and reads it. False
  // when it ended; true when the time is over.
  bool ReadSome(absl::Duration time);

  // Kills it, unless it ended, and reads the rest. Returns how it ended, as
  // waitpid() has it.
  int Kill();

 private:
  pid_t pid_ = 0;
  int input_ = -1;
  int output_ = -1;
  int state_ = 0;
  std::string said_;
};

// A process of tftrain_faults_kill_child, which saves until it is killed, into
// `dir`, which outlives it.
//
// Confined: use from the thread that created it.
class SavingChild {
 public:
  // `mode` is a letter of SaveHabits::script, `saver` a name for UseSaver().
  SavingChild(const std::string& dir, char mode, const std::string& saver);

  // Listens until it has acknowledged `count` saves, or for so long.
  void Listen(size_t count, absl::Duration time);

  // Fails the test if it had ended by itself.
  void Kill();

  // The last number that it began to save (`b`), or acknowledged (`a`);
  // `otherwise` if it did not come to that.
  int64_t LastSaid(char what, int64_t otherwise) const;

 private:
  ChildProgram program_;
};

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_CHILD_PROGRAM_H_

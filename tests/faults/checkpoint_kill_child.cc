// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A program that trains and saves until it is killed.
//
// usage: tftrain_faults_kill_child FOLDER MODE SAVER
//
// Starts with what is in FOLDER, and saves one number after the other; MODE is
// one of the letters of SaveHabits::script, SAVER a name for UseSaver(). On its
// standard output it says `b N` before it saves N, and `a N` when that was
// acknowledged.

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tests/faults/broken_file_ops.h"
#include "tests/faults/checkpoint_run.h"

namespace {

// At once, and whole.
void Say(char what, int64_t number) {
  const std::string line =
      absl::StrCat(std::string(1, what), " ", number, "\n");
  CHECK(::write(STDOUT_FILENO, line.data(), line.size()) ==
        static_cast<ssize_t>(line.size()));
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 4) << "usage: " << argv[0] << " FOLDER MODE SAVER";
  const std::string root = argv[1];
  const char mode = argv[2][0];
  tftrain::UseSaver(argv[3]);
  tftrain::SaveHabits habits;
  habits.max_to_keep = 2;
  tftrain::SavingProgram program(habits);
  tftrain::MustSucceed(program.Start(root));
  CHECK(program.Number().has_value());
  for (int64_t number = *program.Number() + 1;; ++number) {
    Say('b', number);
    tftrain::MustSucceed(program.Save(root, number, mode));
    if (mode == 'a') tftrain::MustSucceed(program.saver().WaitForSave());
    Say('a', number);
  }
}

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A program that forks children which save once, and kills each at one of its
// system calls. Most of the time that such a child needs is spent before: on
// loading TensorFlow.
//
// usage: tftrain_faults_traced_child
//
// Each line of its standard input asks for a child:
//   FOLDER HABITS SAVER NUMBER CALL WHERE
// which starts with what is in FOLDER, as a SavingProgram with the habits of
// that name does, and saves NUMBER as the last letter of the script says, with
// SAVER, a name for UseSaver(). It is killed before its call number CALL (-1:
// never), or with WHERE `half` when it has written half. A line of the standard
// output answers, in fields between tabs: `killed` or `ended` and each call, or
// `skip` and why a child cannot be traced.

#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tests/faults/broken_file_ops.h"
#include "tests/faults/checkpoint_run.h"
#include "tests/faults/syscall_tracer.h"

namespace {

using tftrain::SavingProgram;

[[noreturn]] void SaveOnce(const std::string& root, const std::string& habits,
                           const std::string& saver, int64_t number) {
  SavingProgram program(tftrain::HabitsNamed(habits));
  tftrain::MustSucceed(program.Start(root));
  tftrain::UseSaver(saver);
  ::raise(SIGSTOP);
  absl::Status status =
      program.Save(root, number, program.habits().script.back());
  if (status.ok()) status = program.saver().WaitForSave();
  ::_exit(status.ok() ? 0 : 1);
}

}  // namespace

int main() {
  std::string folder, habits, saver, where;
  int64_t number = 0;
  while (std::cin >> folder >> habits >> saver >> number >> where) {
    std::optional<tftrain::KillPoint> kill;
    if (where != "nowhere") {
      std::cin >> kill.emplace().call;
      kill->half_written = where == "within";
    }
    const absl::StatusOr<tftrain::Trace> trace = tftrain::TraceChild(
        folder, kill, [&] { SaveOnce(folder, habits, saver, number); });
    if (!trace.ok()) {
      std::cout << "skip\t" << trace.status().message() << std::endl;
      continue;
    }
    CHECK(trace->exit_code == 0) << "the save failed";
    std::cout << (trace->killed ? "killed" : "ended") << "\t"
              << absl::StrJoin(trace->calls, "\t") << std::endl;
  }
}

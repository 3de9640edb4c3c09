// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What does a monitored step cost, over TensorFlow's own session and against
// Python? Prints one `figure value unit` line per figure; docs/performance.md
// explains them.
//
//   bench_step_overhead [--rounds N] [--meta FILE] [--config TEXT]
//
// TEXT is a ConfigProto, for trying other settings of the runtime on our side.
// Python is measured too where TFTRAIN_PYTHON names an interpreter that has
// TensorFlow.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/log/globals.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/child_process.h"
#include "benchmarks/paired_blocks.h"
#include "benchmarks/report.h"
#include "benchmarks/step_extremes.h"
#include "benchmarks/subject.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/tftrain.h"

namespace tftrain::benchmarks {
namespace {

constexpr int kStepsPerBlock = 50;
constexpr int kWarmUpSteps = 200;
using Step = std::tuple<Target, Fetch<float>>;
const Step& CallersFetches() {
  static const auto* const fetches =
      new Step(Target("train"), Fetch<float>("loss:0"));
  return *fetches;
}

struct Mode {
  std::string suffix;       // of the figures
  std::string python_name;  // in the report of the Python benchmark
  ThreadMode thread_mode;
};
const std::vector<Mode>& Modes() {
  static const auto* const modes =
      new std::vector<Mode>{{"", "calling_thread", ThreadMode::kCallingThread},
                            {"_pool", "pool", ThreadMode::kPool}};
  return *modes;
}

// The hooks of the comparison, none of them due while it lasts. The order is
// that of benchmarks/python_common.py.
std::vector<HookPtr> MakeHooks(int count, const std::string& run_dir,
                               std::shared_ptr<Scaffold> scaffold) {
  std::vector<HookPtr> hooks;
  if (count >= 1) hooks.push_back(StopAtStep(kNever));
  if (count >= 5) {
    CheckpointSaverHook::Options save;
    save.checkpoint_dir = run_dir;
    save.save_steps = kNever;
    save.scaffold = scaffold;
    hooks.push_back(std::make_shared<CheckpointSaverHook>(save));
    hooks.push_back(SaveSummaries(run_dir, Every::Steps(kNever), scaffold));
    hooks.push_back(CountSteps(run_dir, Every::Steps(kNever)));
    hooks.push_back(LogTensors({"loss:0"}, Every::Steps(kNever)));
  }
  return hooks;
}

std::unique_ptr<Subject> Open(const std::string& meta, int hooks,
                              const std::string& run_dir,
                              ThreadMode thread_mode) {
  absl::StatusOr<GraphPtr> graph = Graph::Load(meta);
  CHECK(graph.ok()) << graph.status();
  SingularMonitoredSession::Options options;
  options.scaffold = std::make_shared<Scaffold>();
  options.hooks = MakeHooks(hooks, run_dir, options.scaffold);
  options.thread_mode = thread_mode;
  auto subject = std::make_unique<Subject>(*graph, std::move(options));
  subject->Bind({"loss:0"}, {"train"});
  return subject;
}

// Python's figures, from the report its benchmark prints.
double PythonUs(const google::protobuf::Struct& report, const Mode& mode,
                const std::string& name) {
  return report.fields()
      .at(mode.python_name)
      .struct_value()
      .fields()
      .at(name)
      .number_value();
}

void MeasureSteps(const std::string& meta, const std::string& run_dir,
                  int rounds, const Mode& mode,
                  const google::protobuf::Struct* python) {
  std::map<int, std::unique_ptr<Subject>> subjects;
  PairedBlocks blocks(kStepsPerBlock);
  for (int hooks : {0, 1, 5}) {
    subjects[hooks] =
        Open(meta, hooks, absl::StrCat(run_dir, "/", hooks, mode.suffix),
             mode.thread_mode);
    Subject* subject = subjects[hooks].get();
    blocks.Add(absl::StrCat("hooks_", hooks),
               Stepping(subject->session(), CallersFetches()));
    blocks.Add(absl::StrCat("callable_", hooks),
               [subject] { subject->RunCallable(); });
  }
  Subject* five = subjects[5].get();
  blocks.Add("session_run", [five] { five->SessionRun(); });
  blocks.Add("run_5", [five] {
    const absl::StatusOr<float> loss = five->session().Run(CallersFetches());
    CHECK(loss.ok()) << loss.status();
  });
  blocks.Run(kWarmUpSteps / kStepsPerBlock);
  blocks.Forget();
  blocks.Run(rounds);

  const std::string& suffix = mode.suffix;
  Print("session_run_us" + suffix, blocks.Us("session_run"), "us");
  Print("run_callable_us" + suffix, blocks.Us("callable_5"), "us");
  for (int hooks : {0, 1, 5}) {
    Print(absl::StrCat("monitored_", hooks, "_hooks_us", suffix),
          blocks.Us(absl::StrCat("hooks_", hooks)), "us");
    Print(absl::StrCat(hooks == 0   ? "no"
                       : hooks == 1 ? "one"
                                    : "five",
                       "_hooks_over_callable_us", suffix),
          blocks.Difference(absl::StrCat("hooks_", hooks),
                            absl::StrCat("callable_", hooks)),
          "us");
  }
  Print("five_hooks_over_session_run_ratio" + suffix,
        blocks.Ratio("hooks_5", "session_run"), "ratio");
  Print("unprepared_run_over_callable_us" + suffix,
        blocks.Difference("run_5", "callable_5"), "us");
  if (python == nullptr) return;
  Print("python_session_run_us" + suffix,
        PythonUs(*python, mode, "session_run"), "us");
  Print("python_five_hooks_us" + suffix, PythonUs(*python, mode, "monitored_5"),
        "us");
  Print("python_five_hooks_over_ours" + suffix + "_ratio",
        PythonUs(*python, mode, "monitored_5") / blocks.Us("hooks_5"), "ratio");
}

// Python's report; nothing when no Python with TensorFlow is there.
std::optional<google::protobuf::Struct> MeasurePython(const std::string& python,
                                                      const std::string& meta) {
  const ChildResult child = RunChild(
      {python, TFTRAIN_BENCHMARKS_DIR "/python_step_overhead.py", meta});
  google::protobuf::Struct report;
  if (child.exit_code != 0 ||
      !google::protobuf::util::JsonStringToMessage(child.output, &report)
           .ok()) {
    std::cerr << "Python's benchmark did not run; its figures are left out\n";
    return std::nullopt;
  }
  return report;
}

// From the start of a process to its first step, ours and Python's in turn.
void MeasureStart(const std::string& self, const std::string& python,
                  const std::string& meta, const std::string& run_dir) {
  constexpr int kStarts = 5;
  std::vector<double> ours, pythons;
  for (int i = 0; i < kStarts; ++i) {
    const std::string dir = absl::StrCat(run_dir, "/start_", i);
    const ChildResult own =
        RunChild({self, "--first-step", dir, "--meta", meta});
    CHECK(own.exit_code == 0) << "the first step failed";
    ours.push_back(own.seconds_to_output);
    if (python.empty()) continue;
    const ChildResult other = RunChild(
        {python, TFTRAIN_BENCHMARKS_DIR "/python_start_to_first_step.py", meta,
         "--run-dir", dir + "_python"});
    if (other.exit_code == 0) pythons.push_back(other.seconds_to_output);
  }
  Print("start_to_first_step_ms", Median(ours) * 1e3, "ms");
  if (pythons.empty()) return;
  Print("python_start_to_first_step_ms", Median(pythons) * 1e3, "ms");
  Print("start_to_first_step_over_python_ratio", Median(ours) / Median(pythons),
        "ratio");
}

// One process of MeasureStart(): says so as soon as the step is done.
int FirstStep(const std::string& meta, const std::string& run_dir) {
  const auto subject = Open(meta, 5, run_dir, ThreadMode::kPool);
  absl::StatusOr<float> loss = subject->session().Run(CallersFetches());
  CHECK(loss.ok()) << loss.status();
  std::printf("%g\n", *loss);
  std::fflush(stdout);
  return 0;
}

int Main(int argc, char** argv) {
  absl::SetStderrThreshold(absl::LogSeverityAtLeast::kWarning);
  std::string meta = TFTRAIN_BENCHMARK_META;
  std::string first_step_dir;
  int rounds = 200;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--meta") {
      meta = argv[i + 1];
    } else if (flag == "--first-step") {
      first_step_dir = argv[i + 1];
    } else if (flag == "--config") {
      CHECK(google::protobuf::TextFormat::ParseFromString(argv[i + 1],
                                                          &Config()));
    } else if (flag != "--rounds" || !absl::SimpleAtoi(argv[i + 1], &rounds)) {
      std::cerr << "usage: " << argv[0]
                << " [--rounds N] [--meta FILE] [--config TEXT]\n";
      return 2;
    }
  }
  if (!first_step_dir.empty()) return FirstStep(meta, first_step_dir);

  const char* found = std::getenv("TFTRAIN_PYTHON");
  const std::string python = found == nullptr ? "" : found;
  std::string run_dir =
      (std::filesystem::temp_directory_path() / "tftrain_bench_XXXXXX")
          .string();
  CHECK(mkdtemp(run_dir.data()) != nullptr);
  std::optional<google::protobuf::Struct> report;
  if (!python.empty()) report = MeasurePython(python, meta);
  for (const Mode& mode : Modes()) {
    MeasureSteps(meta, run_dir, rounds, mode,
                 report.has_value() ? &*report : nullptr);
  }
  MeasureStart(argv[0], python, meta, run_dir);
  MeasureExtremes(run_dir, rounds);
  MeasureWorstStep(run_dir);
  std::filesystem::remove_all(run_dir);
  return 0;
}

}  // namespace
}  // namespace tftrain::benchmarks

int main(int argc, char** argv) {
  return tftrain::benchmarks::Main(argc, argv);
}

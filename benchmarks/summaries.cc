// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What do summaries cost? Scalars that the event writer takes, against
// Python's; a step with SummarySaverHook due, against the same step that
// fetches the same summaries by a callable; and the longest step while the disk
// stands still. Prints one `figure value unit` line per figure;
// docs/performance.md explains them.
//
//   bench_summaries [--rounds N] [--only writer|step|stall] [--dir FOLDER]
//
// Python is measured too where TFTRAIN_PYTHON names an interpreter that has
// TensorFlow.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/globals.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/child_process.h"
#include "benchmarks/paired_blocks.h"
#include "benchmarks/report.h"
#include "benchmarks/subject.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/tftrain.h"

namespace tftrain::benchmarks {
namespace {

namespace ops = tensorflow::ops;
using Clock = std::chrono::steady_clock;

constexpr int kStepsPerBlock = 50;
constexpr int kScalars = 20;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Python's figures, or nothing when no Python with TensorFlow is there.
std::optional<google::protobuf::Struct> MeasurePython(const std::string& dir) {
  const char* const python = std::getenv("TFTRAIN_PYTHON");
  if (python == nullptr) return std::nullopt;
  const ChildResult child =
      RunChild({python, TFTRAIN_BENCHMARKS_DIR "/python_summaries.py", "--dir",
                dir + "/python"});
  google::protobuf::Struct report;
  if (child.exit_code != 0 ||
      !google::protobuf::util::JsonStringToMessage(child.output, &report)
           .ok()) {
    std::cerr << "Python's benchmark did not run; its figures are left out\n";
    return std::nullopt;
  }
  return report;
}

// The scalars that the writer takes per second of its caller: as many in a row
// as its queue holds, and, without end, those that its thread writes meanwhile.
// Whatever was dropped does not count.
void MeasureWriter(const std::string& dir) {
  constexpr int kRounds = 41;
  constexpr int kInARow = 50'000;
  constexpr int kMany = 2'000'000;
  EventFileWriter::Options options;
  options.logdir = dir + "/writer";
  auto writer = EventFileWriter::Create(options);
  CHECK(writer.ok()) << writer.status();
  const auto add = [&](int count) {
    const int64_t before = (*writer)->stats().accepted;
    const auto start = Clock::now();
    for (int step = 0; step < count; ++step) {
      (*writer)->AddScalar("loss", 0.5f, step);
    }
    const double seconds = SecondsSince(start);
    const auto taken =
        static_cast<double>((*writer)->stats().accepted - before);
    const absl::Status flushed = (*writer)->Flush();
    CHECK(flushed.ok()) << flushed;
    return taken / seconds;
  };
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) rates.push_back(add(kInARow));
  CHECK_EQ((*writer)->stats().dropped_full, 0);
  const double sustained = add(kMany);
  CHECK((*writer)->Close().ok());
  Print("writer_accepted_per_s", Median(rates), "events/s");
  Print("writer_sustained_per_s", sustained, "events/s");
  const auto python = MeasurePython(dir);
  if (!python.has_value()) return;
  const double pythons = python->fields().at("accepted_per_s").number_value();
  Print("python_writer_accepted_per_s", pythons, "events/s");
  Print("writer_rate_over_python_ratio", Median(rates) / pythons, "ratio");
  Print("writer_sustained_over_python_ratio", sustained / pythons, "ratio");
}

// A model whose step counts and whose summary has `kScalars` scalars.
GraphPtr MakeModel() {
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto step = CreateGlobalStep(*graph);
  CHECK(step.ok()) << step.status();
  ops::AssignAddVariableOp(scope.WithOpName("train"), step->handle(),
                           ops::Const(scope, int64_t{1}));
  // A value that is not known before the step.
  const auto value = ops::Cast(scope, step->value(), tensorflow::DT_FLOAT);
  std::vector<tensorflow::Output> summaries;
  for (int i = 0; i < kScalars; ++i) {
    summaries.push_back(ops::ScalarSummary(
        scope, absl::StrCat("layer_", i, "/loss"),
        ops::Mul(scope, value,
                 ops::Const(scope, 0.5f + static_cast<float>(i)))));
  }
  ops::MergeSummary(scope.WithOpName("merged"), summaries);
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// A session that writes the summary of every step to `folder`.
std::unique_ptr<Subject> Open(const std::string& folder,
                              ThreadMode thread_mode) {
  SingularMonitoredSession::Options options;
  options.hooks = {SaveSummaries(folder, Every::Steps(1), "merged:0")};
  options.thread_mode = thread_mode;
  auto subject = std::make_unique<Subject>(MakeModel(), std::move(options));
  subject->Bind({"merged:0"}, {"train"});
  return subject;
}

void MeasureStep(const std::string& dir, int rounds, ThreadMode thread_mode,
                 const std::string& suffix) {
  const auto subject = Open(dir + "/step" + suffix, thread_mode);
  PairedBlocks blocks(kStepsPerBlock);
  blocks.Add("monitored", Stepping(subject->session(), Target("train")));
  blocks.Add("callable", [&] { subject->RunCallable(); });
  blocks.Run(20);
  blocks.Forget();
  blocks.Run(rounds);
  Print("summary_callable_us" + suffix, blocks.Us("callable"), "us");
  Print("summary_step_us" + suffix, blocks.Us("monitored"), "us");
  Print("summary_step_over_callable_us" + suffix,
        blocks.Difference("monitored", "callable"), "us");
}

// A disk on which writing event files takes `kStall` once, when it is told to.
//
// Thread-safe.
class StallingDisk : public internal::FileOps {
 public:
  static constexpr std::chrono::seconds kStall{5};

  StallingDisk() : former_(internal::ExchangeFileOps(this)) {}
  ~StallingDisk() override { internal::ExchangeFileOps(former_); }

  // The next write stalls.
  void Stall() { asked_ = true; }
  bool has_stalled() const { return has_stalled_; }

  ssize_t Write(int fd, const void* data, size_t size) override {
    if (asked_.exchange(false)) {
      std::this_thread::sleep_for(kStall);
      has_stalled_ = true;
    }
    return FileOps::Write(fd, data, size);
  }

 private:
  internal::FileOps* const former_;
  std::atomic<bool> asked_ = false;
  std::atomic<bool> has_stalled_ = false;
};

// The longest step, with a summary in each, while the disk stands still, and in
// as much time before that: what is no longer than those is the machine's.
void MeasureStall(const std::string& dir) {
  StallingDisk disk;
  const auto subject = Open(dir + "/stall", ThreadMode::kCallingThread);
  const auto step = Stepping(subject->session(), Target("train"));
  for (int i = 0; i < 1000; ++i) step();
  const auto longest_while = [&](const auto& condition) {
    double longest = 0;
    while (condition()) {
      const auto start = Clock::now();
      step();
      longest = std::max(longest, SecondsSince(start));
    }
    return longest * 1e3;
  };
  const auto start = Clock::now();
  const double otherwise = longest_while(
      [&] { return Clock::now() - start < StallingDisk::kStall; });
  disk.Stall();
  const double stalled = longest_while([&] { return !disk.has_stalled(); });
  Print("longest_step_on_stalled_disk_ms", stalled, "ms");
  Print("longest_step_otherwise_ms", otherwise, "ms");
}

int Main(int argc, char** argv) {
  // A queue that is full on purpose says so.
  absl::SetStderrThreshold(absl::LogSeverityAtLeast::kError);
  std::string only;
  std::string dir = std::filesystem::temp_directory_path().string();
  int rounds = 400;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--only") {
      only = argv[i + 1];
    } else if (flag == "--dir") {
      dir = argv[i + 1];
    } else if (flag != "--rounds" || !absl::SimpleAtoi(argv[i + 1], &rounds)) {
      std::cerr << "usage: " << argv[0]
                << " [--rounds N] [--only writer|step|stall] [--dir FOLDER]\n";
      return 2;
    }
  }
  dir += "/tftrain_bench_XXXXXX";
  CHECK(mkdtemp(dir.data()) != nullptr) << dir;
  const auto wanted = [&](std::string_view name) {
    return only.empty() || only == name;
  };
  if (wanted("writer")) MeasureWriter(dir);
  if (wanted("step")) {
    MeasureStep(dir, rounds, ThreadMode::kCallingThread, "");
    MeasureStep(dir, rounds, ThreadMode::kPool, "_pool");
  }
  if (wanted("stall")) MeasureStall(dir);
  std::filesystem::remove_all(dir);
  return 0;
}

}  // namespace
}  // namespace tftrain::benchmarks

int main(int argc, char** argv) {
  return tftrain::benchmarks::Main(argc, argv);
}

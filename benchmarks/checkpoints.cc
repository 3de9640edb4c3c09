// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What do checkpoints cost? Saves and restores of a large model (16 variables
// of 32 MiB) against writing and reading the same bytes, what a save in the
// background takes from training in time and memory, and a model of 10,000
// small variables against Python.
//
// usage: bench_checkpoints [--only large|background|memory|many] [--dir FOLDER]
//
// FOLDER should lie on the disk in question; it is emptied at the end. Python
// is measured too where TFTRAIN_PYTHON names an interpreter that has
// TensorFlow.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/child_process.h"
#include "benchmarks/report.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tensorflow/cc/ops/array_ops.h"
#include "tensorflow/cc/ops/const_op.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/training_ops.h"
#include "tensorflow/core/lib/hash/crc32c.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/tftrain.h"

namespace tftrain::benchmarks {
namespace {

namespace ops = tensorflow::ops;

constexpr int kVariables = 16;
constexpr int64_t kColumns = 64;
constexpr int64_t kRows = (int64_t{32} << 20) / sizeof(float) / kColumns;
constexpr int64_t kBytes = kVariables * kRows * kColumns * sizeof(float);
constexpr int kMany = 10000;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return SecondsSince(start);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A model whose step changes every variable: all of it, or a few rows.
struct Model {
  GraphPtr graph = Graph::Create();
  std::shared_ptr<Saver> saver;
  std::string init;
  std::string dense_step;
  std::string sparse_step;
};

enum class Steps { kNone, kDenseAndSparse };

Model MakeModel(int variables, int64_t rows, int64_t columns, Steps steps) {
  Model model;
  const tensorflow::Scope root = model.graph->scope();
  const auto shape = ops::Const(root, {rows, columns}, {2});
  const auto rate = ops::Const(root, 0.5f);
  const auto gradient = ops::Fill(root, shape, ops::Const(root, 1.0f));
  const auto indices =
      ops::Const(root, {int64_t{0}, rows / 4, rows / 2, rows - 1}, {4});
  const auto updates = ops::Fill(root, ops::Const(root, {int64_t{4}, columns}),
                                 ops::Const(root, 1.0f));
  std::vector<tensorflow::Operation> inits, dense, sparse;
  for (int i = 0; i < variables; ++i) {
    const auto variable = Variable::Create(
        *model.graph, root, absl::StrCat("v", i),
        ops::Fill(root, shape, ops::Const(root, static_cast<float>(i))));
    CHECK(variable.ok()) << variable.status();
    inits.push_back(variable->initializer());
    if (steps == Steps::kNone) continue;
    dense.push_back(ops::ResourceApplyGradientDescent(root, variable->handle(),
                                                      rate, gradient));
    sparse.push_back(
        ops::ResourceScatterAdd(root, variable->handle(), indices, updates));
  }
  const auto step = GetOrCreateGlobalStep(*model.graph);
  CHECK(step.ok()) << step.status();
  inits.push_back(step->initializer());
  ops::AssignAddVariableOp(root.WithOpName("count"), step->handle(),
                           ops::Const(root, int64_t{1}));
  model.init = Group(root.WithOpName("init_all"), inits).node()->name();
  model.dense_step = Group(root.WithOpName("dense"), dense).node()->name();
  model.sparse_step = Group(root.WithOpName("sparse"), sparse).node()->name();
  CHECK(model.graph->status().ok()) << model.graph->status();
  auto saver = Saver::Create(*model.graph);
  CHECK(saver.ok()) << saver.status();
  model.saver = *std::move(saver);
  return model;
}

std::shared_ptr<Session> Open(const Model& model) {
  auto session = Session::Create(model.graph);
  CHECK(session.ok()) << session.status();
  return *std::move(session);
}

void Run(Session& session, const std::string& target) {
  const absl::Status status = session.Run(Target(target));
  CHECK(status.ok()) << status;
}

Saver::SaveOptions AtStep(int64_t step) {
  Saver::SaveOptions options;
  options.global_step = step;
  return options;
}

// Removes the checkpoints of `saver`, so that the disk does not fill.
void RemoveFiles(const std::string& dir) {
  int64_t files = 0, folders = 0;
  tensorflow::Env::Default()
      ->DeleteRecursively(dir, &files, &folders)
      .IgnoreError();
  ::sync();
}

// Writes as many bytes as the model's, and waits for the disk.
double RawWrite(const std::vector<char>& bytes, const std::string& path) {
  const double seconds = Seconds([&] {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_GE(fd, 0);
    for (int i = 0; i < kVariables; ++i) {
      size_t done = 0;
      while (done < bytes.size()) {
        const ssize_t count =
            ::write(fd, bytes.data() + done, bytes.size() - done);
        CHECK_GT(count, 0);
        done += static_cast<size_t>(count);
      }
    }
    CHECK_EQ(::fsync(fd), 0);
    ::close(fd);
  });
  ::unlink(path.c_str());
  ::sync();
  return seconds;
}

// Reads the file into memory that is there already, and computes the checksums
// of its pieces.
double RawRead(const std::string& path, std::vector<char>* memory) {
  return Seconds([&] {
    const int fd = ::open(path.c_str(), O_RDONLY);
    CHECK_GE(fd, 0);
    size_t size = 0;
    uint32_t sum = 0;
    while (true) {
      const size_t piece =
          std::min<size_t>(memory->size() - size, size_t{4} << 20);
      const ssize_t count = ::read(fd, memory->data() + size, piece);
      CHECK_GE(count, 0);
      if (count == 0) break;
      sum = tensorflow::crc32c::Extend(sum, memory->data() + size,
                                       static_cast<size_t>(count));
      size += static_cast<size_t>(count);
    }
    CHECK_GE(size, static_cast<size_t>(kBytes));
    CHECK_NE(sum, 0u);
    ::close(fd);
  });
}

// The seconds that Python takes for the same model, by what they were spent on.
std::map<std::string, double> PythonSeconds(const std::string& python,
                                            const Model& model,
                                            const std::string& dir) {
  if (python.empty()) return {};
  const std::string meta = dir + "/python.meta";
  const absl::Status written =
      model.graph->Save(meta, &model.saver->saver_def());
  CHECK(written.ok()) << written;
  const ChildResult child =
      RunChild({python, TFTRAIN_BENCHMARKS_DIR "/python_checkpoints.py", meta,
                "--init", model.init, "--dir", dir});
  google::protobuf::Struct report;
  if (child.exit_code != 0 ||
      !google::protobuf::util::JsonStringToMessage(child.output, &report)
           .ok()) {
    std::cerr << "Python's benchmark did not run; its figures are left out\n";
    return {};
  }
  std::map<std::string, double> seconds;
  for (const auto& [name, value] : report.fields()) {
    seconds[name] = value.number_value();
  }
  return seconds;
}

// Saves and restores in the foreground.
void MeasureLarge(const std::string& dir, const std::string& python) {
  constexpr int kRounds = 5;
  const Model model =
      MakeModel(kVariables, kRows, kColumns, Steps::kDenseAndSparse);
  const std::shared_ptr<Session> session = Open(model);
  Run(*session, model.init);
  const std::vector<char> bytes(kBytes / kVariables, 'x');
  std::vector<char> memory(kBytes + (size_t{1} << 20), 'x');

  std::vector<double> writes, saves, save_ratios;
  for (int i = 0; i < kRounds; ++i) {
    CHECK(CreateFolders(dir).ok());
    writes.push_back(RawWrite(bytes, dir + "/raw"));
    saves.push_back(Seconds([&] {
      CHECK(model.saver->Save(*session, dir + "/model", AtStep(i)).ok());
    }));
    save_ratios.push_back(saves.back() / writes.back());
    RemoveFiles(dir);
  }
  Print("raw_write_ms", Median(writes) * 1e3, "ms");
  Print("save_ms", Median(saves) * 1e3, "ms");
  Print("save_over_raw_write_ratio", Median(save_ratios), "ratio");

  CHECK(CreateFolders(dir).ok());
  const auto prefix = model.saver->Save(*session, dir + "/model", AtStep(99));
  CHECK(prefix.ok()) << prefix.status();
  std::vector<double> reads, restores, restore_ratios;
  for (int i = 0; i < kRounds; ++i) {
    reads.push_back(RawRead(*prefix + ".data-00000-of-00001", &memory));
    restores.push_back(
        Seconds([&] { CHECK(model.saver->Restore(*session, *prefix).ok()); }));
    restore_ratios.push_back(restores.back() / reads.back());
  }
  Print("raw_read_ms", Median(reads) * 1e3, "ms");
  Print("restore_ms", Median(restores) * 1e3, "ms");
  Print("restore_over_raw_read_ratio", Median(restore_ratios), "ratio");
  const auto pythons = PythonSeconds(python, model, dir);
  if (!pythons.empty()) {
    Print("python_save_ms", pythons.at("save") * 1e3, "ms");
    Print("python_restore_ms", pythons.at("restore") * 1e3, "ms");
    Print("python_restore_over_ours_ratio",
          pythons.at("restore") / Median(restores), "ratio");
  }
  RemoveFiles(dir);

  // What a step waits when a save in the background is due in it.
  CHECK(CreateFolders(dir).ok());
  session->Close().IgnoreError();
  CheckpointSaverHook::Options saving;
  saving.checkpoint_dir = dir;
  saving.save_steps = 200;
  saving.async = true;
  Scaffold::Options pieces;
  pieces.saver = model.saver;
  pieces.init_op = model.init;
  SingularMonitoredSession::Options options;
  options.scaffold = std::make_shared<Scaffold>(pieces);
  options.hooks = {std::make_shared<CheckpointSaverHook>(saving)};
  auto monitored = SingularMonitoredSession::Create(model.graph, options);
  CHECK(monitored.ok()) << monitored.status();
  auto step = (*monitored)->Prepare(Target("count"));
  CHECK(step.ok()) << step.status();
  std::vector<double> all, due;
  for (int i = 1; i <= 5 * 200; ++i) {
    const double seconds = Seconds([&] { CHECK((*step)().ok()); });
    (i % 200 == 0 ? due : all).push_back(seconds);
    // The next save is not to fall due while this one is written.
    if (i % 200 == 100) CHECK(model.saver->WaitForSave().ok());
  }
  CHECK((*monitored)->Close().ok());
  const double stall = Median(due) - Median(all);
  Print("async_save_stall_ms", stall * 1e3, "ms");
  if (!pythons.empty()) {
    Print("python_save_over_stall_ratio", pythons.at("save") / stall, "ratio");
  }
  RemoveFiles(dir);
}

// What a save in the background takes from the steps that run meanwhile.
void MeasureStolen(const std::string& dir, bool sparse) {
  constexpr int kRounds = 6;
  const Model model =
      MakeModel(kVariables, kRows, kColumns, Steps::kDenseAndSparse);
  const std::shared_ptr<Session> session = Open(model);
  Run(*session, model.init);
  const std::string& target = sparse ? model.sparse_step : model.dense_step;
  const auto prepared = session->Prepare(Target(target));
  CHECK(prepared.ok()) << prepared.status();
  const auto step = [&] { CHECK((*prepared)().ok()); };
  std::vector<char> from(kBytes, 'x'), to(kBytes, 'y');

  std::vector<double> stolen, copies, ratios;
  for (int i = 0; i < kRounds; ++i) {
    CHECK(CreateFolders(dir).ok());
    std::vector<double> quiet;
    const auto quiet_until =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(800);
    while (std::chrono::steady_clock::now() < quiet_until) {
      quiet.push_back(Seconds(step));
    }
    const double usual = Median(quiet);
    int steps = 0;
    const double during = Seconds([&] {
      CHECK(model.saver->SaveAsync(*session, dir + "/model", AtStep(i)).ok());
      while (model.saver->saving()) {
        step();
        ++steps;
      }
    });
    CHECK(model.saver->WaitForSave().ok());
    const double copy =
        Seconds([&] { std::memcpy(to.data(), from.data(), from.size()); });
    RemoveFiles(dir);
    if (i == 0) continue;  // cold
    stolen.push_back(during - usual * steps);
    copies.push_back(copy);
    ratios.push_back(stolen.back() / copy);
  }
  const std::string suffix = sparse ? "_sparse" : "";
  Print("stolen" + suffix + "_ms", Median(stolen) * 1e3, "ms");
  Print("memcpy_ms", Median(copies) * 1e3, "ms");
  Print("stolen_over_memcpy" + suffix + "_ratio", Median(ratios), "ratio");
}

// A field of this process's status, in bytes.
double StatusBytes(std::string_view field) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (!absl::StartsWith(line, field)) continue;
    return std::strtod(line.c_str() + field.size() + 1, nullptr) * 1024;
  }
  LOG(FATAL) << "no " << field;
}

constexpr int64_t kMemoryRows = kRows / 4;
constexpr double kMemoryBytes = kBytes / 4.0;

// Trains, with `saves` saves in the background, and prints the peak memory.
void TrainForMemory(const std::string& dir, int saves) {
  const Model model =
      MakeModel(kVariables, kMemoryRows, kColumns, Steps::kDenseAndSparse);
  const std::shared_ptr<Session> session = Open(model);
  Run(*session, model.init);
  for (int i = 0; i < 20; ++i) Run(*session, model.dense_step);
  for (int i = 0; i < saves; ++i) {
    CHECK(model.saver->SaveAsync(*session, dir + "/model", AtStep(i)).ok());
    do {
      Run(*session, model.dense_step);
    } while (model.saver->saving());
    CHECK(model.saver->WaitForSave().ok());
  }
  std::cout << StatusBytes("VmHWM:") << std::endl;
}

double PeakBytes(const std::string& self, const std::string& dir, int saves) {
  CHECK(CreateFolders(dir).ok());
  const ChildResult child =
      RunChild({self, "--dir", dir, "--train-for-memory", absl::StrCat(saves)});
  RemoveFiles(dir);
  double bytes = 0;
  CHECK(child.exit_code == 0 && absl::SimpleAtod(child.output, &bytes))
      << child.output;
  return bytes;
}

void MeasureMemory(const std::string& self, const std::string& dir) {
  const double bare = PeakBytes(self, dir, 0);
  for (const int saves : {3, 100}) {
    Print(absl::StrCat("async_peak_extra_checkpoints",
                       saves == 3 ? "" : absl::StrCat("_after_", saves)),
          (PeakBytes(self, dir, saves) - bare) / kMemoryBytes, "checkpoints");
  }
}

// Ten thousand variables.
void MeasureMany(const std::string& dir, const std::string& python) {
  CHECK(CreateFolders(dir).ok());
  const Model model = MakeModel(kMany, 4, 1, Steps::kNone);
  std::shared_ptr<Session> session;
  const double init = Seconds([&] {
    session = Open(model);
    Run(*session, model.init);
  });
  absl::StatusOr<std::string> prefix;
  const double save = Seconds(
      [&] { prefix = model.saver->Save(*session, dir + "/model", AtStep(1)); });
  CHECK(prefix.ok()) << prefix.status();
  session->Close().IgnoreError();
  session = Open(model);
  const double restore =
      Seconds([&] { CHECK(model.saver->Restore(*session, *prefix).ok()); });
  Print("many_init_ms", init * 1e3, "ms");
  Print("many_save_ms", save * 1e3, "ms");
  Print("many_restore_ms", restore * 1e3, "ms");
  const auto pythons = PythonSeconds(python, model, dir);
  if (!pythons.empty()) {
    Print("python_over_ours_10k_init_ratio", pythons.at("init") / init,
          "ratio");
    Print("python_over_ours_10k_save_ratio", pythons.at("first_save") / save,
          "ratio");
    Print("python_over_ours_10k_restore_ratio",
          pythons.at("first_restore") / restore, "ratio");
  }
  RemoveFiles(dir);
}

int Main(int argc, char** argv) {
  std::string only;
  std::string dir = "/var/tmp";
  int saves = -1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--only") {
      only = value;
    } else if (flag == "--dir") {
      dir = value;
    } else if (flag == "--train-for-memory") {
      CHECK(absl::SimpleAtoi(value, &saves));
    } else {
      std::cerr << "unknown flag \"" << flag << "\"\n";
      return 2;
    }
  }
  if (saves >= 0) {
    TrainForMemory(dir, saves);
    return 0;
  }
  dir += absl::StrCat("/tftrain_bench_", ::getpid());
  const char* const python_env = std::getenv("TFTRAIN_PYTHON");
  const std::string python = python_env == nullptr ? "" : python_env;
  const auto wanted = [&](const std::string& name) {
    return only.empty() || only == name;
  };
  if (wanted("large")) MeasureLarge(dir, python);
  if (wanted("background")) {
    MeasureStolen(dir, /*sparse=*/false);
    MeasureStolen(dir, /*sparse=*/true);
  }
  if (wanted("memory")) MeasureMemory(argv[0], dir);
  if (wanted("many")) MeasureMany(dir, python);
  RemoveFiles(dir);
  return 0;
}

}  // namespace
}  // namespace tftrain::benchmarks

int main(int argc, char** argv) {
  return tftrain::benchmarks::Main(argc, argv);
}

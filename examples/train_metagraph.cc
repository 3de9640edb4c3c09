// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Trains a MetaGraph that Python exported, without Python:
//
//   train_metagraph model.meta --run-dir run --save-steps 100 --max-steps 1000
//
// The graph brings its own train op (collection "train_op"), its input
// (queues or datasets) and its summaries. Training ends when the input does,
// or after --max-steps; started again, it resumes from the newest checkpoint,
// which Python's tf.train.Saver restores as well.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/tftrain.h"

namespace tft = tftrain;

namespace {

constexpr char kUsage[] =
    "usage: train_metagraph FILE.meta [--run-dir DIR] [--save-steps N]\n"
    "                       [--max-steps N] [--print TENSOR]\n";

struct Flags {
  std::string meta;
  std::string run_dir = "runs/metagraph";
  int64_t save_steps = 100;
  int64_t max_steps = 0;  // 0: until the input ends
  std::string print;      // a scalar float to print with each save
};

bool ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      if (!flags->meta.empty()) return false;
      flags->meta = word;
      continue;
    }
    if (++i == argc) return false;
    if (word == "--run-dir") {
      flags->run_dir = argv[i];
    } else if (word == "--print") {
      flags->print = argv[i];
    } else if (word == "--save-steps") {
      if (!absl::SimpleAtoi(argv[i], &flags->save_steps)) return false;
    } else if (word == "--max-steps") {
      if (!absl::SimpleAtoi(argv[i], &flags->max_steps)) return false;
    } else {
      return false;
    }
  }
  return !flags->meta.empty();
}

absl::StatusOr<std::string> TrainOp(const tft::Graph& graph) {
  const std::vector<std::string> ops =
      graph.GetCollection(tft::collection_keys::kTrainOp);
  if (ops.size() == 1) return ops.front();
  return absl::InvalidArgumentError(absl::StrCat(
      "the collection \"train_op\" holds ", ops.size(),
      " operations where one is wanted; export the graph with "
      "Optimizer.minimize, or add the train op to that collection"));
}

absl::StatusOr<tft::Summary> Train(const Flags& flags) {
  TF_ASSIGN_OR_RETURN(tft::GraphPtr graph, tft::Graph::Load(flags.meta));
  TF_ASSIGN_OR_RETURN(const std::string train_op, TrainOp(*graph));
  const tft::Target train(train_op);

  tft::SingularMonitoredSession::Options options;
  options.checkpoint_dir = flags.run_dir;
  options.scaffold = std::make_shared<tft::Scaffold>();
  tft::CheckpointSaverHook::Options save;
  save.checkpoint_dir = flags.run_dir;
  save.save_steps = flags.save_steps;
  save.scaffold = options.scaffold;
  options.hooks = {
      std::make_shared<tft::CheckpointSaverHook>(save),
      tft::SaveSummaries(flags.run_dir, tft::Every::Steps(flags.save_steps),
                         options.scaffold)};
  if (flags.max_steps > 0) {
    options.hooks.push_back(tft::StopAtStep(flags.max_steps));
  }
  if (!flags.print.empty()) {
    options.hooks.push_back(
        tft::LogTensors({flags.print}, tft::Every::Steps(flags.save_steps)));
  }

  TF_ASSIGN_OR_RETURN(auto session, tft::SingularMonitoredSession::Create(
                                        graph, std::move(options)));
  TF_ASSIGN_OR_RETURN(const int64_t start, session->raw_session().GlobalStep());
  std::printf("%s at step %lld\n", start == 0 ? "starting" : "resuming",
              static_cast<long long>(start));
  return session->RunUntilStop([&] { return session->Run(train); });
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  if (!ParseFlags(argc, argv, &flags)) {
    std::cerr << kUsage;
    return 2;
  }
  const absl::StatusOr<tft::Summary> summary = Train(flags);
  if (!summary.ok()) {
    std::cerr << "train_metagraph: " << summary.status().message() << "\n";
    return 1;
  }
  std::cout << "ended by " << tft::StopReasonName(summary->reason)
            << " at step " << summary->last_step.value_or(0) << "\n"
            << "newest checkpoint: " << summary->checkpoint << "\n";
  return 0;
}

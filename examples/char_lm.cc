// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Trains a character-level language model on text. Ended at any moment and
// started again, it goes on where its newest checkpoint was written.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/log/globals.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "char_lm_model.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "text_corpus.h"
#include "tftrain/tftrain.h"

namespace char_lm {
namespace {

namespace tft = tftrain;

constexpr char kUsage[] =
    R"(usage: char_lm [--run-dir DIR] [--text PATH...] [--steps N]
               [--stop-at-fraction F] [--seed N]

Trains a model that guesses the next character of a text, and lets it write.
Started again with the same folder, it goes on where it was.

  --run-dir DIR          where checkpoints and summaries go (runs/char_lm)
  --text PATH...         files and folders to learn from (the licences in
                         /usr/share/common-licenses, or tftrain's sources)
  --steps N              steps of training in all (12000)
  --stop-at-fraction F   stop cleanly after this part of the steps, 0 < F < 1
  --seed N               draws the first weights and the batches (1)
)";

struct Flags {
  std::string run_dir = "runs/char_lm";
  std::vector<std::string> text;
  int64_t steps = 12000;
  double stop_at_fraction = 1;
  int64_t seed = 1;
  bool help = false;
};

// One value, or for --text all values, of the flag at `i`.
absl::Status ParseFlag(const std::string& name,
                       const std::vector<std::string>& values, Flags* flags) {
  if (name == "--help" || name == "-h") {
    flags->help = true;
    return absl::OkStatus();
  }
  if (name == "--text" && !values.empty()) {
    flags->text = values;
    return absl::OkStatus();
  }
  const std::string value = values.size() == 1 ? values[0] : "";
  bool good = false;
  if (name == "--run-dir") {
    flags->run_dir = value;
    good = !value.empty();
  } else if (name == "--steps") {
    good = absl::SimpleAtoi(value, &flags->steps) && flags->steps > 0;
  } else if (name == "--stop-at-fraction") {
    good = absl::SimpleAtod(value, &flags->stop_at_fraction) &&
           flags->stop_at_fraction > 0 && flags->stop_at_fraction < 1;
  } else if (name == "--seed") {
    good = absl::SimpleAtoi(value, &flags->seed) && flags->seed >= 0;
  } else if (name != "--text") {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown argument \"", name, "\"; see --help"));
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, " cannot take ",
      values.empty() ? "no value" : absl::StrCat("\"", values[0], "\""),
      "; see --help"));
}

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc;) {
    std::string name = argv[i++];
    std::vector<std::string> values;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      values.push_back(name.substr(equals + 1));
      name.resize(equals);
    }
    while (i < argc && !absl::StartsWith(argv[i], "--")) {
      values.push_back(argv[i++]);
    }
    TF_RETURN_IF_ERROR(ParseFlag(name, values, &flags));
  }
  return flags;
}

// Tells where a run starts and how good the model is before and after it.
// Confined: the session calls a hook from one thread.
class EvaluationHook : public tft::SessionRunHook {
 public:
  EvaluationHook(const Flags& flags, const CharModel& model,
                 const TextCorpus& corpus,
                 std::shared_ptr<const tft::Scaffold> scaffold)
      : flags_(flags),
        model_(model),
        corpus_(corpus),
        scaffold_(std::move(scaffold)) {}

  absl::Status AfterCreateSession(tft::Session& session,
                                  tft::Coordinator&) override {
    TF_RETURN_IF_ERROR(model_.CheckVocabulary(session, corpus_));
    TF_ASSIGN_OR_RETURN(const int64_t step, session.GlobalStep());
    TF_ASSIGN_OR_RETURN(const double bits,
                        model_.HeldOutBits(session, corpus_));
    const std::string where =
        step == 0 ? absl::StrCat("fresh start in ", flags_.run_dir)
                  : absl::StrCat("resuming from ",
                                 scaffold_->saver()->last_checkpoints().back());
    std::printf("%s: step %ld of %ld, held-out loss %.3f bits per character\n",
                where.c_str(), step, flags_.steps, bits);
    if (step >= flags_.steps) std::printf("this run is complete already\n");
    return absl::OkStatus();
  }

  absl::Status End(tft::Session& session) override {
    TF_ASSIGN_OR_RETURN(held_out_bits_, model_.HeldOutBits(session, corpus_));
    TF_ASSIGN_OR_RETURN(sample_,
                        model_.Sample(session, corpus_, flags_.seed, 400, 0.8));
    return absl::OkStatus();
  }

  double held_out_bits() const { return held_out_bits_; }
  const std::string& sample() const { return sample_; }

 private:
  const Flags& flags_;
  const CharModel& model_;
  const TextCorpus& corpus_;
  const std::shared_ptr<const tft::Scaffold> scaffold_;
  double held_out_bits_ = 0;
  std::string sample_;
};

void Report(const Flags& flags, const tft::Summary& summary,
            const TextCorpus& corpus, const EvaluationHook& evaluation) {
  if (*summary.last_step < flags.steps) {
    std::printf("stopped at step %ld of %ld as asked; start again to go on\n",
                *summary.last_step, flags.steps);
  } else {
    std::printf("the model writes:\n----\n%s\n----\n",
                evaluation.sample().c_str());
  }
  std::printf("held-out loss    %.3f bits per character\n",
              evaluation.held_out_bits());
  std::printf("unigram entropy  %.3f bits per character\n",
              corpus.UnigramBits());
  std::printf("newest           %s\n", summary.checkpoint.c_str());
  std::printf("curves           tensorboard --logdir %s\n",
              flags.run_dir.c_str());
}

absl::Status Train(const Flags& flags) {
  TF_ASSIGN_OR_RETURN(
      const TextCorpus corpus,
      TextCorpus::Load(
          flags.text.empty() ? TextCorpus::DefaultPaths() : flags.text,
          CharModel::kContext));
  std::printf(
      "text: %zu characters of %zu kinds in %zu files, 10 %% held out\n",
      corpus.num_characters(), corpus.vocabulary().size(), corpus.num_files());
  TF_ASSIGN_OR_RETURN(
      const CharModel model,
      CharModel::Build(corpus.vocabulary(), flags.steps, flags.seed));

  const int64_t last_step = static_cast<int64_t>(
      static_cast<double>(flags.steps) * flags.stop_at_fraction);
  auto scaffold = std::make_shared<tft::Scaffold>();
  auto evaluation =
      std::make_shared<EvaluationHook>(flags, model, corpus, scaffold);
  tft::CheckpointSaverHook::Options saving;
  saving.checkpoint_dir = flags.run_dir;
  saving.save_steps = 500;
  saving.scaffold = scaffold;
  tft::SingularMonitoredSession::Options options;
  options.checkpoint_dir = flags.run_dir;
  options.scaffold = scaffold;
  options.hooks = {
      tft::StopAtStep(last_step),
      std::make_shared<tft::CheckpointSaverHook>(saving),
      tft::SaveSummaries(flags.run_dir, tft::Every::Steps(100), scaffold),
      tft::CountSteps(flags.run_dir),
      tft::ShowProgress(flags.steps,
                        {{"bits per character", model.bits.name()}}),
      evaluation,
  };
  TF_ASSIGN_OR_RETURN(const auto session, tft::SingularMonitoredSession::Create(
                                              model.graph, options));

  TF_ASSIGN_OR_RETURN(int64_t step, session->raw_session().GlobalStep());
  TF_ASSIGN_OR_RETURN(const auto train,
                      session->Prepare(model.train, model.inputs));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary, session->RunUntilStop([&] {
    const Batch batch =
        corpus.TrainingBatch(flags.seed, step++, CharModel::kBatch);
    return train(batch.contexts, batch.targets);
  }));
  Report(flags, summary, corpus, *evaluation);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // Progress is shown, so only what is wrong is logged. TensorFlow reads its
  // wish before main() begins.
  if (std::getenv("TF_CPP_MIN_LOG_LEVEL") == nullptr) {
    setenv("TF_CPP_MIN_LOG_LEVEL", "1", /*overwrite=*/0);
    execv("/proc/self/exe", argv);
  }
  absl::SetMinLogLevel(absl::LogSeverityAtLeast::kWarning);

  const absl::StatusOr<Flags> flags = ParseFlags(argc, argv);
  if (flags.ok() && flags->help) {
    std::printf("%s", kUsage);
    return EXIT_SUCCESS;
  }
  const absl::Status status = flags.ok() ? Train(*flags) : flags.status();
  if (status.ok()) return EXIT_SUCCESS;
  std::fprintf(stderr, "char_lm: %s\n", std::string(status.message()).c_str());
  return flags.ok() ? EXIT_FAILURE : 2;
}

}  // namespace
}  // namespace char_lm

int main(int argc, char** argv) { return char_lm::Main(argc, argv); }

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "char_lm_model.h"

#include <cmath>
#include <random>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/summary_ops.h"
#include "tftrain/graph/variable.h"
#include "tftrain/optimizers/adam.h"

namespace char_lm {
namespace {

namespace tft = tftrain;
namespace ops = tensorflow::ops;
using tensorflow::Output;
using tensorflow::Scope;

constexpr int kEmbedding = 24;
constexpr int kHidden = 512;
constexpr float kLearningRate = 0.004f;
constexpr int64_t kEvaluationBatch = 512;

// Makes the variables and the layers of one model.
class Builder {
 public:
  Builder(tft::Graph& graph, int64_t seed)
      : graph_(graph), scope_(graph.scope()), seed_(seed) {}

  absl::StatusOr<Output> Weights(const std::string& name, int rows,
                                 int columns) {
    const float size = 1 / std::sqrt(static_cast<float>(rows));
    const auto initial = ops::Multiply(
        scope_,
        ops::TruncatedNormal(
            scope_, ops::Const(scope_, {rows, columns}), tensorflow::DT_FLOAT,
            ops::TruncatedNormal::Seed(seed_).Seed2(++num_variables_)),
        ops::Const(scope_, size));
    TF_ASSIGN_OR_RETURN(const tft::Variable variable,
                        tft::Variable::Create(graph_, scope_, name, initial));
    return variable.value();
  }

  absl::StatusOr<Output> Dense(const std::string& name, const Output& input,
                               int rows, int columns) {
    TF_ASSIGN_OR_RETURN(const Output weights,
                        Weights(name + "/weights", rows, columns));
    TF_ASSIGN_OR_RETURN(
        const tft::Variable biases,
        tft::Variable::Create(graph_, scope_, name + "/biases",
                              ops::Fill(scope_, {columns}, 0.0f)));
    return ops::BiasAdd(scope_, ops::MatMul(scope_, input, weights),
                        biases.value());
  }

 private:
  tft::Graph& graph_;
  const Scope scope_;
  const int64_t seed_;
  int64_t num_variables_ = 0;
};

// Falls in a straight line from the full rate to a fiftieth of it.
Output DecayingRate(const Scope& scope, const tft::Variable& step,
                    int64_t steps) {
  const auto done =
      ops::Div(scope, ops::Cast(scope, step.value(), tensorflow::DT_FLOAT),
               static_cast<float>(steps));
  const auto left = ops::Maximum(scope, ops::Sub(scope, 1.0f, done), 0.02f);
  return ops::Multiply(scope, left, kLearningRate);
}

}  // namespace

absl::StatusOr<CharModel> CharModel::Build(
    const std::vector<int32_t>& vocabulary, int64_t steps, int64_t seed) {
  CharModel model;
  model.graph = tft::Graph::Create();
  tft::Graph& graph = *model.graph;
  const Scope scope = graph.scope();
  const int classes = static_cast<int>(vocabulary.size());

  const auto contexts =
      ops::Placeholder(scope.WithOpName("contexts"), tensorflow::DT_INT32,
                       ops::Placeholder::Shape({-1, kContext}));
  const auto targets =
      ops::Placeholder(scope.WithOpName("targets"), tensorflow::DT_INT32,
                       ops::Placeholder::Shape({-1}));

  Builder builder(graph, seed);
  TF_ASSIGN_OR_RETURN(const Output embedding,
                      builder.Weights("embedding", classes, kEmbedding));
  constexpr int kInput = static_cast<int>(kContext) * kEmbedding;
  const auto embedded = ops::Reshape(
      scope, ops::GatherV2(scope, embedding, contexts, 0), {-1, kInput});
  TF_ASSIGN_OR_RETURN(const Output hidden,
                      builder.Dense("hidden", embedded, kInput, kHidden));
  TF_ASSIGN_OR_RETURN(
      const Output logits,
      builder.Dense("output", ops::Relu(scope, hidden), kHidden, classes));
  ops::Softmax(scope.WithOpName("probabilities"), logits);

  const auto labels = ops::OneHot(scope, targets, classes, 1.0f, 0.0f);
  const auto losses = ops::SoftmaxCrossEntropyWithLogits(scope, logits, labels);
  const auto loss = ops::Mean(scope.WithOpName("loss"), losses.loss, 0);
  const auto bits = ops::Multiply(scope.WithOpName("bits_per_character"), loss,
                                  static_cast<float>(1 / std::log(2.0)));

  TF_ASSIGN_OR_RETURN(const tft::Variable step, tft::CreateGlobalStep(graph));
  const Output rate = DecayingRate(scope, step, steps);
  tft::AdamOptimizer::Options adam;
  adam.learning_rate = rate;
  tft::Optimizer::MinimizeOptions minimize;
  minimize.global_step = step;
  minimize.name = model.train.name();
  TF_RETURN_IF_ERROR(
      tft::AdamOptimizer(adam).Minimize(graph, scope, loss, minimize).status());

  // Checkpoints know the characters they were trained on.
  tensorflow::Tensor characters(tensorflow::DT_INT32, {classes});
  std::copy(vocabulary.begin(), vocabulary.end(),
            characters.flat<int32_t>().data());
  tft::Variable::Options constant;
  constant.trainable = false;
  TF_RETURN_IF_ERROR(tft::Variable::Create(graph, scope, "vocabulary",
                                           ops::Const(scope, characters),
                                           constant)
                         .status());

  TF_RETURN_IF_ERROR(
      tft::ScalarSummary(graph, scope, "training_bits", bits).status());
  TF_RETURN_IF_ERROR(
      tft::ScalarSummary(graph, scope, "learning_rate", rate).status());
  return model;
}

absl::StatusOr<double> CharModel::HeldOutBits(tft::Runnable& session,
                                              const TextCorpus& corpus) const {
  TF_ASSIGN_OR_RETURN(const auto evaluate, session.Prepare(bits, inputs));
  double sum = 0;
  int64_t places = 0;
  for (const Batch& batch : corpus.HeldOutBatches(kEvaluationBatch)) {
    TF_ASSIGN_OR_RETURN(const float mean,
                        evaluate(batch.contexts, batch.targets));
    sum += mean * static_cast<double>(batch.targets.NumElements());
    places += batch.targets.NumElements();
  }
  return sum / static_cast<double>(places);
}

absl::StatusOr<std::string> CharModel::Sample(tft::Runnable& session,
                                              const TextCorpus& corpus,
                                              uint64_t seed, int length,
                                              double temperature) const {
  TF_ASSIGN_OR_RETURN(const auto guess,
                      session.Prepare(probabilities, {inputs[0]}));
  std::mt19937_64 random(seed);
  tensorflow::Tensor context = corpus.TrainingBatch(seed, 0, 1).contexts;
  auto before = context.flat<int32_t>();
  std::string text;
  for (int i = 0; i < length; ++i) {
    TF_ASSIGN_OR_RETURN(const tensorflow::Tensor next, guess(context));
    std::vector<double> weights;
    for (int64_t c = 0; c < next.NumElements(); ++c) {
      weights.push_back(std::pow(next.flat<float>()(c), 1 / temperature));
    }
    std::discrete_distribution<int32_t> choice(weights.begin(), weights.end());
    const int32_t chosen = choice(random);
    text.push_back(static_cast<char>(corpus.vocabulary()[chosen]));
    std::copy(before.data() + 1, before.data() + kContext, before.data());
    before(kContext - 1) = chosen;
  }
  return text;
}

absl::Status CharModel::CheckVocabulary(tft::Runnable& session,
                                        const TextCorpus& corpus) const {
  TF_ASSIGN_OR_RETURN(const std::vector<int32_t> trained_on,
                      session.Run(vocabulary));
  if (trained_on == corpus.vocabulary()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the checkpoint was trained on other text, whose characters are not the "
      "same; go on with that text, or choose another --run-dir");
}

}  // namespace char_lm

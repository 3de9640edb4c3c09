// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A small neural network that guesses the next character of a text.

#ifndef TFTRAIN_EXAMPLES_CHAR_LM_MODEL_H_
#define TFTRAIN_EXAMPLES_CHAR_LM_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "text_corpus.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/fetch.h"
#include "tftrain/session/runnable.h"

namespace char_lm {

// The graph, and what it is fed and asked for. The characters before a place
// are embedded, pass a hidden layer, and become a probability for each class;
// Adam makes the characters that came less surprising.
// Thread-compatible: const calls may run together.
struct CharModel {
  static constexpr int64_t kContext = 8;  // characters
  static constexpr int64_t kBatch = 256;  // places in a training step

  // `steps` is the length of the training, over which the learning rate falls.
  static absl::StatusOr<CharModel> Build(const std::vector<int32_t>& vocabulary,
                                         int64_t steps, int64_t seed);

  // The mean loss of the held-out places.
  absl::StatusOr<double> HeldOutBits(tftrain::Runnable& session,
                                     const TextCorpus& corpus) const;

  // A text that the model makes up.
  absl::StatusOr<std::string> Sample(tftrain::Runnable& session,
                                     const TextCorpus& corpus, uint64_t seed,
                                     int length, double temperature) const;

  // OK when the model was trained on text with the characters of `corpus`.
  absl::Status CheckVocabulary(tftrain::Runnable& session,
                               const TextCorpus& corpus) const;

  tftrain::GraphPtr graph;
  std::vector<std::string> inputs = {"contexts:0", "targets:0"};
  tftrain::Target train{"train"};
  tftrain::Fetch<float> bits{"bits_per_character:0"};
  tftrain::Fetch<tensorflow::Tensor> probabilities{"probabilities:0"};
  tftrain::Fetch<std::vector<int32_t>> vocabulary{
      "vocabulary/Read/ReadVariableOp:0"};
};

}  // namespace char_lm

#endif  // TFTRAIN_EXAMPLES_CHAR_LM_MODEL_H_

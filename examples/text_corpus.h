// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Text files as something a character model can learn from.

#ifndef TFTRAIN_EXAMPLES_TEXT_CORPUS_H_
#define TFTRAIN_EXAMPLES_TEXT_CORPUS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"

namespace char_lm {

// Some places in the text: what stands before each, and the character there.
struct Batch {
  tensorflow::Tensor contexts;  // int32 [places, context]
  tensorflow::Tensor targets;   // int32 [places]
};

// A text whose bytes are numbered: class 0 is an unknown byte, the others are
// the most frequent bytes of the training part. Every tenth block of the
// text is held out: training sees none of it.
// Thread-compatible: const calls may run together.
class TextCorpus {
 public:
  // Reads the files at `paths` and in the folders there, each once, in the
  // order of their names. A place has `context` characters before it.
  // Errors: kNotFound for a path that is not there; kInvalidArgument when the
  // text is too short.
  static absl::StatusOr<TextCorpus> Load(const std::vector<std::string>& paths,
                                         int64_t context);

  // Text that is on this machine: licences, or else the sources of tftrain.
  static std::vector<std::string> DefaultPaths();

  size_t num_files() const { return num_files_; }
  size_t num_characters() const { return classes_.size(); }
  // The byte of each class.
  const std::vector<int32_t>& vocabulary() const { return vocabulary_; }
  // Bits per character when each is guessed by its frequency alone.
  double UnigramBits() const;

  // The batch of a step: always the same for the same seed and step, so that a
  // resumed run sees what the run without a break would have seen.
  Batch TrainingBatch(uint64_t seed, int64_t step, int64_t size) const;
  // The places held out, or an even choice of them in a long text.
  std::vector<Batch> HeldOutBatches(int64_t size) const;

 private:
  TextCorpus() = default;
  void MakeVocabulary(const std::string& text);
  bool IsHeldOut(int64_t place) const;
  Batch MakeBatch(const std::vector<int64_t>& places) const;

  int64_t context_ = 0;
  int64_t block_ = 0;  // characters
  size_t num_files_ = 0;
  std::vector<uint8_t> classes_;  // of every character of the text
  std::vector<int32_t> vocabulary_;
};

}  // namespace char_lm

#endif  // TFTRAIN_EXAMPLES_TEXT_CORPUS_H_

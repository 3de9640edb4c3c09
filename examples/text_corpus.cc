// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "text_corpus.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"

namespace char_lm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxClasses = 128;
constexpr size_t kMinCharacters = 2000;
constexpr int64_t kMaxFileBytes = int64_t{1} << 30;
constexpr int64_t kMaxBlock = 2048;
constexpr int64_t kMaxHeldOut = 40'000;
// The share of the characters before a place that training does not show, so
// that the text is not learned by heart.
constexpr double kHiddenShare = 0.1;

// The files at `path`, links resolved.
absl::Status FindFiles(const std::string& path, std::set<fs::path>* files) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot read text from \"", path,
                                            "\": ", error.message()));
  }
  if (!fs::is_directory(real)) {
    files->insert(real);
    return absl::OkStatus();
  }
  for (fs::recursive_directory_iterator it(real, error), end;
       !error && it != end; it.increment(error)) {
    if (it->path().filename().native().front() == '.') {
      it.disable_recursion_pending();
    } else if (std::error_code broken_link; it->is_regular_file(broken_link)) {
      files->insert(fs::canonical(it->path()));
    }
  }
  if (!error) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("cannot read the folder \"", path, "\": ", error.message()));
}

}  // namespace

std::vector<std::string> TextCorpus::DefaultPaths() {
  for (const char* folder :
       {"/usr/share/common-licenses", TFTRAIN_EXAMPLE_SOURCES}) {
    std::error_code error;
    if (fs::is_directory(folder, error)) return {folder};
  }
  return {};
}

absl::StatusOr<TextCorpus> TextCorpus::Load(
    const std::vector<std::string>& paths, int64_t context) {
  std::set<fs::path> files;
  for (const std::string& path : paths) {
    TF_RETURN_IF_ERROR(FindFiles(path, &files));
  }
  std::string text;
  for (const fs::path& file : files) {
    TF_ASSIGN_OR_RETURN(const std::string content,
                        tftrain::ReadFile(file.native(), kMaxFileBytes));
    absl::StrAppend(&text, content, "\n");
  }
  if (text.size() < kMinCharacters) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there are only ", text.size() - files.size(),
        " characters of text in ", files.size(),
        " files; name files of at least ", kMinCharacters, " with --text"));
  }
  TextCorpus corpus;
  corpus.context_ = context;
  corpus.num_files_ = files.size();
  corpus.block_ = std::clamp(static_cast<int64_t>(text.size()) / 40,
                             2 * context, kMaxBlock);
  corpus.MakeVocabulary(text);
  return corpus;
}

void TextCorpus::MakeVocabulary(const std::string& text) {
  std::array<int64_t, 256> count = {};
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsHeldOut(static_cast<int64_t>(i))) {
      ++count[static_cast<uint8_t>(text[i])];
    }
  }
  std::array<uint8_t, 256> bytes;
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  std::stable_sort(bytes.begin(), bytes.end(),
                   [&](uint8_t a, uint8_t b) { return count[a] > count[b]; });

  std::array<uint8_t, 256> class_of = {};
  vocabulary_ = {'?'};
  for (const uint8_t byte : bytes) {
    if (count[byte] == 0 || vocabulary_.size() == kMaxClasses) break;
    class_of[byte] = static_cast<uint8_t>(vocabulary_.size());
    vocabulary_.push_back(byte);
  }
  classes_.reserve(text.size());
  for (const char c : text) {
    classes_.push_back(class_of[static_cast<uint8_t>(c)]);
  }
}

bool TextCorpus::IsHeldOut(int64_t place) const {
  return place / block_ % 10 == 5;
}

double TextCorpus::UnigramBits() const {
  std::array<double, kMaxClasses> count = {};
  for (const uint8_t c : classes_) ++count[c];
  double bits = 0;
  for (const double n : count) {
    const double share = n / static_cast<double>(classes_.size());
    if (n > 0) bits -= share * std::log2(share);
  }
  return bits;
}

Batch TextCorpus::TrainingBatch(uint64_t seed, int64_t step,
                                int64_t size) const {
  std::seed_seq seeds{seed, seed >> 32, static_cast<uint64_t>(step)};
  std::mt19937 random(seeds);
  std::uniform_int_distribution<int64_t> any_place(
      context_, static_cast<int64_t>(classes_.size()) - 1);
  std::vector<int64_t> places;
  while (static_cast<int64_t>(places.size()) < size) {
    const int64_t place = any_place(random);
    // A block is longer than a context, so its two ends tell.
    if (!IsHeldOut(place) && !IsHeldOut(place - context_)) {
      places.push_back(place);
    }
  }
  Batch batch = MakeBatch(places);
  auto shown = batch.contexts.flat<int32_t>();
  std::bernoulli_distribution is_hidden(kHiddenShare);
  for (int64_t i = 0; i < shown.size(); ++i) {
    if (is_hidden(random)) shown(i) = 0;
  }
  return batch;
}

std::vector<Batch> TextCorpus::HeldOutBatches(int64_t size) const {
  const int64_t length = static_cast<int64_t>(classes_.size());
  const int64_t stride = 1 + length / 10 / kMaxHeldOut;
  std::vector<Batch> batches;
  std::vector<int64_t> places;
  for (int64_t place = context_; place < length; place += stride) {
    if (!IsHeldOut(place)) continue;
    places.push_back(place);
    if (static_cast<int64_t>(places.size()) == size) {
      batches.push_back(MakeBatch(places));
      places.clear();
    }
  }
  if (!places.empty()) batches.push_back(MakeBatch(places));
  return batches;
}

Batch TextCorpus::MakeBatch(const std::vector<int64_t>& places) const {
  const int64_t size = static_cast<int64_t>(places.size());
  Batch batch = {tensorflow::Tensor(tensorflow::DT_INT32, {size, context_}),
                 tensorflow::Tensor(tensorflow::DT_INT32, {size})};
  auto contexts = batch.contexts.matrix<int32_t>();
  auto targets = batch.targets.vec<int32_t>();
  for (int64_t i = 0; i < size; ++i) {
    const uint8_t* target = &classes_[static_cast<size_t>(places[i])];
    targets(i) = *target;
    std::copy(target - context_, target, &contexts(i, 0));
  }
  return batch;
}

}  // namespace char_lm

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/near_names.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace tftrain {
namespace {

constexpr size_t kMostEdits = 4;

// One bit for each kind of letter in `text`.
uint64_t Letters(std::string_view text) {
  uint64_t letters = 0;
  for (const char c : text) {
    letters |= uint64_t{1} << (static_cast<unsigned char>(c) % 64);
  }
  return letters;
}

int Count(uint64_t bits) { return __builtin_popcountll(bits); }

// Counts the edits between `wanted` and other names, all in small letters.
class EditCounter {
 public:
  explicit EditCounter(std::string wanted)
      : wanted_(std::move(wanted)), letters_(Letters(wanted_)) {}

  const std::string& wanted() const { return wanted_; }

  // The edits that lead from `wanted` to `name`, or `limit` + 1 if more.
  size_t Count(std::string_view name, size_t limit) {
    const size_t far = limit + 1;
    const size_t length = wanted_.size();
    const size_t difference =
        std::max(length, name.size()) - std::min(length, name.size());
    // Each edit brings at most one missing letter.
    const uint64_t letters = Letters(name);
    if (difference > limit ||
        tftrain::Count(letters & ~letters_) > static_cast<int>(limit) ||
        tftrain::Count(letters_ & ~letters) > static_cast<int>(limit)) {
      return far;
    }
    // Only the diagonals within `limit` of the main one can count.
    row_.resize(length + 1);
    for (size_t i = 0; i <= length; ++i) row_[i] = std::min(i, far);
    for (size_t j = 1; j <= name.size(); ++j) {
      const size_t begin = j > limit ? j - limit : 1;
      const size_t end = std::min(length, j + limit);
      size_t diagonal = row_[begin - 1];
      row_[begin - 1] = begin == 1 ? std::min(j, far) : far;
      size_t least = row_[begin - 1];
      for (size_t i = begin; i <= end; ++i) {
        const size_t above = i == j + limit ? far : row_[i];
        const size_t replaced = diagonal + (wanted_[i - 1] != name[j - 1]);
        diagonal = row_[i];
        row_[i] = std::min({replaced, above + 1, row_[i - 1] + 1, far});
        least = std::min(least, row_[i]);
      }
      if (least == far) return far;
    }
    return row_[length];
  }

 private:
  const std::string wanted_;
  const uint64_t letters_;
  std::vector<size_t> row_;
};

// Whether `name` is some path that ends in the part `last`.
bool EndsInPart(std::string_view name, std::string_view last) {
  return name.size() > last.size() + 1 &&
         name[name.size() - last.size() - 1] == '/' &&
         name.substr(name.size() - last.size()) == last;
}

}  // namespace

std::vector<std::string> NearNames(std::string_view wanted,
                                   const std::vector<std::string>& known,
                                   size_t most) {
  if (most == 0 || wanted.empty()) return {};
  EditCounter counter(absl::AsciiStrToLower(wanted));
  // A third of the letters may be wrong, one of a short name.
  const size_t edits =
      std::min(kMostEdits, std::max<size_t>(1, wanted.size() / 3));
  const size_t in_path = edits + 1;

  // (how far, index into `known`), the nearest first.
  std::vector<std::pair<size_t, size_t>> best;
  std::string lower;
  for (size_t i = 0; i < known.size(); ++i) {
    lower = known[i];
    absl::AsciiStrToLower(&lower);
    const size_t limit =
        best.size() == most ? std::min(edits, best.back().first) : edits;
    size_t far = counter.Count(lower, limit);
    if (far > limit) {
      if (!EndsInPart(lower, counter.wanted())) continue;
      far = in_path;
    }
    const std::pair<size_t, size_t> candidate(far, i);
    best.insert(std::upper_bound(best.begin(), best.end(), candidate),
                candidate);
    if (best.size() > most) best.pop_back();
  }

  std::vector<std::string> names;
  names.reserve(best.size());
  for (const auto& [far, i] : best) names.push_back(known[i]);
  return names;
}

std::string DidYouMean(std::string_view wanted,
                       const std::vector<std::string>& known, size_t most) {
  const std::vector<std::string> names = NearNames(wanted, known, most);
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string_view before = i == 0                  ? "; did you mean "
                                    : i + 1 == names.size() ? " or "
                                                            : ", ";
    absl::StrAppend(&text, before, "\"", names[i], "\"");
  }
  return text;
}

}  // namespace tftrain

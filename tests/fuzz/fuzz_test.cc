// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Runs every fuzz target on inputs that are made from consecutive numbers.
//
//   TFTRAIN_FUZZ_RUNS   how many inputs; half a minute's worth at most by
//   default TFTRAIN_FUZZ_SEED   the number of the first one, which is printed;
//   1 by
//                       default, so that the ordinary run is always the same
//
// When the program ends, the number of the input is the last thing it prints;
// with that as the seed, one run plays it again.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/fuzz/inputs.h"
#include "tests/fuzz/targets.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/internal/index_table.h"
#include "tftrain/checkpoint/internal/v1_checkpoint.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

char last_words[128];

void SayLastWords(int signal) {
  const ssize_t written =
      ::write(STDERR_FILENO, last_words, std::strlen(last_words));
  static_cast<void>(written);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

class FuzzTest : public ::testing::TestWithParam<FuzzTarget> {};

// Rows 23 and 24, promises S1 and S2.
TEST_P(FuzzTest, SurvivesAnything) {
  const FuzzTarget& target = GetParam();
  const uint64_t seed = FromEnvironment("TFTRAIN_FUZZ_SEED", 1);
  const uint64_t runs =
      FromEnvironment("TFTRAIN_FUZZ_RUNS", static_cast<int64_t>(target.runs));
  std::cout << target.name << ": " << runs << " inputs from " << seed
            << std::endl;
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    ::signal(signal, SayLastWords);
  }
  const absl::Time start = absl::Now();
  absl::Duration longest;
  for (uint64_t i = 0; i < runs; ++i) {
    absl::SNPrintF(last_words, sizeof(last_words),
                   "TFTRAIN_FUZZ_SEED=%d TFTRAIN_FUZZ_RUNS=1 plays it again\n",
                   seed + i);
    Random random(seed + i);
    const std::string input = target.make(random);
    const absl::Time before = absl::Now();
    target.run(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    longest = std::max(longest, absl::Now() - before);
  }
  std::cout << target.name << ": " << absl::Now() - start << ", the longest "
            << longest << std::endl;
  EXPECT_LT(longest, absl::Seconds(5));
}

INSTANTIATE_TEST_SUITE_P(All, FuzzTest, ::testing::ValuesIn(FuzzTargets()),
                         [](const auto& target) { return target.param.name; });

// Else the targets would say nothing about what lies behind the first checks.
TEST(FuzzInputsTest, ManyGetBeyondTheChecksums) {
  constexpr int kInputs = 1000;
  int tables = 0;
  int bundles = 0;
  int v1_checkpoints = 0;
  const TempDir dir;
  for (uint64_t seed = 0; seed < kInputs; ++seed) {
    Random random(seed);
    if (internal::IndexTable::Parse(MakeIndexTable(random)).ok()) ++tables;
    const std::string bundle = MakeBundle(random);
    uint32_t size = 0;
    std::memcpy(&size, bundle.data(), sizeof(size));
    if (internal::IndexTable::Parse(bundle.substr(sizeof(size), size)).ok()) {
      ++bundles;
    }
    ASSERT_TRUE(
        WriteFileAtomically(dir / "m", MakeV1Checkpoint(random), {false}).ok());
    if (internal::CheckV1Checkpoint(dir / "m").ok()) ++v1_checkpoints;
  }
  EXPECT_GT(tables, kInputs / 4);
  EXPECT_LT(tables, kInputs * 3 / 4);
  EXPECT_GT(bundles, kInputs * 3 / 4);
  EXPECT_GT(v1_checkpoints, kInputs / 4);
  EXPECT_LT(v1_checkpoints, kInputs * 3 / 4);
}

}  // namespace
}  // namespace tftrain

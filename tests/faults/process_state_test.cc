// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/process_state.h"

#include <cstdio>
#include <future>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tftrain/base/thread.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/sanitizers.h"

namespace tftrain {
namespace {

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

TEST(ProcessStateTest, SeesAThreadThatStays) {
  std::promise<void> release;
  const auto wait = [released = release.get_future().share()] {
    released.wait();
  };
  // The first thread may bring a sanitizer's own along.
  const auto first = Thread::Start("first", wait);
  ASSERT_THAT(first, IsOk());
  const ProcessState before = ProcessState::Now();
  const auto second = Thread::Start("second", wait);
  ASSERT_THAT(second, IsOk());

  const ProcessState with_second = ProcessState::Settled(before, kAtOnce);
  EXPECT_EQ(with_second.threads, before.threads + 1);
  EXPECT_FALSE(with_second <= before);

  release.set_value();
  (*first)->Join();
  (*second)->Join();
  EXPECT_LE(ProcessState::Settled(before), before);
}

TEST(ProcessStateTest, SeesAFileThatStaysOpen) {
  const ProcessState before = ProcessState::Now();
  std::FILE* const file = std::fopen("/dev/null", "r");
  ASSERT_NE(file, nullptr);

  EXPECT_EQ(ProcessState::Settled(before, kAtOnce).descriptors,
            before.descriptors + 1);

  std::fclose(file);
  EXPECT_LE(ProcessState::Settled(before), before);
}

TEST(ProcessStateTest, SeesMemoryThatIsKept) {
  constexpr size_t kSize = 64 << 20;
  const int64_t before = ResidentBytes();
  auto kept = std::make_unique<std::vector<char>>(kSize, 'x');

  EXPECT_GT(ResidentBytes() - before, int64_t{kSize} / 2);

  kept.reset();
  if (!kMemoryIsOurs) GTEST_SKIP() << "a sanitizer keeps freed memory";
  EXPECT_LT(ResidentBytes() - before, int64_t{kSize} / 2);
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/process_usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tftrain/base/file.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain::internal {
namespace {

using ::testing::Ge;
using ::testing::Optional;

// What is read from a `status` with this text.
ProcessUsage Read(const std::string& status) {
  const TempDir dir;
  EXPECT_THAT(WriteFileAtomically(dir / "status", status), IsOk());
  return ReadProcessUsage(dir.path());
}

TEST(ProcessUsageTest, ReadsTheLinesItKnows) {
  const ProcessUsage usage = Read(
      "Name:\tVmRSS: 7 kB\nVmPeak:\t 9 kB\nVmHWM:\t    20 kB\n"
      "VmRSS:\t     3 kB\nThreads:\t12\n");

  EXPECT_THAT(usage.resident_bytes, Optional(3 * 1024));
  EXPECT_THAT(usage.peak_resident_bytes, Optional(20 * 1024));
  EXPECT_THAT(usage.threads, Optional(12));
  EXPECT_EQ(usage.open_files, std::nullopt);
}

TEST(ProcessUsageTest, LeavesOutWhatIsNoSuchNumber) {
  for (const char* const line :
       {"", "VmRSS", "VmRSS:", "VmRSS:\tkB", "VmRSS:\t-3 kB", "VmRSS:\t3 MB",
        "VmRSS:\t3 kB more", "VmRSS:\t9007199254740992 kB", "VmRSS: 1e3 kB",
        "VmRSS:\t99999999999999999999999 kB", "VmRSS2: 3 kB"}) {
    EXPECT_EQ(Read(line).resident_bytes, std::nullopt) << line;
  }
  EXPECT_EQ(Read(std::string(1 << 17, '\n')).threads, std::nullopt);
  const TempDir nothing;
  EXPECT_EQ(ReadProcessUsage(nothing.path()).threads, std::nullopt);
}

TEST(ProcessUsageTest, SeesMemoryThatThisProcessTouches) {
  const ProcessUsage before = ReadProcessUsage();
  constexpr int64_t kBytes = 64 << 20;
  const std::string touched(kBytes, 'x');
  const ProcessUsage after = ReadProcessUsage();

  ASSERT_TRUE(before.resident_bytes.has_value());
  // The allocator may have had a part of it before.
  EXPECT_THAT(after.resident_bytes,
              Optional(Ge(*before.resident_bytes + kBytes / 2)));
  EXPECT_THAT(after.peak_resident_bytes, Optional(Ge(*after.resident_bytes)));
  EXPECT_EQ(touched.back(), 'x');
}

TEST(ProcessUsageTest, CountsOpenFiles) {
  const TempDir dir;
  const ProcessUsage before = ReadProcessUsage();
  std::vector<std::unique_ptr<NewFile>> files;
  for (const char* const name : {"a", "b", "c"}) {
    auto file = NewFile::Create(dir / name, {}, name);
    ASSERT_THAT(file, IsOk());
    files.push_back(*std::move(file));
  }

  ASSERT_TRUE(before.open_files.has_value());
  EXPECT_THAT(ReadProcessUsage().open_files, Optional(*before.open_files + 3));
}

TEST(ProcessUsageTest, CpuTimeGoesOnWhileWeCompute) {
  const absl::Duration start = ProcessCpuTime();
  while (ProcessCpuTime() == start) {
  }
  EXPECT_GT(ProcessCpuTime(), start);
}

}  // namespace
}  // namespace tftrain::internal

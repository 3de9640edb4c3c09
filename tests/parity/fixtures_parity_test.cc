// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What the other tests take for Python's behaviour is what Python does today:
// each program that made fixtures is run again, and the results are compared.

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"

namespace tftrain {
namespace {

class FixturesParityTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FixturesParityTest, AreWhatPythonDoesToday) {
  if (PythonForTests().empty()) {
    GTEST_SKIP() << "TFTRAIN_PYTHON names no Python with TensorFlow";
  }

  EXPECT_THAT(
      RunPythonFile(absl::StrCat(TFTRAIN_PARITY_DIR, "/check_fixtures.py"),
                    {"--program", GetParam()}),
      IsOk());
}

INSTANTIATE_TEST_SUITE_P(Programs, FixturesParityTest,
                         ::testing::Values("make_metagraph.py",
                                           "lifecycle_trace.py",
                                           "scenario_trace.py"),
                         [](const auto& program) {
                           const std::string_view name = program.param;
                           return std::string(name.substr(0, name.find('.')));
                         });

}  // namespace
}  // namespace tftrain

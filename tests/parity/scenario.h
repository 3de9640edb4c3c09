// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Plays the scenarios of scenarios.py, as scenario_trace.py does in Python.

#ifndef TFTRAIN_TESTS_PARITY_SCENARIO_H_
#define TFTRAIN_TESTS_PARITY_SCENARIO_H_

#include <map>
#include <string>
#include <vector>

namespace tftrain {

// What happened in a scenario, line by line, in the words of scenario_trace.py.
struct ScenarioTrace {
  std::vector<std::string> lines;
  // For each hook how often it was begun, and how often it was told that it is
  // over: by End or, which Python does not have, by OnAbort.
  std::map<std::string, int> begun;
  std::map<std::string, int> ended;
};

// The names of all scenarios.
std::vector<std::string> ScenarioNames();

// What Python did, the kinds of errors in our words (conventions of
// base/errors.h).
std::vector<std::string> PythonLines(const std::string& scenario);

// Plays a scenario in a folder of its own.
ScenarioTrace PlayScenario(const std::string& scenario);

}  // namespace tftrain

#endif  // TFTRAIN_TESTS_PARITY_SCENARIO_H_

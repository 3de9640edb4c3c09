// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The scenarios of scenarios.py, played here and compared with what Python did
// in them (fixtures/scenarios/scenarios.json), line by line. Where we differ on
// purpose, the table below says in which scenarios, how, and by which row of
// docs/parity.md; everything else is the same.

#include <algorithm>
#include <functional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/scenario.h"
#include "tftrain/base/file.h"

namespace tftrain {
namespace {

using ::testing::HasSubstr;
using Lines = std::vector<std::string>;
// Turns what Python did into what we do.
using Change = std::function<void(Lines&)>;

Lines::iterator FindPrefix(Lines& lines, std::string_view prefix) {
  return std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
    return absl::StartsWith(line, prefix);
  });
}

// Every line that is `from` becomes `to`.
Change Replace(std::string from, std::string to) {
  return
      [=](Lines& lines) { std::replace(lines.begin(), lines.end(), from, to); };
}

// In the first line that begins with `prefix`, and the `count` after it, come
// `others` in their place.
Change ReplaceFrom(std::string prefix, size_t count, Lines others) {
  return [=](Lines& lines) {
    const auto first = FindPrefix(lines, prefix);
    if (first == lines.end()) return;
    const auto after = lines.erase(first, first + count);
    lines.insert(after, others.begin(), others.end());
  };
}

Change Remove(std::string prefix, size_t count = 1) {
  return ReplaceFrom(std::move(prefix), count, {});
}

// In every line.
Change ReplaceText(std::string from, std::string to) {
  return [=](Lines& lines) {
    for (std::string& line : lines) {
      absl::StrReplaceAll({{from, to}}, &line);
    }
  };
}

Change Both(Change first, Change second) {
  return [=](Lines& lines) {
    first(lines);
    second(lines);
  };
}

// In the place of a failed creation: three runs from the checkpoint of `step`.
Change Restores(int step) {
  const auto run = [&](int value) {
    return absl::StrCat("run: DT_FLOAT[] ", value, " at step ", step);
  };
  return ReplaceFrom("create: ", 2,
                     {"A.after_create_session", "A.before_run", "A.after_run -",
                      run(step), "A.before_run", "A.after_run -", run(step),
                      "A.before_run", "A.after_run -", run(10), "A.end",
                      "context: ok", "graph finalized: false"});
}

void DropCallsWithoutSession(Lines& lines) {
  lines.erase(std::remove_if(lines.begin(), lines.end(),
                             [](const std::string& line) {
                               return absl::EndsWith(line,
                                                     ".end_without_session");
                             }),
              lines.end());
}

struct Difference {
  std::string row;        // of docs/parity.md
  std::string scenarios;  // a regular expression
  Change change;
};

// Applied in this order.
const std::vector<Difference>& Differences() {
  static const auto* const differences = new std::vector<Difference>{
      // The session.
      {"SMS-09", "\\w+_in_coordinator|close_after_failed_should_stop",
       ReplaceFrom("should_stop: !", 1, {"should_stop: true"})},
      {"SMS-09", "close_after_failed_should_stop",
       Both(Remove("caught"), Remove("A.end"))},
      {"WRAP-13",
       "stop_in_before_run_then_\\w+|order_(feeds_stops_fails|"
       "stops_fails_feeds|stops_feeds_fails)",
       Replace("should_stop: false", "should_stop: true")},
      {"SMS-18", "\\w+_in_end|both_ends_fail|thread_error_beats_error_of_end",
       ReplaceFrom("A.end", 1, {"A.end", "B.end"})},
      {"SMS-22",
       "close_(at_once|after_stop|in_step_fn|twice\\w*)|\\w+_after_close|"
       "queue_endless_is_closed_by_body",
       DropCallsWithoutSession},
      {"SMS-22",
       "close_(at_once|after_stop|in_step_fn|twice_and_goes_on)|"
       "\\w+_after_close|queue_endless_is_closed_by_body|"
       "two_sessions_and_the_outer_one_is_closed_first",
       Replace("context: !FAILED_PRECONDITION", "context: ok")},
      {"SMS-22", "close_after_(thread_error|failed_should_stop)",
       Replace("context: !FAILED_PRECONDITION", "context: !INVALID_ARGUMENT")},
      {"SMS-27",
       "\\w+_after_create_session(_fails)?|partial_saver_restored|"
       "restore_finds_no_such_path|restore_by_(missing_)?path_beside_folder|"
       "restore_by_missing_path|restore_into_wider_model|path_lost_its_data|"
       "state_names_missing_and_nothing_else_is_there",
       Replace("graph finalized: true", "graph finalized: false")},
      {"RUN-22", "close_in_step_fn|run_step_fn_after_close",
       ReplaceText("!AttributeError", "!FAILED_PRECONDITION")},

      // Feeds.
      {"RUN-16",
       "(feed|hook_feeds)_(tensor_of_another_type|fraction_for_an_integer)",
       ReplaceFrom("A.after_run", 2, {"run: !INVALID_ARGUMENT", "caught"})},
      {"RUN-20", "feed_by_name_and_object",
       ReplaceFrom("run: ", 2,
                   {"run: !INVALID_ARGUMENT", "context: !INVALID_ARGUMENT"})},
      {"MRG-13", "conflict_by_name_and_object",
       ReplaceFrom(
           "A.after_run", 4,
           {"run: !FAILED_PRECONDITION", "context: !FAILED_PRECONDITION"})},
      {"MRG-13", "conflict_of_hooks_by_name_and_object",
       ReplaceFrom(
           "A.after_run", 6,
           {"run: !FAILED_PRECONDITION", "context: !FAILED_PRECONDITION"})},

      // Options.
      {"MRG-08", "options_(larger\\w+|longer\\w+|trace_of_hook\\w*)",
       ReplaceText(" debug_options { }", "")},
      {"MRG-03", "options_larger_numbers_win",
       ReplaceFrom("options: ", 1, {"options: timeout_in_ms: 60000"})},
      {"MRG-03", "options_booleans_are_joined",
       ReplaceFrom("options: ", 1, {"options: output_partition_graphs: true"})},
      {"MRG-03", "options_watches_keep_their_order",
       ReplaceFrom("options: ", 1,
                   {"options: debug_options { debug_tensor_watch_opts { "
                    "node_name: \"loss\" debug_ops: \"DebugIdentity\" } }"})},

      // Checkpoints.
      {"SM-23", "newest_lost_its_(index|data)", Restores(2)},
      {"SM-23", "state_names_missing", Restores(3)},
      {"SM-23", "state_names_missing_and_nothing_else_is_there",
       Replace("create: !INVALID_ARGUMENT", "create: !FAILED_PRECONDITION")},
      {"SM-24", "state_is_empty", Restores(3)},
      {"CKS-08", "state_is_(garbage|lost)",
       Both(Replace("run: DT_FLOAT[] 0 at step 0",
                    "run: DT_FLOAT[] 3 at step 3"),
            Replace("run: DT_FLOAT[] 10 at step 0",
                    "run: DT_FLOAT[] 10 at step 3"))},
      {"SVR-17", "restore_into_wider_model",
       Replace("create: !NOT_FOUND", "create: !INVALID_ARGUMENT")},
      {"SVR-19", "restore_into_other_shape",
       ReplaceFrom("A.after_create_session", 12,
                   {"create: !INVALID_ARGUMENT"})},
      {"SVR-21", "path_lost_its_data",
       Replace("create: !NOT_FOUND", "create: !DATA_LOSS")},
      {"SVR-10", "not_restored_and_trained_into_the_same_folder",
       ReplaceFrom("file model.ckpt-0.data", 1,
                   {"file model.ckpt-0.data-00000-of-00002",
                    "file model.ckpt-0.data-00001-of-00002"})},
      {"SVR-10", "restored_by_path_and_trained_on",
       ReplaceFrom("file model.ckpt-2.data", 1,
                   {"file model.ckpt-2.data-00000-of-00002",
                    "file model.ckpt-2.data-00001-of-00002"})},
      {"SM-20", "restored_by_path_and_trained_on",
       ReplaceFrom(
           "state ", 1,
           {"state model.ckpt-0", "state model.ckpt-3", "state model.ckpt-2"})},

      // Files and steps.
      {"WRT-03",
       "files_\\w+|queue_(ends|fails)_and_is_saved|\\w+_after_restore|"
       "(not_)?restored_\\w+|trained_in_three_sessions|old_checkpoints_\\w+",
       Remove("event 0 graph_def", 2)},
      {"WRT-01", "files_of_failed_creation",
       Both(Remove("file events"), Remove("event 0 file_version"))},
      {"SSH-08", "files_when_nothing_is_trained", Remove("event 0 summary")},
      {"SAS-04", "feed_jumps_over_the_limit",
       ReplaceFrom("run: - at step 8", 3, {"run: - at step 8"})},
      {"SAS-06", "last_step_1_after_restore",
       Both(Remove("should_stop: false", 4),
            Both(Remove("file model.ckpt-4.", 3),
                 Both(Remove("state model.ckpt-4"),
                      Remove("event 4 session_log CHECKPOINT"))))},
      {"CSH-17", "\\w+_after_restore|restored_and_trained_on",
       Remove("event 3 session_log CHECKPOINT")},
      {"CSH-17", "old_checkpoints_of_former_session_are_deleted",
       Remove("event 4 session_log CHECKPOINT")},
      {"CSH-17", "trained_in_three_sessions",
       Remove("event 5 session_log CHECKPOINT")},
  };
  return *differences;
}

bool IsMetIn(const Difference& difference, const std::string& scenario) {
  return std::regex_match(scenario, std::regex(difference.scenarios));
}

class ScenariosTest : public ::testing::TestWithParam<std::string> {};

// What the scenarios show:
//   ERROR_in_PLACE               SMS-03, SMS-04, SMS-10, SMS-13, SMS-14,
//   SMS-16,
//                                SMS-20, SMS-28, SMS-33, HOOK-07, HOOK-09,
//                                WRAP-08
//   run_fails_with_ERROR         SMS-17, HOOK-08
//   several errors               SMS-19, WRAP-09
//   stop_in_..., stop_by_...     SMS-11, SMS-12, HOOK-06, STEP-03, STEP-06
//   order_..., files_...         SMS-07, CSH-05, CSH-07, CSH-11, CSH-12,
//   SSH-04,
//                                SSH-07
//   fetch_..., hook_asks_...     SMS-06, SMS-24, HOOK-05, MRG-01, MRG-15,
//   RUN-01,
//                                RUN-02, RUN-05, RUN-06, RUN-18
//   feed_..., conflict_of_...    MRG-09, MRG-10, MRG-11, MRG-12, RUN-14,
//   RUN-16,
//                                RUN-17, RUN-19, HOOK-11
//   options_...                  MRG-04, MRG-05, MRG-06, MRG-07, RUN-23
//   queue_...                    QRN-05, QRN-06, QRN-08, QRN-15, QRN-16
//   two_sessions_..., graph_...  RUN-26, SMS-25
//   restore..., partial_saver... SMS-29, SM-09, SM-10, SM-18, SM-20, SAS-03
TEST_P(ScenariosTest, GoesAsInPython) {
  Lines expected = PythonLines(GetParam());
  for (const Difference& difference : Differences()) {
    if (!IsMetIn(difference, GetParam())) continue;
    const Lines python = expected;
    difference.change(expected);
    EXPECT_NE(expected, python) << "no difference " << difference.row;
  }

  const ScenarioTrace trace = PlayScenario(GetParam());

  EXPECT_EQ(absl::StrJoin(trace.lines, "\n"), absl::StrJoin(expected, "\n"));
  EXPECT_EQ(trace.begun, trace.ended);  // HOOK-08
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosTest,
                         ::testing::ValuesIn(ScenarioNames()),
                         [](const auto& scenario) { return scenario.param; });

TEST(DifferencesTest, EachIsMetInAScenarioAndExplained) {
  const std::string rows =
      ReadFile(TFTRAIN_PARITY_DIR "/../../docs/parity.md", 1 << 20).value();
  const std::vector<std::string> names = ScenarioNames();

  for (const Difference& difference : Differences()) {
    EXPECT_TRUE(std::any_of(
        names.begin(), names.end(),
        [&](const std::string& name) { return IsMetIn(difference, name); }))
        << difference.scenarios;
    EXPECT_THAT(rows, HasSubstr(difference.row));
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_state_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "tftrain/testing/matchers.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Path(std::string_view text) {
  const auto state = ParseCheckpointState(text);
  return state.ok() ? state->model_checkpoint_path
                    : std::string(state.status().message());
}

// CKS-01
TEST(CheckpointStateTextTest, ReadsWhatASaverWrites) {
  const auto state = ParseCheckpointState(
      "model_checkpoint_path: \"model.ckpt-20\"\n"
      "all_model_checkpoint_paths: \"model.ckpt-10\"\n"
      "all_model_checkpoint_paths: \"model.ckpt-20\"\n");

  ASSERT_THAT(state, IsOk());
  EXPECT_EQ(state->model_checkpoint_path, "model.ckpt-20");
  EXPECT_THAT(state->all_model_checkpoint_paths,
              ElementsAre("model.ckpt-10", "model.ckpt-20"));
  EXPECT_THAT(state->all_model_checkpoint_timestamps, ElementsAre());
  EXPECT_EQ(state->last_preserved_timestamp, std::nullopt);
}

TEST(CheckpointStateTextTest, ReadsWhatACheckpointManagerWrites) {
  const auto state = ParseCheckpointState(
      "model_checkpoint_path: \"ckpt-2\"\n"
      "all_model_checkpoint_paths: \"ckpt-2\"\n"
      "all_model_checkpoint_timestamps: 1700000000.1234567\n"
      "last_preserved_timestamp: 1.7e+09\n");

  ASSERT_THAT(state, IsOk());
  EXPECT_THAT(state->all_model_checkpoint_timestamps,
              ElementsAre(1700000000.1234567));
  EXPECT_EQ(state->last_preserved_timestamp, 1.7e9);
}

TEST(CheckpointStateTextTest, ReadsEveryEscape) {
  EXPECT_EQ(Path(R"(model_checkpoint_path: "\a\b\f\n\r\t\v\\\'\"\?")"),
            "\a\b\f\n\r\t\v\\'\"?");
  EXPECT_EQ(Path(R"(model_checkpoint_path: "\x41\101\x4a2\1012")"), "AAJ2A2");
  EXPECT_EQ(Path(R"(model_checkpoint_path: "\303\251\u00e9\U0001F600")"),
            "éé😀");
  EXPECT_EQ(Path(R"(model_checkpoint_path: "\000\377")"),
            std::string("\0\xff", 2));
  EXPECT_EQ(Path(R"(model_checkpoint_path: "C:\dir\X")"), R"(C:\dir\X)");
}

TEST(CheckpointStateTextTest, ReadsBothQuotesAndStringsInARow) {
  EXPECT_EQ(Path("model_checkpoint_path:'a\"b'"), "a\"b");
  EXPECT_EQ(Path("model_checkpoint_path: \"a\" 'b'\n\"c\""), "abc");
}

TEST(CheckpointStateTextTest, ReadsListsSeparatorsAndComments) {
  const auto state = ParseCheckpointState(
      "# state of a run\r\n"
      "model_checkpoint_path: \"b\"; # newest\n"
      "all_model_checkpoint_paths: [\"a\", 'b'],"
      "all_model_checkpoint_paths: [] all_model_checkpoint_paths:\"c\""
      "all_model_checkpoint_timestamps:[1, 2.5f, -inf]#");

  ASSERT_THAT(state, IsOk());
  EXPECT_THAT(state->all_model_checkpoint_paths, ElementsAre("a", "b", "c"));
  EXPECT_THAT(state->all_model_checkpoint_timestamps,
              ElementsAre(1, 2.5, -std::numeric_limits<double>::infinity()));
}

TEST(CheckpointStateTextTest, PassesOverFieldsItDoesNotKnow) {
  EXPECT_EQ(Path("run_id: 17 note: 'x' 'y' kind: BEST ok: -1.5e3,"
                 "nested { a: 1 b < c: [1, {d: 2}] > e: {} };"
                 "[some.extension/name]: { x: 'y' } list: [1, 2] [x] { }"
                 "model_checkpoint_path: 'here'"),
            "here");
}

// CKS-08
TEST(CheckpointStateTextTest, TextWithoutPathIsWellFormed) {
  EXPECT_THAT(ParseCheckpointState(""), IsOkAndHolds(CheckpointState()));
  EXPECT_THAT(ParseCheckpointState(" \n# nothing"),
              IsOkAndHolds(CheckpointState()));
}

TEST(CheckpointStateTextTest, RefusesWhatIsMalformed) {
  for (const char* text :
       {"garbage",
        "model_checkpoint_path \"a\"",
        "model_checkpoint_path: a",
        "model_checkpoint_path: \"a",
        "model_checkpoint_path: \"a\\",
        "model_checkpoint_path: \"a\nb\"",
        "model_checkpoint_path:",
        "model_checkpoint_path: \"a\" model_checkpoint_path: \"b\"",
        "model_checkpoint_path: \"\\x\"",
        "model_checkpoint_path: \"\\400\"",
        "model_checkpoint_path: \"\\u12\"",
        "model_checkpoint_path: \"\\ud800\"",
        "model_checkpoint_path: \"\\U00110000\"",
        "last_preserved_timestamp: x",
        "last_preserved_timestamp: - 1",
        "all_model_checkpoint_paths: [\"a\"",
        "all_model_checkpoint_paths: [\"a\" : \"b\"]",
        "x: ",
        "x { y: 1",
        "x < y: 1 }",
        "x: [1",
        "x: [1 2]",
        "[x: 1",
        "x: ]",
        "}",
        "x y: 1"}) {
    EXPECT_THAT(ParseCheckpointState(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("cannot parse the checkpoint state")))
        << text;
  }
}

TEST(CheckpointStateTextTest, ErrorNamesTheLineAndWhatStoodThere) {
  EXPECT_THAT(ParseCheckpointState("# one\n\nmodel_checkpoint_path 7"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("line 3: expected ':' after a field's name, "
                                 "found \"7\"")));
}

TEST(CheckpointStateTextTest, NestingHasALimit) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "x{";

  EXPECT_THAT(
      ParseCheckpointState(deep),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too deep")));
}

TEST(CheckpointStateTextTest, SizeAndEntriesHaveLimits) {
  CheckpointStateLimits limits;
  limits.max_bytes = 100;
  limits.max_entries = 2;

  EXPECT_THAT(ParseCheckpointState(std::string(101, ' '), limits),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(
      ParseCheckpointState("all_model_checkpoint_paths: ['','']", limits),
      IsOk());
  EXPECT_THAT(
      ParseCheckpointState("all_model_checkpoint_paths: ['','','']", limits),
      StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(
      ParseCheckpointState("all_model_checkpoint_timestamps: [1,2,3]", limits),
      StatusIs(absl::StatusCode::kResourceExhausted));
}

// CKS-01
TEST(CheckpointStateTextTest, WritesTheTextThatPythonWrites) {
  CheckpointState state;
  state.model_checkpoint_path = "q\"'\\\n\r\t\001\177é\xff";
  state.all_model_checkpoint_paths = {"a", state.model_checkpoint_path};
  state.all_model_checkpoint_timestamps = {
      1700000000.1234567, std::numeric_limits<double>::infinity()};
  state.last_preserved_timestamp = 0.1;

  EXPECT_EQ(
      FormatCheckpointState(state),
      "model_checkpoint_path: \"q\\\"\\'\\\\\\n\\r\\t\\001\\177é\\377\"\n"
      "all_model_checkpoint_paths: \"a\"\n"
      "all_model_checkpoint_paths: \"q\\\"\\'\\\\\\n\\r\\t\\001\\177é\\377\"\n"
      "all_model_checkpoint_timestamps: 1700000000.1234567\n"
      "all_model_checkpoint_timestamps: inf\n"
      "last_preserved_timestamp: 0.1\n");
}

TEST(CheckpointStateTextTest, AnyBytesSurviveTheRoundTrip) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    CheckpointState state;
    const auto text = [&random] {
      std::string bytes(random() % 20, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      return bytes;
    };
    state.model_checkpoint_path = text();
    state.all_model_checkpoint_paths = {text(), text()};
    state.last_preserved_timestamp = std::ldexp(
        static_cast<double>(random()), static_cast<int>(random() % 64) - 32);
    EXPECT_THAT(ParseCheckpointState(FormatCheckpointState(state)),
                IsOkAndHolds(state));
  }
}

// Reliability row 11: an edited file gives a state or an error, never a crash.
TEST(CheckpointStateTextTest, RandomEditsAreReadOrRefused) {
  const std::string text =
      "model_checkpoint_path: \"model.ckpt-20\"\n"
      "all_model_checkpoint_paths: [\"model.ckpt-10\", 'm\\303\\251']\n"
      "all_model_checkpoint_timestamps: 1.5 x { y: <z: [1]> } # end\n";
  const std::string_view alphabet = "\"'\\:[]{}<>,;#\n0x7u. a\xff";
  std::mt19937 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string edited = text;
    for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
      const size_t at = random() % edited.size();
      const size_t length = random() % 3;
      edited.replace(at, length, 1, alphabet[random() % alphabet.size()]);
    }
    edited.resize(edited.size() - (random() % 8 == 0 ? random() % 80 : 0));
    const auto state = ParseCheckpointState(edited);
    if (state.ok()) {
      EXPECT_THAT(ParseCheckpointState(FormatCheckpointState(*state)),
                  IsOkAndHolds(*state));
    } else {
      EXPECT_THAT(state, StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The state file between Python TensorFlow and tftrain, both ways.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

class CheckpointStateParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }
};

// What paths may hold: quotes, control characters, other scripts.
std::vector<std::string> OddNames() {
  return {"plain-1", "q\"'\\-2", "tab\t line\n-3", "\001\177-4", "é 漢 😀-5"};
}

// CKS-01, CKS-04, CKS-05, CKS-12
TEST_F(CheckpointStateParityTest, PythonReadsWhatWeWrote) {
  const TempDir dir;
  CheckpointState state;
  for (const std::string& name : OddNames()) {
    state.all_model_checkpoint_paths.push_back(dir / name);
    state.all_model_checkpoint_timestamps.push_back(1700000000.1234567);
  }
  state.model_checkpoint_path = state.all_model_checkpoint_paths.back();
  state.last_preserved_timestamp = 1.5e300;
  ASSERT_THAT(
      WriteFileAtomically(IndexFileName(state.model_checkpoint_path), "x"),
      IsOk());
  ASSERT_THAT(UpdateCheckpointState(dir.path(), state), IsOk());

  const auto output = RunPython(
      "state = tf.train.get_checkpoint_state(sys.argv[1])\n"
      "out = sys.stdout.buffer\n"
      "for path in state.all_model_checkpoint_paths:\n"
      "  out.write(path.encode() + b'\\0')\n"
      "out.write(tf.train.latest_checkpoint(sys.argv[1]).encode() + b'\\0')\n"
      "out.write(repr([list(state.all_model_checkpoint_timestamps)[0],\n"
      "                state.last_preserved_timestamp]).encode())\n",
      {dir.path()});

  std::string expected;
  for (const std::string& path : state.all_model_checkpoint_paths) {
    absl::StrAppend(&expected, path, std::string(1, '\0'));
  }
  absl::StrAppend(&expected, state.model_checkpoint_path, std::string(1, '\0'),
                  "[1700000000.1234567, 1.5e+300]");
  EXPECT_THAT(output, IsOkAndHolds(expected));
}

// CKS-01, CKS-03, CKS-04
TEST_F(CheckpointStateParityTest, WeReadWhatPythonWrote) {
  const TempDir dir;
  std::vector<std::string> args = {dir.path()};
  std::vector<std::string> paths;
  for (const std::string& name : OddNames()) {
    args.push_back(name);
    paths.push_back(dir / name);
  }

  ASSERT_THAT(
      RunPython(
          "import os\n"
          "folder, names = sys.argv[1], sys.argv[2:]\n"
          "paths = [os.path.join(folder, name) for name in names]\n"
          "for path in paths:\n"
          "  open(path + '.index', 'w').close()\n"
          "  open(path + '.data-00000-of-00001', 'w').close()\n"
          "from tensorflow.python.checkpoint import checkpoint_management as "
          "c\n"
          "for relative in (False, True):\n"
          "  c.update_checkpoint_state_internal(\n"
          "      folder, paths[-1], list(paths), str(relative), relative,\n"
          "      [0.1] * len(paths), 1e22)\n",
          args),
      IsOk());

  for (const char* name : {"False", "True"}) {
    CheckpointStateOptions options;
    options.latest_filename = name;
    const auto state = GetCheckpointState(dir.path(), options);
    ASSERT_THAT(state, IsOk());
    ASSERT_TRUE(state->has_value()) << name;
    EXPECT_EQ((*state)->all_model_checkpoint_paths, paths) << name;
    EXPECT_THAT((*state)->all_model_checkpoint_timestamps,
                ElementsAre(0.1, 0.1, 0.1, 0.1, 0.1));
    EXPECT_EQ((*state)->last_preserved_timestamp, 1e22);
    EXPECT_THAT(LatestCheckpoint(dir.path(), options),
                IsOkAndHolds(Optional(paths.back())));
  }
}

}  // namespace
}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The files of profiling hooks, between Python TensorFlow and tftrain.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tftrain/hooks/profile_window_hook.h"
#include "tftrain/hooks/profiler_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/python.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::HasSubstr;

// Python's run with that hook, in the folder of the first argument. Without an
// order between its read of the step and the increment, Python's hook sees now
// one, now the other number.
constexpr char kPythonRun[] = R"(
from tensorflow.python.training import training_util
tf1 = tf.compat.v1
tf1.disable_eager_execution()
tf1.train.get_or_create_global_step()
train = training_util._increment_global_step(1)
hook = tf1.train.ProfilerHook(save_steps=3, output_dir=sys.argv[1])
with tf1.train.SingularMonitoredSession(hooks=[hook]) as session:
  for _ in range(8):
    session.run(train)
)";

// Prints the timelines and the tags of run metadata in a folder, and fails if
// one of them cannot be read or shows no operation.
constexpr char kTell[] = R"(
import glob, json, os
for path in sorted(glob.glob(sys.argv[1] + '/*')):
  if path.endswith('.json'):
    events = json.load(open(path))['traceEvents']
    assert any(e['ph'] == 'X' for e in events), events
    print(os.path.basename(path))
  else:
    for event in tf.compat.v1.train.summary_iterator(path):
      if event.WhichOneof('what') == 'tagged_run_metadata':
        recorded = tf.compat.v1.RunMetadata.FromString(
            event.tagged_run_metadata.run_metadata)
        assert recorded.step_stats.dev_stats
        print(event.tagged_run_metadata.tag, event.step)
)";

class ProfilerHookParityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PythonForTests().empty()) GTEST_SKIP() << "TFTRAIN_PYTHON is not set";
  }

  void Train(const HookPtr& hook, int runs) {
    HookDriver run({hook});
    ASSERT_THAT(run.Open(), IsOk());
    EXPECT_THAT(run.Train(runs), IsOk());
    EXPECT_THAT(run.Close(), IsOk());
  }

  const TempDir dir_;
};

TEST_F(ProfilerHookParityTest, WritesTheSameFilesAndTags) {
  // PRF-03 to PRF-06
  Train(SaveTimelines(dir_.path(), Every::Steps(3)), 8);
  const auto ours = RunPython(kTell, {dir_.path()});
  ASSERT_THAT(ours, IsOk());

  const TempDir theirs;
  ASSERT_THAT(RunPython(kPythonRun, {theirs.path()}), IsOk());
  EXPECT_THAT(RunPython(kTell, {theirs.path()}), IsOkAndHolds(*ours));
  EXPECT_THAT(*ours, HasSubstr("timeline-6.json"));
}

// Prints the steps that the converter of TensorBoard's profile page finds in
// the only profile of a folder.
constexpr char kTellSteps[] = R"(
import glob, re
from tensorflow.python.profiler.internal import _pywrap_profiler_plugin
[host] = glob.glob(sys.argv[1] + '/plugins/profile/*/*.xplane.pb')
overview, is_made = _pywrap_profiler_plugin.xspace_to_tools_data(
    [host], 'overview_page')
assert is_made
print(*re.findall(rb'train (\d+)', overview), end='')
)";

TEST_F(ProfilerHookParityTest, TensorBoardShowsTheStepsOfAWindow) {
  // users.md row 55
  Train(ProfileSteps(dir_.path(), 2, 3), 6);

  EXPECT_THAT(RunPython(kTellSteps, {dir_.path()}),
              IsOkAndHolds("b'2' b'3' b'4'"));
}

}  // namespace
}  // namespace tftrain

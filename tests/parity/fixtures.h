// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What Python TensorFlow wrote and did, as tests/parity/*.py recorded it.

#ifndef TFTRAIN_TESTS_PARITY_FIXTURES_H_
#define TFTRAIN_TESTS_PARITY_FIXTURES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/struct.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tftrain/session/runnable.h"

namespace tftrain {

// Reads a JSON file; ends the program when it cannot.
google::protobuf::Struct ReadJson(const std::string& path);
// The member `key`, which must be there.
const google::protobuf::Value& At(const google::protobuf::Struct& json,
                                  const std::string& key);

// A MetaGraph that Python exported, with a checkpoint after some steps and what
// Python computed; see make_metagraph.py.
class Fixture {
 public:
  explicit Fixture(const std::string& kind);

  const std::string& folder() const { return folder_; }
  std::string meta() const { return folder_ + "/model.meta"; }
  std::string checkpoint() const;

  // The loss of each of the first steps.
  std::vector<double> losses() const;
  // The losses of the steps after the checkpoint when training resumes from
  // it. A queue starts its input anew then; an iterator goes on where it was
  // (Python cannot resume one).
  std::vector<double> losses_resumed() const;
  // The values of a variable, row by row, at "initial", "at_checkpoint" or
  // "after_last_step".
  std::vector<double> Variable(const std::string& when,
                               const std::string& name) const;
  std::vector<std::string> VariableNames(const std::string& when) const;
  int64_t Number(const std::string& name) const;

  // What the step after `step` is fed; nothing when the graph feeds itself.
  Feeds FeedsAt(int64_t step) const;

 private:
  const std::string folder_;
  google::protobuf::Struct expected_;
};

// What lies in a run's folder, in the words of lifecycle_trace.py.
struct FolderTrace {
  std::vector<std::string> checkpoints;
  std::vector<std::string> files;
  std::vector<std::string> state;
  absl::Status state_status;        // why the state file cannot be read
  std::vector<std::string> events;  // "step what"
};
FolderTrace ReadFolder(const std::string& folder);

// One scenario of lifecycle.json.
struct ExpectedTrace : FolderTrace {
  explicit ExpectedTrace(const std::string& scenario);

  std::vector<std::string> calls;
  std::vector<std::string> runs;
  std::vector<double> losses;
  std::vector<std::string> should_stop;
  std::string error;  // "KIND in WHERE", "none"
  std::string last_step;
  bool graph_finalized = false;
  bool has_folder = false;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTS_PARITY_FIXTURES_H_

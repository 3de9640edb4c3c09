// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What of a checkpoint goes where, told before anything is restored.

#ifndef TFTRAIN_CHECKPOINT_RESTORE_PLAN_H_
#define TFTRAIN_CHECKPOINT_RESTORE_PLAN_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace tftrain {

// What of a checkpoint is restored. Iterators can be set only once they are
// initialised, which happens after the variables have their values.
enum class RestorePart { kAll, kAllButIterators, kIterators };

// Which tensors are restored, under which names, and what is no error. By
// default everything must be there and fit.
//
//   RestoreSpec spec;  // a model with another head, whose body was renamed
//   spec.exclude = {"head/.*"};
//   spec.rename = {{"body/(.*)", "encoder/$1"}};
//
// Patterns are regular expressions (ECMAScript) that match a whole name, as
// the graph's saver knows it.
struct RestoreSpec {
  // Empty: all.
  std::vector<std::string> include;
  // Of those, the ones that are left as they are.
  std::vector<std::string> exclude;
  // How the checkpoint calls what the graph calls so: the first pattern that
  // matches counts, and `$1` stands for what its first group matched.
  std::vector<std::pair<std::string, std::string>> rename;
  // Whether tensors that the checkpoint lacks, or holds with another type or
  // shape, are left as they are.
  bool allow_missing = false;
  bool allow_mismatched = false;
  // Whether the checkpoint may hold what nobody asks for.
  bool allow_extra = true;
};

// Where a model that was never trained takes some of its values from.
// Python: tf.train.init_from_checkpoint, tf.estimator.WarmStartSettings.
struct WarmStart {
  // A checkpoint, as Saver::Restore takes it.
  std::string path;
  RestoreSpec spec;
};

// What restoring would do.
//
// Thread-compatible: const calls may run together.
// Python: the assignment map of tf.train.init_from_checkpoint, which is checked
// one name at a time.
struct RestorePlan {
  enum class Action {
    kRestore,
    kExcluded,    // the spec leaves it out
    kMissing,     // the checkpoint lacks it
    kMismatched,  // it has another type or shape there
  };
  struct Item {
    std::string name;         // in the graph
    std::string stored_name;  // in the checkpoint
    Action action = Action::kRestore;
    // Types and shapes, "float32 [3,4]"; empty where there is none.
    std::string wanted;
    std::string stored;
  };

  std::string prefix;
  // In the order of the graph's restore operation; a variable in parts has one
  // for each.
  std::vector<Item> items;
  // What the checkpoint holds and nobody asks for.
  std::vector<std::string> extra;
  // OK, or all that is not allowed (kInvalidArgument): what restoring would
  // return without having changed anything.
  absl::Status status;

  // A line for each tensor, for people.
  std::string ToString() const;
};

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_RESTORE_PLAN_H_

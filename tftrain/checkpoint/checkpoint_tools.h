// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Looking into checkpoints without a graph or a session: are they whole, what
// do they hold, in what do two of them differ. Files are read only, and never
// trusted; of the values, one tensor (or one part of a partitioned one) is in
// memory at a time.
//
// Checkpoints of TensorFlow's first format are not read.
//
// Errors of all functions: kNotFound if there is no index, or no folder;
// kDataLoss for a damaged checkpoint, unless telling that is the function's
// purpose; kResourceExhausted and kPermissionDenied.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_CHECKPOINT_CHECKPOINT_TOOLS_H_
#define TFTRAIN_CHECKPOINT_CHECKPOINT_TOOLS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.pb.h"
#include "tftrain/checkpoint/checkpoint_state.h"

namespace tftrain {

// What VerifyCheckpoint found.
//
// Thread-compatible: const calls may run together.
struct CheckpointReport {
  std::string prefix;
  // What was read. Zero where the index cannot be.
  size_t tensors = 0;
  int shards = 0;
  // What is wrong, one sentence each; empty if nothing is.
  std::vector<std::string> problems;

  bool intact() const { return problems.empty(); }
  // One line, and one more for each problem.
  std::string ToString() const;
};

// Reads every byte of the checkpoint `prefix` and compares all checksums:
// those of the index and of every value; sizes, types and shapes; that all
// data files are there. With `with_meta`, also that `prefix`.meta, if it
// exists, is a MetaGraphDef.
//
// Python: no such function; `tf.train.load_checkpoint` finds damage as it
// meets it.
absl::StatusOr<CheckpointReport> VerifyCheckpoint(std::string_view prefix,
                                                  bool with_meta = false);

// One thing that is wrong with a folder of checkpoints.
//
// Thread-compatible: const calls may run together.
struct FolderProblem {
  enum class Kind {
    kStateUnreadable,  // the state file
    kOutside,          // the state file names checkpoints outside of the folder
    kDangling,         // it names a checkpoint that is not there, or not whole
    kStale,            // the folder has a newer checkpoint than it says
    kUnlisted,    // a checkpoint that it does not name, nor marked as kept for
                  // good: nobody will delete it
    kIncomplete,  // an index without all of its data
    kOrphaned,    // data without its index
    kDamaged,     // VerifyCheckpoint found something
    kLeftover,    // what a save that was interrupted left
  };

  Kind kind;
  std::string path;
  std::string what;
};

// "dangling", "stale" ...
std::string_view ToString(FolderProblem::Kind kind);

// How VerifyFolder looks.
struct VerifyFolderOptions {
  // Verify each complete checkpoint, too; else names alone are looked at.
  bool contents = true;
  CheckpointStateOptions state;
};

// What VerifyFolder found.
//
// Thread-compatible: const calls may run together.
struct FolderReport {
  std::string folder;
  // The prefixes of the complete and, where they were looked into, intact
  // checkpoints, newest first.
  std::vector<std::string> intact;
  std::vector<FolderProblem> problems;

  std::string ToString() const;
};

// Compares the state file of `folder` with what is there. A folder in which a
// save is under way may show its leftovers; checkpoints are pinned while they
// are looked into, and those that are deleted meanwhile are left out.
// Errors: kInvalidArgument for a bad `latest_filename`.
absl::StatusOr<FolderReport> VerifyFolder(
    std::string_view folder, const VerifyFolderOptions& options = {});

// How a tensor of one checkpoint differs from that of another.
//
// Thread-compatible: const calls may run together.
struct TensorDifference {
  enum class Kind { kOnlyInFirst, kOnlyInSecond, kDtype, kShape, kValues };

  std::string name;
  Kind kind;
  // In the first and the second; without meaning where it is missing.
  tensorflow::DataType dtypes[2] = {tensorflow::DT_INVALID,
                                    tensorflow::DT_INVALID};
  tensorflow::TensorShape shapes[2];
  // For kValues: how many elements differ, and by how much at most; two NaN
  // are equal, one alone is infinitely far. Relative to the larger of the two.
  // Strings and variants only differ or not.
  int64_t elements = 0;
  double max_absolute = 0;
  double max_relative = 0;
};

// What CompareCheckpoints found.
//
// Thread-compatible: const calls may run together.
struct CheckpointComparison {
  std::string prefixes[2];
  // The tensors that are in both and equal.
  size_t equal = 0;
  // All others, by name.
  std::vector<TensorDifference> differences;

  // A table of the differences.
  std::string ToString() const;
};

// Compares all tensors of two checkpoints. Partitioned tensors may be cut in
// different ways.
// Errors: kInvalidArgument when the parts stored do not cover a tensor that is
// in both.
absl::StatusOr<CheckpointComparison> CompareCheckpoints(
    std::string_view first, std::string_view second);

// Figures of one tensor.
//
// Thread-compatible: const calls may run together.
struct TensorStatistics {
  std::string name;
  tensorflow::DataType dtype = tensorflow::DT_INVALID;
  tensorflow::TensorShape shape;
  // How many parts it is stored in; 1 for a whole.
  size_t parts = 1;
  // Of the values in memory.
  int64_t bytes = 0;

  // Whether the rest is known: numbers and truth values (0 and 1). Of complex
  // numbers, the figures are those of the absolute values.
  bool numeric = false;
  int64_t nans = 0;
  int64_t infinities = 0;
  int64_t zeros = 0;
  // Over the finite elements; 0 without any.
  double min = 0;
  double max = 0;
  double mean = 0;
  double standard_deviation = 0;  // of all, not of a sample
  double norm = 0;                // Euclidean
};

// The statistics of every tensor, by name.
absl::StatusOr<std::vector<TensorStatistics>> CheckpointStatistics(
    std::string_view prefix);

// The statistics of those tensors that hold NaN or infinities.
absl::StatusOr<std::vector<TensorStatistics>> ScanForNonFinite(
    std::string_view prefix);

// A table with a line for each.
std::string ToString(const std::vector<TensorStatistics>& statistics);

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_CHECKPOINT_TOOLS_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What the save and restore operations of a graph say about its checkpoints.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_SAVE_GRAPH_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_SAVE_GRAPH_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.pb.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/checkpoint/internal/variable_store.h"
#include "tftrain/graph/graph.h"

namespace tftrain::internal {

// A tensor that the graph's save operations write.
struct SavedTensor {
  std::string key;     // its name in the checkpoint
  std::string slice;   // "4 3 0,2:0,3" for a part of a larger one, or empty
  std::string tensor;  // the one in the graph that has the value
  // Set when the value is that of a resource variable and nothing else.
  std::optional<VariableName> variable;
};

// A tensor that the graph's restore operations read.
struct RestoredTensor {
  std::string key;
  std::string slice;
  std::string tensor;  // the output of the reading operation
  tensorflow::DataType dtype = tensorflow::DT_INVALID;
  // That of the variable, as far as the graph knows it.
  tensorflow::PartialTensorShape shape;
  // Whether only the number of elements counts, as Saver(reshape=True) has it.
  bool reshaped = false;
  // Whether it is the position of an iterator, which can be set only after the
  // iterator was initialised.
  bool is_iterator = false;
  // The operations, of those in SaveGraph, that set something to it.
  std::vector<std::string> setters;
  // Set when nothing happens to the value but that a resource variable takes
  // it.
  std::optional<VariableName> variable;
};

// What the operations that a SaverDef names do. Either list is missing when
// the graph does something else there than SaveV2 (or V1's SaveSlices) and
// RestoreV2 with constant names do; then only running the operations helps.
struct SaveGraph {
  std::optional<std::vector<SavedTensor>> saved;
  std::optional<std::vector<RestoredTensor>> restored;
  // The operations that the restore operation waits for, which set one thing
  // each: those that set iterators, and all others.
  std::vector<std::string> restore_iterators;
  std::vector<std::string> restore_others;
};

// Errors: kInvalidArgument when `def` lacks an operation's name or `graph`
// lacks the operation.
absl::StatusOr<SaveGraph> ReadSaveGraph(const Graph& graph,
                                        const tensorflow::SaverDef& def);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_SAVE_GRAPH_H_

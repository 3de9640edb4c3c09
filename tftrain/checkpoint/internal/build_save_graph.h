// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Makes the save and restore operations of a graph that has none.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUILD_SAVE_GRAPH_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUILD_SAVE_GRAPH_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/graph/graph.h"

namespace tftrain::internal {

// Adds save and restore operations for `var_list` (checkpoint name -> name of
// a variable, or of the whole that variables are parts of), or, if that is
// empty, for all of the collections "variables" and "saveable_objects", under a
// scope "save", named and wired as Python's, which can use them. The answer
// holds their names; nothing when there is nothing to save. With `reshape`,
// what is restored takes the shape of its variable, if it has as many elements.
//
// Errors: kInvalidArgument when a variable is not in the graph, is given two
// names, or two things have one name, and for a saveable object that is no
// variable, table or iterator; kFailedPrecondition when the graph is
// finalized.
absl::StatusOr<std::optional<tensorflow::SaverDef>> BuildSaveGraph(
    Graph& graph, const std::map<std::string, std::string>& var_list,
    bool reshape);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUILD_SAVE_GRAPH_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Brings a MetaGraph into a graph together with what restores it.

#ifndef TFTRAIN_CHECKPOINT_IMPORT_META_GRAPH_H_
#define TFTRAIN_CHECKPOINT_IMPORT_META_GRAPH_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/graph.h"

namespace tftrain {

// What ImportMetaGraph() brought.
//
// Thread-compatible: const calls may run together.
struct ImportedMetaGraph {
  // Saves and restores what the MetaGraph says, under the names it says,
  // whatever the scope. Null when there is nothing to restore.
  std::shared_ptr<Saver> saver;
  // What stands before the names of the MetaGraph now, without a "/"; empty
  // when they are as they were.
  std::string scope;
};

// Adds the MetaGraph in the file `path` to `graph`, and makes a saver: from its
// SaverDef; without one, of all that `graph` has to save by now, if some of it
// came with the MetaGraph.
//
//   const GraphPtr graph = Graph::Create();
//   TF_ASSIGN_OR_RETURN(const ImportedMetaGraph model,
//                       ImportMetaGraph(*graph, "run/model.ckpt-100.meta"));
//   TF_ASSIGN_OR_RETURN(auto session, Session::Create(graph));
//   TF_RETURN_IF_ERROR(model.saver->Restore(*session, "run/model.ckpt-100"));
//
// Errors: those of ReadMetaGraph(), Graph::Import(), Saver::FromSaverDef() and
// Saver::Create().
// Python: tf.compat.v1.train.import_meta_graph.
absl::StatusOr<ImportedMetaGraph> ImportMetaGraph(
    Graph& graph, const std::string& path, const ImportOptions& options = {});

// The same from a proto in memory.
absl::StatusOr<ImportedMetaGraph> ImportMetaGraph(
    Graph& graph, tensorflow::MetaGraphDef meta_graph,
    const ImportOptions& options = {});

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_IMPORT_META_GRAPH_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Graphs in files, and copies of parts of them.
//
// Thread-safe: the functions share nothing but the graphs they are given.

#ifndef TFTRAIN_GRAPH_META_GRAPH_H_
#define TFTRAIN_GRAPH_META_GRAPH_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tftrain/graph/graph.h"

namespace tftrain {

// Reads a MetaGraph from `path`: binary, or text format as
// `export_meta_graph(as_text=True)` writes it.
//
// Errors: kNotFound when there is no such file; kInvalidArgument when it is no
// MetaGraph (damaged, truncated, another file).
// Python: meta_graph.read_meta_graph_file.
absl::StatusOr<tensorflow::MetaGraphDef> ReadMetaGraph(const std::string& path);

// Writes `graph_def` to the file `name` in `folder`, which is made if need be,
// atomically, and returns its path.
//
// Errors: kInvalidArgument when the graph is larger than 2 GiB; those of
// CreateFolders() and WriteFileAtomically().
// Python: tf.io.write_graph.
absl::StatusOr<std::string> WriteGraph(const tensorflow::GraphDef& graph_def,
                                       const std::string& folder,
                                       const std::string& name,
                                       bool as_text = true);

// Copies the scope `from_scope` of `from` into `to` as `options` say, and
// returns the scope of the copy.
//
// Errors: kInvalidArgument when it would be copied onto itself; those of
// Graph::ToMetaGraph() and Graph::Import().
// Python: meta_graph.copy_scoped_meta_graph, which takes no input_map.
absl::StatusOr<std::string> CopyScope(const Graph& from,
                                      const std::string& from_scope, Graph& to,
                                      const ImportOptions& options);

namespace internal {

// Writes `graph`, a GraphDef or MetaGraphDef, to `path`, atomically.
// Errors: kInvalidArgument when it is larger than 2 GiB; those of
// WriteFileAtomically().
absl::Status WriteGraphProto(const google::protobuf::Message& graph,
                             const std::string& path, bool as_text);

}  // namespace internal
}  // namespace tftrain

#endif  // TFTRAIN_GRAPH_META_GRAPH_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A TensorFlow graph that can be built, loaded, trained and saved again.

#ifndef TFTRAIN_GRAPH_GRAPH_H_
#define TFTRAIN_GRAPH_GRAPH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/cc/framework/scope.h"
#include "tensorflow/core/common_runtime/shape_refiner.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// One output of an operation, found by name in a Graph.
struct TensorRef {
  const tensorflow::Node* node = nullptr;
  int port = 0;

  // The type of the values, without the mark of a reference variable.
  tensorflow::DataType dtype() const;
  // Whether the tensor is a reference variable's buffer, which the runtime
  // may change after the step that fetched it.
  bool is_ref() const;
  // "name:port".
  std::string name() const;

  friend bool operator==(const TensorRef& a, const TensorRef& b) {
    return a.node == b.node && a.port == b.port;
  }
};

// How a MetaGraph comes into a graph. Python: the arguments of
// import_scoped_meta_graph.
struct ImportOptions {
  // Goes before all names, as in "scope/w", also those in collections and in
  // the SaverDef; checkpoints keep their names, as the save operations have
  // them as constants. Made unique, "scope_1", where the graph has the scope
  // already, unless it ends in "/". Empty: names stay as they are.
  // Python: resource variables imported twice share one storage; here each
  // scope has its own.
  std::string import_scope;
  // Whether devices are forgotten, for a machine that has others.
  bool clear_devices = false;
  // What operations take as input, as the MetaGraph writes it ("x", "x:1", or
  // "^x" to wait for x) -> what they take in this graph. An export of one scope
  // lists what it needs in its collection "unbound_inputs".
  std::map<std::string, tensorflow::Output> input_map;
  // Which collections come along, by their names; all when it is not set. A
  // graph has one global step: leave out "global_step" of a second model.
  std::function<bool(std::string_view)> restore_collections_predicate;
};

// How a graph becomes a MetaGraph. Python: the arguments of export_meta_graph.
struct ExportOptions {
  // Exports only the operations in this scope, and what collections say about
  // them, without it in their names. Inputs from outside are listed in the
  // collection "unbound_inputs" and must be mapped at import. Empty: the whole
  // graph.
  std::string export_scope;
  // Whether devices are forgotten.
  bool clear_devices = false;
  // Whether the operations of all savers are dropped but those of the SaverDef,
  // and their SaverDefs.
  bool clear_extraneous_savers = false;
  // Whether attributes that have their default value are dropped, so that an
  // older TensorFlow can read the graph.
  bool strip_default_attrs = false;
  // Whether a file is written in text format. Nothing for ToMetaGraph().
  bool as_text = false;
};

// A graph: one `tensorflow::Graph` with shapes, collections and names, made
// new or loaded from a MetaGraph that Python exported.
//
// States: open -> finalized (a count, as several sessions may share a graph)
// -> open. Only an open graph can change. While it is finalized, operations
// made through any scope of this graph fail with kFailedPrecondition and leave
// the graph as it was.
//
//   GraphPtr graph = Graph::Create();
//   tensorflow::Scope scope = graph->scope();
//   auto two = tensorflow::ops::Const(scope.WithOpName("two"), 2.0f);
//   TF_RETURN_IF_ERROR(graph->status());
//
// Thread-compatible: const calls may run together, and so may Finalize() and
// Unfinalize(), as the sessions that share a graph come and go.
// Python: tf.compat.v1.Graph, which also keeps collections and finalizes.
class Graph {
 public:
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Returns an empty graph.
  static std::shared_ptr<Graph> Create();

  // Reads a MetaGraph from `path` (binary, or text format as
  // `export_meta_graph(as_text=True)` writes it).
  //
  // Errors: those of ReadMetaGraph() and Import().
  // Python: tf.compat.v1.train.import_meta_graph, but for the Saver.
  static absl::StatusOr<std::shared_ptr<Graph>> Load(
      const std::string& path, const ImportOptions& options = {});

  // The same from a proto in memory.
  static absl::StatusOr<std::shared_ptr<Graph>> FromMetaGraph(
      tensorflow::MetaGraphDef meta_graph, const ImportOptions& options = {});

  // What Import() made of names.
  struct Imported {
    // What stands before them, without a "/"; empty when they are as they were.
    std::string scope;
    // The SaverDef of the MetaGraph, if it had one.
    std::optional<tensorflow::SaverDef> saver_def;
  };

  // Adds all of `meta_graph` to this graph, which may have operations already.
  // A collection that holds another kind of things here is left out, with a
  // warning.
  //
  // Errors: kInvalidArgument when it has no operations, needs one this
  // TensorFlow does not have, brings a name that the graph has already, or
  // needs an input from outside that is not in input_map, and when input_map
  // names an input that nothing takes or a tensor of another graph;
  // kFailedPrecondition when the graph is finalized. The graph is then as it
  // was.
  // Python: import_scoped_meta_graph, which gives operations new names where
  // theirs are taken, while collections mean the old ones.
  absl::StatusOr<Imported> Import(tensorflow::MetaGraphDef meta_graph,
                                  const ImportOptions& options = {});

  // Returns a scope at the root of the graph; operations made through it and
  // its children belong to this graph, which must outlive them. On a loaded
  // graph new names never clash with loaded ones.
  tensorflow::Scope scope() { return *root_; }

  // The first error of operations made through a scope of this graph, OK when
  // there was none.
  absl::Status status() const;

  // Returns `name`, or `name_1`, `name_2`, … when the graph has that name
  // already, in whatever case (Python compares names without case;
  // `tensorflow::Scope` does not).
  std::string UniqueName(std::string_view name);

  // Finds an operation by its name, without ":".
  // Errors: kInvalidArgument, with the names that come near.
  absl::StatusOr<const tensorflow::Node*> FindOperation(
      std::string_view name) const;

  // Finds a tensor by "operation:port".
  // Errors: kInvalidArgument when there is no such operation, when it has no
  // such output, or when the port is missing from the name.
  absl::StatusOr<TensorRef> FindTensor(std::string_view name) const;

  // The shape of `output` as far as it is known without running; unknown rank
  // when nothing is known.
  tensorflow::PartialTensorShape ShapeOf(
      const tensorflow::Output& output) const;

  // Appends the name of an operation or a tensor to a collection. Duplicates
  // are kept, as in Python.
  // Errors: kFailedPrecondition when the graph is finalized; kInvalidArgument
  // when the collection holds protos.
  absl::Status AddToCollection(std::string_view key, std::string_view name);

  // Appends a proto to a collection, serialized.
  // Errors: kFailedPrecondition when the graph is finalized; kInvalidArgument
  // when the collection holds names.
  absl::Status AddToCollection(std::string_view key,
                               const google::protobuf::MessageLite& proto);

  // The names in a collection, in order; empty when there is none.
  std::vector<std::string> GetCollection(std::string_view key) const;

  // Those of them that the regular expression `scope` matches at their start;
  // "layer" lets "layer10/w" through as well.
  // Errors: kInvalidArgument when `scope` is no regular expression.
  absl::StatusOr<std::vector<std::string>> GetCollection(
      std::string_view key, std::string_view scope) const;

  // The protos in a collection, parsed; empty when there is none.
  // Errors: kInvalidArgument when an item does not parse as a Proto.
  template <typename Proto>
  absl::StatusOr<std::vector<Proto>> GetProtoCollection(
      std::string_view key) const;

  // Everything in the collections, as a MetaGraph keeps it.
  const std::map<std::string, tensorflow::CollectionDef>& collections() const {
    return collections_;
  }

  // Forbids changes until Unfinalize() was called as often as this.
  // Errors: the error of status() when building failed; kInvalidArgument when
  // two variables would share one storage unnoticed (VarHandleOps without a
  // shared_name). The graph then stays open.
  // Python: tf.Graph.finalize.
  absl::Status Finalize();
  void Unfinalize();
  bool finalized() const;

  // The graph as a proto: what was loaded, exactly as it was loaded, followed
  // by the operations made since, with their inferred shapes. Made once while
  // the graph stays as it is.
  absl::StatusOr<std::shared_ptr<const tensorflow::GraphDef>> ToGraphDef()
      const;

  // The graph with its collections, and with `saver_def` when it is given.
  // Errors: kInvalidArgument when the graph has nothing in the export_scope.
  // Python: tf.compat.v1.train.export_meta_graph, which takes operations whose
  // names begin like the scope for its own, and lists an input from outside as
  // often as it is used, or not at all if it is only waited for.
  absl::StatusOr<tensorflow::MetaGraphDef> ToMetaGraph(
      const tensorflow::SaverDef* saver_def = nullptr,
      const ExportOptions& options = {}) const;

  // Writes ToMetaGraph() to `path`, atomically.
  // Errors: those of ToMetaGraph(); kInvalidArgument when the graph is too
  // large for a proto (2 GiB); those of WriteFileAtomically().
  absl::Status Save(const std::string& path,
                    const tensorflow::SaverDef* saver_def = nullptr,
                    const ExportOptions& options = {}) const;

  // The SaverDef of the MetaGraph that the graph was made from, if it had one.
  const std::optional<tensorflow::SaverDef>& saver_def() const {
    return saver_def_;
  }

  const tensorflow::Graph& engine_graph() const { return graph_; }
  tensorflow::Graph* mutable_engine_graph() { return &graph_; }

 private:
  Graph();

  absl::Status CheckNotFinalized() const;
  // Adds the shapes that inference found to those nodes of `graph_def` that the
  // graph has from `first_node` on, as Python's exports do.
  void AddOutputShapes(int first_node, tensorflow::GraphDef* graph_def) const;
  // The name of an unused scope for `wanted`.
  std::string UniqueScope(std::string_view wanted);
  // The names that a GraphDef has for what `input_map` maps to.
  absl::StatusOr<std::map<std::string, std::string>> NamesOfInputs(
      const std::map<std::string, tensorflow::Output>& input_map) const;
  // Errors: kInvalidArgument when a name is taken.
  absl::Status CheckNewNames(const tensorflow::GraphDef& graph_def) const;
  // Keeps new names of the root scope clear of those in `graph_def`.
  void ReserveNames(const tensorflow::GraphDef& graph_def,
                    const std::string& scope);
  void MergeCollections(
      google::protobuf::Map<std::string, tensorflow::CollectionDef>* imported,
      const std::function<bool(std::string_view)>& wanted);
  absl::Status CheckVariablesHaveOwnStorage() const;
  // Takes operations made since the last call into the index of names.
  void RefreshIndex() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const tensorflow::CollectionDef* FindCollection(std::string_view key) const;

  tensorflow::Graph graph_;
  tensorflow::ShapeRefiner refiner_;
  absl::Status scope_status_;  // shared by every scope of this graph
  std::unique_ptr<tensorflow::Scope> root_;

  std::map<std::string, tensorflow::CollectionDef> collections_;
  std::optional<tensorflow::SaverDef> saver_def_;

  // What was loaded, kept so that it is exported as it came: the graph (with
  // what was made before the last import), and all the rest but the collections
  // and the SaverDef.
  tensorflow::GraphDef loaded_graph_def_;
  tensorflow::MetaGraphDef loaded_rest_;
  int first_new_node_ = 0;

  mutable Mutex mu_;
  int finalize_count_ ABSL_GUARDED_BY(mu_) = 0;
  // Caches over the graph's nodes, filled as nodes appear.
  mutable int indexed_nodes_ ABSL_GUARDED_BY(mu_) = 0;
  mutable std::unordered_map<std::string, const tensorflow::Node*> by_name_
      ABSL_GUARDED_BY(mu_);
  mutable std::unordered_set<std::string> lower_names_ ABSL_GUARDED_BY(mu_);
  mutable std::shared_ptr<const tensorflow::GraphDef> graph_def_
      ABSL_GUARDED_BY(mu_);
  mutable int graph_def_nodes_ ABSL_GUARDED_BY(mu_) = -1;
};

using GraphPtr = std::shared_ptr<Graph>;

// Returns an operation that does nothing but wait for `operations`.
// Python: tf.group.
tensorflow::Operation Group(const tensorflow::Scope& scope,
                            const std::vector<tensorflow::Operation>& after);

// A `tensorflow::Output` or `Operation` for something found by name, to build
// upon it.
tensorflow::Output AsOutput(const TensorRef& tensor);
tensorflow::Operation AsOperation(const tensorflow::Node* node);

namespace internal {
// The regular expression by which names are found in a scope.
// Errors: kInvalidArgument when `scope` is none.
absl::StatusOr<std::function<bool(const std::string&)>> ScopeFilter(
    std::string_view scope);

absl::Status BadCollectionItem(std::string_view key, std::string_view type);
}  // namespace internal

template <typename Proto>
absl::StatusOr<std::vector<Proto>> Graph::GetProtoCollection(
    std::string_view key) const {
  std::vector<Proto> protos;
  const tensorflow::CollectionDef* collection = FindCollection(key);
  if (collection == nullptr) return protos;
  for (const std::string& bytes : collection->bytes_list().value()) {
    if (!protos.emplace_back().ParseFromString(bytes)) {
      return internal::BadCollectionItem(key, Proto::descriptor()->name());
    }
  }
  return protos;
}

}  // namespace tftrain

#endif  // TFTRAIN_GRAPH_GRAPH_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The pieces of a graph that a training session needs beside the model: how it
// is initialised, how one knows that it is ready, what is summarised and saved.

#ifndef TFTRAIN_SETUP_SCAFFOLD_H_
#define TFTRAIN_SETUP_SCAFFOLD_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/runnable.h"
#include "tftrain/session/session.h"

namespace tftrain {

// Finds or makes those pieces. What is given in the Options is used as it is;
// what is not is taken from the collection of the same name, else a default is
// built and kept there.
//
// States: created -> finalized (the graph is frozen). Finalize() may be called
// again, on a frozen graph too, and then makes nothing.
//
// Confined: use from the thread that creates the session.
// Python: tf.compat.v1.train.Scaffold.
class Scaffold {
 public:
  // Initialises what no operation of the graph can, after init_op.
  using InitFn = std::function<absl::Status(Scaffold&, Session&)>;

  struct Options {
    // Operation names. Default: the initializers of the global variables and
    // shared resources, grouped.
    std::optional<std::string> init_op;
    Feeds init_feed_dict;
    InitFn init_fn;
    // Values of another model, taken after init_op and before init_fn. Not when
    // a checkpoint of this model is restored.
    std::optional<WarmStart> warm_start;
    // String tensors that name what has no value yet; empty when ready.
    std::optional<std::string> ready_op;
    std::optional<std::string> ready_for_local_init_op;
    // Default: local variables, tables and local resources.
    std::optional<std::string> local_init_op;
    Feeds local_init_feed_dict;
    // A serialized Summary's tensor. Default: all of the collection
    // "summaries", nothing when there are none.
    std::optional<std::string> summary_op;
    // Default: the collection "savers", else a new one for all variables.
    std::shared_ptr<Saver> saver;
    // Takes every field not given above from another scaffold.
    std::shared_ptr<const Scaffold> copy_from_scaffold;
  };

  Scaffold() : Scaffold(Options()) {}
  explicit Scaffold(Options options);
  Scaffold(const Scaffold&) = delete;
  Scaffold& operator=(const Scaffold&) = delete;

  // Completes the pieces on `graph` and freezes it.
  // Errors: kFailedPrecondition when a collection holds more than one piece of
  // a kind, or when a piece is missing and the graph is frozen;
  // kInvalidArgument for a name the graph does not have; those of Saver.
  absl::Status Finalize(Graph& graph);

  // Takes back the freezing (not the pieces) when this scaffold did it.
  void Unfinalize();

  // Adds an operation that initialises local variables, tables and local
  // resources, for a local_init_op that does more. Returns its name.
  // Errors: kFailedPrecondition when the graph is frozen; kInvalidArgument for
  // a damaged collection.
  // Python: default_local_init_op.
  static absl::StatusOr<std::string> DefaultLocalInitOp(Graph& graph);

  // The single name in the collection `collection_key`; when it is empty, what
  // `constructor` returns, which is added to it unless it is nothing.
  // Errors: kFailedPrecondition when the collection holds more than one name,
  // telling to give `arg_name`; those of `constructor`.
  // Python: get_or_default.
  static absl::StatusOr<std::optional<std::string>> GetOrDefault(
      Graph& graph, std::string_view arg_name, std::string_view collection_key,
      absl::FunctionRef<absl::StatusOr<std::optional<std::string>>()>
          constructor);

  // The pieces; before Finalize() only those that were given.
  const std::optional<std::string>& init_op() const { return pieces_.init_op; }
  const Feeds& init_feed_dict() const { return pieces_.init_feed_dict; }
  // Runs the given function on `session`; OK when there is none.
  absl::Status RunInitFn(Session& session);
  const std::optional<WarmStart>& warm_start() const {
    return pieces_.warm_start;
  }
  bool has_init_fn() const { return pieces_.init_fn != nullptr; }
  const std::optional<std::string>& ready_op() const {
    return pieces_.ready_op;
  }
  const std::optional<std::string>& ready_for_local_init_op() const {
    return pieces_.ready_for_local_init_op;
  }
  const std::optional<std::string>& local_init_op() const {
    return pieces_.local_init_op;
  }
  const Feeds& local_init_feed_dict() const {
    return pieces_.local_init_feed_dict;
  }
  const std::optional<std::string>& summary_op() const {
    return pieces_.summary_op;
  }
  const std::shared_ptr<Saver>& saver() const { return pieces_.saver; }

 private:
  Options pieces_;
  Graph* frozen_ = nullptr;
};

}  // namespace tftrain

#endif  // TFTRAIN_SETUP_SCAFFOLD_H_

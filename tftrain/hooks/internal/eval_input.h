// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What an evaluation reads.

#ifndef TFTRAIN_HOOKS_INTERNAL_EVAL_INPUT_H_
#define TFTRAIN_HOOKS_INTERNAL_EVAL_INPUT_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/graph/graph.h"
#include "tftrain/graph/graph.h"
#include "tftrain/session/request.h"

namespace tftrain::internal {

// Finds in a graph what keeps an evaluation from its input, and what would take
// training's. Does not look into functions.
// Confined: as the hook that owns it.
class EvalInput {
 public:
  // An evaluation that runs `step` again and again, with feeds if `is_fed`, and
  // `around` before or after, without.
  EvalInput(Request step, Request around, bool is_fed);

  // Errors: kInvalidArgument for a placeholder that nothing feeds.
  absl::Status CheckIsFed(const Graph& graph) const;
  // Errors: kInvalidArgument when a step reads nothing that could end.
  absl::Status CheckEnds(const Graph& graph) const;
  // Errors: kInvalidArgument for a queue that no queue runner fills.
  absl::Status CheckQueuesAreFilled(const Graph& graph) const;

  // Takes note of what training reads when it runs `request`; one that is known
  // costs no look at the graph.
  // Errors: kFailedPrecondition when the evaluation, as far as it is known
  // without its feeds, takes of it.
  absl::Status NoteTraining(const Graph& graph, const Request& request);
  // Errors: kFailedPrecondition when a step with these feeds takes of it.
  absl::Status CheckStep(const Graph& graph,
                         const std::vector<std::string>& feeds) const;

 private:
  // All operations that an evaluation runs without feeds.
  std::vector<const tensorflow::Node*> NodesWithoutFeeds(
      const Graph& graph) const;
  // That none of `nodes` changes the input of training.
  absl::Status CheckTakesNothing(
      const std::vector<const tensorflow::Node*>& nodes) const;

  const Request step_;
  const Request unfed_;
  // The requests of training, and what holds the input they read.
  std::vector<Request> training_requests_;
  std::set<std::string> training_inputs_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_EVAL_INPUT_H_

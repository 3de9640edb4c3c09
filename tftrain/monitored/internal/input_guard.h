// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_MONITORED_INTERNAL_INPUT_GUARD_H_
#define TFTRAIN_MONITORED_INTERNAL_INPUT_GUARD_H_

#include <deque>
#include <string>
#include <vector>

#include "tftrain/graph/graph.h"
#include "tftrain/session/request.h"

namespace tftrain::internal {

// Keeps a hook's request away from steps that do not bring its inputs.
//
// A request that needs a placeholder fails a step that does not feed it, and
// one that reads an iterator, a queue or a reader takes a batch away from
// training when the caller's own part of the step reads none. Where the caller
// has brought those inputs before, a step without them is another kind of
// step, such as an evaluation, and the request waits for the next that has
// them. Where no step had them yet, it may run all the same: another hook may
// feed the placeholder, or nobody else may read the input.
//
// Follows the graph's edges; does not look into functions.
//
// Confined: use from one thread at a time.
class InputGuard {
 public:
  // A name that the graph does not have is no input.
  InputGuard(GraphPtr graph, RequestPtr request);

  // Whether the request may join the step in which the caller asks for
  // `original`, an interned request. The graph is walked once for each of the
  // caller's requests.
  bool Allows(const RequestPtr& original);

  // Walks the graph for `original` now.
  void PlanAhead(const RequestPtr& original) { Brings(original); }

  // The request's inputs by name, for logs.
  std::vector<std::string> inputs() const;

 private:
  // The inputs that `request` reaches when `feeds` are fed, sorted.
  using Nodes = std::vector<const tensorflow::Node*>;
  Nodes Reach(const Request& request,
              const std::vector<std::string>& feeds) const;
  bool Walk(const Request& original) const;
  bool Brings(const RequestPtr& original);

  GraphPtr graph_;
  RequestPtr request_;
  Nodes inputs_;

  // The caller's requests of late, and whether they bring the inputs.
  struct Answer {
    RequestPtr original;
    bool brings;
  };
  std::deque<Answer> answers_;
  bool was_brought_ = false;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_MONITORED_INTERNAL_INPUT_GUARD_H_

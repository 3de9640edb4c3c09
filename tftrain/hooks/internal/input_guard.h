// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_INPUT_GUARD_H_
#define TFTRAIN_HOOKS_INTERNAL_INPUT_GUARD_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
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
  // Errors: kInvalidArgument for a name the graph does not have.
  static absl::StatusOr<InputGuard> Create(GraphPtr graph, Request request);

  // Whether the request may join the step in which the caller asks for
  // `original`. Costs next to nothing for a request without such inputs, and
  // when the caller asks for the same as at the last call.
  bool Allows(const Request& original);

  // The request's inputs by name, for logs.
  std::vector<std::string> inputs() const;

 private:
  InputGuard(GraphPtr graph, Request request);

  // The inputs that `request` reaches when `feeds` are fed, sorted.
  using Nodes = std::vector<const tensorflow::Node*>;
  Nodes Reach(const Request& request,
              const std::vector<std::string>& feeds) const;
  bool Brings(const Request& original) const;

  GraphPtr graph_;
  Request request_;
  Nodes inputs_;

  // The last step asked about, and the answer to Brings().
  std::optional<Request> last_;
  bool last_brings_ = false;
  bool was_brought_ = false;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_INPUT_GUARD_H_

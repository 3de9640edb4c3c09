// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_CLOSURE_H_
#define TFTRAIN_SESSION_INTERNAL_CLOSURE_H_

#include <string>
#include <vector>

#include "tftrain/graph/graph.h"
#include "tftrain/session/request.h"

namespace tftrain::internal {

// The operations that run when a request does. Follows the edges of a finalized
// graph; does not look into functions.
// Thread-compatible: const calls may run together.
class Closure {
 public:
  // What `request` reaches when the tensors `feeds` are fed. A name that the
  // graph does not have reaches nothing.
  Closure(const Graph& graph, const Request& request,
          const std::vector<std::string>& feeds);

  bool Contains(const tensorflow::Node* node) const {
    return reached_[static_cast<size_t>(node->id())];
  }
  // In no particular order.
  const std::vector<const tensorflow::Node*>& nodes() const { return nodes_; }

 private:
  std::vector<bool> reached_;  // by the nodes' ids
  std::vector<const tensorflow::Node*> nodes_;
};

// Whether `node` fails a run that does not feed it.
bool NeedsFeed(const tensorflow::Node* node);

// Whether each run of `node` takes something away from an input: an iterator,
// a queue or a reader.
bool ConsumesInput(const tensorflow::Node* node);

// Whether a run of `node` leaves everything as it was, so that running it
// without being asked costs time and nothing else.
bool ChangesNothing(const tensorflow::Node* node);

// Whether a run of `node` may change a variable or a table. Queues and
// iterators have locks of their own, and may block.
bool ChangesVariables(const tensorflow::Node* node);

// Whether a run of `node` may wait until somebody takes something out of a
// queue.
bool FillsQueue(const tensorflow::Node* node);

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_CLOSURE_H_

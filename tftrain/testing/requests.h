// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Requests for tests, told in a few words.

#ifndef TFTRAIN_TESTING_REQUESTS_H_
#define TFTRAIN_TESTING_REQUESTS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tftrain/session/request.h"

namespace tftrain {

// A request for tensors of any type, operations and feeds by name.
// Thread-safe.
inline RequestPtr Asks(std::vector<std::string> fetches,
                       std::vector<std::string> targets = {},
                       std::vector<std::string> feeds = {}) {
  Request request;
  request.fetches = std::move(fetches);
  request.dtypes.resize(request.fetches.size());
  request.targets = std::move(targets);
  request.feeds = std::move(feeds);
  return std::make_shared<const Request>(std::move(request));
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_REQUESTS_H_

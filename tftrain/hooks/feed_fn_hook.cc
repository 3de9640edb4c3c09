// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/feed_fn_hook.h"

#include <utility>

#include "tensorflow/core/platform/statusor.h"

namespace tftrain {

FeedFnHook::FeedFnHook(FeedFn feed_fn) : feed_fn_(std::move(feed_fn)) {}

absl::Status FeedFnHook::Begin(BeginContext&) {
  if (feed_fn_ == nullptr) {
    return absl::InvalidArgumentError(
        "there is no function to feed from, give one that returns feeds");
  }
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> FeedFnHook::BeforeRun(SessionRunContext&) {
  TF_ASSIGN_OR_RETURN(const Feeds feeds, feed_fn_());
  return feeds.empty() ? SessionRunArgs() : SessionRunArgs::FeedOnly(feeds);
}

std::shared_ptr<FeedFnHook> FeedFrom(FeedFnHook::FeedFn feed_fn) {
  return std::make_shared<FeedFnHook>(std::move(feed_fn));
}

}  // namespace tftrain

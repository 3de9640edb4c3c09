// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Feeds every step from a function.

#ifndef TFTRAIN_HOOKS_FEED_FN_HOOK_H_
#define TFTRAIN_HOOKS_FEED_FN_HOOK_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/runnable.h"

namespace tftrain {

// Calls a function before each step and feeds what it returns; empty feeds feed
// nothing. A tensor must not be fed by the caller, or another hook, as well
// (kFailedPrecondition).
//
// An error of the function is Run()'s: EndOfInputError() ends training cleanly
// when there is no more data.
//
// Python: `tf.compat.v1.train.FeedFnHook`.
//
// Confined: the session calls a hook, and the hook its function, from one
// thread.
//
//   options.hooks = {FeedFrom([&] { return Feeds{{"x:0", NextBatch()}}; })};
class FeedFnHook : public SessionRunHook {
 public:
  using FeedFn = std::function<absl::StatusOr<Feeds>()>;

  explicit FeedFnHook(FeedFn feed_fn);

  // Errors: kInvalidArgument when there is no function.
  absl::Status Begin(BeginContext& context) override;

  // Errors: those of the function.
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;

 private:
  const FeedFn feed_fn_;
};

// Feeds what `feed_fn` returns.
std::shared_ptr<FeedFnHook> FeedFrom(FeedFnHook::FeedFn feed_fn);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_FEED_FN_HOOK_H_

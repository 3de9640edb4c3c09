// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Looks at values when training has ended.

#ifndef TFTRAIN_HOOKS_FINAL_OPS_HOOK_H_
#define TFTRAIN_HOOKS_FINAL_OPS_HOOK_H_

#include <optional>

#include "absl/status/status.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/fetch.h"
#include "tftrain/session/runnable.h"

namespace tftrain {

// Runs fetches once, at the clean end of a session, and keeps their values. It
// is a run of its own: what reads the input must not be among them.
//
// Python: `tf.compat.v1.train.FinalOpsHook`.
//
// Confined: the session calls a hook from one thread; the values may be read
// once the session is closed.
//
//   auto accuracy = std::make_shared<FinalOpsHook>(Fetch<float>("accuracy:0"));
//   options.hooks = {accuracy};
//   ...
//   TF_ASSIGN_OR_RETURN(float value,
//                       accuracy->final_ops_values()->Get<float>());
class FinalOpsHook : public SessionRunHook {
 public:
  // `final_ops` is a Fetch, a Target, a List or a Map; nothing runs nothing.
  explicit FinalOpsHook(std::optional<FetchTree> final_ops,
                        Feeds final_ops_feed_dict = {});

  absl::Status Begin(BeginContext& context) override;

  // Errors: kInvalidArgument for what the graph does not have.
  // Python: told by the run at the end.
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;

  // Errors: those of Session::Run(), but kFailedPrecondition for the end of the
  // input.
  // Python: OutOfRangeError, after a warning.
  absl::Status End(Session& session) override;

  // What End() found, of the shape of `final_ops`; nothing before that, and
  // when there was nothing to run.
  const std::optional<Value>& final_ops_values() const {
    return final_ops_values_;
  }

 private:
  const std::optional<FetchTree> final_ops_;
  const Feeds final_ops_feed_dict_;
  std::optional<Value> final_ops_values_;
};

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_FINAL_OPS_HOOK_H_

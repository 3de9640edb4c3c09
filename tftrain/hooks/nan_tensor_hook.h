// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Ends training, or takes it back, when the loss is not a number.

#ifndef TFTRAIN_HOOKS_NAN_TENSOR_HOOK_H_
#define TFTRAIN_HOOKS_NAN_TENSOR_HOOK_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/base/clock.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/setup/scaffold.h"

namespace tftrain {

// Looks at a tensor in every step, and fails the step, or asks for a stop, when
// it is NaN: one of its elements, if it has several. The tensor is a part of
// the step that is judged, so what is found is of this step and no later one.
//
// The hook judges (SessionRunHook::Judge()): wherever it is in the list, no
// hook saves what such a step made of the variables, neither then nor at the
// end, and the newest checkpoint stays one of a good step. A step may spoil the
// variables while its own loss, computed before, is still a number: so, beside
// a hook that judges, CheckpointSaverHook looks at the variables themselves
// (`non_finite`).
//
// With `max_rollbacks` training goes on instead: the newest checkpoint of
// `checkpoint_dir` that is intact, and in which nothing is NaN, is restored
// into the running session, input and all that is not in the checkpoint staying
// where they are, and the step counts as undone: no hook gets its AfterRun(),
// and its caller gets OK and the values. A save in the background is waited for
// first.
//
// Python: `tf.compat.v1.train.NanTensorHook`, which is called in its turn, and
// fails for a tensor of several elements.
//
// Confined: the session calls a hook from one thread.
//
//   options.hooks = {StopAtNan("loss:0"),
//                    SaveCheckpoints("run", Every::Steps(500))};
class NanTensorHook : public SessionRunHook {
 public:
  struct Options {
    // The tensor, "loss:0", of floating or complex type.
    std::string loss_tensor;

    // Whether Run() fails, with NanLossError() (IsNanLoss()); else a stop is
    // requested, with the same text as its reason, and the step is finished.
    bool fail_on_nan_loss = true;

    // Whether an infinity counts as NaN does. A checkpoint that holds one is
    // restored only where none is without: then it belongs to the model.
    bool also_infinite = false;

    // How often, in the life of the session, training may be taken back; then
    // it ends as without it. 0 is never. `checkpoint_dir` must be set
    // otherwise.
    int max_rollbacks = 0;

    // Where CheckpointSaverHook saves.
    std::string checkpoint_dir;

    // What restores; null is the saver of the session's scaffold. Must be the
    // one that saves.
    std::shared_ptr<Saver> saver;

    // Must outlive the hook. Null means the machine's clock.
    Clock* clock = nullptr;
  };

  explicit NanTensorHook(Options options);

  // Errors: kInvalidArgument for a tensor that the graph does not have or whose
  // type has no NaN, for negative `max_rollbacks`, and when those are given
  // without `checkpoint_dir`.
  absl::Status Begin(BeginContext& context) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  bool judges() const override { return true; }

  // Errors: NanLossError() with the name of the tensor and the global step.
  absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                    const SessionRunValues& values) override;

  // How often training was taken back in this session.
  int rollbacks() const { return rollbacks_; }

 private:
  // Restores the newest good checkpoint, and returns its prefix.
  absl::StatusOr<std::string> RollBack(Session& session) const;
  // Whether that is one. `*has_infinity`: nothing but an infinity is against
  // it.
  absl::Status CheckGood(const std::string& prefix, bool* has_infinity) const;

  const Options options_;
  Clock* const clock_;
  SessionRunArgs args_;
  std::shared_ptr<Scaffold> scaffold_;
  int rollbacks_ = 0;
};

// Fails the step in which `loss_tensor` is NaN.
std::shared_ptr<NanTensorHook> StopAtNan(std::string loss_tensor);

// Takes training back to the newest good checkpoint of `checkpoint_dir` when
// `loss_tensor` is NaN or infinite, at most `max_rollbacks` times.
std::shared_ptr<NanTensorHook> RollBackAtNan(std::string loss_tensor,
                                             std::string checkpoint_dir,
                                             int max_rollbacks);

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_NAN_TENSOR_HOOK_H_

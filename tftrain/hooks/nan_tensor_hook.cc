// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/nan_tensor_hook.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/internal/non_finite.h"
#include "tftrain/hooks/internal/training_pause.h"
#include "tftrain/session/fetch.h"

namespace tftrain {
namespace {

// The checkpoints of `folder`: those that its state file names, then, as that
// may be lost or damaged, the others.
absl::StatusOr<std::vector<std::string>> NewestFirst(
    const std::string& folder) {
  std::vector<std::string> prefixes;
  const absl::StatusOr<std::optional<CheckpointState>> state =
      GetCheckpointState(folder);
  if (!state.ok()) {
    LOG(WARNING) << state.status().message();
  } else if (state->has_value()) {
    prefixes = (*state)->all_model_checkpoint_paths;
    std::reverse(prefixes.begin(), prefixes.end());
  }
  absl::StatusOr<std::vector<ListedCheckpoint>> listed =
      ListCheckpoints(folder);
  if (absl::IsNotFound(listed.status())) listed.emplace();
  TF_RETURN_IF_ERROR(listed.status());
  for (ListedCheckpoint& each : *listed) {
    if (each.complete && std::find(prefixes.begin(), prefixes.end(),
                                   each.prefix) == prefixes.end()) {
      prefixes.push_back(std::move(each.prefix));
    }
  }
  return prefixes;
}

}  // namespace

NanTensorHook::NanTensorHook(Options options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? options_.clock : Clock::Real()) {}

absl::Status NanTensorHook::Begin(BeginContext& context) {
  TF_ASSIGN_OR_RETURN(const TensorRef loss,
                      context.graph().FindTensor(options_.loss_tensor));
  if (!internal::CanBeNonFinite(loss.dtype())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the tensor \"", options_.loss_tensor, "\" is of type ",
        tensorflow::DataTypeString(loss.dtype()),
        ", which has no NaN; name one of floating or complex type"));
  }
  if (options_.max_rollbacks < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_rollbacks is \"", options_.max_rollbacks, "\", give 0 or more"));
  }
  if (options_.max_rollbacks > 0 && options_.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint_dir is empty, give the folder of the checkpoints that "
        "max_rollbacks is about");
  }
  args_ = SessionRunArgs(Fetch<tensorflow::Tensor>(options_.loss_tensor));
  context.Declare(args_);
  scaffold_ = context.scaffold();
  rollbacks_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<SessionRunArgs> NanTensorHook::BeforeRun(SessionRunContext&) {
  return args_;
}

absl::StatusOr<StepVerdict> NanTensorHook::Judge(
    SessionRunContext& context, const SessionRunValues& values) {
  const tensorflow::Tensor& loss = values.results()[0];
  const std::optional<internal::NonFinite> found =
      internal::FindNonFinite(loss, options_.also_infinite);
  if (!found.has_value()) return StepVerdict::kGood;

  std::string failure =
      absl::StrCat("the tensor \"", options_.loss_tensor, "\" holds ",
                   internal::ToString(*found, loss));
  // A graph need not have a global step.
  if (const auto step = context.GlobalStep(); step.ok()) {
    absl::StrAppend(&failure, " at the global step ", *step);
  }
  if (rollbacks_ < options_.max_rollbacks) {
    const absl::StatusOr<std::string> restored = RollBack(context.session());
    if (restored.ok()) {
      ++rollbacks_;
      LOG(WARNING) << "Restored \"" << *restored << "\", as " << failure << " ("
                   << rollbacks_ << " of " << options_.max_rollbacks
                   << " times)";
      return StepVerdict::kUndone;
    }
    absl::StrAppend(&failure, "; training cannot be taken back: ",
                    restored.status().message());
  } else if (rollbacks_ > 0) {
    absl::StrAppend(&failure, "; training was taken back ", rollbacks_,
                    " times already");
  }
  if (options_.fail_on_nan_loss) {
    return NanLossError(absl::StrCat(
        failure,
        "; look for what is unusual in this step's input, or train "
        "more slowly"));
  }
  LOG(WARNING) << "Training ends, as " << failure;
  context.RequestStop(std::move(failure));
  return StepVerdict::kBad;
}

absl::StatusOr<std::string> NanTensorHook::RollBack(Session& session) const {
  const internal::TrainingPause pause(clock_);
  const std::shared_ptr<Saver> saver =
      options_.saver != nullptr ? options_.saver : scaffold_->saver();
  if (saver == nullptr) {
    return absl::FailedPreconditionError(
        "the session has no saver; give one to its scaffold");
  }
  // One in the background is the newest once it has ended.
  TF_RETURN_IF_ERROR(saver->AwaitSave());
  TF_ASSIGN_OR_RETURN(const std::vector<std::string> prefixes,
                      NewestFirst(options_.checkpoint_dir));
  const auto restore = [&](const std::string& prefix, absl::Status good) {
    if (good.ok()) {
      good = saver->Restore(session, prefix, RestorePart::kAllButIterators);
    }
    if (!good.ok()) {
      LOG(WARNING) << "Passed over the checkpoint \"" << prefix
                   << "\": " << good.message();
    }
    return good.ok();
  };
  std::vector<std::string> infinite;
  for (const std::string& prefix : prefixes) {
    bool has_infinity = false;
    const absl::Status good = CheckGood(prefix, &has_infinity);
    if (has_infinity) infinite.push_back(prefix);
    if (restore(prefix, good)) return prefix;
  }
  // An infinity that none is without belongs to the model.
  for (const std::string& prefix : infinite) {
    if (restore(prefix, absl::OkStatus())) return prefix;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("there is no good checkpoint in \"", options_.checkpoint_dir,
                   "\"; save there, and before the loss becomes NaN"));
}

absl::Status NanTensorHook::CheckGood(const std::string& prefix,
                                      bool* has_infinity) const {
  TF_ASSIGN_OR_RETURN(const std::vector<TensorStatistics> found,
                      ScanForNonFinite(prefix));
  const auto is_nan = [](const TensorStatistics& t) { return t.nans > 0; };
  const auto nan = std::find_if(found.begin(), found.end(), is_nan);
  if (nan != found.end()) {
    return absl::DataLossError(
        absl::StrCat("its variable \"", nan->name, "\" holds a NaN"));
  }
  *has_infinity = options_.also_infinite && !found.empty();
  if (!*has_infinity) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("its variable \"", found.front().name,
                                          "\" holds an infinity"));
}

std::shared_ptr<NanTensorHook> StopAtNan(std::string loss_tensor) {
  NanTensorHook::Options options;
  options.loss_tensor = std::move(loss_tensor);
  return std::make_shared<NanTensorHook>(std::move(options));
}

std::shared_ptr<NanTensorHook> RollBackAtNan(std::string loss_tensor,
                                             std::string checkpoint_dir,
                                             int max_rollbacks) {
  NanTensorHook::Options options;
  options.loss_tensor = std::move(loss_tensor);
  options.also_infinite = true;
  options.checkpoint_dir = std::move(checkpoint_dir);
  options.max_rollbacks = max_rollbacks;
  return std::make_shared<NanTensorHook>(std::move(options));
}

}  // namespace tftrain

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Sets the variables of a session to those of a checkpoint. Used by Saver.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_H_

#include <string>

#include "absl/status/status.h"
#include "tensorflow/core/protobuf/saver.pb.h"
#include "tftrain/checkpoint/internal/save_graph.h"
#include "tftrain/checkpoint/restore_plan.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// Sets what `part` and `spec` (null: all, which must fit) take of the
// checkpoint `prefix`, by what `graph` knows of the operations that `def`
// names. The checkpoint must not be deleted meanwhile.
// Errors: those of Saver::Restore().
absl::Status RestoreCheckpoint(Session& session, const SaveGraph& graph,
                               const tensorflow::SaverDef& def,
                               const std::string& prefix, RestorePart part,
                               const RestoreSpec* spec);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_RESTORE_H_

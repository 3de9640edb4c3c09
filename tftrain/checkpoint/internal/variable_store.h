// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_VARIABLE_STORE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_VARIABLE_STORE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/refcount.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// Where the runtime keeps a resource variable.
struct VariableName {
  std::string container;  // empty: the default one
  std::string name;
};

// The resource variables of a session in this process, reached without a run:
// ten thousand of them in milliseconds, where making the plan of such a run
// takes seconds.
//
// Confined: use from one thread at a time, while no step runs that changes
// variables (StepHold), and not longer than the session.
class VariableStore {
 public:
  // Nothing for a session on a server.
  static std::optional<VariableStore> Of(const Session& session);

  // The variable, or null when it does not exist (yet).
  tensorflow::core::RefCountPtr<tensorflow::Var> Find(
      const VariableName& variable) const;

  // Whether a variable that does not exist can be made here: with several
  // devices nobody knows on which one it belongs.
  bool can_make() const { return stores_.size() == 1; }

  // The variable, made without a value when it does not exist.
  // Errors: kInvalidArgument when it has another type.
  // REQUIRES: it exists, or can_make().
  absl::StatusOr<tensorflow::core::RefCountPtr<tensorflow::Var>> FindOrMake(
      const VariableName& variable, tensorflow::DataType dtype);

 private:
  explicit VariableStore(const tensorflow::DeviceMgr* devices);

  std::vector<tensorflow::ResourceMgr*> stores_;  // one for each device
};

// Makes `value`, which nobody else may hold, the value of `variable`.
void Assign(tensorflow::Tensor value, tensorflow::Var* variable);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_VARIABLE_STORE_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/variable_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"

namespace tftrain::internal {
namespace {

using tensorflow::Var;
using tensorflow::core::RefCountPtr;

const std::string& ContainerOf(const VariableName& variable,
                               const tensorflow::ResourceMgr& resources) {
  return variable.container.empty() ? resources.default_container()
                                    : variable.container;
}

}  // namespace

std::optional<VariableStore> VariableStore::Of(const Session& session) {
  const tensorflow::DeviceMgr* devices = nullptr;
  if (!session.is_local() ||
      !session.engine()->LocalDeviceManager(&devices).ok()) {
    return std::nullopt;
  }
  return VariableStore(devices);
}

VariableStore::VariableStore(const tensorflow::DeviceMgr* devices) {
  for (tensorflow::Device* device : devices->ListDevices()) {
    stores_.push_back(device->resource_manager());
  }
}

RefCountPtr<Var> VariableStore::Find(const VariableName& variable) const {
  for (tensorflow::ResourceMgr* resources : stores_) {
    Var* found = nullptr;
    if (resources
            ->Lookup(ContainerOf(variable, *resources), variable.name, &found)
            .ok()) {
      return RefCountPtr<Var>(found);
    }
  }
  return nullptr;
}

absl::StatusOr<RefCountPtr<Var>> VariableStore::FindOrMake(
    const VariableName& variable, tensorflow::DataType dtype) {
  RefCountPtr<Var> found = Find(variable);
  if (found == nullptr) {
    Var* made = nullptr;
    TF_RETURN_IF_ERROR(stores_.front()->LookupOrCreate<Var>(
        ContainerOf(variable, *stores_.front()), variable.name, &made,
        [dtype](Var** result) {
          *result = new Var(dtype);
          return absl::OkStatus();
        }));
    found.reset(made);
  }
  if (found->tensor()->dtype() != dtype) {
    return absl::InvalidArgumentError(
        absl::StrCat("the variable \"", variable.name, "\" holds ",
                     tensorflow::DataType_Name(found->tensor()->dtype()),
                     ", not ", tensorflow::DataType_Name(dtype)));
  }
  return found;
}

void Assign(tensorflow::Tensor value, Var* variable) {
  tensorflow::mutex_lock lock(*variable->mu());
  *variable->tensor() = std::move(value);
  variable->is_initialized = true;
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/session/internal/global_step_reader.h"

#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/resource_mgr.h"

namespace tftrain::internal {

GlobalStepReader::GlobalStepReader(const Variable& step,
                                   std::shared_ptr<Engine> engine)
    : value_name_(step.value().name()), engine_(std::move(engine)) {
  const tensorflow::Node* handle = step.handle().node();
  is_direct_ =
      engine_->is_local() && handle->type_string() == "VarHandleOp" &&
      tensorflow::TryGetNodeAttr(handle->attrs(), "container", &container_) &&
      tensorflow::TryGetNodeAttr(handle->attrs(), "shared_name", &shared_name_);
}

tensorflow::Var* GlobalStepReader::Bind() {
  MutexLock lock(mu_);
  // Another thread may have found it meanwhile.
  tensorflow::Var* bound = variable_.load(std::memory_order_acquire);
  if (bound != nullptr && !bound->RefCountIsOne()) return bound;
  for (tensorflow::Device* device : engine_->devices()->ListDevices()) {
    tensorflow::ResourceMgr* resources = device->resource_manager();
    tensorflow::Var* found = nullptr;
    const std::string& container =
        container_.empty() ? resources->default_container() : container_;
    if (resources->Lookup(container, shared_name_, &found).ok()) {
      held_.emplace_back(found);
      variable_.store(found, std::memory_order_release);
      return found;
    }
  }
  return nullptr;
}

std::optional<int64_t> GlobalStepReader::Read() {
  tensorflow::Var* variable = variable_.load(std::memory_order_acquire);
  // A variable that nobody else holds is one the runtime has destroyed.
  if (variable == nullptr || variable->RefCountIsOne()) variable = Bind();
  if (variable == nullptr) return std::nullopt;
  tensorflow::tf_shared_lock variable_lock(*variable->mu());
  const tensorflow::Tensor& value = *variable->tensor();
  if (!variable->is_initialized || value.NumElements() != 1) {
    return std::nullopt;
  }
  if (value.dtype() == tensorflow::DT_INT64) {
    return *static_cast<const int64_t*>(value.data());
  }
  if (value.dtype() == tensorflow::DT_INT32) {
    return *static_cast<const int32_t*>(value.data());
  }
  return std::nullopt;
}

}  // namespace tftrain::internal

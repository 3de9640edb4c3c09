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
  is_direct_ = engine_->is_local() &&
               handle->type_string() == "VarHandleOp" &&
               tensorflow::TryGetNodeAttr(handle->attrs(), "container",
                                          &container_) &&
               tensorflow::TryGetNodeAttr(handle->attrs(), "shared_name",
                                          &shared_name_);
}

void GlobalStepReader::Bind() {
  variable_.reset();
  for (tensorflow::Device* device : engine_->devices()->ListDevices()) {
    tensorflow::ResourceMgr* resources = device->resource_manager();
    tensorflow::Var* found = nullptr;
    const std::string& container =
        container_.empty() ? resources->default_container() : container_;
    if (resources->Lookup(container, shared_name_, &found).ok()) {
      variable_.reset(found);
      return;
    }
  }
}

std::optional<int64_t> GlobalStepReader::Read() {
  MutexLock lock(mu_);
  // A variable that nobody else holds is one the runtime has destroyed.
  if (variable_ == nullptr || variable_->RefCountIsOne()) Bind();
  if (variable_ == nullptr) return std::nullopt;
  tensorflow::tf_shared_lock variable_lock(*variable_->mu());
  const tensorflow::Tensor& value = *variable_->tensor();
  if (!variable_->is_initialized || value.NumElements() != 1) {
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

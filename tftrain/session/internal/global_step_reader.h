// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_SESSION_INTERNAL_GLOBAL_STEP_READER_H_
#define TFTRAIN_SESSION_INTERNAL_GLOBAL_STEP_READER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/platform/refcount.h"
#include "tftrain/base/mutex.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/internal/engine.h"

namespace tftrain::internal {

// Reads the global step without a run: from the resource variable itself, when
// the runtime is in this process.
// Thread-safe.
class GlobalStepReader {
 public:
  GlobalStepReader(const Variable& step, std::shared_ptr<Engine> engine);

  // Whether the variable can be read without a run at all.
  bool is_direct() const { return is_direct_; }

  // The tensor to fetch when it cannot: a reference, or the read of a handle.
  const std::string& value_name() const { return value_name_; }

  // The value, or nothing when the variable has none yet.
  // REQUIRES: is_direct().
  std::optional<int64_t> Read();

 private:
  // Finds the variable, and again after it was destroyed.
  tensorflow::Var* Bind();

  const std::string value_name_;
  const std::shared_ptr<Engine> engine_;
  bool is_direct_ = false;
  std::string container_;
  std::string shared_name_;

  // The last one of `held_`, which keeps former ones for threads that still
  // read them. Variables are destroyed once in a lifetime, if at all.
  std::atomic<tensorflow::Var*> variable_{nullptr};
  Mutex mu_;
  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> held_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SESSION_INTERNAL_GLOBAL_STEP_READER_H_

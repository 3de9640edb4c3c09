// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_PROFILER_CLAIM_H_
#define TFTRAIN_HOOKS_INTERNAL_PROFILER_CLAIM_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "tftrain/base/mutex.h"
#include "tftrain/session/session.h"

namespace tftrain::internal {

// The right of one session's hooks to TensorFlow's profiler, of which a process
// has one: from the moment in which a hook decides to use it, which is before
// the runtime takes it, until it is free again. Programs that use the profiler
// without a hook claim nothing.
//
// Thread-safe.
class ProfilerClaim {
 public:
  // A claim, which lasts as long as somebody holds it; null while another
  // session has one.
  static std::shared_ptr<const ProfilerClaim> Take(const Session& session) {
    MutexLock lock(mu_);
    std::shared_ptr<const ProfilerClaim> claim = taken_.lock();
    if (claim == nullptr) {
      claim.reset(new ProfilerClaim(session.identity()));
      taken_ = claim;
    }
    if (claim->session_.lock() != session.identity().lock()) return nullptr;
    return claim;
  }

 private:
  explicit ProfilerClaim(std::weak_ptr<const void> session)
      : session_(std::move(session)) {}

  inline static Mutex mu_;
  inline static std::weak_ptr<const ProfilerClaim> taken_ ABSL_GUARDED_BY(mu_);

  const std::weak_ptr<const void> session_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_PROFILER_CLAIM_H_

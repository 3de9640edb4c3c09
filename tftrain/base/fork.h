// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Tells a process from the child it forked.

#ifndef TFTRAIN_BASE_FORK_H_
#define TFTRAIN_BASE_FORK_H_

namespace tftrain {

// Tells whether this process was forked after the object was made. None of the
// parent's threads live on in such a child: what waits for one, or is locked by
// one, hangs there. A class with threads has a member of this type, and does
// nothing in a child. Asking costs one relaxed atomic load.
//
// Thread-safe.
class ForkCheck {
 public:
  ForkCheck();

  bool InChild() const;

 private:
  const int generation_;
};

}  // namespace tftrain

#endif  // TFTRAIN_BASE_FORK_H_

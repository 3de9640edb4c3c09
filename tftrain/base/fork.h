// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Tells a process from the child it forked.

#ifndef TFTRAIN_BASE_FORK_H_
#define TFTRAIN_BASE_FORK_H_

namespace tftrain {

// A number that a child made by `fork` does not share with its parent. None of
// the parent's threads live on in such a child, so that a TensorFlow session
// made before the fork hangs there: a session keeps the number it was made
// under and refuses to run under another. Costs one relaxed atomic load.
//
// Thread-safe.
int ForkGeneration();

}  // namespace tftrain

#endif  // TFTRAIN_BASE_FORK_H_

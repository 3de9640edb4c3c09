// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_MONITORED_INTERNAL_RUN_OPTIONS_H_
#define TFTRAIN_MONITORED_INTERNAL_RUN_OPTIONS_H_

#include "tensorflow/core/protobuf/config.pb.h"

namespace tftrain::internal {

// Adds what a hook asks for to the options of a step: numbers become the larger
// one, flags are joined, tensors to watch are appended. Other fields stay.
// Python: _HookedSession._merge_run_options, which changes the caller's object.
void MergeRunOptions(const tensorflow::RunOptions& from,
                     tensorflow::RunOptions* into);

}  // namespace tftrain::internal

#endif  // TFTRAIN_MONITORED_INTERNAL_RUN_OPTIONS_H_

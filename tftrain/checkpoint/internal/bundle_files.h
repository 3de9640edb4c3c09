// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FILES_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FILES_H_

#include <memory>

#include "tensorflow/core/platform/env.h"
#include "tftrain/base/file.h"

namespace tftrain::internal {

// An environment for TensorFlow's BundleWriter, whose new files are those of
// base/file.h: made anew, by nobody's link, readable by their owner only until
// they are whole, on the disk when they are closed, and with errors that never
// look like the end of the input; made as `options` say. So are the errors of
// renaming and deleting them. Everything else is TensorFlow's own.
//
// Thread-safe.
std::unique_ptr<tensorflow::Env> BundleFiles(const WriteOptions& options);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_FILES_H_

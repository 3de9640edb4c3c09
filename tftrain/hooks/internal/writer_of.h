// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_WRITER_OF_H_
#define TFTRAIN_HOOKS_INTERNAL_WRITER_OF_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "tftrain/summary/event_file_writer_cache.h"

namespace tftrain::internal {

// The event file writer that a hook's options name: `writer`, else that of
// `folder`, else null.
// Errors: those of EventFileWriterCache::Get.
//
// Thread-safe.
inline absl::StatusOr<std::shared_ptr<EventFileWriter>> WriterOf(
    std::shared_ptr<EventFileWriter> writer, const std::string& folder) {
  if (writer != nullptr || folder.empty()) return writer;
  return EventFileWriterCache::Get(folder);
}

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_WRITER_OF_H_

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

// Lets go of a writer, which others may hold as well, at the end of a session,
// good or bad: what it was given is in the file, unless the disk fails. The log
// tells that, and it spoils no training.
inline void LetGoOf(std::shared_ptr<EventFileWriter>* writer) {
  if (*writer != nullptr) (*writer)->AwaitFlush();
  writer->reset();
}

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_WRITER_OF_H_

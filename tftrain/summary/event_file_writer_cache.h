// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One event file writer per folder, however many ask for it.

#ifndef TFTRAIN_SUMMARY_EVENT_FILE_WRITER_CACHE_H_
#define TFTRAIN_SUMMARY_EVENT_FILE_WRITER_CACHE_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "tftrain/summary/event_file_writer.h"

namespace tftrain {

// The writers of this process, by folder. The cache holds none of them itself:
// the hooks of a session that name the same folder share a writer, and it
// closes when the last of them lets go of it. The next one to ask for the
// folder begins a new file.
//
// Thread-safe.
//
// Python: `tf.compat.v1.summary.FileWriterCache`, which compares the folders'
// names letter by letter and never closes what it holds.
class EventFileWriterCache {
 public:
  EventFileWriterCache() = delete;

  // The writer for the folder `logdir`, which is made if it is missing; with
  // the default options if it is a new one. `d`, `d/`, `./d` and a link to it
  // are the same folder. A writer that somebody closed is not given out again.
  //
  // Errors: those of `EventFileWriter::Create`.
  static absl::StatusOr<std::shared_ptr<EventFileWriter>> Get(
      std::string_view logdir);

  // Closes all writers given out that are still in use.
  //
  // Python: `FileWriterCache.clear`.
  static void Clear();
};

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_EVENT_FILE_WRITER_CACHE_H_

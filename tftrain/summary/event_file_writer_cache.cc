// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/event_file_writer_cache.h"

#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/base/mutex.h"

namespace tftrain {
namespace {

// Thread-safe.
struct Cache {
  Mutex mu;
  // By the folder's path without links.
  std::map<std::string, std::weak_ptr<EventFileWriter>> writers
      ABSL_GUARDED_BY(mu);
};

// Never destroyed, as writers may be asked for until the end of the program.
Cache& TheCache() {
  static Cache* const cache = new Cache;
  return *cache;
}

void EraseExpired(std::map<std::string, std::weak_ptr<EventFileWriter>>* map) {
  for (auto it = map->begin(); it != map->end();) {
    it = it->second.expired() ? map->erase(it) : std::next(it);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<EventFileWriter>> EventFileWriterCache::Get(
    std::string_view logdir) {
  if (logdir.empty()) return EventFileWriter::Create({});
  TF_RETURN_IF_ERROR(CreateFolders(logdir));
  std::error_code error;
  const std::filesystem::path key = std::filesystem::canonical(logdir, error);
  if (error) {
    return ErrnoError(error.value(), "cannot look at the folder", logdir);
  }
  Cache& cache = TheCache();
  MutexLock lock(cache.mu);
  EraseExpired(&cache.writers);
  std::weak_ptr<EventFileWriter>& slot = cache.writers[key.string()];
  std::shared_ptr<EventFileWriter> writer = slot.lock();
  if (writer != nullptr && !writer->closed()) return writer;
  EventFileWriter::Options options;
  options.logdir = std::string(logdir);
  TF_ASSIGN_OR_RETURN(writer, EventFileWriter::Create(std::move(options)));
  slot = writer;
  return writer;
}

void EventFileWriterCache::Clear() {
  std::vector<std::shared_ptr<EventFileWriter>> writers;
  {
    Cache& cache = TheCache();
    MutexLock lock(cache.mu);
    for (const auto& [folder, slot] : cache.writers) {
      if (std::shared_ptr<EventFileWriter> writer = slot.lock()) {
        writers.push_back(std::move(writer));
      }
    }
    cache.writers.clear();
  }
  // Errors are in the log.
  for (const auto& writer : writers) writer->Close().IgnoreError();
}

}  // namespace tftrain

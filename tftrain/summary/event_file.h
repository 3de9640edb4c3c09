// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One event file on disk: a sequence of TFRecords. Used by EventFileWriter.

#ifndef TFTRAIN_SUMMARY_EVENT_FILE_H_
#define TFTRAIN_SUMMARY_EVENT_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tftrain::internal {

// A file made anew, under a name that nobody has, to which whole records are
// appended. States: open -> failed -> closed; only closing is of use after an
// error.
//
// Confined: use from the thread that created it.
class EventFile {
 public:
  struct Options {
    std::string folder;
    // Seconds since 1970, the part of the name by which readers order files;
    // more are taken where the folder has a file of that second or later.
    int64_t seconds = 0;
    // The end of the name; no slash in it.
    std::string suffix;
    // Permissions; the process's umask is taken off them.
    mode_t mode = 0666;
  };

  // Makes the file `events.out.tfevents.<seconds>.<host>.<pid>.<count><suffix>`
  // in the folder, in which the count goes through all files of the process.
  // Never opens a file that exists, nor follows a link.
  //
  // Errors: those of `base/file.h`.
  static absl::StatusOr<std::unique_ptr<EventFile>> Create(
      const Options& options);

  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  ~EventFile();

  const std::string& path() const;

  // The seconds in its name.
  int64_t seconds() const;

  // Takes the permissions beyond `mode` from the file.
  absl::Status NarrowMode(mode_t mode);

  // Puts a record into the buffer.
  void Append(std::string_view record);

  // Hands what is in the buffer to the system, which keeps it should this
  // process die. Not forced to the disk.
  absl::Status Flush();

  // Flushes and closes.
  absl::Status Close();

  // Whether somebody removed the file, so that nobody can read it any more, or
  // it cannot be told.
  bool deleted() const;

  // Bytes in the buffer.
  size_t buffered() const;

  // Records appended, and those of them that the system has in full.
  int64_t appended() const;
  int64_t written() const;

 private:
  class Impl;

  explicit EventFile(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_EVENT_FILE_H_

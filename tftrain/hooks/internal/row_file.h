// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TFTRAIN_HOOKS_INTERNAL_ROW_FILE_H_
#define TFTRAIN_HOOKS_INTERNAL_ROW_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"

namespace tftrain::internal {

// A text file of rows, one a line, in the order of the steps they are about.
// Each row is in the hands of the system when Append() returns; it is not
// forced to the disk.
//
// States: closed <-> open. An error closes the file, and the next Append()
// opens it again, which repairs it.
//
// Confined: use from one thread at a time.
class RowFile {
 public:
  // The step of a row; nothing for a line that is no row.
  using StepOf = std::function<std::optional<int64_t>(std::string_view row)>;

  // A file at `path` with the first line `header`, unless that is empty; made
  // with the permissions `mode`, of which the process's umask is taken off.
  RowFile(std::string path, mode_t mode, std::string header, StepOf step_of)
      : path_(std::move(path)),
        mode_(mode),
        header_(std::move(header)),
        step_of_(std::move(step_of)) {}
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;
  ~RowFile() { Close(); }

  // Opens the file, making it and its folder if need be. Rows of steps beyond
  // `step` and a last line that is not whole are taken away, all in one
  // moment; what else stands in the file stays. Nothing is forced to the disk.
  // Errors: kFailedPrecondition for a file with another header;
  // kResourceExhausted for one of more than 1 GiB; those of base/file.h.
  absl::Status Open(int64_t step);

  // Adds `row`, without its newline, in place of what there is of this step
  // and of later ones.
  // Errors: those of Open() and of the disk.
  absl::Status Append(int64_t step, std::string_view row);

  void Close();

 private:
  // Opens the file, of which so many bytes stay; nothing for all of them.
  absl::Status Reopen(std::optional<size_t> kept_bytes);
  // What of `contents` stays.
  std::string Kept(const std::string& contents, int64_t step);

  const std::string path_;
  const mode_t mode_;
  const std::string header_;
  const StepOf step_of_;

  int fd_ = -1;
  // The step of the last row, if there is one.
  std::optional<int64_t> last_step_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_ROW_FILE_H_

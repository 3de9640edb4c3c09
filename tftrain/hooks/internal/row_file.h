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
#include "absl/status/statusor.h"

namespace tftrain::internal {

// A text file of rows, one a line, in the order of the steps they are about.
// Each row is in the hands of the system when Append() returns; it is not
// forced to the disk. Memory does not grow with the file.
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
  RowFile(const std::string& path, mode_t mode, std::string header,
          StepOf step_of);
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;
  ~RowFile() { Close(); }

  // Opens the file, making it and its folder if need be. Behind the last row of
  // `step` or before, rows are taken away, with a line in the log, and so is a
  // last line that is not whole; what else stands there stays. Nothing is
  // forced to the disk.
  // Errors: kInvalidArgument for what is no regular file; kFailedPrecondition
  // for a file with another header, for one with more than 1 MiB of other lines
  // or a line of more than 64 MiB behind that row, and while another RowFile of
  // this process has it open; those of base/file.h.
  absl::Status Open(int64_t step);

  // Adds `row`, without its newline, in place of what there is of this step
  // and of later ones. Where somebody took the file away, a new one is begun.
  // Errors: those of Open() and of the disk.
  absl::Status Append(int64_t step, std::string_view row);

  void Close();

 private:
  // A file of the system: device and number.
  using Identity = std::pair<uint64_t, uint64_t>;

  absl::Status OpenFile();
  absl::Status Repair(int64_t step);
  // Returns how much of the file is left.
  absl::StatusOr<int64_t> TakeAway(int64_t step, int64_t size);
  absl::Status CheckHeader(int64_t size) const;
  absl::Status Cut(int64_t size) const;
  absl::Status Write(std::string_view text) const;
  // Whether the path leads to another file by now, or to none.
  bool IsGone() const;

  const std::string path_;
  const mode_t mode_;
  const std::string header_;
  const StepOf step_of_;

  int fd_ = -1;
  Identity identity_;
  // The step of the last row, if there is one.
  std::optional<int64_t> last_step_;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_HOOKS_INTERNAL_ROW_FILE_H_

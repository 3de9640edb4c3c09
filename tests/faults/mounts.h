// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// File systems of a test's own, on disks whose power it can cut.

#ifndef TFTRAIN_FAULTS_MOUNTS_H_
#define TFTRAIN_FAULTS_MOUNTS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {

// A file system that only this thread, and the threads and processes that it
// starts later, can see. It is gone at the end of the object, or of the last of
// those processes.
//
// Confined: use from the thread that created it.
class PrivateMount {
 public:
  // As mount() takes them. The first one gives the calling thread a private
  // view of all mounts.
  // Errors: those of the system; kPermissionDenied for users that may not
  // mount.
  static absl::StatusOr<std::unique_ptr<PrivateMount>> Create(
      const std::string& source, const std::string& type,
      const std::string& options);
  PrivateMount(const PrivateMount&) = delete;
  PrivateMount& operator=(const PrivateMount&) = delete;
  ~PrivateMount();

  const std::string& path() const { return dir_.path(); }

  // Mounts it again with other options.
  absl::Status Change(const std::string& options);

  // The bytes that are in use.
  int64_t UsedBytes() const;

 private:
  PrivateMount() = default;

  const TempDir dir_;
  bool mounted_ = false;
};

// A disk in memory, as a loop device; it is detached when it is neither mounted
// nor held by an object.
//
// What a file system sends to the device is at once in the memory file behind
// it, which has no cache of its own; what it still holds back is not. So the
// bytes of that file at one moment are what a power cut leaves of a disk that
// loses nothing that it was sent.
//
// Confined: use from the thread that created it.
class MemoryDisk {
 public:
  // Errors: those of the system; kPermissionDenied for users that may not use
  // loop devices, kNotFound where there are none.
  static absl::StatusOr<std::unique_ptr<MemoryDisk>> Create(int64_t size);
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;
  ~MemoryDisk();

  // The path of the device.
  const std::string& device() const { return device_; }

  // Lets every later write to the disk fail, at one moment, even in the middle
  // of what the file system writes.
  void CutPower();

  // A disk with the same bytes.
  // Errors: those of Create().
  absl::StatusOr<std::unique_ptr<MemoryDisk>> Copy() const;

 private:
  explicit MemoryDisk(int64_t size);

  absl::Status Attach();

  const int64_t size_;
  const int memory_;
  int loop_ = -1;
  std::string device_;
};

}  // namespace tftrain

#endif  // TFTRAIN_FAULTS_MOUNTS_H_

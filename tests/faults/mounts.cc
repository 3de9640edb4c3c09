// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/mounts.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/file.h"

namespace tftrain {
namespace {

absl::Status LeaveSharedMounts() {
  static bool left = false;
  if (left) return absl::OkStatus();
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoError(errno, "cannot have a private view of", "/");
  }
  left = true;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrivateMount>> PrivateMount::Create(
    const std::string& source, const std::string& type,
    const std::string& options) {
  TF_RETURN_IF_ERROR(LeaveSharedMounts());
  std::unique_ptr<PrivateMount> mount(new PrivateMount());
  if (::mount(source.c_str(), mount->path().c_str(), type.c_str(),
              MS_NODEV | MS_NOSUID, options.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat("cannot mount ", type, " on"),
                      mount->path());
  }
  mount->mounted_ = true;
  return mount;
}

PrivateMount::~PrivateMount() {
  if (mounted_) CHECK(::umount2(path().c_str(), 0) == 0) << path();
}

absl::Status PrivateMount::Change(const std::string& options) {
  if (::mount("none", path().c_str(), nullptr,
              MS_REMOUNT | MS_NODEV | MS_NOSUID, options.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat("cannot set ", options, " for"),
                      path());
  }
  return absl::OkStatus();
}

int64_t PrivateMount::UsedBytes() const {
  struct statvfs state;
  CHECK(::statvfs(path().c_str(), &state) == 0);
  return static_cast<int64_t>((state.f_blocks - state.f_bfree) *
                              state.f_frsize);
}

MemoryDisk::MemoryDisk(int64_t size)
    : size_(size),
      memory_(::memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  CHECK(::ftruncate(memory_, size) == 0);
}

MemoryDisk::~MemoryDisk() {
  ::close(loop_);
  ::close(memory_);
}

absl::StatusOr<std::unique_ptr<MemoryDisk>> MemoryDisk::Create(int64_t size) {
  std::unique_ptr<MemoryDisk> disk(new MemoryDisk(size));
  TF_RETURN_IF_ERROR(disk->Attach());
  return disk;
}

absl::Status MemoryDisk::Attach() {
  constexpr char kControl[] = "/dev/loop-control";
  const int control = ::open(kControl, O_RDWR | O_CLOEXEC);
  if (control < 0) return ErrnoError(errno, "cannot open", kControl);
  int error = 0;
  do {
    ::close(loop_);
    device_ = absl::StrCat("/dev/loop", ::ioctl(control, LOOP_CTL_GET_FREE));
    loop_ = ::open(device_.c_str(), O_RDWR | O_CLOEXEC);
    error = loop_ >= 0 && ::ioctl(loop_, LOOP_SET_FD, memory_) == 0 ? 0 : errno;
    // Another process may have taken it first.
  } while (error == EBUSY);
  ::close(control);
  if (error != 0) return ErrnoError(error, "cannot attach a disk to", device_);
  loop_info64 info = {};
  info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (::ioctl(loop_, LOOP_SET_STATUS64, &info) == 0) return absl::OkStatus();
  error = errno;
  ::ioctl(loop_, LOOP_CLR_FD);
  return ErrnoError(error, "cannot change", device_);
}

void MemoryDisk::CutPower() {
  CHECK(::fcntl(memory_, F_ADD_SEALS, F_SEAL_WRITE) == 0);
}

absl::StatusOr<std::unique_ptr<MemoryDisk>> MemoryDisk::Copy() const {
  std::unique_ptr<MemoryDisk> copy(new MemoryDisk(size_));
  // What was never written is a hole.
  off_t begin = 0;
  while ((begin = ::lseek(memory_, begin, SEEK_DATA)) >= 0) {
    const off_t end = ::lseek(memory_, begin, SEEK_HOLE);
    CHECK(::lseek(copy->memory_, begin, SEEK_SET) == begin);
    while (begin < end) {
      CHECK(::sendfile(copy->memory_, memory_, &begin,
                       static_cast<size_t>(end - begin)) > 0);
    }
  }
  TF_RETURN_IF_ERROR(copy->Attach());
  return copy;
}

}  // namespace tftrain

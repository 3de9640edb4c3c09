// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/syscall_tracer.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"

namespace tftrain {

#if defined(__x86_64__) || defined(__aarch64__)

namespace {

constexpr int kNone = -1;

// Which arguments of a system call are a descriptor and a path.
struct FileCall {
  int64_t number;
  const char* name;
  int descriptor;
  int path;
};

constexpr FileCall kFileCalls[] = {
    {SYS_openat, "openat", 0, 1},
    {SYS_close, "close", 0, kNone},
    {SYS_read, "read", 0, kNone},
    {SYS_readv, "readv", 0, kNone},
    {SYS_pread64, "pread64", 0, kNone},
    {SYS_write, "write", 0, kNone},
    {SYS_writev, "writev", 0, kNone},
    {SYS_pwrite64, "pwrite64", 0, kNone},
    {SYS_lseek, "lseek", 0, kNone},
    {SYS_ftruncate, "ftruncate", 0, kNone},
    {SYS_truncate, "truncate", kNone, 0},
    {SYS_fallocate, "fallocate", 0, kNone},
    {SYS_fsync, "fsync", 0, kNone},
    {SYS_fdatasync, "fdatasync", 0, kNone},
    {SYS_sync_file_range, "sync_file_range", 0, kNone},
    {SYS_fcntl, "fcntl", 0, kNone},
    {SYS_flock, "flock", 0, kNone},
    {SYS_fchmod, "fchmod", 0, kNone},
    {SYS_fchmodat, "fchmodat", 0, 1},
    {SYS_fstat, "fstat", 0, kNone},
    {SYS_newfstatat, "newfstatat", 0, 1},
    {SYS_statx, "statx", 0, 1},
    {SYS_faccessat, "faccessat", 0, 1},
    {SYS_readlinkat, "readlinkat", 0, 1},
    {SYS_getdents64, "getdents64", 0, kNone},
    {SYS_renameat, "renameat", 0, 1},
    {SYS_renameat2, "renameat2", 0, 1},
    {SYS_linkat, "linkat", 0, 1},
    {SYS_unlinkat, "unlinkat", 0, 1},
    {SYS_mkdirat, "mkdirat", 0, 1},
#if defined(__x86_64__)
    {SYS_open, "open", kNone, 0},
    {SYS_creat, "creat", kNone, 0},
    {SYS_stat, "stat", kNone, 0},
    {SYS_lstat, "lstat", kNone, 0},
    {SYS_access, "access", kNone, 0},
    {SYS_readlink, "readlink", kNone, 0},
    {SYS_chmod, "chmod", kNone, 0},
    {SYS_rename, "rename", kNone, 0},
    {SYS_link, "link", kNone, 0},
    {SYS_unlink, "unlink", kNone, 0},
    {SYS_mkdir, "mkdir", kNone, 0},
    {SYS_rmdir, "rmdir", kNone, 0},
#endif
};

// A call of a thread that is about to be done.
using Entry = __ptrace_syscall_info;

// Makes the third argument of the call that is entered `value`.
void SetThirdArgument(pid_t thread, uint64_t value) {
  user_regs_struct registers;
  iovec all = {&registers, sizeof(registers)};
  CHECK(::ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &all) == 0);
#if defined(__x86_64__)
  registers.rdx = value;
#else
  registers.regs[2] = value;
#endif
  CHECK(::ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all) == 0);
}

// The text at `address` of a process.
std::string TextAt(pid_t thread, uint64_t address) {
  const std::string path = absl::StrCat("/proc/", thread, "/mem");
  const int memory = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char text[PATH_MAX];
  const ssize_t count =
      ::pread(memory, text, sizeof(text), static_cast<off_t>(address));
  ::close(memory);
  return std::string(text,
                     std::find(text, text + std::max<ssize_t>(count, 0), '\0'));
}

// The path of an open file of a process.
std::string PathOf(pid_t thread, uint64_t descriptor) {
  const std::string link = absl::StrCat("/proc/", thread, "/fd/", descriptor);
  char path[PATH_MAX];
  const ssize_t count = ::readlink(link.c_str(), path, sizeof(path));
  return std::string(path, static_cast<size_t>(std::max<ssize_t>(count, 0)));
}

// The call with its path below `folder`; empty for one that is not there.
std::string CallBelow(const std::string& folder, pid_t thread,
                      const Entry& entry) {
  for (const FileCall& call : kFileCalls) {
    if (static_cast<uint64_t>(call.number) != entry.entry.nr) continue;
    std::string path;
    if (call.path != kNone) path = TextAt(thread, entry.entry.args[call.path]);
    if (call.descriptor != kNone && !absl::StartsWith(path, "/")) {
      path = absl::StrCat(PathOf(thread, entry.entry.args[call.descriptor]),
                          path.empty() ? "" : "/", path);
    }
    std::string_view below = path;
    if (!absl::ConsumePrefix(&below, folder)) return "";
    return absl::StrCat(call.name, " ", absl::StripPrefix(below, "/"));
  }
  return "";
}

// Follows one child to its end.
//
// Confined: use from the thread that created it.
class Tracer {
 public:
  Tracer(pid_t child, const std::string& folder, std::optional<KillPoint> kill)
      : child_(child), folder_(folder), kill_(kill) {}

  absl::StatusOr<Trace> Follow() {
    int state = 0;
    CHECK(::waitpid(child_, &state, 0) == child_);
    if (!WIFSTOPPED(state)) {
      return absl::PermissionDeniedError(
          absl::StrCat("the system does not let a test trace its child: ",
                       std::generic_category().message(WEXITSTATUS(state))));
    }
    CHECK(::ptrace(PTRACE_SETOPTIONS, child_, 0,
                   PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
                       PTRACE_O_EXITKILL) == 0);
    Resume(child_, 0);
    for (;;) {
      const pid_t thread = ::waitpid(-1, &state, __WALL);
      CHECK(thread > 0);
      if (WIFSTOPPED(state)) {
        if (!trace_.killed) AtStop(thread, state);
        continue;
      }
      threads_.erase(thread);
      if (thread == child_) break;
    }
    TF_RETURN_IF_ERROR(status_);
    if (!trace_.killed) {
      CHECK(WIFEXITED(state)) << "it ended by itself with " << state;
      trace_.exit_code = WEXITSTATUS(state);
    }
    return trace_;
  }

 private:
  void Resume(pid_t thread, int signal) {
    // It may have been killed by now.
    ::ptrace(counting_ ? PTRACE_SYSCALL : PTRACE_CONT, thread, 0, signal);
  }

  void AtStop(pid_t thread, int state) {
    threads_.insert(thread);
    const int signal = WSTOPSIG(state);
    if (signal == (SIGTRAP | 0x80)) {
      AtCall(thread);
      if (!trace_.killed) Resume(thread, 0);
    } else if (state >> 16 != 0) {
      Resume(thread, 0);  // it made a thread
    } else if (signal == SIGSTOP) {
      if (thread == child_ && !counting_) StartToCount();
      Resume(thread, 0);
    } else {
      Resume(thread, signal);
    }
  }

  // Threads that are there must stop once, so that their calls are seen.
  void StartToCount() {
    counting_ = true;
    for (const pid_t thread : threads_) {
      if (thread != child_) ::syscall(SYS_tgkill, child_, thread, SIGSTOP);
    }
  }

  void AtCall(pid_t thread) {
    if (thread == half_writer_) return Kill();
    Entry entry;
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(entry), &entry) <= 0) {
      // Killed by somebody else, or an old kernel.
      status_ = absl::UnimplementedError(
          absl::StrCat("the system does not tell which call a child makes: ",
                       std::generic_category().message(errno)));
      return Kill();
    }
    if (entry.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    std::string call = CallBelow(folder_, thread, entry);
    if (call.empty()) return;
    trace_.calls.push_back(std::move(call));
    if (!kill_.has_value() ||
        static_cast<int>(trace_.calls.size()) != kill_->call + 1) {
      return;
    }
    const bool writes =
        entry.entry.nr == SYS_write || entry.entry.nr == SYS_pwrite64;
    if (!kill_->half_written || !writes) return Kill();
    SetThirdArgument(thread, entry.entry.args[2] / 2);
    half_writer_ = thread;
  }

  void Kill() {
    trace_.killed = true;
    ::kill(child_, SIGKILL);
  }

  const pid_t child_;
  const std::string folder_;
  const std::optional<KillPoint> kill_;
  std::set<pid_t> threads_;
  bool counting_ = false;
  pid_t half_writer_ = 0;
  absl::Status status_;
  Trace trace_;
};

}  // namespace

absl::StatusOr<Trace> TraceChild(const std::string& folder,
                                 std::optional<KillPoint> kill,
                                 const std::function<void()>& body) {
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) ::_exit(errno);
    ::raise(SIGSTOP);
    body();
    LOG(FATAL) << "the body returned";
  }
  return Tracer(child, folder, kill).Follow();
}

#else

absl::StatusOr<Trace> TraceChild(const std::string&, std::optional<KillPoint>,
                                 const std::function<void()>&) {
  return absl::UnimplementedError(
      "the registers of this processor are not known here");
}

#endif

}  // namespace tftrain

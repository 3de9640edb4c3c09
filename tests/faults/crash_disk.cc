// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/crash_disk.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/logging.h"
#include "tftrain/base/file.h"

namespace tftrain {

using Kind = DiskCall::Kind;

FolderContent ReadFolder(const std::string& folder) {
  FolderContent content;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path =
        entry.path().lexically_relative(folder).generic_string();
    if (entry.is_directory()) {
      content[path + "/"];
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    content[path].assign(std::istreambuf_iterator<char>(file), {});
  }
  return content;
}

CrashDisk::CrashDisk(std::string folder, size_t largest_write)
    : folder_(std::move(folder)),
      largest_write_(largest_write),
      former_(internal::ExchangeFileOps(this)) {}

CrashDisk::~CrashDisk() { internal::ExchangeFileOps(former_); }

std::vector<DiskCall> CrashDisk::calls() const {
  MutexLock lock(mu_);
  return calls_;
}

size_t CrashDisk::call_count() const {
  MutexLock lock(mu_);
  return calls_.size();
}

bool CrashDisk::Below(std::string_view path, std::string* below) const {
  if (!absl::StartsWith(path, folder_)) return false;
  path.remove_prefix(folder_.size());
  if (!path.empty() && path[0] != '/') return false;
  *below = std::string(absl::StripPrefix(path, "/"));
  return true;
}

void CrashDisk::Note(Kind kind, std::string path) {
  DiskCall call;
  call.kind = kind;
  call.path = std::move(path);
  calls_.push_back(std::move(call));
}

void CrashDisk::NoteOther(int fd) {
  MutexLock lock(mu_);
  if (open_.count(fd) > 0) Note(Kind::kOther);
}

int CrashDisk::Open(const char* path, int flags, mode_t mode) {
  std::string below;
  if (!Below(path, &below)) return FileOps::Open(path, flags, mode);
  MutexLock lock(mu_);
  const int fd = FileOps::Open(path, flags, mode);
  if (fd < 0) return fd;
  OpenFile open{below};
  const auto known = files_.find(below);
  if ((flags & O_DIRECTORY) != 0) {
    Note(Kind::kOther);
  } else if (known == files_.end()) {
    CHECK((flags & O_CREAT) != 0) << path << " was not made under our eyes";
    open.file = ++last_file_;
    files_[below] = open.file;
    Note(Kind::kCreate, below);
  } else {
    open.file = known->second;
    Note((flags & O_TRUNC) != 0 ? Kind::kTruncate : Kind::kOther, below);
  }
  calls_.back().file = open.file;
  open_[fd] = open;
  return fd;
}

ssize_t CrashDisk::Read(int fd, void* data, size_t size) {
  NoteOther(fd);
  return FileOps::Read(fd, data, size);
}

ssize_t CrashDisk::Write(int fd, const void* data, size_t size) {
  MutexLock lock(mu_);
  const auto open = open_.find(fd);
  if (open == open_.end()) return FileOps::Write(fd, data, size);
  const ssize_t count =
      FileOps::Write(fd, data, std::min(size, largest_write_));
  if (count < 0) return count;
  Note(Kind::kWrite, open->second.path);
  DiskCall& call = calls_.back();
  call.file = open->second.file;
  call.offset = open->second.offset;
  call.bytes.assign(static_cast<const char*>(data), static_cast<size_t>(count));
  open->second.offset += static_cast<size_t>(count);
  return count;
}

int CrashDisk::Sync(int fd) {
  MutexLock lock(mu_);
  const auto open = open_.find(fd);
  if (open == open_.end()) return 0;
  const int file = open->second.file;
  Note(file == 0 ? Kind::kSyncFolder : Kind::kSyncFile, open->second.path);
  calls_.back().file = file;
  return 0;
}

void CrashDisk::StartWriteback(int fd, int64_t, int64_t) { NoteOther(fd); }

int CrashDisk::Close(int fd) {
  MutexLock lock(mu_);
  if (open_.erase(fd) > 0) Note(Kind::kOther);
  return FileOps::Close(fd);
}

int CrashDisk::ChangeMode(int fd, mode_t mode) {
  NoteOther(fd);
  return FileOps::ChangeMode(fd, mode);
}

int CrashDisk::StatOpen(int fd, struct stat* result) {
  NoteOther(fd);
  return FileOps::StatOpen(fd, result);
}

int CrashDisk::Stat(const char* path, struct stat* result) {
  std::string below;
  if (Below(path, &below)) {
    MutexLock lock(mu_);
    Note(Kind::kOther);
  }
  return FileOps::Stat(path, result);
}

int CrashDisk::Rename(const char* from, const char* to) {
  std::string below_from;
  std::string below_to;
  if (!Below(from, &below_from) || !Below(to, &below_to)) {
    return FileOps::Rename(from, to);
  }
  MutexLock lock(mu_);
  const int result = FileOps::Rename(from, to);
  if (result < 0) return result;
  CHECK(DirName(below_from) == DirName(below_to));
  const auto file = files_.extract(below_from);
  CHECK(!file.empty()) << from << " was not made under our eyes";
  Note(Kind::kRename, below_from);
  calls_.back().to = below_to;
  calls_.back().file = file.mapped();
  files_[below_to] = file.mapped();
  return result;
}

int CrashDisk::Unlink(const char* path) {
  std::string below;
  if (!Below(path, &below)) return FileOps::Unlink(path);
  MutexLock lock(mu_);
  const int result = FileOps::Unlink(path);
  if (result < 0) return result;
  files_.erase(below);
  Note(Kind::kUnlink, below);
  return result;
}

int CrashDisk::MakeFolder(const char* path, mode_t mode) {
  std::string below;
  if (!Below(path, &below)) return FileOps::MakeFolder(path, mode);
  MutexLock lock(mu_);
  const int result = FileOps::MakeFolder(path, mode);
  if (result == 0) Note(Kind::kMakeFolder, below);
  return result;
}

DiskModel::Change DiskModel::ChangeOf(const DiskCall& call) {
  switch (call.kind) {
    case Kind::kCreate:
      return {{call.path, call.file}};
    case Kind::kRename:
      return {{call.to, call.file}, {call.path, kNothing}};
    case Kind::kUnlink:
      return {{call.path, kNothing}};
    case Kind::kMakeFolder:
      return {{call.path, kFolder}};
    default:
      return {};
  }
}

void DiskModel::Apply(const Change& change, Names* names) {
  for (const auto& [name, file] : change) {
    if (file == kNothing) {
      names->erase(name);
    } else {
      (*names)[name] = file;
    }
  }
}

void DiskModel::Apply(const WrittenPart& part, std::string* bytes) {
  if (part.truncates) {
    bytes->clear();
    return;
  }
  bytes->resize(std::max(bytes->size(), part.offset + part.bytes.size()));
  bytes->replace(part.offset, part.bytes.size(), part.bytes);
}

void DiskModel::ApplyTorn(const WrittenPart& part, RandomSchedule& random,
                          std::string* bytes) {
  if (part.truncates) {
    if (random.Maybe()) bytes->clear();
    return;
  }
  const size_t sector = size_t{1} << random.Below(10);
  // The size may be there although the bytes are not.
  if (random.Maybe()) {
    bytes->resize(std::max(bytes->size(), part.offset + part.bytes.size()));
  }
  const bool is_prefix = random.Maybe();
  for (size_t at = 0; at < part.bytes.size(); at += sector) {
    if (random.Maybe()) {
      if (is_prefix) return;
      continue;
    }
    Apply({false, part.offset + at, part.bytes.substr(at, sector)}, bytes);
  }
}

std::string DiskModel::AllOf(const File& file) {
  std::string bytes = file.certain;
  for (const WrittenPart& part : file.parts) Apply(part, &bytes);
  return bytes;
}

std::string DiskModel::SomeOf(const File& file, int how,
                              RandomSchedule& random) {
  std::string bytes = file.certain;
  if (file.parts.empty()) return bytes;
  switch (how) {
    case 0:  // nothing
      return bytes;
    case 1:  // the size
      bytes.resize(AllOf(file).size());
      return bytes;
    case 2:  // all
      return AllOf(file);
    case 3: {  // as far as it got
      bytes = AllOf(file);
      bytes.resize(random.Below(static_cast<int>(bytes.size()) + 1));
      return bytes;
    }
    case 4:  // each write or not
      for (const WrittenPart& part : file.parts) {
        if (random.Maybe()) Apply(part, &bytes);
      }
      return bytes;
    default:  // sectors
      for (const WrittenPart& part : file.parts) {
        ApplyTorn(part, random, &bytes);
      }
      return bytes;
  }
}

DiskModel::Names DiskModel::SomeNames(RandomSchedule& random) const {
  Names names = certain_;
  const int how = random.Below(4);
  const size_t some =
      static_cast<size_t>(random.Below(static_cast<int>(changes_.size()) + 1));
  for (size_t i = 0; i < changes_.size(); ++i) {
    const bool happened = how == 0   ? false
                          : how == 1 ? true
                          : how == 2 ? i < some
                                     : random.Maybe();
    if (happened) Apply(changes_[i], &names);
  }
  return names;
}

template <typename Content>
FolderContent DiskModel::Collect(const Names& names, Content content) const {
  FolderContent result;
  for (const auto& [name, file] : names) {
    bool reachable = true;
    for (std::string folder = DirName(name); !folder.empty();
         folder = DirName(folder)) {
      reachable = reachable && names.count(folder) > 0;
    }
    if (!reachable) continue;
    if (file == kFolder) {
      result[name + "/"];
    } else {
      result[name] = content(files_.at(file));
    }
  }
  return result;
}

void DiskModel::Do(const DiskCall& call) {
  switch (call.kind) {
    case Kind::kOther:
      return;
    case Kind::kWrite:
      files_[call.file].parts.push_back({false, call.offset, call.bytes});
      return;
    case Kind::kTruncate:
      files_[call.file].parts.push_back({true, 0, ""});
      return;
    case Kind::kSyncFile: {
      File& file = files_[call.file];
      file.certain = AllOf(file);
      file.parts.clear();
      return;
    }
    case Kind::kSyncFolder: {
      std::vector<Change> others;
      for (Change& change : changes_) {
        if (DirName(change.front().first) == call.path) {
          Apply(change, &certain_);
        } else {
          others.push_back(std::move(change));
        }
      }
      changes_ = std::move(others);
      return;
    }
    default:
      if (call.kind == Kind::kCreate) files_[call.file];
      changes_.push_back(ChangeOf(call));
      Apply(changes_.back(), &now_);
  }
}

FolderContent DiskModel::AfterKill() const { return Collect(now_, AllOf); }

FolderContent DiskModel::AfterPowerCut(RandomSchedule& random) const {
  constexpr int kWays = 6;
  const Names names = SomeNames(random);
  const bool alike = random.Maybe();
  const int how = random.Below(kWays);
  return Collect(names, [&](const File& file) {
    return SomeOf(file, alike ? how : random.Below(kWays), random);
  });
}

FolderContent DiskModel::AfterPowerCutWithin(const DiskCall& call,
                                             RandomSchedule& random) const {
  Names names = now_;
  if (call.kind == Kind::kRename && random.Maybe()) {
    names[call.to] = call.file;
  }
  return Collect(names, [&](const File& file) {
    std::string bytes = SomeOf(file, random.Maybe() ? 2 : 4, random);
    if (call.kind == Kind::kWrite && &file == &files_.at(call.file)) {
      ApplyTorn({false, call.offset, call.bytes}, random, &bytes);
    }
    return bytes;
  });
}

}  // namespace tftrain

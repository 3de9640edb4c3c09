// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle_files.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/file_system.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file_ops.h"
#include "tftrain/base/mutex.h"

namespace tftrain::internal {
namespace {

class BundleFile : public tensorflow::WritableFile {
 public:
  explicit BundleFile(std::unique_ptr<NewFile> file) : file_(std::move(file)) {}

  absl::Status Append(absl::string_view data) override {
    return file_->Append(data);
  }
  absl::Status Close() override { return file_->Finish(); }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  const std::unique_ptr<NewFile> file_;
};

class BundleFileSystem : public tensorflow::WrappedFileSystem {
 public:
  BundleFileSystem(tensorflow::FileSystem* target, const WriteOptions& options)
      : WrappedFileSystem(target, /*token=*/nullptr), options_(options) {}

  using WrappedFileSystem::NewWritableFile;
  absl::Status NewWritableFile(
      const std::string& path, tensorflow::TransactionToken*,
      std::unique_ptr<tensorflow::WritableFile>* result) override {
    TF_ASSIGN_OR_RETURN(std::unique_ptr<NewFile> file,
                        NewFile::Create(path, options_, path));
    *result = std::make_unique<BundleFile>(std::move(file));
    return absl::OkStatus();
  }

  using WrappedFileSystem::DeleteFile;
  absl::Status DeleteFile(const std::string& path,
                          tensorflow::TransactionToken*) override {
    return RemoveFile(path);
  }

  using WrappedFileSystem::RenameFile;
  absl::Status RenameFile(const std::string& from, const std::string& to,
                          tensorflow::TransactionToken*) override {
    if (CurrentFileOps().Rename(from.c_str(), to.c_str()) < 0) {
      return ErrnoError(errno, absl::StrCat("cannot rename \"", from, "\" to"),
                        to);
    }
    return absl::OkStatus();
  }

  // The prefix is a temporary one; names of its own for each file would only
  // be one more thing to clean up.
  absl::Status HasAtomicMove(const std::string&,
                             bool* has_atomic_move) override {
    *has_atomic_move = false;
    return absl::OkStatus();
  }

 private:
  const WriteOptions options_;
};

class BundleEnv : public tensorflow::EnvWrapper {
 public:
  BundleEnv(tensorflow::Env* target, const WriteOptions& options)
      : EnvWrapper(target), options_(options) {}

  absl::Status GetFileSystemForFile(const std::string& path,
                                    tensorflow::FileSystem** result) override {
    MutexLock lock(mu_);
    if (files_ == nullptr) {
      tensorflow::FileSystem* own = nullptr;
      TF_RETURN_IF_ERROR(target()->GetFileSystemForFile(path, &own));
      files_ = std::make_unique<BundleFileSystem>(own, options_);
    }
    *result = files_.get();
    return absl::OkStatus();
  }

 private:
  const WriteOptions options_;

  Mutex mu_;
  std::unique_ptr<BundleFileSystem> files_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<tensorflow::Env> BundleFiles(const WriteOptions& options) {
  return std::make_unique<BundleEnv>(tensorflow::Env::Default(), options);
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/bundle_files.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/file_system.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"

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
  explicit BundleFileSystem(tensorflow::FileSystem* target)
      : WrappedFileSystem(target, /*token=*/nullptr) {}

  using WrappedFileSystem::NewWritableFile;
  absl::Status NewWritableFile(
      const std::string& path, tensorflow::TransactionToken*,
      std::unique_ptr<tensorflow::WritableFile>* result) override {
    TF_ASSIGN_OR_RETURN(std::unique_ptr<NewFile> file,
                        NewFile::Create(path, WriteOptions(), path));
    *result = std::make_unique<BundleFile>(std::move(file));
    return absl::OkStatus();
  }

  // The prefix is a temporary one; names of its own for each file would only
  // be one more thing to clean up.
  absl::Status HasAtomicMove(const std::string&,
                             bool* has_atomic_move) override {
    *has_atomic_move = false;
    return absl::OkStatus();
  }
};

class BundleEnv : public tensorflow::EnvWrapper {
 public:
  explicit BundleEnv(tensorflow::Env* target) : EnvWrapper(target) {}

  absl::Status GetFileSystemForFile(const std::string& path,
                                    tensorflow::FileSystem** result) override {
    tensorflow::FileSystem* own = nullptr;
    TF_RETURN_IF_ERROR(target()->GetFileSystemForFile(path, &own));
    static BundleFileSystem* const files = new BundleFileSystem(own);
    *result = files;
    return absl::OkStatus();
  }
};

}  // namespace

tensorflow::Env* BundleFiles() {
  static BundleEnv* const env = new BundleEnv(tensorflow::Env::Default());
  return env;
}

}  // namespace tftrain::internal

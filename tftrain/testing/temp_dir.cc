// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/testing/temp_dir.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "tftrain/base/file.h"

namespace tftrain {
namespace {

std::string MakeFolder() {
  const char* const base = getenv("TEST_TMPDIR");
  std::string pattern = JoinPath(
      base == nullptr || *base == '\0' ? "/tmp" : base, "tftrain_test_XXXXXX");
  CHECK(mkdtemp(pattern.data()) != nullptr)
      << "cannot make the folder \"" << pattern
      << "\": " << std::strerror(errno);
  return pattern;
}

}  // namespace

TempDir::TempDir() : path_(MakeFolder()) {}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::operator/(std::string_view name) const {
  return JoinPath(path_, name);
}

std::vector<std::string> TempDir::List() const {
  absl::StatusOr<std::vector<std::string>> names = ListFolder(path_);
  CHECK(names.ok()) << names.status();
  return *names;
}

}  // namespace tftrain

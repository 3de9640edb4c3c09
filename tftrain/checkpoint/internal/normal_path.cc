// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/normal_path.h"

#include <filesystem>
#include <system_error>

namespace tftrain::internal {

std::string NormalPath(std::string_view path) {
  std::error_code error;
  std::filesystem::path absolute(path);
  if (!absolute.is_absolute()) {
    absolute = std::filesystem::current_path(error) / absolute;
  }
  absolute = absolute.lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// One spelling for each path, so that paths can be compared.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_NORMAL_PATH_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_NORMAL_PATH_H_

#include <string>
#include <string_view>

namespace tftrain::internal {

// `path` from the root on, without `.`, `..` and doubled slashes; links are
// not looked at. An empty path is the working directory.
std::string NormalPath(std::string_view path);

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_NORMAL_PATH_H_

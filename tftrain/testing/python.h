// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Runs Python TensorFlow beside a test, to compare with.

#ifndef TFTRAIN_TESTING_PYTHON_H_
#define TFTRAIN_TESTING_PYTHON_H_

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tftrain/base/file.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {

// The Python with TensorFlow that the environment variable TFTRAIN_PYTHON
// names; empty if it names none, and a test that needs it should be skipped.
//
// Thread-compatible: const calls may run together.
inline std::string PythonForTests() {
  const char* const python = std::getenv("TFTRAIN_PYTHON");
  return python == nullptr ? "" : python;
}

// Runs the program `file` with that Python and returns what it printed.
//
// Errors: kInternal, with what it wrote, if it ended with another code than 0.
inline absl::StatusOr<std::string> RunPythonFile(
    const std::string& file, const std::vector<std::string>& args) {
  const TempDir dir;
  const auto quote = [](std::string_view text) {
    return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
  };
  std::string command = absl::StrCat(
      "TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= ", quote(PythonForTests()),
      " ", quote(file));
  for (const std::string& arg : args) {
    absl::StrAppend(&command, " ", quote(arg));
  }
  absl::StrAppend(&command, " 2> ", quote(dir / "errors"));
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return absl::InternalError("cannot start a shell");
  std::string output;
  char buffer[4096];
  for (size_t size = 0;
       (size = ::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.append(buffer, size);
  }
  if (::pclose(pipe) != 0) {
    const auto errors = ReadFile(dir / "errors", 1 << 20);
    return absl::InternalError(
        absl::StrCat("Python failed: ", output, errors.value_or("")));
  }
  return output;
}

// The same for a text: `tf` is TensorFlow, and `sys.argv[1:]` are the `args`.
inline absl::StatusOr<std::string> RunPython(
    std::string_view script, const std::vector<std::string>& args) {
  const TempDir dir;
  const absl::Status written = WriteFileAtomically(
      dir / "script.py", absl::StrCat("import sys\n"
                                      "import tensorflow as tf\n",
                                      script));
  if (!written.ok()) return written;
  return RunPythonFile(dir / "script.py", args);
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_PYTHON_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A folder for the files of one test.

#ifndef TFTRAIN_TESTING_TEMP_DIR_H_
#define TFTRAIN_TESTING_TEMP_DIR_H_

#include <string>
#include <string_view>
#include <vector>

namespace tftrain {

// Makes an empty folder with a name of its own under $TEST_TMPDIR, or /tmp,
// and removes it with all that is in it at the end. Ends the program if the
// folder cannot be made.
//
// Thread-compatible: const calls may run together.
//
//   const TempDir dir;
//   ASSERT_THAT(WriteFileAtomically(dir / "checkpoint", text), IsOk());
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::string& path() const { return path_; }

  // The path of `name` in the folder.
  std::string operator/(std::string_view name) const;

  // The names in the folder, sorted.
  std::vector<std::string> List() const;

 private:
  const std::string path_;
};

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_TEMP_DIR_H_

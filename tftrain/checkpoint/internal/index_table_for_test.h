// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Writes tables as index_table.h describes them, piece by piece, so that each
// piece can be wrong while all checksums are right.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_FOR_TEST_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_FOR_TEST_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/crc/crc32c.h"
#include "absl/strings/str_cat.h"
#include "tftrain/checkpoint/internal/index_table.h"

namespace tftrain::internal::table_for_test {

// A number of `width` bytes, the lowest first.
inline std::string Fixed(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

inline std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(value | 0x80);
  }
  return bytes + static_cast<char>(value);
}

// One row of a block.
inline std::string Row(size_t shared, std::string_view suffix,
                       std::string_view value) {
  return absl::StrCat(Varint(shared), Varint(suffix.size()),
                      Varint(value.size()), suffix, value);
}

// A block of rows.
inline std::string Block(std::string_view rows,
                         const std::vector<uint64_t>& restarts = {0}) {
  std::string bytes(rows);
  for (const uint64_t restart : restarts) bytes += Fixed(restart, 4);
  return bytes + Fixed(restarts.size(), 4);
}

// Where a block lies.
//
// Thread-compatible: const calls may run together.
struct Written {
  uint64_t offset;
  uint64_t size;
  std::string place() const { return Varint(offset) + Varint(size); }
};

// Appends a block with its trailer.
inline Written Append(std::string_view block, std::string* file,
                      char type = 0) {
  const Written written{file->size(), block.size()};
  const std::string checked = absl::StrCat(block, std::string(1, type));
  *file += checked;
  *file +=
      Fixed(MaskedCrc(static_cast<uint32_t>(absl::ComputeCrc32c(checked))), 4);
  return written;
}

// The file that ends with this index block.
inline std::string WithIndex(std::string file, const std::string& index_block) {
  const Written metadata = Append(Block(""), &file);
  const Written index = Append(index_block, &file);
  std::string footer = metadata.place() + index.place();
  footer.resize(40);
  return file + footer + Fixed(0xdb4775248b80fb57, 8);
}

// The file of these blocks, each with its separator.
inline std::string Table(
    const std::vector<std::pair<std::string, std::string>>& blocks,
    char type = 0) {
  std::string file;
  std::string rows;
  std::vector<uint64_t> restarts;
  for (const auto& [separator, block] : blocks) {
    restarts.push_back(rows.size());
    rows += Row(0, separator, Append(block, &file, type).place());
  }
  return WithIndex(file, Block(rows, restarts));
}

}  // namespace tftrain::internal::table_for_test

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_FOR_TEST_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The table in which a checkpoint's index is kept, read without trusting it.
//
// The format is that of LevelDB's sorted tables. A file is
//
//   block ... block, block of metadata (empty), index block, footer
//
// where a block is rows, a list of 32-bit offsets at which a row holds its key
// in full ("restarts"), their number, and, outside of the block's size, a byte
// for its compression and a masked CRC-32C. A row is three varints (bytes of
// the key shared with the row before, further bytes of the key, bytes of the
// value), those bytes of the key, and the value. A row of the index block is a
// key not before the last of a block, and the place of that block. The footer
// of 48 bytes is the places of the two last blocks, zeros, and a magic number.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tftrain::internal {

// A CRC-32C as TensorFlow's files hold it.
uint32_t MaskedCrc(uint32_t crc);

// The bytes that a varint of a 64-bit number has at most.
inline constexpr int kVarint64Bytes = 10;

// Takes a varint of at most `max_bytes` bytes off the front of `in`; false,
// with `in` unspecified, if there is none, or one longer than its value needs.
bool TakeVarint(std::string_view* in, int max_bytes, uint64_t* value);

// A table, checked as a whole when it is parsed; afterwards nothing can fail.
// Stays within twice the bytes of the file and 16 MiB, and looks at each byte
// a bounded number of times.
//
// Thread-compatible: const calls may run together.
class IndexTable {
 public:
  // A place among the rows, which are in the order of their keys.
  //
  // Thread-compatible: const calls may run together.
  class Cursor {
   public:
    // Whether there is a row here, not the end.
    bool valid() const { return block_ < table_->blocks_.size(); }
    // The bytes last until the cursor moves.
    std::string_view key() const { return key_; }
    // The bytes last as long as the table.
    std::string_view value() const { return value_; }
    // REQUIRES: valid()
    void Next();

   private:
    friend class IndexTable;
    Cursor(const IndexTable* table, size_t block, size_t offset);

    void TakeRow();

    const IndexTable* table_;
    size_t block_;
    std::string_view rest_;  // of the block, behind this row
    std::string key_;
    std::string_view value_;
  };

  // Reads the bytes of a file.
  // Errors: kDataLoss, with the cause alone, for everything that TensorFlow's
  // writer does not write: wrong checksums, places outside of the file or
  // overlapping, keys that do not ascend or are longer than 64 KiB.
  static absl::StatusOr<std::unique_ptr<IndexTable>> Parse(std::string bytes);

  IndexTable(const IndexTable&) = delete;
  IndexTable& operator=(const IndexTable&) = delete;

  // The number of rows.
  size_t size() const { return num_rows_; }
  Cursor begin() const { return Cursor(this, 0, 0); }
  Cursor end() const { return Cursor(this, blocks_.size(), 0); }
  // The first row whose key is `key` or comes after it.
  Cursor LowerBound(std::string_view key) const;

 private:
  struct Block {
    size_t num_restarts() const { return restarts.size() / 4; }
    size_t restart(size_t i) const;

    std::string_view rows;
    std::string_view restarts;  // 32 bits each
  };
  struct Place {
    uint64_t offset = 0;
    uint64_t size = 0;
  };

  explicit IndexTable(std::string bytes) : bytes_(std::move(bytes)) {}

  static bool TakePlace(std::string_view* in, Place* place);
  static std::string_view KeyAt(const Block& block, size_t offset);
  absl::Status Check();
  absl::StatusOr<Block> ReadBlock(const Place& place);
  absl::StatusOr<std::string_view> Uncompress(std::string_view block);

  const std::string bytes_;
  std::vector<Block> blocks_;
  std::deque<std::string> uncompressed_;
  size_t uncompressed_bytes_ = 0;
  size_t num_rows_ = 0;
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_INDEX_TABLE_H_

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/internal/index_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/crc/crc32c.h"
#include "absl/functional/function_ref.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/snappy.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain::internal {
namespace {

constexpr size_t kFooterBytes = 48;
constexpr size_t kMagicBytes = 8;
constexpr uint64_t kMagic = 0xdb4775248b80fb57;
constexpr size_t kTrailerBytes = 5;
constexpr char kStored = 0;
constexpr char kSnappy = 1;
constexpr int kVarint32Bytes = 5;
constexpr size_t kMaxKeyBytes = size_t{64} << 10;
// TensorFlow's writer puts a restart at every 16th row. A limit keeps the
// search for a row short.
constexpr size_t kMaxRowsPerRestart = 256;
// Three bytes of Snappy's format become 64 at most.
constexpr size_t kMaxSnappyRatio = 22;
// With the file itself, less than twice the file and 16 MiB.
constexpr size_t kMaxUncompressedBeyondFile = size_t{15} << 20;

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(what);
}

// A number with its lowest byte first.
uint64_t Fixed(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return value;
}

struct Row {
  size_t shared = 0;
  std::string_view suffix;
  std::string_view value;
};

// Takes the row at the front of `in` off.
std::optional<Row> TakeRow(std::string_view* in) {
  uint64_t shared = 0;
  uint64_t suffix = 0;
  uint64_t value = 0;
  if (!TakeVarint(in, kVarint32Bytes, &shared) ||
      !TakeVarint(in, kVarint32Bytes, &suffix) ||
      !TakeVarint(in, kVarint32Bytes, &value) || suffix > in->size() ||
      value > in->size() - suffix) {
    return std::nullopt;
  }
  Row row{shared, in->substr(0, suffix), in->substr(suffix, value)};
  in->remove_prefix(suffix + value);
  return row;
}

// The key of the row before, which the next one must exceed.
//
// Thread-compatible: const calls may run together.
class LastKey {
 public:
  const std::string& key() const { return key_; }

  // Whether the keys still ascend with `row`.
  bool Advance(const Row& row) {
    if (row.shared > key_.size() ||
        row.shared + row.suffix.size() > kMaxKeyBytes) {
      return false;
    }
    if (has_key_ && row.suffix <= std::string_view(key_).substr(row.shared)) {
      return false;
    }
    has_key_ = true;
    key_.resize(row.shared);
    key_.append(row.suffix);
    return true;
  }

 private:
  bool has_key_ = false;
  std::string key_;
};

}  // namespace

uint32_t MaskedCrc(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

bool TakeVarint(std::string_view* in, int max_bytes, uint64_t* value) {
  *value = 0;
  for (int i = 0; i < max_bytes && !in->empty(); ++i) {
    const uint64_t byte = static_cast<unsigned char>(in->front());
    in->remove_prefix(1);
    *value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return byte > 0 || i == 0;
  }
  return false;
}

IndexTable::Cursor::Cursor(const IndexTable* table, size_t block, size_t offset)
    : table_(table), block_(block) {
  if (!valid()) return;
  rest_ = table_->blocks_[block_].rows.substr(offset);
  TakeRow();
}

void IndexTable::Cursor::TakeRow() {
  const std::optional<Row> row = internal::TakeRow(&rest_);
  key_.resize(row->shared);
  key_.append(row->suffix);
  value_ = row->value;
}

void IndexTable::Cursor::Next() {
  if (rest_.empty()) {
    ++block_;
    if (!valid()) return;
    rest_ = table_->blocks_[block_].rows;
  }
  TakeRow();
}

absl::StatusOr<std::unique_ptr<IndexTable>> IndexTable::Parse(
    std::string bytes) {
  std::unique_ptr<IndexTable> table(new IndexTable(std::move(bytes)));
  TF_RETURN_IF_ERROR(table->Check());
  return table;
}

IndexTable::Cursor IndexTable::LowerBound(std::string_view key) const {
  // The last block, and the last restart in it, that do not begin beyond.
  auto block = std::upper_bound(blocks_.begin(), blocks_.end(), key,
                                [](std::string_view wanted, const Block& b) {
                                  return wanted < KeyAt(b, 0);
                                });
  if (block == blocks_.begin()) return begin();
  --block;
  size_t low = 0;
  size_t high = block->num_restarts();
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    (KeyAt(*block, block->restart(middle)) <= key ? low : high) = middle;
  }
  Cursor cursor(this, static_cast<size_t>(block - blocks_.begin()),
                block->restart(low));
  while (cursor.valid() && cursor.key() < key) cursor.Next();
  return cursor;
}

size_t IndexTable::Block::restart(size_t i) const {
  return Fixed(restarts.substr(4 * i, 4));
}

bool IndexTable::TakePlace(std::string_view* in, Place* place) {
  return TakeVarint(in, kVarint64Bytes, &place->offset) &&
         TakeVarint(in, kVarint64Bytes, &place->size);
}

// The key at a restart.
std::string_view IndexTable::KeyAt(const Block& block, size_t offset) {
  std::string_view rest = block.rows.substr(offset);
  return TakeRow(&rest)->suffix;
}

namespace {

// Calls `row` with each row, checking that keys ascend and that the restarts
// are where rows hold their keys in full, often enough.
template <typename Block>
absl::Status WalkRows(const Block& block, LastKey* last,
                      absl::FunctionRef<absl::Status(std::string_view)> row) {
  std::string_view rest = block.rows;
  size_t restart = 0;
  size_t rows_since = 0;
  while (!rest.empty()) {
    const size_t offset = block.rows.size() - rest.size();
    const bool at_restart =
        restart < block.num_restarts() && block.restart(restart) == offset;
    rows_since = at_restart ? 0 : rows_since + 1;
    restart += at_restart ? 1 : 0;
    const std::optional<Row> taken = TakeRow(&rest);
    if (!taken || (at_restart && taken->shared > 0) || restart == 0 ||
        rows_since >= kMaxRowsPerRestart) {
      return Damaged("a row of its table cannot be read");
    }
    if (!last->Advance(*taken)) return Damaged("its keys are not in order");
    TF_RETURN_IF_ERROR(row(taken->value));
  }
  // A block without rows has a restart all the same.
  const size_t expected = block.rows.empty() ? 1 : restart;
  return block.num_restarts() == expected
             ? absl::OkStatus()
             : Damaged("a block of its table cannot be read");
}

}  // namespace

absl::Status IndexTable::Check() {
  if (bytes_.size() < kFooterBytes) {
    return Damaged("it is too short for any index");
  }
  std::string_view footer = std::string_view(bytes_);
  footer.remove_prefix(bytes_.size() - kFooterBytes);
  if (Fixed(footer.substr(kFooterBytes - kMagicBytes)) != kMagic) {
    return Damaged("it does not end like an index");
  }
  footer.remove_suffix(kMagicBytes);
  Place metadata_place;
  Place index_place;
  if (!TakePlace(&footer, &metadata_place) ||
      !TakePlace(&footer, &index_place) ||
      footer.find_first_not_of('\0') != std::string_view::npos) {
    return Damaged("its footer cannot be read");
  }
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  LastKey last_metadata;
  TF_ASSIGN_OR_RETURN(const Block metadata, ReadBlock(metadata_place));
  TF_RETURN_IF_ERROR(WalkRows(metadata, &last_metadata, ignore));

  LastKey last_separator;
  LastKey last;
  std::string former_separator;
  uint64_t end = 0;
  TF_ASSIGN_OR_RETURN(const Block index, ReadBlock(index_place));
  return WalkRows(index, &last_separator, [&](std::string_view value) {
    Place place;
    if (!TakePlace(&value, &place) || !value.empty() || place.offset < end) {
      return Damaged("its table points to a block that cannot be");
    }
    TF_ASSIGN_OR_RETURN(const Block block, ReadBlock(place));
    end = place.offset + place.size;
    if (block.rows.empty()) return Damaged("a block of its table is empty");
    TF_RETURN_IF_ERROR(WalkRows(block, &last, [&](std::string_view) {
      ++num_rows_;
      return absl::OkStatus();
    }));
    if (last.key() > last_separator.key() ||
        (!blocks_.empty() && KeyAt(block, 0) <= former_separator)) {
      return Damaged("its blocks are not in order");
    }
    former_separator = last_separator.key();
    blocks_.push_back(block);
    return absl::OkStatus();
  });
}

absl::StatusOr<IndexTable::Block> IndexTable::ReadBlock(const Place& place) {
  const size_t limit = bytes_.size() - kFooterBytes;
  if (place.offset > limit || limit - place.offset < kTrailerBytes ||
      place.size > limit - place.offset - kTrailerBytes) {
    return Damaged("its table points out of the file");
  }
  const std::string_view with_trailer =
      std::string_view(bytes_).substr(place.offset, place.size + kTrailerBytes);
  const auto crc = absl::ComputeCrc32c(with_trailer.substr(0, place.size + 1));
  if (MaskedCrc(static_cast<uint32_t>(crc)) !=
      Fixed(with_trailer.substr(place.size + 1))) {
    return Damaged("the checksum of a block of its table is wrong");
  }
  std::string_view contents = with_trailer.substr(0, place.size);
  if (with_trailer[place.size] == kSnappy) {
    TF_ASSIGN_OR_RETURN(contents, Uncompress(contents));
  } else if (with_trailer[place.size] != kStored) {
    return Damaged("a block of its table is compressed in an unknown way");
  }
  if (contents.size() < 4) return Damaged("a block of its table is too short");
  const uint64_t count = Fixed(contents.substr(contents.size() - 4));
  contents.remove_suffix(4);
  if (count < 1 || count > contents.size() / 4) {
    return Damaged("a block of its table is too short");
  }
  const size_t restarts = contents.size() - 4 * count;
  Block block{contents.substr(0, restarts), contents.substr(restarts)};
  return block;
}

// TensorFlow's own writer of checkpoints stores; others may compress.
absl::StatusOr<std::string_view> IndexTable::Uncompress(
    std::string_view block) {
  size_t size = 0;
  if (!tensorflow::port::Snappy_GetUncompressedLength(block.data(),
                                                      block.size(), &size)) {
    return Damaged("a block of its table cannot be uncompressed");
  }
  const size_t limit = bytes_.size() + kMaxUncompressedBeyondFile;
  if (size / kMaxSnappyRatio > block.size() ||
      size > limit - uncompressed_bytes_) {
    return Damaged("a block of its table claims to be larger than any");
  }
  uncompressed_bytes_ += size;
  std::string& uncompressed = uncompressed_.emplace_back(size, '\0');
  if (!tensorflow::port::Snappy_Uncompress(block.data(), block.size(),
                                           uncompressed.data())) {
    return Damaged("a block of its table cannot be uncompressed");
  }
  return uncompressed;
}

}  // namespace tftrain::internal

// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Reading TensorFlow's V2 checkpoints ("bundles") without trusting them.

#ifndef TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_
#define TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/framework/types.pb.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"
#include "tftrain/checkpoint/internal/index_table.h"

namespace tftrain::internal {

// The index of the checkpoint `prefix`.
// Errors: kNotFound; kDataLoss; those of base/file.h.
absl::StatusOr<std::unique_ptr<IndexTable>> ReadIndex(std::string_view prefix);

// One checkpoint, opened for reading. TensorFlow's reader ends the program, or
// reads beyond its memory, on an index made by hand; and it cannot tell a
// damaged part of the index from a tensor that was never there. So the index
// is read and checked here as a whole when it is opened: header, checksums of
// its blocks, types, shapes, slices, that every data file is there and every
// value lies within its file. Values are read here as well, and their
// checksums are checked then; only for variants and for parts of tensors is
// TensorFlow's reader asked, once what it will meet is known to be sound.
// (Variants of types that other libraries register are decoded by these.)
//
// Takes the memory of twice the index and 16 MiB, whatever the files say, and
// that of the values asked for, which are no more than the files hold; strings
// and variants are checked in memory, once as they are in the file.
//
// Errors of all functions: kDataLoss when the checkpoint is damaged or a file
// of it is missing, naming what; kResourceExhausted when memory or files run
// out; kPermissionDenied. Never kOutOfRange, which TensorFlow answers when a
// file is too short.
//
// Confined: use from one thread at a time.
class Bundle {
 public:
  // A tensor of the checkpoint.
  struct Entry {
    tensorflow::DataType dtype = tensorflow::DT_INVALID;
    tensorflow::TensorShape shape;  // of the whole
    // Whether it is stored in parts, which need not cover the whole.
    bool in_slices = false;
  };

  // The tensors by name, in the order of their names; as a constant std::map
  // is used, but made from the index when they are looked at.
  //
  // Thread-compatible: const calls may run together.
  class Entries {
   public:
    using value_type = std::pair<std::string, Entry>;

    // Owns the pair it points to, which lasts until it moves.
    //
    // Thread-compatible: const calls may run together.
    class const_iterator {
     public:
      using iterator_category = std::input_iterator_tag;
      using value_type = Entries::value_type;
      using difference_type = std::ptrdiff_t;
      using pointer = const value_type*;
      using reference = const value_type&;

      const value_type& operator*() const { return value_; }
      const value_type* operator->() const { return &value_; }
      const_iterator& operator++();
      bool operator==(const const_iterator& other) const;
      bool operator!=(const const_iterator& other) const {
        return !(*this == other);
      }

     private:
      friend class Entries;
      explicit const_iterator(IndexTable::Cursor cursor);
      void Load();

      IndexTable::Cursor cursor_;
      value_type value_;
    };
    using iterator = const_iterator;

    const_iterator begin() const;
    const_iterator end() const;
    const_iterator find(std::string_view name) const;
    size_t count(std::string_view name) const;
    // REQUIRES: there is a tensor `name`.
    Entry at(std::string_view name) const;
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

   private:
    friend class Bundle;
    Entries(const IndexTable* table, size_t size)
        : table_(table), size_(size) {}

    const IndexTable* table_;
    size_t size_;
  };

  // Opens the checkpoint `prefix` and checks its index.
  // Errors: kNotFound when there is no index.
  static absl::StatusOr<std::unique_ptr<Bundle>> Open(std::string_view prefix);

  // The same checkpoint for another thread, by the index that was checked.
  std::unique_ptr<Bundle> ForAnotherThread() const;

  ~Bundle();
  Bundle(const Bundle&) = delete;
  Bundle& operator=(const Bundle&) = delete;

  const std::string& prefix() const { return prefix_; }
  // Lasts as long as the bundle.
  Entries entries() const { return Entries(table_.get(), num_tensors_); }
  // The number of data files.
  int num_shards() const { return static_cast<int>(shard_sizes_.size()); }
  // What they hold together.
  int64_t num_bytes() const;

  // The tensor `key`, whole.
  // Errors: as ReadSlice.
  // REQUIRES: entries() holds `key`.
  absl::StatusOr<tensorflow::Tensor> Read(const std::string& key);

  // A part of it, however it is stored.
  // Errors: kInvalidArgument when the stored parts do not cover `slice`.
  // REQUIRES: entries() holds `key`, with the rank of `slice`.
  absl::StatusOr<tensorflow::Tensor> ReadSlice(
      const std::string& key, const tensorflow::TensorSlice& slice);

  // The parts in which `key` is stored; none if it is stored as a whole.
  // REQUIRES: entries() holds `key`.
  std::vector<tensorflow::TensorSlice> Parts(const std::string& key) const;

  // Reads all bytes stored for `key` and compares their checksums, in pieces
  // where the type allows.
  // REQUIRES: entries() holds `key`.
  absl::Status CheckValues(const std::string& key);

 private:
  explicit Bundle(std::string_view prefix);

  absl::Status CheckIndex();
  absl::Status FindShards();
  absl::Status CheckRow(std::string_view key,
                        const tensorflow::BundleEntryProto& proto) const;
  absl::Status CheckParts(std::string_view key, const Entry& whole,
                          const tensorflow::BundleEntryProto& proto) const;
  bool FindProto(std::string_view key,
                 tensorflow::BundleEntryProto* proto) const;
  absl::Status CheckAll(const std::string& key);
  absl::Status CheckStored(const tensorflow::BundleEntryProto& proto);
  absl::StatusOr<uint32_t> ReadAndSum(const tensorflow::BundleEntryProto& proto,
                                      char* to);
  absl::Status ReadPlain(const tensorflow::BundleEntryProto& proto, char* to);
  absl::StatusOr<std::string> ReadBytes(
      const tensorflow::BundleEntryProto& proto);
  absl::Status ReadInto(const std::string& key,
                        const tensorflow::BundleEntryProto& proto,
                        tensorflow::Tensor* tensor);
  absl::Status OpenShard(int shard);
  absl::StatusOr<tensorflow::BundleReader*> TensorFlowReader();
  absl::Status Damaged(std::string_view what) const;
  absl::Status ReadError(const std::string& key,
                         const absl::Status& status) const;

  const std::string prefix_;
  std::shared_ptr<const IndexTable> table_;
  size_t num_tensors_ = 0;
  std::vector<int64_t> shard_sizes_;
  // The data file read last.
  int open_shard_ = -1;
  int fd_ = -1;
  std::unique_ptr<tensorflow::BundleReader> reader_;  // made when needed
};

}  // namespace tftrain::internal

#endif  // TFTRAIN_CHECKPOINT_INTERNAL_BUNDLE_H_

// A disk for the durable store, in memory: what has been flushed, what has merely completed, and
// what a power cut may leave of the latter.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.hpp"
#include "store/durable/block_store.hpp"
#include "store/durable/new_store.hpp"
#include "store/durable/recovery.hpp"

namespace store_disk {

using cubby::store::page_bytes;
using image = std::vector<std::vector<unsigned char>>;  // by file

inline cubby::store::layout shape(uint64_t budget_bytes, uint32_t files = 1,
                                  uint64_t block_bytes = 16384) {
  auto made = cubby::store::shape_new_store({budget_bytes, files, block_bytes, 77, 0x5701e1d});
  if (!made) abort();
  return *made;
}

/// An empty store.
inline image fresh(const cubby::store::layout &places) {
  image files(places.shape().file_count);
  for (auto &file : files) file.assign(places.shape().pages_per_file * page_bytes, 0);
  cubby::store::write_new_store(places,
                                [&files](uint32_t file, uint64_t offset_bytes, const void *page) {
                                  memcpy(files[file].data() + offset_bytes, page, page_bytes);
                                });
  return files;
}

inline cubby::result<cubby::store::recovered_store> recover(const image &files,
                                                            uint64_t fingerprint = 77,
                                                            uint64_t boot = 0) {
  std::vector<uint64_t> sizes;
  for (const auto &file : files) sizes.push_back(file.size());
  cubby::store::recovery opening(sizes, fingerprint, {}, boot);
  while (const auto read = opening.next()) {
    const auto &file = files[read->file];
    const uint64_t there = read->offset_bytes >= file.size()
                               ? 0
                               : std::min<uint64_t>(read->bytes, file.size() - read->offset_bytes);
    opening.give(there == 0 ? nullptr : file.data() + read->offset_bytes, there);
  }
  return opening.finish();
}

/// The block's bytes when they are those of its digest, and zeros behind.
inline std::optional<std::string> content(const image &files,
                                          const cubby::store::block_body &body) {
  const uint64_t bytes = cubby::store::bytes_of(body);
  const unsigned char *at = files[body.file].data() + uint64_t{body.first_page} * page_bytes;
  if (cubby::store::digest_of_block(at, body) != body.digest) return std::nullopt;
  return std::string(reinterpret_cast<const char *>(at), bytes);
}

inline bool padded_with_zeros(const image &files, const cubby::store::block_body &body) {
  const uint64_t bytes = cubby::store::bytes_of(body);
  const unsigned char *at = files[body.file].data() + uint64_t{body.first_page} * page_bytes;
  for (uint64_t i = bytes; i < cubby::store::pages_of(bytes) * page_bytes; i++)
    if (at[i] != 0) return false;
  return true;
}

enum class fate { killed, dropped, torn_512, torn_4096, reordered };

class disk {
 public:
  explicit disk(image files) : flushed_(files), seen_(std::move(files)) {}

  struct write {
    uint32_t file;
    uint64_t offset_bytes;
    std::vector<unsigned char> data;
    uint64_t order;
  };

  /// A write that has completed.
  void completed(const cubby::store::store_operation &op) {
    const auto *data = static_cast<const unsigned char *>(op.data);
    unflushed_.push_back({op.file, op.offset_bytes, {data, data + op.bytes}, ++order_});
    put(seen_, unflushed_.back(), 0, op.bytes);
  }
  [[nodiscard]] uint64_t order() const { return order_; }
  /// A flush that began when the last completed write was `before`.
  void flushed(uint32_t file, uint64_t before) {
    std::vector<write> rest;
    for (write &one : unflushed_) {
      if (one.file == file && one.order <= before)
        put(flushed_, one, 0, one.data.size());
      else
        rest.push_back(std::move(one));
    }
    unflushed_.swap(rest);
  }
  /// A flush that failed: what it covered is clean for the page cache, and never on the device.
  void lost(uint32_t file, uint64_t before) {
    std::erase_if(unflushed_,
                  [&](const write &one) { return one.file == file && one.order <= before; });
  }

  /// What a crash now leaves. `outstanding`: writes taken and not completed.
  [[nodiscard]] image after(fate how, const std::vector<write> &outstanding,
                            cubby::base::prng &random) const {
    if (how == fate::killed) {  // the process dies, the page cache lives
      image left = seen_;
      for (const write &one : outstanding) tear(left, one, 4096, random);
      return left;
    }
    image left = flushed_;
    if (how == fate::dropped) return left;
    std::vector<const write *> all;
    for (const write &one : unflushed_) all.push_back(&one);
    for (const write &one : outstanding) all.push_back(&one);
    for (const write *one : all) {
      if (how == fate::torn_512) tear(left, *one, 512, random);
      if (how == fate::torn_4096) tear(left, *one, 4096, random);
      if (how == fate::reordered && random.chance(1, 2)) put(left, *one, 0, one->data.size());
    }
    return left;
  }
  [[nodiscard]] const image &seen() const { return seen_; }

 private:
  static void put(image &files, const write &one, uint64_t from, uint64_t to) {
    memcpy(files[one.file].data() + one.offset_bytes + from, one.data.data() + from, to - from);
  }
  /// A part from the beginning or to the end, in whole sectors.
  static void tear(image &files, const write &one, uint64_t sector, cubby::base::prng &random) {
    const uint64_t cut = random.below(one.data.size() / sector + 1) * sector;
    if (random.chance(1, 2))
      put(files, one, 0, cut);
    else
      put(files, one, cut, one.data.size());
  }

  image flushed_;
  image seen_;
  std::vector<write> unflushed_;
  uint64_t order_ = 0;
};

/// Does all that a store asks for until it is idle, each operation at once.
inline void settle(cubby::store::block_store &store, image &files) {
  cubby::store::store_operation op;
  while (store.next_operation(op)) {
    if (op.what == cubby::store::store_operation::kind::write)
      memcpy(files[op.file].data() + op.offset_bytes, op.data, op.bytes);
    store.completed(op.cookie, 0);
  }
}

}  // namespace store_disk

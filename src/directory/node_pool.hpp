// Nodes for all keys of a directory. Nodes are never given back to the system while the directory
// lives, so that a reader may look at one whatever has become of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "directory/node.hpp"
#include "platform/lazy_memory.hpp"

namespace cubby::directory {

class node_pool {
 public:
  /// Takes address space for so many; memory comes with use. A node that has had `life_max` lives
  /// is not used again.
  explicit node_pool(uint32_t node_max, uint32_t life_max = ~uint32_t{0});

  [[nodiscard]] uint32_t max() const noexcept { return node_max_; }
  [[nodiscard]] uint32_t ever_used() const noexcept { return ever_used_; }
  [[nodiscard]] uint32_t in_use() const noexcept { return in_use_; }
  [[nodiscard]] node &at(uint32_t index) const noexcept { return nodes_[index]; }
  [[nodiscard]] node_record &record(uint32_t index) const noexcept { return records_[index]; }
  [[nodiscard]] entry_ref ref(uint32_t index) const noexcept {
    return {index, nodes_[index].life()};
  }

  /// Writer: from here on `count` (1 or 2) take() succeed. False: that many are not left. May
  /// throw, and then nothing has changed.
  bool make_ready(uint32_t count, bool long_keys);
  /// Writer, after make_ready(). A node with this key that no one can find yet.
  uint32_t take(const packed_key &key) noexcept;
  /// Writer: it has been unlinked. Ends its life.
  void give(uint32_t index) noexcept;

  /// Any thread: does the node hold this key? Meaningful while its life has not changed.
  [[nodiscard]] bool holds_key(uint32_t index, const packed_key &key) const noexcept {
    const node &looked = nodes_[index];
    uint64_t differs = 0;
    for (uint32_t word = 0; word < short_key_words; ++word) {
      differs |= looked.key[word].load(std::memory_order_acquire) ^ key.words[word];
    }
    const uint64_t identity = looked.identity.load(std::memory_order_acquire);
    differs |= static_cast<uint32_t>(identity) ^ key.tag;
    return differs == 0 && (!key.is_long() || holds_long_part(index, key));
  }
  /// Writer: the key of a node in use.
  void read_key(uint32_t index, packed_key &out) const noexcept;

  [[nodiscard]] uint64_t bytes() const noexcept;

 private:
  static constexpr uint32_t chunk_nodes = 1024;
  static constexpr uint32_t long_words = key_words_max - short_key_words;
  static constexpr uint32_t no_index = ~uint32_t{0};
  using long_key = std::array<std::atomic<uint64_t>, long_words>;
  using long_keys = std::array<long_key, chunk_nodes>;

  [[nodiscard]] bool holds_long_part(uint32_t index, const packed_key &key) const noexcept;
  [[nodiscard]] long_key *long_part(uint32_t index) const noexcept;
  void own_long_part(uint32_t index);

  const uint32_t node_max_;
  const uint32_t life_max_;
  platform::lazy_memory node_memory_;
  platform::lazy_memory record_memory_;
  node *const nodes_;
  node_record *const records_;
  // [node_max / chunk_nodes]: the ends of long keys. Taken with the first long key of a chunk.
  const std::unique_ptr<std::atomic<long_keys *>[]> long_chunks_;
  std::vector<std::unique_ptr<long_keys>> owned_chunks_;
  uint32_t ever_used_ = 0;  // nodes below have been used
  uint32_t in_use_ = 0;
  uint32_t first_free_ = no_index, last_free_ = no_index;  // the node freed first is used first
};

}  // namespace cubby::directory

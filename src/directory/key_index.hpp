// From a key to its node: a fixed array of buckets, each a chain of nodes. Many readers without a
// lock beside one writer.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "directory/node_pool.hpp"
#include "platform/lazy_memory.hpp"

namespace cubby::directory {

/// One key that is looked for, and what was found.
struct probe {
  packed_key key;
  uint64_t bucket;
  uint64_t link;  // where the search stands
  // Found: its node, or life 0. State and parent belong together.
  entry_ref entry;
  node_state state;
  uint64_t parent;
};

class key_index {
 public:
  static constexpr uint32_t group = 16;  // keys that are looked for together

  /// `bucket_count` is a power of two. Seeded so that callers cannot choose keys of one bucket.
  key_index(node_pool &pool, uint64_t bucket_count, uint64_t seed);

  /// Any thread: looks for up to `group` keys at once, so that their cache misses overlap. Never
  /// waits; goes back to the head of a bucket where a node of it was given back meanwhile. A key
  /// that is in the index from before the call until after it is found.
  void find(std::span<probe> probes) const noexcept;

  /// Writer: a node that take() gave; its state is set.
  void insert(uint32_t index) noexcept;
  /// Writer: the node is not found from here on; give() may follow.
  void remove(uint32_t index) noexcept;

  [[nodiscard]] uint64_t bytes() const noexcept { return bucket_count_ * sizeof(uint64_t); }

 private:
  enum class step { found, next, end };

  [[nodiscard]] uint64_t bucket_of(const packed_key &key) const noexcept;
  step advance(probe &one) const noexcept;

  node_pool &pool_;
  const uint64_t bucket_count_;
  const uint64_t seed_;
  platform::lazy_memory memory_;
  std::atomic<uint64_t> *const heads_;  // links
};

}  // namespace cubby::directory

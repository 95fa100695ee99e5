// What readers see of one key: a cache line of atomic words.
//
//   identity  32–63 life, 8–31 space, 0–7 length of the key     changes only between lives
//   state     32–63 locker, 16–31 pending parts, 0–15 present parts
//   next      link to the next node of the bucket
//   parent    link to the node of the parent; 0 = a root. Says nothing while no part is present
//   key       its first 32 bytes; longer keys go on in the pool's table of long keys
//
// A node that is given back gets the next life before anything else in it changes, and a link names
// the life it leads to. So a reader takes what it has read for its key only if the life is still
// the one its link named: it never waits, and never sees a key with another's locker. Words are
// stored with release and loaded with acquire order: whoever reads a word of a later life
// also sees that the life has changed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "directory/key.hpp"

namespace cubby::directory {

inline constexpr uint32_t no_locker = ~uint32_t{0};

/// A key's node in one life; life 0 = none. Stays valid until the key is forgotten, and never
/// means another key.
struct entry_ref {
  uint32_t index = 0;
  uint32_t life = 0;

  explicit operator bool() const noexcept { return life != 0; }
  friend bool operator==(const entry_ref &, const entry_ref &) = default;
  [[nodiscard]] uint64_t link() const noexcept { return uint64_t{life} << 32 | index; }
  static entry_ref of(uint64_t link) noexcept {
    return {static_cast<uint32_t>(link), static_cast<uint32_t>(link >> 32)};
  }
};

/// The state word, unpacked.
struct node_state {
  uint32_t locker = 0;
  uint16_t pending = 0;
  uint16_t present = 0;

  [[nodiscard]] uint64_t word() const noexcept {
    return uint64_t{locker} << 32 | uint64_t{pending} << 16 | present;
  }
  static node_state of(uint64_t word) noexcept {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16),
            static_cast<uint16_t>(word)};
  }
};

struct alignas(64) node {
  std::atomic<uint64_t> identity{uint64_t{1} << 32};
  std::atomic<uint64_t> state{0};
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> parent{0};
  std::array<std::atomic<uint64_t>, short_key_words> key{};

  [[nodiscard]] uint32_t life() const noexcept {
    return static_cast<uint32_t>(identity.load(std::memory_order_acquire) >> 32);
  }
};
static_assert(sizeof(node) == 64);

/// What the writer alone knows of a node.
struct node_record {
  uint32_t children = 0;  // entries that name it as their parent; of a free node: the next free one
  uint16_t leases = 0;    // that hold it
  uint8_t keep = 0;       // CUBBY_KEEP_*
  bool is_entry = false;  // has a locker; else it only stands for a parent that is not here
};
static_assert(sizeof(node_record) == 8);

}  // namespace cubby::directory

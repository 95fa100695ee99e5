// The blocks of a store by number, in 40 bytes each beside their keys and part lengths.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "store/durable/extent_map.hpp"
#include "store/durable/format.hpp"
#include "store/durable/tail_arena.hpp"

namespace cubby::store {

enum class block_state : uint8_t {
  none,
  writing,    // its bytes are not yet where its record may say they are
  recording,  // its record is on its way
  live,       // acknowledged
  erasing,    // the record that frees it waits for its page
  erased      // that record has its page: a manifest begun from here on is without the block
};

struct block_entry {
  uint64_t generation = 0;
  uint64_t digest = 0;
  uint64_t parent = 0;
  uint32_t first_page = 0;
  uint32_t tail = 0;  // part lengths, then the key
  uint32_t space = 0;
  uint8_t file = 0;
  uint8_t keep : 4 = 0;
  block_state state : 4 = block_state::none;
  uint8_t key_bytes = 0;
  uint8_t part_count = 0;
};
static_assert(sizeof(block_entry) == 40);

class block_table {
 public:
  /// May throw.
  explicit block_table(uint32_t blocks_max);

  /// A free number, now taken; it has no entry until set(). Nothing when all are taken.
  std::optional<uint32_t> take_number() noexcept;
  void give_number(uint32_t number) noexcept;

  /// Makes, or replaces, the entry body.number. May throw, and then nothing has changed.
  void set(const block_body &body, block_state state);
  /// Forgets the entry and gives its number back.
  void remove(uint32_t number) noexcept;

  /// NULL when there is none.
  [[nodiscard]] block_entry *find(uint32_t number) noexcept;
  [[nodiscard]] const block_entry *find(uint32_t number) const noexcept;
  [[nodiscard]] block_body body_of(uint32_t number) const noexcept;
  [[nodiscard]] uint64_t bytes_of_block(uint32_t number) const noexcept;
  /// The numbers of all entries are below.
  [[nodiscard]] uint32_t end() const noexcept { return end_; }
  [[nodiscard]] uint32_t count() const noexcept { return count_; }
  [[nodiscard]] uint64_t memory_bytes() const noexcept;

 private:
  static constexpr uint32_t chunk_entries = 1024;

  uint32_t blocks_max_;
  uint32_t end_ = 0;
  uint32_t count_ = 0;
  std::vector<std::unique_ptr<block_entry[]>> chunks_;
  tail_arena tails_;
  extent_map numbers_;
};

}  // namespace cubby::store

// The tables of a store as its manifest and journal give them, while it is opened. Any content may
// come in: what does not fit the store is refused, entry by entry.
#pragma once

#include <cstdint>
#include <vector>

#include "store/durable/block_table.hpp"
#include "store/durable/extent_map.hpp"
#include "store/durable/format.hpp"
#include "store/durable/space_table.hpp"

namespace cubby::store {

class replay {
 public:
  /// May throw, as may all that adds.
  explicit replay(const layout &places) : places_(places), blocks_(places.shape().blocks_max) {}

  /// The last generations that are known to have been given out.
  void raise(uint64_t generation, uint32_t space_generation) noexcept;
  /// False when the entry cannot be of this store.
  bool add_space(const space_body &body) noexcept { return spaces_.set(body); }
  bool add_block(const block_body &body);
  /// A record of the journal, in order; false when it cannot be of this store. Applied twice, or
  /// to tables of a later moment, it changes nothing.
  bool apply(const journal_record &record);

  struct outcome {
    uint64_t without_space = 0;
    uint64_t overwritten = 0;
  };
  /// When all is applied: drops blocks of no space, and of two blocks with a page in common the
  /// earlier one, and takes the pages of the others.
  outcome settle(std::vector<extent_map> &extents);

  [[nodiscard]] block_table &blocks() { return blocks_; }
  [[nodiscard]] space_table &spaces() { return spaces_; }
  [[nodiscard]] uint64_t generation() const { return generation_; }

 private:
  [[nodiscard]] bool is_sound(const block_body &body) const noexcept;
  [[nodiscard]] std::vector<extent_map> all_free() const;
  bool take_pages(uint32_t number, std::vector<extent_map> &extents) const noexcept;
  uint64_t settle_by_generation(std::vector<extent_map> &extents);

  layout places_;
  block_table blocks_;
  space_table spaces_;
  uint64_t generation_ = 0;
};

}  // namespace cubby::store

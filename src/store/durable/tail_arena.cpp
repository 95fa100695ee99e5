#include "store/durable/tail_arena.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/room.hpp"

namespace cubby::store {

uint32_t tail_arena::units_of(uint32_t bytes) noexcept {
  return std::max(1u, (bytes + unit_bytes - 1) / unit_bytes);
}

unsigned char *tail_arena::at(uint32_t slot) const noexcept {
  return chunks_[slot / chunk_units].get() + size_t{slot % chunk_units} * unit_bytes;
}

uint32_t tail_arena::take(uint32_t bytes) {
  CUBBY_ASSERT(bytes <= slot_bytes_max);
  const uint32_t units = units_of(bytes);
  if (const uint32_t slot = free_[units]; slot != nothing) {
    memcpy(&free_[units], at(slot), sizeof free_[units]);
    return slot;
  }
  if (used_units_ + units > chunk_units) {
    base::make_room(chunks_, chunks_.size() + 1);
    chunks_.push_back(std::make_unique<unsigned char[]>(size_t{chunk_units} * unit_bytes));
    used_units_ = 0;
  }
  const auto slot = static_cast<uint32_t>((chunks_.size() - 1) * chunk_units + used_units_);
  used_units_ += units;
  return slot;
}

void tail_arena::give(uint32_t slot, uint32_t bytes) noexcept {
  const uint32_t units = units_of(bytes);
  memcpy(at(slot), &free_[units], sizeof free_[units]);
  free_[units] = slot;
}

uint64_t tail_arena::memory_bytes() const noexcept {
  return chunks_.size() * uint64_t{chunk_units} * unit_bytes +
         chunks_.capacity() * sizeof chunks_[0];
}

}  // namespace cubby::store

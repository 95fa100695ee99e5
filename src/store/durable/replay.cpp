#include "store/durable/replay.hpp"

#include <algorithm>
#include <cstring>

namespace cubby::store {

void replay::raise(uint64_t generation, uint32_t space_generation) noexcept {
  generation_ = std::max(generation_, generation);
  spaces_.raise_generation(space_generation);
}

bool replay::is_sound(const block_body &body) const noexcept {
  const store_shape &shape = places_.shape();
  if (body.number >= shape.blocks_max || body.file >= shape.file_count) return false;
  if (body.generation == 0 || body.generation > generation_max) return false;
  if (body.key_bytes == 0 || body.key_bytes > store_key_bytes_max) return false;
  if (body.part_count == 0 || body.part_count > store_parts_max) return false;
  if (body.keep != CUBBY_KEEP_RESTART && body.keep != CUBBY_KEEP_DURABLE) return false;
  const uint64_t bytes = bytes_of(body);
  if (bytes == 0 || bytes > store_block_bytes_max) return false;
  return body.first_page >= places_.first_data_page(body.file) &&
         body.first_page + pages_of(bytes) <= places_.end_data_page();
}

bool replay::add_block(const block_body &body) {
  if (!is_sound(body)) return false;
  generation_ = std::max(generation_, body.generation);
  // Its space's own record may be lost: no other space is to have the id, and this block with it.
  spaces_.raise_generation(body.space >> 8);
  const block_entry *there = blocks_.find(body.number);
  if (!there || there->generation < body.generation) blocks_.set(body, block_state::live);
  return true;
}

bool replay::apply(const journal_record &record) {
  block_body block;
  space_body space;
  memcpy(&block, record.body, sizeof block);
  memcpy(&space, record.body, sizeof space);
  switch (static_cast<record_kind>(record.kind)) {
    case record_kind::put:
      return add_block(block);
    case record_kind::erase: {
      const block_entry *there = blocks_.find(block.number);
      if (there && there->generation == block.generation) blocks_.remove(block.number);
      return block.number < places_.shape().blocks_max;
    }
    case record_kind::add_space:
      return add_space(space);
    case record_kind::remove_space:
      spaces_.remove(space.id);
      return true;
    case record_kind::made:
      return true;
    case record_kind::none:
      break;
  }
  return false;
}

std::vector<extent_map> replay::all_free() const {
  std::vector<extent_map> extents;
  extents.reserve(places_.shape().file_count);
  for (uint32_t i = 0; i < places_.shape().file_count; i++)
    extents.emplace_back(places_.first_data_page(i), places_.end_data_page());
  return extents;
}

bool replay::take_pages(uint32_t number, std::vector<extent_map> &extents) const noexcept {
  const block_entry *entry = blocks_.find(number);
  return extents[entry->file].take_at(entry->first_page, pages_of(blocks_.bytes_of_block(number)));
}

/// The slow way, after damage or a lost record alone: the latest blocks first.
uint64_t replay::settle_by_generation(std::vector<extent_map> &extents) {
  std::vector<uint32_t> numbers;
  numbers.reserve(blocks_.count());
  for (uint32_t i = 0; i < blocks_.end(); i++)
    if (blocks_.find(i)) numbers.push_back(i);
  std::sort(numbers.begin(), numbers.end(), [this](uint32_t a, uint32_t b) {
    return blocks_.find(a)->generation > blocks_.find(b)->generation;
  });
  extents = all_free();
  uint64_t lost = 0;
  for (const uint32_t number : numbers) {
    if (take_pages(number, extents)) continue;
    blocks_.remove(number);
    ++lost;
  }
  return lost;
}

replay::outcome replay::settle(std::vector<extent_map> &extents) {
  outcome done;
  extents = all_free();
  bool disjoint = true;
  for (uint32_t i = 0; i < blocks_.end(); i++) {
    const block_entry *entry = blocks_.find(i);
    if (!entry) continue;
    if (!spaces_.at(entry->space)) {
      blocks_.remove(i);
      ++done.without_space;
      continue;
    }
    disjoint = disjoint && take_pages(i, extents);
  }
  if (!disjoint) done.overwritten = settle_by_generation(extents);
  for (uint32_t i = 0; i < blocks_.end(); i++)
    if (const block_entry *entry = blocks_.find(i)) ++spaces_.at(entry->space)->block_count;
  return done;
}

}  // namespace cubby::store

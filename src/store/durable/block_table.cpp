#include "store/durable/block_table.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"

namespace cubby::store {
namespace {

uint32_t tail_bytes(uint32_t part_count, uint32_t key_bytes) noexcept {
  return part_count * static_cast<uint32_t>(sizeof(uint32_t)) + key_bytes;
}

}  // namespace

block_table::block_table(uint32_t blocks_max)
    : blocks_max_(blocks_max),
      chunks_((uint64_t{blocks_max} + chunk_entries - 1) / chunk_entries),
      numbers_(0, blocks_max) {}

std::optional<uint32_t> block_table::take_number() noexcept {
  const auto number = numbers_.take(1);
  if (!number) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

void block_table::give_number(uint32_t number) noexcept { numbers_.give(number, 1); }

block_entry *block_table::find(uint32_t number) noexcept {
  if (number >= end_ || !chunks_[number / chunk_entries]) return nullptr;
  block_entry &entry = chunks_[number / chunk_entries][number % chunk_entries];
  return entry.state == block_state::none ? nullptr : &entry;
}

const block_entry *block_table::find(uint32_t number) const noexcept {
  return const_cast<block_table *>(this)->find(number);
}

void block_table::set(const block_body &body, block_state state) {
  CUBBY_ASSERT(body.number < blocks_max_ && state != block_state::none);
  auto &chunk = chunks_[body.number / chunk_entries];
  if (!chunk) chunk = std::make_unique<block_entry[]>(chunk_entries);
  const uint32_t tail = tails_.take(tail_bytes(body.part_count, body.key_bytes));
  if (find(body.number)) {
    remove(body.number);
    CUBBY_ASSERT(numbers_.take_at(body.number, 1));
  } else {
    numbers_.take_at(body.number, 1);  // taken already where take_number() chose it
  }
  block_entry &entry = chunk[body.number % chunk_entries];
  entry.generation = body.generation;
  entry.digest = body.digest;
  entry.parent = body.parent;
  entry.first_page = body.first_page;
  entry.tail = tail;
  entry.space = body.space;
  entry.file = body.file;
  entry.keep = body.keep & 15;
  entry.state = state;
  entry.key_bytes = body.key_bytes;
  entry.part_count = body.part_count;
  memcpy(tails_.at(tail), body.part_bytes, tail_bytes(body.part_count, 0));
  memcpy(tails_.at(tail) + tail_bytes(body.part_count, 0), body.key, body.key_bytes);
  end_ = std::max(end_, body.number + 1);
  ++count_;
}

void block_table::remove(uint32_t number) noexcept {
  block_entry *entry = find(number);
  CUBBY_ASSERT(entry != nullptr);
  tails_.give(entry->tail, tail_bytes(entry->part_count, entry->key_bytes));
  *entry = block_entry{};
  --count_;
  give_number(number);
}

block_body block_table::body_of(uint32_t number) const noexcept {
  const block_entry *entry = find(number);
  CUBBY_ASSERT(entry != nullptr);
  block_body body = {};
  body.generation = entry->generation;
  body.digest = entry->digest;
  body.parent = entry->parent;
  body.number = number;
  body.space = entry->space;
  body.first_page = entry->first_page;
  body.file = entry->file;
  body.keep = entry->keep;
  body.key_bytes = entry->key_bytes;
  body.part_count = entry->part_count;
  const unsigned char *tail = tails_.at(entry->tail);
  memcpy(body.part_bytes, tail, tail_bytes(entry->part_count, 0));
  memcpy(body.key, tail + tail_bytes(entry->part_count, 0), entry->key_bytes);
  return body;
}

uint64_t block_table::bytes_of_block(uint32_t number) const noexcept {
  return bytes_of(body_of(number));
}

uint64_t block_table::memory_bytes() const noexcept {
  uint64_t sum = chunks_.capacity() * sizeof chunks_[0];
  for (const auto &chunk : chunks_)
    if (chunk) sum += sizeof(block_entry) * chunk_entries;
  return sum + tails_.memory_bytes() + numbers_.memory_bytes();
}

}  // namespace cubby::store

#include "directory/space_table.hpp"

#include "base/assert.hpp"
#include "directory/key.hpp"

namespace cubby::directory {

namespace {

constexpr uint32_t generations = 1u << 16;  // of one slot's handles

std::string text_of(space_table::bytes bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

space_table::space_table(uint32_t handle_max)
    : handle_max_(handle_max),
      slots_(std::make_unique<std::atomic<uint64_t>[]>(handle_max)),
      lives_(handle_max) {
  CUBBY_ASSERT(handle_max < generations);
}

error space_table::stale_handle(uint32_t handle) {
  return fail(CUBBY_ERR_STALE, "space %u: not a space of this bank, or removed; add it again",
              handle);
}

/// The free slot whose handle was removed first.
result<uint32_t> space_table::free_slot() const {
  uint32_t oldest = handle_max_;
  for (uint32_t slot = 0; slot < handle_max_; ++slot) {
    if (lives_[slot].taken || lives_[slot].handles_given == generations) continue;
    if (oldest == handle_max_ || lives_[slot].freed < lives_[oldest].freed) oldest = slot;
  }
  if (oldest != handle_max_) return oldest;
  return fail(CUBBY_ERR_BUSY,
              "space: the bank has %u handles open, as many as it was made for; remove one first",
              handle_max_);
}

result<uint32_t> space_table::add(bytes fingerprint, bytes domain) {
  const auto slot = free_slot();
  if (!slot) return slot.failure();
  pair wanted{text_of(fingerprint), text_of(domain)};
  auto place = ids_.find(wanted);
  if (place == ids_.end()) {
    if (last_id_ == space_id_max) {
      return fail(
          CUBBY_ERR_INVALID,
          "space: this bank has had %u spaces, and no identity is used twice; add the keys' "
          "spaces once and hold on to them, or add another bank",
          space_id_max);
    }
    place = ids_.emplace(std::move(wanted), last_id_ + 1).first;
    try {
      spaces_[last_id_ + 1].place = place;
    } catch (...) {
      ids_.erase(place);
      throw;
    }
    ++last_id_;
  }
  slot_life &life = lives_[*slot];
  life.taken = true;
  const uint32_t handle = life.handles_given++ << 16 | (*slot + 1);
  ++spaces_.at(place->second).handles;
  slots_[*slot].store(uint64_t{handle} << 32 | place->second, std::memory_order_release);
  return handle;
}

result<void> space_table::remove(uint32_t handle) {
  const uint32_t id = id_of(handle);
  if (id == 0) return stale_handle(handle);
  const uint32_t slot = (handle & 0xFFFF) - 1;
  slots_[slot].store(0, std::memory_order_release);
  lives_[slot].taken = false;
  lives_[slot].freed = ++removals_;
  const auto found = spaces_.find(id);
  space &one = found->second;
  if (--one.handles != 0) return {};
  ids_.erase(one.place);
  over_entries_ += one.entries;
  over_pending_ += one.pending;
  if (one.entries == 0) spaces_.erase(found);
  return {};
}

bool space_table::is_open(uint32_t id) const {
  const auto found = spaces_.find(id);
  return found != spaces_.end() && found->second.handles != 0;
}

void space_table::entered(uint32_t id) noexcept { ++spaces_.find(id)->second.entries; }

void space_table::left(uint32_t id) noexcept {
  const auto found = spaces_.find(id);
  space &one = found->second;
  --one.entries;
  if (one.handles != 0) return;
  --over_entries_;
  if (one.entries == 0) spaces_.erase(found);
}

void space_table::put_began(uint32_t id) noexcept { ++spaces_.find(id)->second.pending; }

void space_table::put_ended(uint32_t id) noexcept {
  space &one = spaces_.find(id)->second;
  --one.pending;
  if (one.handles == 0) --over_pending_;
}

uint64_t space_table::table_bytes() const noexcept {
  constexpr uint64_t tree_node = 32;  // of a map, beside its value
  uint64_t total = handle_max_ * (sizeof(uint64_t) + sizeof(slot_life));
  total += spaces_.size() * (tree_node + sizeof(*spaces_.begin()));
  for (const auto &one : ids_) {
    total += tree_node + sizeof one + one.first.first.capacity() + one.first.second.capacity();
  }
  return total;
}

}  // namespace cubby::directory

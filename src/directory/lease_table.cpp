#include "directory/lease_table.hpp"

#include <algorithm>

#include "base/room.hpp"

namespace cubby::directory {

namespace {

constexpr uint32_t leases_of_entry_max = 0xFFFF;

}  // namespace

result<uint64_t> lease_table::take(std::span<const entry_ref> entries, uint64_t expires_ns) {
  if (due_.size() >= lease_max_) {
    return fail(CUBBY_ERR_BUSY,
                "lease: %u leases are open, as many as the bank was made for; end some first",
                lease_max_);
  }
  std::vector<entry_ref> items(entries.begin(), entries.end());
  if (free_.empty()) {
    base::make_room(free_, leases_.size() + 1);
    base::make_room(leases_, leases_.size() + 1);
    leases_.emplace_back();
    free_.push_back(static_cast<uint32_t>(leases_.size() - 1));
  }
  const uint32_t index = free_.back();
  const auto due = due_.emplace(expires_ns, index).first;
  for (size_t i = 0; i < items.size(); ++i) {
    node_record &record = pool_.record(items[i].index);
    if (record.leases < leases_of_entry_max) {
      ++record.leases;
      continue;
    }
    while (i-- != 0) --pool_.record(items[i].index).leases;
    due_.erase(due);
    return fail(CUBBY_ERR_BUSY, "lease: one of its keys is held by %u leases; end some first",
                leases_of_entry_max);
  }
  free_.pop_back();
  lease &taken = leases_[index];
  taken.held_count = static_cast<uint32_t>(items.size());
  taken.expires_ns = expires_ns;
  taken.items = std::move(items);
  return uint64_t{taken.generation} << 32 | (index + 1);
}

lease_table::lease *lease_table::find(uint64_t handle) noexcept {
  const uint32_t index = static_cast<uint32_t>(handle) - 1;
  if (index >= leases_.size()) return nullptr;
  lease &one = leases_[index];
  return one.held_count != 0 && one.generation == handle >> 32 ? &one : nullptr;
}

/// The entry may be forgotten by now, with its space.
void lease_table::let_go(lease &from, entry_ref &item) noexcept {
  if (pool_.at(item.index).life() == item.life) --pool_.record(item.index).leases;
  item = {};
  --from.held_count;
}

void lease_table::end(uint32_t index) noexcept {
  lease &over = leases_[index];
  due_.erase({over.expires_ns, index});
  over.items = {};
  over.generation = (over.generation + 1) & 0x7FFF'FFFF;  // as handles of the interface hold it
  free_.push_back(index);
}

result<void> lease_table::release(uint64_t handle, uint32_t first, uint32_t count) {
  lease *const one = find(handle);
  if (one == nullptr) {
    return fail(CUBBY_ERR_STALE, "lease: it has ended or its time is over; take another");
  }
  const auto size = static_cast<uint32_t>(one->items.size());
  if (first > size || count > size - first || (count != 0 && first == size)) {
    return fail(CUBBY_ERR_INVALID, "lease: items %u to %llu of a lease of %u; give a range of it",
                first, static_cast<unsigned long long>(uint64_t{first} + count), size);
  }
  const std::span<entry_ref> range(one->items.data() + (count != 0 ? first : 0),
                                   count != 0 ? count : size);
  const bool twice =
      count != 0 && std::any_of(range.begin(), range.end(), [](entry_ref item) { return !item; });
  if (twice) {
    return fail(CUBBY_ERR_STALE, "lease: an item from %u on was released before; release it once",
                first);
  }
  for (entry_ref &item : range) {
    if (item) let_go(*one, item);
  }
  if (one->held_count == 0) end(static_cast<uint32_t>(handle) - 1);
  return {};
}

uint32_t lease_table::expire(uint64_t now_ns, uint32_t item_max) noexcept {
  uint32_t released = 0;
  while (released < item_max && next_expiry_ns() <= now_ns) {
    const uint32_t index = due_.begin()->second;
    for (entry_ref &item : leases_[index].items) {
      if (!item) continue;
      let_go(leases_[index], item);
      ++released;
    }
    end(index);
  }
  return released;
}

uint64_t lease_table::bytes() const noexcept {
  constexpr uint64_t tree_node = 32;  // of a set, beside its value
  uint64_t total = leases_.capacity() * sizeof(lease) + free_.capacity() * sizeof(uint32_t) +
                   due_.size() * (tree_node + sizeof(*due_.begin()));
  for (const lease &one : leases_) total += one.items.capacity() * sizeof(entry_ref);
  return total;
}

}  // namespace cubby::directory

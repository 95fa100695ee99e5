#include "directory/entries.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "base/room.hpp"

namespace cubby::directory {

namespace {

uint16_t both(uint32_t a, uint32_t b) { return static_cast<uint16_t>(a & b); }
uint16_t without(uint32_t a, uint32_t b) { return static_cast<uint16_t>(a & ~b); }
uint16_t either(uint32_t a, uint32_t b) { return static_cast<uint16_t>(a | b); }

/// The first of CUBBY_KEEP_* is not the shortest.
uint8_t longer_of(uint8_t a, uint8_t b) {
  const auto rank = [](uint8_t keep) { return keep == CUBBY_KEEP_CACHE ? -1 : int{keep}; };
  return rank(a) < rank(b) ? b : a;
}

error gone() {
  return fail(CUBBY_ERR_STALE,
              "key: its entry is gone, by eviction or with its space; put it again");
}

}  // namespace

entries::entries(node_pool &pool, key_index &index, space_table &spaces, uint32_t locker_count)
    : pool_(pool),
      index_(index),
      spaces_(spaces),
      withheld_(locker_count),
      by_locker_(locker_count, no_node) {}

node_state entries::state_of(uint32_t index) const noexcept {
  return node_state::of(pool_.at(index).state.load(std::memory_order_relaxed));
}

void entries::set_state(uint32_t index, node_state state) noexcept {
  pool_.at(index).state.store(state.word(), std::memory_order_release);
}

uint32_t entries::space_of(uint32_t index) const noexcept {
  const uint64_t identity = pool_.at(index).identity.load(std::memory_order_relaxed);
  return static_cast<uint32_t>(identity) >> 8;
}

bool entries::is_entry(entry_ref entry) const noexcept {
  return entry.index < pool_.ever_used() && pool_.at(entry.index).life() == entry.life &&
         pool_.record(entry.index).is_entry;
}

entry_ref entries::at_locker(uint32_t locker) const noexcept {
  if (locker >= by_locker_.size() || by_locker_[locker] == no_node) return {};
  return pool_.ref(by_locker_[locker]);
}

result<void> entries::check_free(uint32_t locker) const {
  if (locker >= by_locker_.size()) {
    return fail(CUBBY_ERR_INVALID, "locker %u: the bank has %zu; give a free number of it", locker,
                by_locker_.size());
  }
  if (by_locker_[locker] != no_node) {
    return fail(CUBBY_ERR_INVALID, "locker %u: another key has it; give a free number", locker);
  }
  return {};
}

result<put_answer> entries::begin(const put_order &order) {
  if (order.has_parent && equal(order.key, order.parent)) {
    return fail(CUBBY_ERR_INVALID,
                "key: it is its own parent; derive each key from its block and its parent");
  }
  std::array<probe, 2> found;
  found[0].key = order.key;
  if (order.has_parent) found[1].key = order.parent;
  index_.find(std::span(found).first(order.has_parent ? 2 : 1));
  const probe &own = found[0];
  if (!order.has_parent) found[1].entry = {};
  if (!own.entry || !pool_.record(own.entry.index).is_entry) return enter(own, found[1], order);
  // An entry's parent has a node, so a parent without one is another.
  const bool same_parent = order.has_parent == (own.parent != 0) &&
                           (!order.has_parent || entry_ref::of(own.parent) == found[1].entry);
  if (!same_parent) {
    return fail(
        CUBBY_ERR_INVALID,
        "key: it was put with another parent, so two prefixes share a name and one could be "
        "served for the other; derive each key from its block and all before it");
  }
  return join(own, order);
}

/// A put of a key that has an entry.
result<put_answer> entries::join(const probe &own, const put_order &order) {
  node_record &record = pool_.record(own.entry.index);
  node_state state = own.state;
  put_answer answer;
  answer.entry = own.entry;
  answer.known = both(order.parts, state.present);
  answer.joined = both(order.parts, state.pending);
  answer.fresh = without(order.parts, answer.known | answer.joined);
  answer.lived_as = record.keep;
  record.keep = longer_of(record.keep, order.keep);
  answer.locker = state.locker;
  if (answer.fresh == 0) return answer;
  if (state.pending == 0) spaces_.put_began(space_of(own.entry.index));
  state.pending = either(state.pending, answer.fresh);
  set_state(own.entry.index, state);
  return answer;
}

uint32_t entries::make_node(const packed_key &key) noexcept {
  const uint32_t index = pool_.take(key);
  index_.insert(index);
  return index;
}

/// A put of a key that has no entry: of a new one, or of one that children name already.
result<put_answer> entries::enter(const probe &own, const probe &parent, const put_order &order) {
  if (auto free = check_free(order.locker); !free) return free.failure();
  const bool new_parent = order.has_parent && !parent.entry;
  const uint32_t new_nodes = (own.entry ? 0u : 1u) + (new_parent ? 1u : 0u);
  const bool long_keys = order.key.is_long() || (order.has_parent && order.parent.is_long());
  if (new_nodes != 0 && !pool_.make_ready(new_nodes, long_keys)) {
    return fail(CUBBY_ERR_BUSY, "key: all %u nodes of the directory are in use; evict keys first",
                pool_.max());
  }
  const uint32_t space = order.key.space();
  uint64_t parent_link = 0;
  if (order.has_parent) {
    const uint32_t above = new_parent ? make_node(order.parent) : parent.entry.index;
    ++pool_.record(above).children;
    parent_link = pool_.ref(above).link();
  }
  const uint32_t index = own.entry ? own.entry.index : pool_.take(order.key);
  pool_.at(index).parent.store(parent_link, std::memory_order_release);
  set_state(index, {order.locker, order.parts, 0});
  if (!own.entry) index_.insert(index);
  node_record &record = pool_.record(index);
  record.is_entry = true;
  record.keep = order.keep;
  by_locker_[order.locker] = index;
  spaces_.entered(space);
  spaces_.put_began(space);
  ++count_;
  put_answer answer;
  answer.entry = pool_.ref(index);
  answer.locker = order.locker;
  answer.fresh = order.parts;
  answer.took_locker = true;
  return answer;
}

result<node_state> entries::pending_put(entry_ref entry, uint32_t locker, uint16_t parts) const {
  if (!is_entry(entry)) return gone();
  const node_state state = state_of(entry.index);
  if (state.locker != locker || parts == 0 || both(state.pending, parts) != parts) {
    return fail(CUBBY_ERR_STALE,
                "key: no put of parts 0x%x into locker %u is under way; end each put once", parts,
                locker);
  }
  return state;
}

result<put_end> entries::publish(entry_ref entry, uint32_t locker, uint16_t parts) {
  auto put = pending_put(entry, locker, parts);
  if (!put) return put.failure();
  const uint32_t space = space_of(entry.index);
  if (!spaces_.is_open(space)) return abandon(entry, locker, parts);
  node_state state = *put;
  state.pending = without(state.pending, parts);
  state.present = either(state.present, parts);
  if (state.pending == 0) spaces_.put_ended(space);
  set_state(entry.index, state);
  put_end end;
  end.visible = true;
  return end;
}

result<put_end> entries::abandon(entry_ref entry, uint32_t locker, uint16_t parts) {
  auto put = pending_put(entry, locker, parts);
  if (!put) return put.failure();
  const uint32_t space = space_of(entry.index);
  node_state state = *put;
  state.pending = without(state.pending, parts);
  if (state.pending == 0) spaces_.put_ended(space);
  set_state(entry.index, state);
  const bool empty = state.present == 0;
  put_end end;
  if (state.pending == 0 && (empty || !spaces_.is_open(space))) end.released = drop(entry.index);
  return end;
}

result<uint32_t> entries::erasable(entry_ref entry, erase_rule rule) const {
  if (!is_entry(entry)) return gone();
  const node_record &record = pool_.record(entry.index);
  const node_state state = state_of(entry.index);
  if (state.pending != 0) {
    return fail(CUBBY_ERR_BUSY, "locker %u: a put of its key is under way; wait for its end",
                state.locker);
  }
  if (record.leases != 0) {
    return fail(CUBBY_ERR_BUSY, "locker %u: %u leases hold its key; end them first", state.locker,
                record.leases);
  }
  if (rule == erase_rule::leaf && record.children != 0) {
    return fail(CUBBY_ERR_BUSY, "locker %u: %u keys hang on its key; evict them first",
                state.locker, record.children);
  }
  return state.locker;
}

result<uint32_t> entries::erase(entry_ref entry, erase_rule rule) {
  auto locker = erasable(entry, rule);
  if (locker) drop(entry.index);
  return locker;
}

/// The entry is over; its node stays while children name it. Returns its number.
uint32_t entries::drop(uint32_t index) noexcept {
  node &dropped = pool_.at(index);
  node_record &record = pool_.record(index);
  const uint32_t locker = state_of(index).locker;
  const entry_ref parent = entry_ref::of(dropped.parent.load(std::memory_order_relaxed));
  set_state(index, {});
  dropped.parent.store(0, std::memory_order_release);
  by_locker_[locker] = no_node;
  withheld_.offer(locker);
  record.keep = 0;
  record.is_entry = false;
  --count_;
  spaces_.left(space_of(index));
  give_if_unused(index);
  if (parent) {
    CUBBY_ASSERT(pool_.at(parent.index).life() == parent.life);
    --pool_.record(parent.index).children;
    give_if_unused(parent.index);
  }
  return locker;
}

result<void> entries::set_parent(entry_ref entry, const packed_key &parent) {
  if (!is_entry(entry)) return gone();
  if (pool_.holds_key(entry.index, parent)) {
    return fail(CUBBY_ERR_INVALID, "key: it cannot be its own parent; name the key before it");
  }
  std::array<probe, 1> found;
  found[0].key = parent;
  index_.find(found);
  const bool there = static_cast<bool>(found[0].entry);
  if (!there && !pool_.make_ready(1, parent.is_long())) {
    return fail(CUBBY_ERR_BUSY, "key: all %u nodes of the directory are in use; evict keys first",
                pool_.max());
  }
  const uint32_t above = there ? found[0].entry.index : make_node(parent);
  ++pool_.record(above).children;
  std::atomic<uint64_t> &link = pool_.at(entry.index).parent;
  const entry_ref before = entry_ref::of(link.load(std::memory_order_relaxed));
  link.store(pool_.ref(above).link(), std::memory_order_release);
  if (before) {
    --pool_.record(before.index).children;
    give_if_unused(before.index);
  }
  return {};
}

void entries::give_if_unused(uint32_t index) noexcept {
  const node_record &record = pool_.record(index);
  if (record.is_entry || record.children != 0) return;
  index_.remove(index);
  pool_.give(index);
}

void entries::reclaim(uint32_t node_max, std::vector<uint32_t> &released) {
  const auto most = std::min<uint64_t>(node_max, spaces_.reclaimable());
  base::make_room(released, released.size() + most);
  for (uint32_t looked = 0; looked < node_max && spaces_.reclaimable() != 0; ++looked) {
    if (reclaim_next_ >= pool_.ever_used()) reclaim_next_ = 0;
    const uint32_t index = reclaim_next_++;
    if (!pool_.record(index).is_entry || state_of(index).pending != 0) continue;
    if (!spaces_.is_open(space_of(index))) released.push_back(drop(index));
  }
}

entry_info entries::describe(entry_ref entry) const noexcept {
  if (!is_entry(entry)) return {};
  const node_record &record = pool_.record(entry.index);
  const node_state state = state_of(entry.index);
  const entry_ref parent =
      entry_ref::of(pool_.at(entry.index).parent.load(std::memory_order_relaxed));
  entry_info info;
  info.locker = state.locker;
  if (is_entry(parent)) info.parent_locker = state_of(parent.index).locker;
  info.children = record.children;
  info.present = state.present;
  info.pending = state.pending;
  info.leases = record.leases;
  info.keep = record.keep;
  return info;
}

}  // namespace cubby::directory

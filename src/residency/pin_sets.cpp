#include "residency/pin_sets.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace cubby::residency {
namespace {

uint32_t groups_of(uint32_t count) { return (count + set_marks::items - 1) / set_marks::items; }

/// Bits of the items first..end-1 that lie in the group.
uint64_t bits_of(uint32_t group, uint32_t first, uint32_t end) {
  const uint32_t from = std::max(first, group * set_marks::items) - group * set_marks::items;
  const uint32_t to = std::min(end - group * set_marks::items, set_marks::items);
  return ((uint64_t{1} << to) - 1) & ~((uint64_t{1} << from) - 1);
}

}  // namespace

pin_sets::pin_sets(uint32_t capacity, uint32_t salt)
    : capacity_(capacity), salt_(salt), sets_(std::make_unique<pin_set[]>(capacity)) {
  for (uint32_t i = capacity; i-- > 0;) {
    sets_[i].marks.store(set_marks::retired(salt_), std::memory_order_relaxed);
    sets_[i].index = i;
    sets_[i].words.store(sets_[i].few.data(), std::memory_order_relaxed);
    push_free(sets_[i], i % shard_count);
  }
}

void pin_sets::push_free(pin_set &set, uint32_t shard) {
  std::atomic<uint64_t> &head = free_[shard].head;
  uint64_t old = head.load(std::memory_order_relaxed);
  uint64_t fresh = 0;
  do {
    set.next_free.store(static_cast<uint32_t>(old), std::memory_order_relaxed);
    fresh = ((old >> 32) + 1) << 32 | (set.index + 1);
  } while (!head.compare_exchange_weak(old, fresh, std::memory_order_release,
                                       std::memory_order_relaxed));
}

pin_set *pin_sets::pop_free(uint32_t shard) {
  std::atomic<uint64_t> &head = free_[shard].head;
  uint64_t old = head.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(old) != 0) {
    pin_set &set = sets_[static_cast<uint32_t>(old) - 1];
    // A stale value read here is caught by the change counter.
    const uint64_t fresh = ((old >> 32) + 1) << 32 | set.next_free.load(std::memory_order_relaxed);
    if (head.compare_exchange_weak(old, fresh, std::memory_order_acquire)) return &set;
  }
  return nullptr;
}

/// From the thread's own list, or from wherever there is one.
pin_set *pin_sets::take_listed(uint32_t shard) {
  for (uint32_t tried = 0; tried < shard_count; ++tried) {
    const uint32_t at = (shard + tried) % shard_count;
    pin_set *set = pop_free(at);
    if (set == nullptr) set = free_[at].spare.exchange(nullptr, std::memory_order_acquire);
    if (set == nullptr) continue;
    uint32_t end = ever_taken_.load(std::memory_order_relaxed);
    while (end <= set->index &&
           !ever_taken_.compare_exchange_weak(end, set->index + 1, std::memory_order_release)) {
    }
    return set;
  }
  return nullptr;
}

void pin_sets::make_room(pin_set &set, uint32_t count) {
  if (set.room >= count) return;
  const uint32_t room = std::max(count, 2 * set.room);
  const uint32_t more = groups_of(room) - 1;
  auto marks = std::make_unique<std::atomic<uint64_t>[]>(more);
  auto words = std::make_unique<std::atomic<locker_word *>[]>(room);
  set.grown_marks.reserve(set.grown_marks.size() + 1);
  set.grown_words.reserve(set.grown_words.size() + 1);
  set.grown_marks.push_back(std::move(marks));
  set.grown_words.push_back(std::move(words));
  set.more_marks.store(set.grown_marks.back().get(), std::memory_order_release);
  set.words.store(set.grown_words.back().get(), std::memory_order_release);
  set.room = room;
}

void pin_sets::open_more(pin_set &set, uint64_t marks) {
  set.simple_count.store(0, std::memory_order_relaxed);
  for (uint32_t group = groups_of(set.size()); --group > 0;) {
    set.marks_of(group).store(marks, std::memory_order_release);
  }
}

void pin_sets::retire(pin_set &set, uint32_t shard, uint32_t released) {
  if (set.held_count.fetch_sub(released, std::memory_order_acq_rel) != released) return;
  const uint64_t generation = set_marks::generation_of(set.marks.load());
  set.marks.store(set_marks::retired(generation), std::memory_order_release);
  give_back(set, shard);
}

pin_sets::release_result pin_sets::release(cubby_pins handle, uint32_t first, uint32_t count,
                                           uint32_t shard) {
  release_result result;
  pin_set *const found = find(handle);
  if (found == nullptr) return {.what = outcome::stale};
  pin_set &set = *found;
  const uint64_t generation = set_marks::generation_of(handle);
  const uint32_t size = set.count.load(std::memory_order_acquire);
  result.tier = set.tier.load(std::memory_order_acquire);
  result.bypass = set.bypass.load(std::memory_order_acquire);
  if (set_marks::generation_of(set.marks.load(std::memory_order_acquire)) != generation) {
    return {.what = outcome::stale};
  }
  // From here a holder who keeps the rules owns the set; one who does not is caught by the marks.
  const bool all = count == 0;
  const uint32_t end = all ? size : first + count;
  if (first >= size || end > size || end < first) return {.what = outcome::out_of_range};
  uint32_t released = 0;
  for (uint32_t group = first / set_marks::items; group * set_marks::items < end; ++group) {
    const uint64_t bits = bits_of(group, first, end);
    std::atomic<uint64_t> &marks = set.marks_of(group);
    uint64_t old = marks.load(std::memory_order_acquire);
    uint64_t fresh = 0;
    do {
      if (set_marks::generation_of(old) != generation) return {.what = outcome::stale};
      if (!all && (old & bits) != 0) return {.what = outcome::twice};
      fresh = bits & ~old;
    } while (!marks.compare_exchange_weak(old, old | bits, std::memory_order_acq_rel));
    if ((old & set_marks::loading_bit) != 0) {
      result.loading = result.loading || fresh != 0;
      continue;  // the controller lets go of what it has pinned
    }
    const std::atomic<locker_word *> *words = set.items() + size_t{group} * set_marks::items;
    for (; fresh != 0; fresh &= fresh - 1, ++released) {
      locker_word *const word = words[__builtin_ctzll(fresh)].load(std::memory_order_relaxed);
      if (word != nullptr) word->unpin();
    }
  }
  if (all && released == 0 && !result.loading) return {.what = outcome::twice};
  if (released != 0) retire(set, shard, released);
  return result;
}

bool pin_sets::words_of(cubby_pins handle, uint32_t first, uint32_t count, uint32_t &tier,
                        std::vector<locker_word *> &out) {
  pin_set *const set = find(handle);
  if (set == nullptr) return false;
  const uint32_t size = set->count.load(std::memory_order_acquire);
  tier = set->tier.load(std::memory_order_acquire);
  const bool all = count == 0;
  const uint32_t end = all ? size : first + count;
  if (first >= size || end > size || end < first) return false;
  const uint64_t generation = set_marks::generation_of(handle);
  for (uint32_t group = first / set_marks::items; group * set_marks::items < end; ++group) {
    const uint64_t marks = set->marks_of(group).load(std::memory_order_acquire);
    const uint64_t bits = bits_of(group, first, end);
    if (set_marks::generation_of(marks) != generation) return false;
    if (!all && (marks & bits) != 0) return false;
    // Of a set that loads: what has landed.
    const std::atomic<locker_word *> *const words = set->items() + size_t{group} * set_marks::items;
    for (uint64_t left = bits & ~marks; left != 0; left &= left - 1) {
      locker_word *const word = words[__builtin_ctzll(left)].load(std::memory_order_relaxed);
      if (word != nullptr) out.push_back(word);
    }
  }
  return true;
}

bool pin_sets::withdrawn(uint32_t index, uint32_t item) {
  const uint64_t marks = sets_[index].marks_of(item / set_marks::items).load();
  return (marks >> (item % set_marks::items) & 1) != 0;
}

void pin_sets::loaded(uint32_t index, uint32_t shard) {
  pin_set &set = sets_[index];
  // Read before the holder may give the set back.
  const uint32_t count = set.size();
  const std::atomic<locker_word *> *const words = set.items();
  const bool whole = std::none_of(words, words + count, [](const auto &word) {
    return word.load(std::memory_order_relaxed) == nullptr;
  });
  if (whole && count <= set_marks::items) set.simple_count.store(count);
  uint32_t released = 0;
  for (uint32_t group = 0; group < groups_of(count); ++group) {
    std::atomic<uint64_t> &marks = set.marks_of(group);
    const uint64_t old = marks.fetch_and(~set_marks::loading_bit, std::memory_order_acq_rel);
    for (uint64_t left = old & (set_marks::loading_bit - 1); left != 0; left &= left - 1) {
      locker_word *const word =
          words[group * set_marks::items + static_cast<uint32_t>(__builtin_ctzll(left))].load(
              std::memory_order_relaxed);
      if (word != nullptr) word->unpin();
      ++released;
    }
  }
  if (released != 0) retire(set, shard, released);
}

void pin_sets::abandon(uint32_t index, uint32_t shard) {
  pin_set &set = sets_[index];
  // Everything counts as released: the last release of the holder, if any, has been seen.
  for (uint32_t group = 0; group < groups_of(set.size()); ++group) {
    set.marks_of(group).fetch_or(set_marks::loading_bit - 1, std::memory_order_acq_rel);
  }
  retire(set, shard, set.held_count.load());
}

}  // namespace cubby::residency

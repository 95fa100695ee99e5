#include "directory/key_index.hpp"

#include <array>
#include <bit>
#include <memory>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/prng.hpp"

namespace cubby::directory {

key_index::key_index(node_pool &pool, uint64_t bucket_count, uint64_t seed)
    : pool_(pool),
      bucket_count_(bucket_count),
      seed_(seed),
      memory_(bucket_count * sizeof(std::atomic<uint64_t>)),
      heads_(static_cast<std::atomic<uint64_t> *>(memory_.base())) {
  CUBBY_ASSERT(std::has_single_bit(bucket_count));
  std::uninitialized_value_construct_n(heads_, bucket_count);
}

uint64_t key_index::bucket_of(const packed_key &key) const noexcept {
  const uint64_t seed = seed_ ^ base::mix64(key.space());
  return base::digest64(key.words.data(), key.bytes(), seed) & (bucket_count_ - 1);
}

/// Looks at the node where the search stands.
key_index::step key_index::advance(probe &one) const noexcept {
  const entry_ref at = entry_ref::of(one.link);
  if (!at) return step::end;
  const node &looked = pool_.at(at.index);
  if (pool_.holds_key(at.index, one.key)) {
    uint64_t state = looked.state.load(std::memory_order_acquire);
    for (;;) {
      one.parent = looked.parent.load(std::memory_order_acquire);
      // A state that has changed may be of a later put, with a parent of its own.
      const uint64_t again = looked.state.load(std::memory_order_acquire);
      if (again == state) break;
      state = again;
    }
    if (looked.life() == at.life) {
      one.entry = at;
      one.state = node_state::of(state);
      return step::found;
    }
  } else {
    const uint64_t next = looked.next.load(std::memory_order_acquire);
    if (looked.life() == at.life) {
      one.link = next;
      return next != 0 ? step::next : step::end;
    }
  }
  // It was given back, and was unlinked before: the head leads past it.
  one.link = heads_[one.bucket].load(std::memory_order_acquire);
  return one.link != 0 ? step::next : step::end;
}

void key_index::find(std::span<probe> probes) const noexcept {
  CUBBY_ASSERT(probes.size() <= group);
  for (probe &one : probes) {
    one.bucket = bucket_of(one.key);
    one.entry = {};
    one.state = {};
    one.parent = 0;
    __builtin_prefetch(&heads_[one.bucket]);
  }
  std::array<probe *, group> open;
  uint32_t open_count = 0;
  for (probe &one : probes) {
    one.link = heads_[one.bucket].load(std::memory_order_acquire);
    if (one.link == 0) continue;
    __builtin_prefetch(&pool_.at(static_cast<uint32_t>(one.link)));
    open[open_count++] = &one;
  }
  while (open_count != 0) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < open_count; ++i) {
      probe &one = *open[i];
      if (advance(one) != step::next) continue;
      __builtin_prefetch(&pool_.at(static_cast<uint32_t>(one.link)));
      open[left++] = &one;
    }
    open_count = left;
  }
}

void key_index::insert(uint32_t index) noexcept {
  packed_key key;
  pool_.read_key(index, key);
  std::atomic<uint64_t> &head = heads_[bucket_of(key)];
  pool_.at(index).next.store(head.load(std::memory_order_relaxed), std::memory_order_release);
  head.store(pool_.ref(index).link(), std::memory_order_release);
}

void key_index::remove(uint32_t index) noexcept {
  packed_key key;
  pool_.read_key(index, key);
  const uint64_t link = pool_.ref(index).link();
  std::atomic<uint64_t> *place = &heads_[bucket_of(key)];
  for (uint64_t at = place->load(std::memory_order_relaxed); at != link;) {
    CUBBY_ASSERT(at != 0);
    place = &pool_.at(static_cast<uint32_t>(at)).next;
    at = place->load(std::memory_order_relaxed);
  }
  place->store(pool_.at(index).next.load(std::memory_order_relaxed), std::memory_order_release);
}

}  // namespace cubby::directory

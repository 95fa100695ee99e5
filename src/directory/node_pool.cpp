#include "directory/node_pool.hpp"

#include <algorithm>
#include <new>

#include "base/assert.hpp"
#include "base/room.hpp"

namespace cubby::directory {

node_pool::node_pool(uint32_t node_max, uint32_t life_max)
    : node_max_(node_max),
      life_max_(life_max),
      node_memory_(size_t{node_max} * sizeof(node)),
      record_memory_(size_t{node_max} * sizeof(node_record)),
      nodes_(static_cast<node *>(node_memory_.base())),
      records_(static_cast<node_record *>(record_memory_.base())),
      long_chunks_(
          std::make_unique<std::atomic<long_keys *>[]>(node_max / chunk_nodes + size_t{1})) {}

bool node_pool::make_ready(uint32_t count, bool long_keys_too) {
  uint32_t freed = first_free_;
  uint32_t unused = ever_used_;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t index = freed;
    if (freed != no_index) {
      freed = records_[freed].children;
    } else if (unused == node_max_) {
      return false;
    } else {
      index = unused++;
    }
    if (long_keys_too) own_long_part(index);
  }
  return true;
}

void node_pool::own_long_part(uint32_t index) {
  std::atomic<long_keys *> &place = long_chunks_[index / chunk_nodes];
  if (place.load(std::memory_order_relaxed) != nullptr) return;
  base::make_room(owned_chunks_, owned_chunks_.size() + 1);
  owned_chunks_.push_back(std::make_unique<long_keys>());
  place.store(owned_chunks_.back().get(), std::memory_order_release);
}

node_pool::long_key *node_pool::long_part(uint32_t index) const noexcept {
  long_keys *const chunk = long_chunks_[index / chunk_nodes].load(std::memory_order_acquire);
  return chunk != nullptr ? &(*chunk)[index % chunk_nodes] : nullptr;
}

uint32_t node_pool::take(const packed_key &key) noexcept {
  uint32_t index = first_free_;
  if (index != no_index) {
    first_free_ = records_[index].children;
    if (first_free_ == no_index) last_free_ = no_index;
  } else {
    CUBBY_ASSERT(ever_used_ < node_max_);
    index = ever_used_++;
    new (&nodes_[index]) node;
  }
  new (&records_[index]) node_record;
  node &taken = nodes_[index];
  for (uint32_t word = 0; word < short_key_words; ++word) {
    taken.key[word].store(key.words[word], std::memory_order_release);
  }
  if (key.is_long()) {
    long_key *const rest = long_part(index);
    CUBBY_ASSERT(rest != nullptr);
    for (uint32_t word = 0; word < long_words; ++word) {
      (*rest)[word].store(key.words[short_key_words + word], std::memory_order_release);
    }
  }
  taken.parent.store(0, std::memory_order_release);
  taken.state.store(0, std::memory_order_release);
  taken.identity.store(uint64_t{taken.life()} << 32 | key.tag, std::memory_order_release);
  ++in_use_;
  return index;
}

void node_pool::give(uint32_t index) noexcept {
  node &given = nodes_[index];
  const uint32_t life = given.life();
  --in_use_;
  // The life changes first: what is stored afterwards is not taken for its.
  given.identity.store((uint64_t{life} + 1) << 32, std::memory_order_release);
  given.state.store(0, std::memory_order_release);
  // A link names 32 bits of life: used once more, the node could be taken for an earlier one.
  if (life >= life_max_) return;
  records_[index].children = no_index;
  if (last_free_ != no_index) {
    records_[last_free_].children = index;
  } else {
    first_free_ = index;
  }
  last_free_ = index;
}

bool node_pool::holds_long_part(uint32_t index, const packed_key &key) const noexcept {
  const long_key *const rest = long_part(index);
  if (rest == nullptr) return false;
  uint64_t differs = 0;
  for (uint32_t word = 0; word < long_words; ++word) {
    differs |= (*rest)[word].load(std::memory_order_acquire) ^ key.words[short_key_words + word];
  }
  return differs == 0;
}

void node_pool::read_key(uint32_t index, packed_key &out) const noexcept {
  const node &looked = nodes_[index];
  out.tag = static_cast<uint32_t>(looked.identity.load(std::memory_order_relaxed));
  for (uint32_t word = 0; word < short_key_words; ++word) {
    out.words[word] = looked.key[word].load(std::memory_order_relaxed);
  }
  if (!out.is_long()) return;
  const long_key &rest = *long_part(index);
  for (uint32_t word = 0; word < long_words; ++word) {
    out.words[short_key_words + word] = rest[word].load(std::memory_order_relaxed);
  }
}

uint64_t node_pool::bytes() const noexcept {
  return uint64_t{ever_used_} * (sizeof(node) + sizeof(node_record)) +
         owned_chunks_.size() * sizeof(long_keys) +
         (node_max_ / chunk_nodes + uint64_t{1}) * sizeof(void *);
}

}  // namespace cubby::directory

// W-TinyLFU: Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy",
// ACM Transactions on Storage 2017. A window of 1 % of the cache (LRU) before a segmented LRU
// (probation, and 80 % protected). What falls out of the window is compared with the next victim of
// probation: a sketch of frequencies, halved every ten cache sizes of uses, decides which leaves.
#include <cubby/policy.hpp>

#include "base/prng.hpp"
#include "placement/describe.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

/// Count-min sketch of four rows of four-bit counters, aged by halving.
class frequency_sketch {
 public:
  void set_capacity(uint32_t capacity) {
    uint64_t words = 8;
    while (words < capacity) words *= 2;
    if (words == table_.size()) return;
    table_.assign(words, 0);
    sample_size_ = uint64_t{10} * capacity;
    counted_ = 0;
  }
  void count(cubby_object object) {
    bool added = false;
    for (uint32_t row = 0; row < 4; ++row) {
      const place at = place_of(object, row);
      if (((table_[at.word] >> at.shift) & 15) == 15) continue;
      table_[at.word] += uint64_t{1} << at.shift;
      added = true;
    }
    if (added && ++counted_ >= sample_size_) halve();
  }
  [[nodiscard]] uint32_t estimate(cubby_object object) const {
    uint64_t least = 15;
    for (uint32_t row = 0; row < 4; ++row) {
      const place at = place_of(object, row);
      least = std::min(least, (table_[at.word] >> at.shift) & 15);
    }
    return static_cast<uint32_t>(least);
  }
  [[nodiscard]] uint64_t bytes() const { return table_.capacity() * sizeof(uint64_t); }

 private:
  struct place {
    uint64_t word;
    uint32_t shift;
  };
  /// A row has four of the sixteen counters of every word.
  [[nodiscard]] place place_of(cubby_object object, uint32_t row) const {
    const uint64_t mixed = base::mix64((uint64_t{row + 1} << 32 | object) * 0x9E3779B97F4A7C15ull);
    return {mixed & (table_.size() - 1), 16 * row + 4 * static_cast<uint32_t>((mixed >> 60) & 3)};
  }
  void halve() {
    for (uint64_t &word : table_) word = (word >> 1) & 0x7777777777777777ull;
    counted_ /= 2;
  }

  std::vector<uint64_t> table_;
  uint64_t sample_size_ = 0, counted_ = 0;
};

class tinylfu {
 public:
  explicit tinylfu(const cubby_policy_config &config) : lists_(3, config.object_count) {
    set_sizes(config);
  }

  void used(cubby_object object) {
    sketch_.count(object);
    const uint8_t list = lists_.list_of(object);
    if (list == window) {
      lists_.renew(window, object);
    } else if (list != object_lists::nowhere) {
      lists_.renew(guarded, object);
      if (lists_.size(guarded) > guarded_size_) lists_.renew(probation, lists_.oldest(guarded));
    }
  }
  void inserted(cubby_object object, uint64_t) {
    if (lists_.list_of(object) != object_lists::nowhere) return;
    lists_.renew(window, object);
    // While the cache is filling, what leaves the window has nobody to meet.
    while (lists_.size(window) > window_size_) lists_.renew(probation, lists_.oldest(window));
  }
  void removed(cubby_object object) {
    if (object == first_) first_ = CUBBY_NO_OBJECT;
    walk_.leaving(lists_, object);
    lists_.take(object);
  }
  void begin_victims(const cubby_policy_need &) {
    first_ = skip_ = CUBBY_NO_OBJECT;  // the round before may have ended early
    stage_ = 0;
    walk_.begin(lists_, probation);
    if (lists_.size(window) < window_size_) return;
    const cubby_object candidate = lists_.oldest(window);
    const cubby_object victim = lists_.oldest(probation);
    if (victim != CUBBY_NO_OBJECT && sketch_.estimate(candidate) > sketch_.estimate(victim)) {
      lists_.renew(probation, candidate);
    } else {
      first_ = candidate;
    }
  }
  cubby_object next_victim() {
    if (first_ != CUBBY_NO_OBJECT) {
      const cubby_object object = first_;
      first_ = CUBBY_NO_OBJECT;
      skip_ = object;
      return object;
    }
    static constexpr uint8_t order[] = {probation, guarded, window};
    for (;;) {
      const cubby_object object = walk_.next(lists_);
      if (object != CUBBY_NO_OBJECT && object != skip_) return object;
      if (object == CUBBY_NO_OBJECT) {
        if (++stage_ >= std::size(order)) return CUBBY_NO_OBJECT;
        walk_.begin(lists_, order[stage_]);
      }
    }
  }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    set_sizes(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + sketch_.bytes();
  }

 private:
  static constexpr uint8_t window = 0, probation = 1, guarded = 2;

  void set_sizes(const cubby_policy_config &config) {
    const uint32_t capacity = capacity_of(config);
    window_size_ = std::max(1u, capacity / 100);
    guarded_size_ = (capacity - std::min(capacity, window_size_)) / 5 * 4;
    sketch_.set_capacity(capacity);
  }

  object_lists lists_;
  list_walk walk_;
  frequency_sketch sketch_;
  uint32_t window_size_ = 1, guarded_size_ = 0;
  cubby_object first_ = CUBBY_NO_OBJECT, skip_ = CUBBY_NO_OBJECT;  // of this round
  uint32_t stage_ = 0;
};

}  // namespace

const cubby_policy_ops &tinylfu_ops() {
  static const cubby_policy_ops ops =
      policy_ops<tinylfu>("w-tinylfu", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement

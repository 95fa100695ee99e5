// Least recently used, and the same with a fixed share of the tier for each layer, as several
// offloading engines have it (for instance Eliseev and Mazur, "Fast Inference of Mixture-of-Experts
// Language Models with Offloading", 2023: an LRU cache a layer).
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

/// Using or inserting a resident object makes it the newest; uses of what is not resident are not
/// remembered. Every call is O(1) an object.
class lru {
 public:
  explicit lru(const cubby_policy_config &config) : lists_(1, config.object_count) {}

  void used(cubby_object object) {
    if (lists_.list_of(object) == 0) lists_.renew(0, object);
  }
  void inserted(cubby_object object, uint64_t) { lists_.renew(0, object); }
  void removed(cubby_object object) {
    walk_.leaving(lists_, object);
    lists_.take(object);
  }
  void begin_victims(const cubby_policy_need &) { walk_.begin(lists_, 0); }
  cubby_object next_victim() { return walk_.next(lists_); }
  void grow(const cubby_policy_config &config) { lists_.grow(config.object_count); }
  [[nodiscard]] uint64_t state_bytes() const { return sizeof *this + lists_.bytes(); }

 private:
  object_lists lists_;
  list_walk walk_;
};

constexpr uint32_t layers_max = object_lists::nowhere;

/// A newcomer takes the oldest place of its own layer once that layer has its share; before that,
/// of the layer that is furthest above its own.
class per_layer_lru {
 public:
  explicit per_layer_lru(const cubby_policy_config &config)
      : row_of_(config.object_count), lists_(layers_max, config.object_count) {
    grow(config);
  }

  void used(cubby_object object) {
    if (lists_.list_of(object) != object_lists::nowhere) lists_.renew(row_of_[object], object);
  }
  void inserted(cubby_object object, uint64_t) { lists_.renew(row_of_[object], object); }
  void removed(cubby_object object) {
    walk_.leaving(lists_, object);
    lists_.take(object);
  }
  void begin_victims(const cubby_policy_need &need) {
    first_ = 0;
    for (uint32_t row = 1; row < rows_; ++row)
      if (excess(row) > excess(first_)) first_ = row;
    if (need.incoming != CUBBY_NO_OBJECT && excess(row_of_[need.incoming]) >= 0)
      first_ = row_of_[need.incoming];
    passed_ = 0;
    walk_.begin(lists_, first_);
  }
  cubby_object next_victim() {
    for (;;) {
      const cubby_object object = walk_.next(lists_);
      if (object != CUBBY_NO_OBJECT || ++passed_ >= rows_) return object;
      walk_.begin(lists_, (first_ + passed_) % rows_);
    }
  }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    row_of_.resize(config.object_count);
    rows_ = 1;
    for (uint32_t b = 0; b < config.bank_count; ++b) {
      const cubby_policy_bank &bank = config.banks[b];
      rows_ = std::max(rows_, std::min(bank.rows, layers_max));
      for (uint32_t i = 0; i < bank.rows * bank.columns; ++i)
        row_of_[bank.first_object + i] = static_cast<uint8_t>(i / bank.columns % layers_max);
    }
    capacity_ = capacity_of(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + row_of_.capacity();
  }

 private:
  /// Objects above the share of the row; the first rows have one more where it does not divide.
  [[nodiscard]] int64_t excess(uint32_t row) const {
    const uint32_t share = capacity_ / rows_ + (row < capacity_ % rows_ ? 1 : 0);
    return int64_t{lists_.size(row)} - share;
  }

  std::vector<uint8_t> row_of_;
  object_lists lists_;
  list_walk walk_;
  uint32_t rows_ = 1, capacity_ = 1;
  uint32_t first_ = 0, passed_ = 0;  // of this round
};

}  // namespace

const cubby_policy_ops &lru_ops() {
  static const cubby_policy_ops ops =
      policy_ops<lru>("lru", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

const cubby_policy_ops &per_layer_lru_ops() {
  static const cubby_policy_ops ops =
      policy_ops<per_layer_lru>("per-layer-lru", CUBBY_POLICY_EXPERTS);
  return ops;
}

}  // namespace cubby::placement

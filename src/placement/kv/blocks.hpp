// What is known of every block, resident or gone, and sets of resident blocks with their leaves.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

#include "base/prng.hpp"
#include "placement/kv/hazard.hpp"

namespace cubby::placement::kv {

enum class known_hint : uint8_t { none, closed, scheduled, prioritized };

/// Sixteen bytes: four in a cache line, and none across two.
struct block {
  uint32_t last_ms = 0;  // when it was used last
  cubby_object parent = CUBBY_NO_OBJECT;
  uint32_t hint_s = 0;   // when a scheduled one is due, or a prioritized one expires
  uint8_t uses = 0;      // 0: forgotten, or not come yet; as many as classes tell apart
  uint8_t request = 0;   // that used it last: the low bits of its number
  uint8_t of_class = 0;  // of the hazard model
  known_hint hint : 2 = known_hint::none;
  uint8_t priority : 4 = 0;
};
static_assert(sizeof(block) == 16);

/// Knowledge shared by all sets: the blocks and the model.
class blocks {
 public:
  explicit blocks(uint32_t object_count) : all_(object_count) {}

  /// Learns from a use.
  void used(const cubby_policy_access &access);
  void forget(cubby_object object);
  bool hint(const cubby_policy_hint &hint);

  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(all_.size()); }
  [[nodiscard]] const block &at(cubby_object object) const { return all_[object]; }
  [[nodiscard]] uint32_t now_ms() const { return now_ms_; }
  /// Will be asked about soon.
  void fetch(cubby_object object) const { __builtin_prefetch(&all_[object]); }
  /// Somebody is about to hang a block on it.
  void hold(cubby_object object) { held_ = object; }
  /// Its request is under way, or it is held.
  [[nodiscard]] bool in_use(cubby_object object) const {
    const block &one = all_[object];
    if (object == held_) return true;
    return one.request == static_cast<uint8_t>(request_) && one.last_ms >= request_ms_;
  }
  /// What a second of residence is worth, in uses.
  float index(cubby_object object);
  void grow(uint32_t object_count);
  [[nodiscard]] uint64_t bytes() const { return sizeof *this + all_.capacity() * sizeof(block); }

 private:
  void go_on(uint64_t now_ns);
  void sample(float passed_s);
  void sample(cubby_object object, float passed_s, float weight);

  std::vector<block> all_;
  uint32_t known_below_ = 0;  // numbers that ever stood for a block are below
  hazard_model model_;
  base::prng prng_{0x6B76};
  uint64_t request_ = 0;  // under way
  cubby_object held_ = CUBBY_NO_OBJECT;
  uint32_t now_ms_ = 0, sampled_ms_ = 0, request_ms_ = 0;
  double requests_ = 0, touches_ = 0;
  double sampled_touches_ = 0, modelled_touches_ = 0;  // of them, when that was done last
};

/// Resident blocks, and which of them no resident block hangs on.
class block_set {
 public:
  explicit block_set(uint32_t object_count)
      : children_(object_count), slot_(object_count, absent), leaves_() {
    leaves_.reserve(object_count);
  }

  [[nodiscard]] bool holds(cubby_object object) const { return slot_[object] != absent; }
  [[nodiscard]] bool is_leaf(cubby_object object) const { return slot_[object] < inner; }
  [[nodiscard]] const std::vector<cubby_object> &leaves() const { return leaves_; }
  [[nodiscard]] uint32_t size() const { return size_; }
  void insert(cubby_object object, cubby_object parent);
  void remove(cubby_object object, cubby_object parent);
  void grow(uint32_t object_count);
  [[nodiscard]] uint64_t bytes() const {
    return children_.capacity() * sizeof(uint16_t) +
           (slot_.capacity() + leaves_.capacity()) * sizeof(uint32_t);
  }

 private:
  static constexpr uint32_t absent = ~uint32_t{0}, inner = absent - 1;

  void add_leaf(cubby_object object);
  void drop_leaf(cubby_object object);

  std::vector<uint16_t> children_;  // resident ones
  std::vector<uint32_t> slot_;      // among the leaves; or inner, or absent
  std::vector<cubby_object> leaves_;
  uint32_t size_ = 0;
};

}  // namespace cubby::placement::kv

// What is known of every block, resident or gone, and sets of resident blocks with their leaves.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

#include "base/prng.hpp"
#include "placement/kv/hazard.hpp"

namespace cubby::placement::kv {

enum class known_hint : uint8_t { none, closed, scheduled, kept };

struct block {
  uint32_t last_ms = 0;  // when it was used last
  uint32_t request = 0;  // that used it last, counted from 1
  cubby_object parent = CUBBY_NO_OBJECT;
  uint32_t hint_s = 0;  // when a scheduled one is due, or until when a kept one is
  uint16_t uses = 0;
  uint8_t depth_class = 0;
  uint8_t last : 1 = 0;
  known_hint hint : 2 = known_hint::none;
  uint8_t priority : 4 = 0;
  uint8_t listed : 1 = 0;  // among those that samples are drawn from
};

/// Knowledge shared by all sets: the blocks and the model.
class blocks {
 public:
  explicit blocks(uint32_t object_count) : all_(object_count) { known_.reserve(object_count); }

  /// Learns from a use.
  void used(const cubby_policy_access &access);
  void forget(cubby_object who);
  bool hint(const cubby_policy_hint &hint);

  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(all_.size()); }
  [[nodiscard]] const block &at(cubby_object who) const { return all_[who]; }
  /// Its request is under way.
  [[nodiscard]] bool in_use(cubby_object who) const { return all_[who].request == request_; }
  /// What a second of residence is worth, in uses.
  float index(cubby_object who);
  [[nodiscard]] double mean_request_blocks() const { return mean_request_; }
  void grow(uint32_t object_count);
  [[nodiscard]] uint64_t bytes() const {
    return sizeof *this + all_.capacity() * sizeof(block) +
           known_.capacity() * sizeof(cubby_object);
  }

 private:
  void go_on(uint64_t now_ns);
  void sample(float passed_s);

  std::vector<block> all_;
  std::vector<cubby_object> known_;
  hazard_model model_;
  base::prng prng_{0x6B76};
  uint32_t now_ms_ = 0, sampled_ms_ = 0, request_ = 0;
  double requests_ = 0, touches_ = 0, mean_request_ = 1;
};

/// Resident blocks, and which of them no resident block hangs on.
class block_set {
 public:
  explicit block_set(uint32_t object_count)
      : children_(object_count), slot_(object_count, absent), leaves_() {
    leaves_.reserve(object_count);
  }

  [[nodiscard]] bool holds(cubby_object who) const { return slot_[who] != absent; }
  [[nodiscard]] bool is_leaf(cubby_object who) const { return slot_[who] < inner; }
  [[nodiscard]] const std::vector<cubby_object> &leaves() const { return leaves_; }
  [[nodiscard]] uint32_t size() const { return size_; }
  void insert(cubby_object who, cubby_object parent);
  void remove(cubby_object who, cubby_object parent);
  void grow(uint32_t object_count);
  [[nodiscard]] uint64_t bytes() const {
    return children_.capacity() * sizeof(uint16_t) +
           (slot_.capacity() + leaves_.capacity()) * sizeof(uint32_t);
  }

 private:
  static constexpr uint32_t absent = ~uint32_t{0}, inner = absent - 1;

  void add_leaf(cubby_object who);
  void drop_leaf(cubby_object who);

  std::vector<uint16_t> children_;  // resident ones
  std::vector<uint32_t> slot_;      // among the leaves; or inner, or absent
  std::vector<cubby_object> leaves_;
  uint32_t size_ = 0;
};

/// Finds victims among the leaves of a set: the least of some that were kept and some drawn.
class chooser {
 public:
  explicit chooser(uint64_t seed) : prng_(seed) {
    kept_.reserve(kept_max + drawn_max + 1);
    order_.reserve(kept_max + drawn_max + 1);
  }

  /// Candidates of one round: the least worth first, the others in no order.
  const std::vector<cubby_object> &choose(const block_set &of, blocks &known);
  /// A victim has left: who it hung on may be next.
  void left(cubby_object parent) {
    if (parent != CUBBY_NO_OBJECT && kept_.size() < kept_.capacity()) kept_.push_back(parent);
  }

 private:
  static constexpr size_t kept_max = 24, drawn_max = 16;
  struct candidate {
    float index;
    uint32_t last_ms;
    cubby_object who;
  };

  base::prng prng_;
  std::vector<cubby_object> kept_;
  std::vector<candidate> order_;
};

}  // namespace cubby::placement::kv

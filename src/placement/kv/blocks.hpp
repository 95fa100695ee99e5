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
};

/// Knowledge shared by all sets: the blocks and the model.
class blocks {
 public:
  explicit blocks(uint32_t object_count) : all_(object_count) {}

  /// Learns from a use.
  void used(const cubby_policy_access &access);
  void forget(cubby_object who);
  bool hint(const cubby_policy_hint &hint);

  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(all_.size()); }
  [[nodiscard]] const block &at(cubby_object who) const { return all_[who]; }
  [[nodiscard]] uint32_t now_ms() const { return now_ms_; }
  /// Will be asked about soon.
  void fetch(cubby_object who) const { __builtin_prefetch(&all_[who]); }
  /// Its request is under way.
  [[nodiscard]] bool in_use(cubby_object who) const { return all_[who].request == request_; }
  /// What a second of residence is worth, in uses.
  float index(cubby_object who);
  [[nodiscard]] double mean_request_blocks() const { return mean_request_; }
  void grow(uint32_t object_count);
  [[nodiscard]] uint64_t bytes() const { return sizeof *this + all_.capacity() * sizeof(block); }

 private:
  void go_on(uint64_t now_ns);
  void sample(float passed_s);

  std::vector<block> all_;
  uint32_t known_below_ = 0;  // numbers that ever stood for a block are below
  hazard_model model_;
  base::prng prng_{0x6B76};
  uint32_t now_ms_ = 0, sampled_ms_ = 0, request_ = 0;
  double requests_ = 0, touches_ = 0, mean_request_ = 1;
  double sampled_touches_ = 0, modelled_touches_ = 0;  // of them, when that was done last
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

/// Finds victims among the leaves of a set: the least of a pool that some drawn ones join each
/// time. What pool members are worth is looked up anew when they are the least, or by and by.
class chooser {
 public:
  explicit chooser(uint64_t seed) : prng_(seed) {
    pool_.reserve(pool_max);
    chosen_.reserve(pool_max);
  }

  /// Candidates of one round: the least worth first, the others in no order.
  const std::vector<cubby_object> &choose(const block_set &of, blocks &known);
  /// A victim has left: who it hung on may be next.
  void left(cubby_object parent) { parent_ = parent; }

 private:
  static constexpr size_t pool_max = 32, drawn_max = 8;
  static constexpr uint32_t look_up_every_ms = 1000;
  struct candidate {
    float index;
    uint32_t last_ms, round;
    cubby_object who;
  };
  static bool before(const candidate &a, const candidate &b) {
    if (a.index != b.index) return a.index < b.index;
    return a.last_ms != b.last_ms ? a.last_ms < b.last_ms : a.who < b.who;
  }
  void join(cubby_object who, const block_set &of, blocks &known);
  void find_most();
  [[nodiscard]] size_t least_of_pool(const block_set &of, blocks &known);

  base::prng prng_;
  uint32_t round_ = 0;
  cubby_object parent_ = CUBBY_NO_OBJECT;
  uint32_t looked_up_ms_ = 0;
  size_t most_ = 0;  // the first of the pool to give way
  std::vector<candidate> pool_;
  std::vector<cubby_object> chosen_;
};

}  // namespace cubby::placement::kv

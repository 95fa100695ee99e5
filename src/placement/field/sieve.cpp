// SIEVE: Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU: an Efficient Turn-Key
// Eviction Algorithm for Web Caches", NSDI 2024. One queue in the order of coming, a visited bit an
// object, and a hand that goes from the oldest to the newest and clears bits on its way.
#include <cubby/policy.hpp>

#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class sieve {
 public:
  explicit sieve(const cubby_policy_config &config)
      : lists_(1, config.object_count),
        visited_(config.object_count),
        round_of_(config.object_count) {}

  void used(cubby_object object) { visited_[object] = lists_.list_of(object) == 0 ? 1 : 0; }
  void inserted(cubby_object object, uint64_t) {
    if (lists_.list_of(object) == 0) return;
    visited_[object] = 0;
    lists_.renew(0, object);
  }
  void removed(cubby_object object) {
    if (lists_.list_of(object) != 0) return;
    if (hand_ == object) hand_ = lists_.newer(object);
    lists_.take(object);
  }
  void begin_victims(const cubby_policy_need &) {
    ++round_;
    left_ = uint64_t{3} * lists_.size(0);  // all bits are clear after one turn
  }
  /// The hand moves past each object that it names, so an object passed over is behind the hand.
  cubby_object next_victim() {
    while (left_ > 0) {
      if (hand_ == CUBBY_NO_OBJECT) hand_ = lists_.oldest(0);
      const cubby_object object = hand_;
      if (object == CUBBY_NO_OBJECT) return object;
      hand_ = lists_.newer(object);
      --left_;
      if (visited_[object] != 0) {
        visited_[object] = 0;
      } else if (round_of_[object] != round_) {
        round_of_[object] = round_;
        return object;
      }
    }
    return CUBBY_NO_OBJECT;
  }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    if (config.object_count <= visited_.size()) return;
    visited_.resize(config.object_count);
    round_of_.resize(config.object_count);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + visited_.capacity() +
           round_of_.capacity() * sizeof(uint32_t);
  }

 private:
  object_lists lists_;
  std::vector<uint8_t> visited_;
  std::vector<uint32_t> round_of_;  // in which each was last named
  cubby_object hand_ = CUBBY_NO_OBJECT;
  uint64_t left_ = 0;  // looks of this round
  uint32_t round_ = 0;
};

}  // namespace

const cubby_policy_ops &sieve_ops() {
  static const cubby_policy_ops ops =
      policy_ops<sieve>("sieve", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement

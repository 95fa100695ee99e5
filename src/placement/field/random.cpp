// Random replacement: every resident object is equally likely to leave.
#include <cubby/policy.hpp>
#include <utility>
#include <vector>

#include "base/prng.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class random_policy {
 public:
  explicit random_policy(const cubby_policy_config &config)
      : slot_of_(config.object_count, nowhere), slots_(config.object_count), prng_(config.seed) {}

  void used(cubby_object) {}
  void inserted(cubby_object object, uint64_t) {
    if (slot_of_[object] == nowhere) place(count_++, object);
  }
  void removed(cubby_object object) {
    uint32_t slot = slot_of_[object];
    if (slot == nowhere) return;
    slot_of_[object] = nowhere;
    // The hole goes behind those not yet proposed, then to the end.
    if (slot < left_) {
      if (slot != --left_) place(slot, slots_[left_]);
      slot = left_;
    }
    if (slot != --count_) place(slot, slots_[count_]);
  }
  void begin_victims(const cubby_policy_need &) { left_ = count_; }
  cubby_object next_victim() {
    if (left_ == 0) return CUBBY_NO_OBJECT;
    const auto slot = static_cast<uint32_t>(prng_.below(left_));
    const cubby_object object = slots_[slot];
    place(slot, slots_[--left_]);
    place(left_, object);
    return object;
  }
  void grow(const cubby_policy_config &config) {
    if (config.object_count <= slots_.size()) return;
    slot_of_.resize(config.object_count, nowhere);
    slots_.resize(config.object_count);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + (slot_of_.capacity() + slots_.capacity()) * sizeof(uint32_t);
  }

 private:
  static constexpr uint32_t nowhere = ~uint32_t{0};

  void place(uint32_t slot, cubby_object object) {
    slots_[slot] = object;
    slot_of_[object] = slot;
  }

  std::vector<uint32_t> slot_of_;
  std::vector<cubby_object>
      slots_;  // [0, left_) not yet proposed in this round, [0, count_) resident
  base::prng prng_;
  uint32_t count_ = 0, left_ = 0;
};

}  // namespace

const cubby_policy_ops &random_ops() {
  static const cubby_policy_ops ops =
      policy_ops<random_policy>("random", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement

// What the admission protocol asks of the controller: words say what an object is doing in a tier,
// the tier's memory says which frames there are.
#pragma once

#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {

class admission_driver {
 public:
  static constexpr bool replaces_policies = true;

  /// Victims that are copied down are written back when there is time for it.
  explicit admission_driver(controller &of) : controller_(of) {}
  /// They are as urgent as what room is made for.
  admission_driver(controller &of, const transfer::urgency &order)
      : controller_(of), order_(order), has_order_(true) {}

  [[nodiscard]] placement::presence presence_of(uint32_t tier, placement::object who) const {
    const place at = place_of(who);
    if (at.where == nullptr) return placement::presence::absent;
    const locker_word::view word = at.where->word(tier, at.number).look();
    switch (word.state) {
      case locker_state::filling:
        return placement::presence::loading;
      case locker_state::ready:
        return word.pin_count == 0 || CUBBY_MUTANT(reuse_pinned_frame)
                   ? placement::presence::ready
                   : placement::presence::pinned;
      case locker_state::absent:
      case locker_state::evicting:
        break;
    }
    return placement::presence::absent;
  }
  [[nodiscard]] uint64_t frame_bytes(uint32_t tier, placement::object who) const {
    const place at = place_of(who);
    return at.where->frame_bytes_in(tier, at.number);
  }
  [[nodiscard]] uint64_t cost_bytes(uint32_t tier, placement::object who) const {
    return memory(tier).cost_bytes(frame_bytes(tier, who));
  }
  [[nodiscard]] bool has_hole(uint32_t tier, uint64_t bytes) const {
    return memory(tier).fits(bytes);
  }
  [[nodiscard]] bool makes_hole(uint32_t tier, placement::object who, uint64_t bytes) const {
    const place at = place_of(who);
    const uint64_t frame = at.where->word(tier, at.number).look().frame;
    return memory(tier).would_fit(frame, at.where->frame_bytes_in(tier, at.number), bytes);
  }
  /// Whoever waits for frames whose bytes are copied down lends those copies its urgency.
  [[nodiscard]] bool is_hole_coming(uint32_t tier, uint64_t bytes) {
    const uint64_t leaving_bytes = controller_.slot(tier).leaving_bytes;
    const uint64_t stays_bytes = memory(tier).used_bytes() - leaving_bytes;
    const uint64_t wanted_bytes = stays_bytes + memory(tier).cost_bytes(bytes);
    if (leaving_bytes == 0 || wanted_bytes > memory(tier).budget_bytes()) return false;
    controller_.hasten_leaving(tier, order_);
    return true;
  }
  [[nodiscard]] bool begin_evict(uint32_t tier, placement::object who) {
    const place at = place_of(who);
    return at.where->word(tier, at.number).begin_evict();
  }
  void finish_evict(uint32_t tier, placement::object who, placement::departure how) {
    const place at = place_of(who);
    if (how != placement::departure::dropped) ++controller_.slot(tier).stats.evict_count;
    if (how == placement::departure::demoted &&
        controller_.demote(tier, *at.where, at.number,
                           has_order_ ? order_ : controller_.write_back_order()))
      return;
    controller_.free_frame(tier, *at.where, at.number);
  }
  [[nodiscard]] uint64_t now_ns() const { return controller_.now_ns_; }
  void policy_broken(uint32_t tier, const char *name, const std::string &what, bool lru_decides) {
    controller_.log_broken_policy(tier, name, what, lru_decides);
  }

 private:
  struct place {
    bank *where;
    uint32_t number;
  };
  [[nodiscard]] place place_of(placement::object who) const {
    place at{};
    at.where = controller_.bank_of_object(who, at.number);
    return at;
  }
  [[nodiscard]] tier::memory_tier &memory(uint32_t tier) const {
    return *controller_.slot(tier).memory;
  }

  controller &controller_;
  transfer::urgency order_;
  bool has_order_ = false;
};

}  // namespace cubby::table

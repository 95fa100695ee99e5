// What the admission protocol asks of the engine: locker words say what an object is doing in a
// tier, the tier's memory says which frames there are. What leaves a tier is dropped here, or
// copied to the tier below.
#pragma once

#include <string>

#include "engine/engine_state.hpp"
#include "engine/fill_table.hpp"

namespace cubby::engine {

class admission_driver {
 public:
  static constexpr bool replaces_policies = true;

  /// Victims that are copied down are written back when there is time for it.
  admission_driver(engine_state &state, fill_table &fills) : state_(state), fills_(fills) {}
  /// They are as urgent as what room is made for.
  admission_driver(engine_state &state, fill_table &fills, const transfer::urgency &order)
      : state_(state), fills_(fills), order_(order), has_order_(true) {}

  [[nodiscard]] placement::presence presence_of(uint32_t tier, cubby_object object) const;
  [[nodiscard]] uint64_t frame_bytes(uint32_t tier, cubby_object object) const;
  [[nodiscard]] uint64_t cost_bytes(uint32_t tier, cubby_object object) const {
    return memory(tier).cost_bytes(frame_bytes(tier, object));
  }
  [[nodiscard]] bool has_hole(uint32_t tier, uint64_t bytes) const {
    return memory(tier).fits(bytes);
  }
  [[nodiscard]] bool makes_hole(uint32_t tier, cubby_object object, uint64_t bytes) const;
  /// What waits for frames whose bytes are copied down lends those copies its urgency.
  [[nodiscard]] bool is_hole_coming(uint32_t tier, uint64_t bytes);
  [[nodiscard]] bool begin_evict(uint32_t tier, cubby_object object);
  void finish_evict(uint32_t tier, cubby_object object, placement::departure how);
  [[nodiscard]] uint64_t now_ns() const { return state_.now_ns; }
  void policy_broken(uint32_t tier, const char *name, const std::string &what, bool lru_decides);

 private:
  struct locker {
    locker_bank *bank = nullptr;
    uint32_t number = 0;
  };
  [[nodiscard]] locker locker_of(cubby_object object) const {
    locker found;
    found.bank = state_.banks.find_object(object, found.number);
    return found;
  }
  [[nodiscard]] tier::memory_tier &memory(uint32_t tier) const {
    return *state_.tiers[tier].memory;
  }
  [[nodiscard]] static bool is_leased(const locker &at);
  bool demote(uint32_t tier, locker_bank &bank, uint32_t number);
  void forget_key(uint32_t tier, locker_bank &bank, uint32_t number);

  engine_state &state_;
  fill_table &fills_;
  transfer::urgency order_;
  bool has_order_ = false;
};

}  // namespace cubby::engine

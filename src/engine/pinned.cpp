#include "engine/pinned.hpp"

namespace cubby::engine {

uint64_t pinned_bytes(const engine_state &state, uint32_t tier) {
  uint64_t bytes = 0;
  const tier_slot &slot = state.tiers[tier];
  if (slot.memory == nullptr) return 0;
  for (const locker_bank *bank : state.banks.in_order()) {
    for (uint32_t number = 0; number < bank->count(); ++number) {
      if (bank->word(tier, number).look().pin_count == 0) continue;
      bytes += slot.memory->cost_bytes(bank->frame_bytes_in(tier, number));
    }
  }
  return bytes;
}

bool any_pinned(const engine_state &state, uint32_t tier) {
  for (const locker_bank *bank : state.banks.in_order()) {
    for (uint32_t number = 0; number < bank->count(); ++number) {
      if (bank->word(tier, number).look().pin_count != 0) return true;
    }
  }
  return false;
}

}  // namespace cubby::engine

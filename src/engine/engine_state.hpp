// What every unit of the engine works on: the tiers, the banks, the pin sets, and the time of this
// advance. It decides nothing.
#pragma once

#include <atomic>
#include <string>

#include "base/assert.hpp"
#include "engine/names.hpp"
#include "engine/slot_tables.hpp"
#include "engine/stream_releases.hpp"
#include "engine/tiers.hpp"
#include "placement/admission/admission.hpp"

namespace cubby::engine {

struct engine_config {
  uint32_t tickets_max = 4096;
  uint32_t salt = 0;
  uint64_t seed = 0;
  const cubby_policy_ops *policy = nullptr;
  bool policy_by_banks = false;  // the library's choice for the banks of each tier instead
  bool verify = true;
};

struct engine_state {
  engine_state(const engine_config &with, const cubby_backend_services &given)
      : config(with),
        services(given),
        banks(with.salt),
        admission(*with.policy, with.seed, 1, with.policy_by_banks),
        pins(banks, std::max(4096u, 2 * with.tickets_max), with.salt) {}

  const engine_config config;
  const cubby_backend_services &services;
  bank_registry banks;
  tier_set tiers;
  placement::admission admission;  // by object, and by the index of a memory tier
  residency::pinning pins;
  stream_releases releases{tiers, pins, services};
  slot_tables slots{tiers};
  uint64_t now_ns = 0;
  uint64_t last_sequence = 0;
  bool changed = false;  // since the requests without frames were last looked at

  uint64_t next_sequence() { return ++last_sequence; }
  void log(uint32_t level, const std::string &text) const {
    services.log(services.context, level, text.c_str());
  }
};

inline void note_lost(engine_state &state, uint32_t tier) noexcept {
  note_lost(state.tiers[tier], state.pins, state.services);
}

}  // namespace cubby::engine

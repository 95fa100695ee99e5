// What is pinned in a tier.
#pragma once

#include "engine/engine_state.hpp"

namespace cubby::engine {

[[nodiscard]] uint64_t pinned_bytes(const engine_state &state, uint32_t tier);
[[nodiscard]] bool any_pinned(const engine_state &state, uint32_t tier);

}  // namespace cubby::engine

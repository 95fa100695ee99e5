#include "engine/block_uses.hpp"

#include <algorithm>

namespace cubby::engine {
namespace {

/// Policies tell apart what is near the root; blocks farther away are all as far as this.
constexpr uint32_t depth_max = 32;

uint32_t depth_below(const locker_bank &bank, uint32_t parent) {
  const directory::key_directory &keys = bank.blocks->keys;
  uint32_t depth = 0;
  for (; parent != directory::no_locker && depth < depth_max; ++depth) {
    parent = keys.describe(keys.at_locker(parent)).parent_locker;
  }
  return depth;
}

}  // namespace

placement::visit_place place_for_policies(const engine_state &state, const locker_bank &bank,
                                          uint32_t row) {
  const auto &banks = state.banks.in_order();
  const auto at = std::find(banks.begin(), banks.end(), &bank);
  return {static_cast<uint32_t>(at - banks.begin()), row, state.now_ns};
}

cubby_policy_access block_use(const locker_bank &bank, cubby_object object,
                              const cubby_policy_access *before) {
  const directory::key_directory &keys = bank.blocks->keys;
  const uint32_t number = object - bank.object_base;
  const uint32_t parent = keys.describe(keys.at_locker(number)).parent_locker;
  cubby_policy_access use = {};
  use.struct_size = sizeof use;
  use.object = object;
  use.parent = parent == directory::no_locker ? CUBBY_NO_OBJECT : bank.object_base + parent;
  use.depth = before != nullptr && use.parent == before->object ? before->depth + 1
                                                                : depth_below(bank, parent);
  use.next_use = CUBBY_NEVER_USED;
  return use;
}

void put_uses::note(const locker_bank &bank, uint32_t number, uint64_t call) {
  const bool goes_on = call != 0 && call == last_call_;
  const cubby_object object = bank.object_base + number;
  last_ = block_use(bank, object, goes_on ? &last_ : nullptr);
  last_call_ = call;
  const placement::visit_place place = place_for_policies(state_, bank, 0);
  last_.now_ns = place.now_ns;
  state_.admission.visit(place, {&object, 1}, {}, {&last_, 1}, goes_on);
}

}  // namespace cubby::engine

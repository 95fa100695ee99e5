#include "engine/admission_driver.hpp"

#include <new>

#include "base/mutant.hpp"

namespace cubby::engine {

/// A lease holds the key of the block.
bool admission_driver::is_leased(const locker &at) {
  if (at.bank->blocks == nullptr) return false;
  const auto &keys = at.bank->blocks->keys;
  return keys.describe(keys.at_locker(at.number)).leases != 0;
}

placement::presence admission_driver::presence_of(uint32_t tier, cubby_object object) const {
  const locker at = locker_of(object);
  if (at.bank == nullptr) return placement::presence::absent;
  const locker_word::view word = at.bank->word(tier, at.number).look();
  switch (word.state) {
    case locker_state::filling:
      return placement::presence::loading;
    case locker_state::ready:
      if (word.pin_count != 0 && !CUBBY_MUTANT(reuse_pinned_frame)) break;
      return is_leased(at) ? placement::presence::pinned : placement::presence::ready;
    case locker_state::absent:
    case locker_state::evicting:
      return placement::presence::absent;
  }
  return placement::presence::pinned;
}

uint64_t admission_driver::frame_bytes(uint32_t tier, cubby_object object) const {
  const locker at = locker_of(object);
  return at.bank->frame_bytes_in(tier, at.number);
}

bool admission_driver::makes_hole(uint32_t tier, cubby_object object, uint64_t bytes) const {
  const locker at = locker_of(object);
  const uint64_t frame = at.bank->word(tier, at.number).look().frame;
  return memory(tier).would_fit(frame, at.bank->frame_bytes_in(tier, at.number), bytes);
}

bool admission_driver::is_hole_coming(uint32_t tier, uint64_t bytes) {
  const uint64_t leaving_bytes = state_.tiers[tier].leaving_bytes;
  const uint64_t stays_bytes = memory(tier).used_bytes() - leaving_bytes;
  const uint64_t wanted_bytes = stays_bytes + memory(tier).cost_bytes(bytes);
  if (leaving_bytes == 0 || wanted_bytes > memory(tier).budget_bytes()) return false;
  fills_.raise_demotions(tier, order_);
  return true;
}

bool admission_driver::begin_evict(uint32_t tier, cubby_object object) {
  const locker at = locker_of(object);
  return !is_leased(at) && at.bank->word(tier, at.number).begin_evict();
}

void admission_driver::finish_evict(uint32_t tier, cubby_object object, placement::departure how) {
  const locker at = locker_of(object);
  if (how != placement::departure::dropped) ++state_.tiers[tier].stats.evict_count;
  try {
    if (how == placement::departure::demoted && demote(tier, *at.bank, at.number)) return;
  } catch (const std::bad_alloc &) {  // it leaves without a copy
  }
  if (state_.slots.retire(tier, *at.bank, at.number)) {
    state_.tiers[tier].leaving_bytes += cost_bytes(tier, object);
    return;
  }
  locker_word &word = at.bank->word(tier, at.number);
  const uint64_t frame = word.look().frame;
  if (at.bank->blocks != nullptr) forget_key(tier, *at.bank, at.number);
  word.clear();
  memory(tier).give(frame, at.bank->frame_bytes_in(tier, at.number));
  state_.changed = true;
}

/// A block whose last copy goes is not found by its key from here on.
void admission_driver::forget_key(uint32_t tier, locker_bank &bank, uint32_t number) {
  if (bank.blocks->is_stored(number) || state_.tiers.have_in_memory(bank, number, tier)) return;
  auto &keys = bank.blocks->keys;
  const auto erased = keys.erase(keys.at_locker(number), directory::erase_rule::any);
  if (erased) bank.blocks->give_number(*erased);
}

/// Copies a victim down; it keeps its frame until that is done. False: it may simply go.
bool admission_driver::demote(uint32_t tier, locker_bank &bank, uint32_t number) {
  const uint32_t below = state_.tiers[tier].demotes_to;
  if (below == no_tier || !state_.tiers.connected(tier, below)) return false;
  const bool has_file = bank.mapped() && bank.failed.status == CUBBY_OK;
  if (has_file && state_.tiers.goes_past(below, bank)) return false;
  locker_word &target = bank.word(below, number);
  if (target.look().state != locker_state::absent) return false;
  if (!has_order_) order_ = {CUBBY_WRITE_BACK, base::never_ns, state_.next_sequence()};
  const cubby_object object = bank.object_base + number;
  admission_driver driver(state_, fills_, order_);
  if (!state_.admission.win_place(below, object, placement::claim::newcomer, driver)) return false;
  const uint64_t bytes = bank.frame_bytes_in(below, number);
  const auto frame = memory(below).take(bytes);
  if (!frame) return false;
  uint32_t index = no_index;
  try {
    index = fills_.create(bank, number, below, *frame, order_);
  } catch (...) {
    memory(below).give(*frame, bytes);
    throw;
  }
  fill &f = fills_[index];
  f.demotion = true;
  f.may_expire = false;
  f.unrequested = true;
  f.admit = true;
  f.announced = true;
  f.from = tier;
  f.state = fill_state::active;
  state_.admission.admit(below, object, driver);
  target.begin_fill(index, 1);
  tier_slot &above = state_.tiers[tier];
  above.leaving_bytes += above.memory->cost_bytes(bank.frame_bytes_in(tier, number));
  fills_.queue(index);
  return true;
}

void admission_driver::policy_broken(uint32_t tier, const char *name, const std::string &what,
                                     bool lru_decides) {
  state_.log(0, format_text("tier %s: policy %s broke the rules: %s; %s from now on, the policy "
                            "needs mending (docs/policies.md)",
                            state_.tiers[tier].name.c_str(), name, what.c_str(),
                            lru_decides ? "lru decides here"
                                        : "there is no memory for lru, so victims go by number"));
}

}  // namespace cubby::engine

#include "engine/frame_grants.hpp"

#include <algorithm>

namespace cubby::engine {

error frame_grants::why_absent(const locker_bank &bank, uint32_t number) {
  if (bank.failed.status != CUBBY_OK) return bank.failed;
  return fail(CUBBY_MISS, "locker %u of bank %s is nowhere: nothing was put and no file is mapped",
              number, bank.desc().name);
}

bool frame_grants::is_somewhere(const request &r, const request_item &item) const {
  if (item.bank->mapped() && item.bank->failed.status == CUBBY_OK) return true;
  if (item.bank->blocks != nullptr && item.bank->blocks->is_stored(item.number)) return true;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t == r.tier || !state_.tiers.is_memory(t)) continue;
    if (item.bank->word(t, item.number).look().state != locker_state::absent) return true;
  }
  return false;
}

lookup_result frame_grants::look_up(request &r, uint32_t i) {
  request_item &item = r.items[i];
  locker_bank &bank = *item.bank;
  locker_word &word = bank.word(r.tier, item.number);
  const locker_word::view now = word.look();
  switch (now.state) {
    case locker_state::ready:
      return lookup_result::ready;
    case locker_state::evicting:
      return lookup_result::blocked;
    case locker_state::filling:
      return fills_[static_cast<uint32_t>(now.frame)].state == fill_state::stopping
                 ? lookup_result::blocked
                 : lookup_result::joinable;
    case locker_state::absent:
      break;
  }
  if (!is_somewhere(r, item)) return lookup_result::nowhere;
  tier::memory_tier &memory = *state_.tiers[r.tier].memory;
  const uint64_t bytes = bank.frame_bytes_in(r.tier, item.number);
  if (!copies_.make_room(r.tier, {bank.object_base + item.number, bytes}, r.order)) {
    return lookup_result::no_frame;
  }
  reserved_.reserve(r.items.size());
  const auto frame = memory.take(bytes);
  if (!frame) return lookup_result::no_frame;
  try {
    item.fill = fills_.create(bank, item.number, r.tier, *frame, r.order);
  } catch (...) {
    memory.give(*frame, bytes);
    throw;
  }
  word.begin_fill(item.fill, 1);
  reserved_.push_back(item.fill);
  // At once, for victims are chosen in the order of newcomers; but a request that has waited may
  // wait again, and a policy is not to learn from every try.
  if (!r.waiting) announce(r, fills_[item.fill]);
  return lookup_result::begun;
}

bool frame_grants::reserve_all(request &r, bool hold_hits) {
  reserved_.clear();
  for (request_item &item : r.items) {
    if (item.state != item_state::waiting || !hold_hits) continue;
    uint64_t frame = 0;
    if (item.bank->word(r.tier, item.number).pin(frame) == pin_outcome::pinned) {
      item.state = item_state::landed;  // held, and not marked yet
    }
  }
  try {
    for (uint32_t i = 0; i < r.items.size(); ++i) {
      request_item &item = r.items[i];
      if (item.state != item_state::waiting) continue;
      const lookup_result found = look_up(r, i);
      if (found == lookup_result::no_frame || found == lookup_result::blocked) {
        roll_back(r);
        return false;
      }
      uint64_t frame = 0;
      const bool ready = found == lookup_result::ready &&
                         item.bank->word(r.tier, item.number).pin(frame) == pin_outcome::pinned;
      if (ready) item.state = item_state::landed;
    }
  } catch (...) {
    roll_back(r);
    throw;
  }
  return true;
}

void frame_grants::roll_back(request &r) {
  for (const uint32_t index : reserved_) {
    fill &f = fills_[index];
    f.bank->word(f.to, f.number).clear();
    copies_.retract(f.to, *f.bank, f.number);
    state_.tiers[f.to].memory->give(f.frame, f.bank->frame_bytes_in(f.to, f.number));
    fills_.release(index);
  }
  reserved_.clear();
  for (request_item &item : r.items) {
    if (item.state == item_state::landed) {
      item.bank->word(r.tier, item.number).unpin();
      item.state = item_state::waiting;
    }
    if (item.state == item_state::waiting) item.fill = no_index;
  }
}

uint64_t frame_grants::waiting_bytes(const request &r) const {
  const tier::memory_tier &memory = *state_.tiers[r.tier].memory;
  uint64_t total = 0;
  for (const request_item &item : r.items) {
    if (item.state != item_state::waiting) continue;  // its bank may be gone
    total += memory.cost_bytes(item.bank->frame_bytes_in(r.tier, item.number));
  }
  return total;
}

error frame_grants::cannot_lay_out(const request &r) const {
  using ull = unsigned long long;
  const tier_slot &slot = state_.tiers[r.tier];
  const tier::memory_tier &memory = *slot.memory;
  const uint64_t total = waiting_bytes(r);
  uint64_t needed = total;
  error why =
      fail(CUBBY_ERR_BUDGET,
           "tier %s: what is asked for takes %llu bytes at once, and the budget is %llu; "
           "raise the budget to that at least, or ask for fewer lockers together",
           slot.name.c_str(), static_cast<ull>(total), static_cast<ull>(memory.budget_bytes()));
  if (memory.memory_bytes() < memory.budget_bytes()) {
    needed = memory.budget_bytes();
    why = fail(CUBBY_ERR_NO_MEMORY,
               "tier %s: its memory was to be taken anew in one piece, and the system has not "
               "given all of its %llu bytes; free memory, or resize the tier to less",
               slot.name.c_str(), static_cast<ull>(needed));
  } else if (total <= memory.budget_bytes()) {
    why = fail(CUBBY_ERR_NO_MEMORY,
               "tier %s: what is asked for takes %llu bytes in one piece, and the system has not "
               "given a piece of that size; free memory, or ask for fewer lockers together",
               slot.name.c_str(), static_cast<ull>(total));
  }
  why.tier = slot.handle;
  why.needed_bytes = needed;
  return why;
}

}  // namespace cubby::engine

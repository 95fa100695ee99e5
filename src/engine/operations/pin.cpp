#include "engine/operations/pin.hpp"

#include <algorithm>
#include <new>

namespace cubby::engine {

bool pin_operation::grant(uint32_t index) {
  request &r = at(index);
  if (r.names_keys) units_.open.mark_moved(index);
  if (!units_.grants.reserve_all(r, true)) {
    // Holes between its own hits, or memory in pieces: without what is there it may fit.
    if (!units_.copies.clear_tier(r.tier)) return false;
    const bool fits = units_.grants.reserve_all(r, false) ||
                      (units_.copies.make_block(r.tier, units_.grants.waiting_bytes(r)) &&
                       units_.grants.reserve_all(r, false));
    if (!fits) {
      fail_waiting_items(index, units_.grants.cannot_lay_out(r));
      units_.open.complete_if_over(index);
      return true;
    }
  }
  settle(index);
  return true;
}

/// All frames are there: marks the hits, starts the fills, joins those that were under way.
void pin_operation::settle(uint32_t index) {
  request &r = at(index);
  const bool in_stream = r.in_stream;
  r.granted_ns = units_.state.now_ns;
  units_.grants.take_reserved(begun_);
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    const item_state state = r.items[i].state;
    if (state != item_state::withdrawn && state != item_state::failed) settle_item(index, i);
  }
  for (const uint32_t fill : begun_) units_.grants.announce(r, units_.table[fill]);
  for (const uint32_t fill : begun_) units_.fills.start(fill);
  if (in_stream) land_behind_copies(index);
  units_.open.complete_if_over(index);
}

/// Fills that were under way may have nothing left to do but for the device.
void pin_operation::land_behind_copies(uint32_t index) {
  for (uint32_t i = 0; units_.open.is_open(index) && i < at(index).items.size(); ++i) {
    const request_item &item = at(index).items[i];
    if (item.state != item_state::loading || !item.joined) continue;
    const uint32_t fill = item.fill;
    units_.fills.land_in_streams({&fill, 1});
  }
}

void pin_operation::settle_item(uint32_t index, uint32_t i) {
  request &r = at(index);
  request_item &item = r.items[i];
  cubby_tier_stats &stats = units_.state.tiers[r.tier].stats;
  locker_word &word = item.bank->word(r.tier, item.number);
  const locker_word::view now = word.look();
  if (item.state == item_state::landed) {
    ++stats.hit_count;
    return units_.open.mark_landed(index, i, word, now.frame);
  }
  ++stats.miss_count;
  if (now.state == locker_state::filling) {
    item.joined = item.fill == no_index;
    item.fill = static_cast<uint32_t>(now.frame);
    item.state = item_state::loading;
    units_.fills.add_waiter(item.fill, index, i);
    if (!item.joined) units_.open.mark_begun(index, i);
  } else if (now.state == locker_state::ready) {
    units_.open.mark_failed(index, i, pinned_too_often(*item.bank, item.number));
  } else {
    units_.open.mark_failed(index, i, frame_grants::why_absent(*item.bank, item.number));
  }
}

bool pin_operation::refuse_impossible(uint32_t index) try {
  const request &r = at(index);
  const uint64_t budget = units_.state.tiers[r.tier].memory->budget_bytes();
  uint64_t total = 0;
  for (const request_item &item : r.items) {
    if (item.state == item_state::waiting) total += cost_of(r, item);
  }
  if (total <= budget) return false;
  std::vector<std::pair<const locker_word *, uint64_t>> costs;  // what is named twice counts once
  for (const request_item &item : r.items) {
    if (item.state != item_state::waiting) continue;
    costs.emplace_back(&item.bank->word(r.tier, item.number), cost_of(r, item));
  }
  std::sort(costs.begin(), costs.end());
  costs.erase(std::unique(costs.begin(), costs.end()), costs.end());
  total = 0;
  for (const auto &[word, cost] : costs) total += cost;
  if (total <= budget) return false;
  fail_waiting_items(index, beyond_budget(r, total));
  units_.open.complete_if_over(index);
  return !units_.open.is_open(index);
} catch (const std::bad_alloc &) {
  return false;  // it waits, and is looked at again at the next resize
}

void pin_operation::withdraw(uint32_t index, bool all) {
  if (all) return withdraw_all_items(index);
  const uint32_t set = at(index).pin().set;
  withdraw_items(index,
                 [&](uint32_t item) { return units_.state.pins.sets().withdrawn(set, item); });
}

}  // namespace cubby::engine

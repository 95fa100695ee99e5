#include "engine/operations/prefetch.hpp"

namespace cubby::engine {
namespace {

/// Is it on disk alone, and the disk not to be asked for it just now?
bool is_out_of_reach(const engine_state &state, const locker_bank &bank, uint32_t number) {
  if (bank.blocks == nullptr || !bank.blocks->is_stored(number)) return false;
  return !state.tiers[bank.file_tier].failed_reads.would_allow(locker_name(bank, number),
                                                               state.now_ns) &&
         !state.tiers.have_in_memory(bank, number);
}

}  // namespace

void prefetch_operation::begin(uint32_t index) {
  units_.state.admission.expect_prefetches(at(index).tier);
}

bool prefetch_operation::begin_past_tiers(uint32_t, uint32_t) { return false; }

/// A late forecast is of no use: what has not been begun of it is cancelled. And a stream that
/// waits for a locker is not to stand still for good, for want of a frame that it may itself be to
/// free.
bool prefetch_operation::expire(uint32_t index) {
  const request &r = at(index);
  const auto *const verb = std::get_if<prefetch_verb>(&r.verb);
  if (verb != nullptr && verb->for_kernels) {
    if (units_.state.now_ns < r.issued_ns + slot_table::frame_patience_ns) return false;
    fail_waiting_items(index, fail(CUBBY_ERR_BUSY, "no frame came free for what a kernel lacks"));
    units_.open.stop_waiting(index);
    units_.open.complete_if_over(index);
    return true;
  }
  if (r.io_class != CUBBY_FORECAST || r.order.deadline_ns >= units_.state.now_ns) return false;
  fail_waiting_items(index,
                     fail(CUBBY_ERR_CANCELED, "its deadline passed before there was room for it"));
  units_.open.stop_waiting(index);
  units_.open.complete_if_over(index);
  return true;
}

bool prefetch_operation::grant(uint32_t index) {
  request &r = at(index);
  units_.open.mark_moved(index);
  uint32_t &next = r.next_item;
  for (; next < r.items.size(); ++next) {
    if (r.items[next].state != item_state::waiting) continue;
    if (!grant_item(index, next)) return false;
    // A fill that starts may end at once and with it this request.
    if (!units_.open.is_open(index)) return true;
  }
  units_.open.complete_if_over(index);
  return true;
}

bool prefetch_operation::grant_item(uint32_t index, uint32_t i) {
  request &r = at(index);
  const request_item &item = r.items[i];
  // Before it takes the frame of a block that is there.
  if (is_out_of_reach(units_.state, *item.bank, item.number)) {
    const tier_slot &files = units_.state.tiers[item.bank->file_tier];
    // A match that offered it again would send its caller here for ever.
    item.bank->blocks->keys.withhold(item.number, units_.state.now_ns + failed_reads::pause_ns);
    units_.open.mark_failed(index, i, not_read_again(*item.bank, item.number, files));
    return true;
  }
  if (begin_past_tiers(index, i)) return true;
  lookup_result found = units_.grants.look_up(r, i);
  if (found == lookup_result::no_frame && units_.copies.clear_tier(r.tier)) {
    found = units_.grants.look_up(r, i);
    if (found == lookup_result::no_frame && units_.copies.make_block(r.tier, cost_of(r, item))) {
      found = units_.grants.look_up(r, i);
    }
    if (found == lookup_result::no_frame) {
      units_.open.mark_failed(index, i, units_.grants.cannot_lay_out(r));
      return true;
    }
  }
  switch (found) {
    case lookup_result::no_frame:
    case lookup_result::blocked:
      return false;
    case lookup_result::ready: {
      locker_word &word = item.bank->word(r.tier, item.number);
      units_.open.mark_landed(index, i, word, word.look().frame);
      break;
    }
    case lookup_result::nowhere:
      units_.open.mark_failed(index, i, frame_grants::why_absent(*item.bank, item.number));
      break;
    case lookup_result::begun:
    case lookup_result::joinable:
      load(index, i, found == lookup_result::begun);
      break;
  }
  return true;
}

void prefetch_operation::load(uint32_t index, uint32_t i, bool begun) {
  request &r = at(index);
  request_item &item = r.items[i];
  item.fill = static_cast<uint32_t>(item.bank->word(r.tier, item.number).look().frame);
  item.state = item_state::loading;
  units_.fills.add_waiter(item.fill, index, i);
  if (!begun) return;
  units_.open.mark_begun(index, i);
  const uint32_t started = item.fill;
  fill &f = units_.table[started];
  f.unrequested = is_unrequested();
  f.admit = f.admit || keeps_copy(r);
  units_.grants.announce(r, f);
  units_.grants.take_reserved(begun_);
  units_.fills.start(started);
}

bool prefetch_operation::refuse_impossible(uint32_t index) {
  const request &r = at(index);
  const uint64_t budget = units_.state.tiers[r.tier].memory->budget_bytes();
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    if (r.items[i].state != item_state::waiting) continue;
    const uint64_t cost = cost_of(r, r.items[i]);
    if (cost > budget) units_.open.mark_failed(index, i, beyond_budget(r, cost));
  }
  units_.open.complete_if_over(index);
  return !units_.open.is_open(index);
}

void prefetch_operation::withdraw(uint32_t index, bool all) {
  if (all) withdraw_all_items(index);
}

}  // namespace cubby::engine

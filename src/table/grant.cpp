// Requests get their frames: all that a set of pins needs, or none, so that two callers can never
// hold half each.
#include <algorithm>

#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

using ull = unsigned long long;

/// Of a locker that no tier and no file can give.
error why_absent(const bank &where, uint32_t number) {
  if (where.failed.status != CUBBY_OK) return where.failed;
  return fail(CUBBY_MISS,
              "locker %u of bank %s is nowhere: nothing was put and no file is "
              "mapped",
              number, where.desc().name);
}

}  // namespace

error controller::pinned_too_often(const bank &where, uint32_t number) {
  return fail(CUBBY_ERR_BUSY,
              "locker %u of bank %s is pinned as often as it can be, 65,534 times; unpin some, or "
              "name it once in a set",
              number, where.desc().name);
}

bool controller::grant(uint32_t index) {
  switch (requests_[index].kind) {
    case request_kind::pin:
      return grant_pins(index);
    case request_kind::prefetch:
      return grant_prefetch(index);
    case request_kind::resize:
      return grant_resize(index);
    case request_kind::seal:
      return true;
  }
  return true;
}

void controller::wait_for_frames(uint32_t index) {
  request &r = requests_[index];
  if (r.waiting) return;
  r.waiting = true;
  r.frame_waited = true;
  const auto at = std::upper_bound(
      waiting_.begin(), waiting_.end(), index,
      [&](uint32_t a, uint32_t b) { return requests_[a].order < requests_[b].order; });
  waiting_.insert(at, index);
  // Whoever unpins after this store tells us; what was unpinned before it is seen by one more try.
  std::atomic<bool> &wanted = pinning_.watch(r.tier).frames_wanted;
  if (!wanted.exchange(true, std::memory_order_seq_cst)) changed_ = true;
}

void controller::retry_waiting() {
  const std::vector<uint32_t> seen = waiting_;
  std::array<bool, tiers_max> stuck{};
  for (const uint32_t index : seen) {
    request &r = requests_[index];
    if (!r.waiting) continue;
    expire(index);
    if (!r.waiting || stuck[r.tier]) continue;  // first come, first served in each tier
    if (grant(index)) {
      if (r.waiting) {
        r.waiting = false;
        base::erase_one(waiting_, index);
      }
    } else {
      stuck[r.tier] = true;
    }
  }
  for (uint32_t i = 0; i < tier_count(); ++i) {
    const bool wanted = std::any_of(waiting_.begin(), waiting_.end(),
                                    [&](uint32_t index) { return requests_[index].tier == i; });
    pinning_.watch(i).frames_wanted.store(wanted, std::memory_order_seq_cst);
  }
}

/// A late forecast is of no use: what has not been begun of it is cancelled.
void controller::expire(uint32_t index) {
  request &r = requests_[index];
  if (r.kind != request_kind::prefetch || r.io_class != CUBBY_FORECAST) return;
  if (r.order.deadline_ns >= now_ns_) return;
  const error late = fail(CUBBY_ERR_CANCELED, "its deadline passed before there was room for it");
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    if (r.items[i].state == item_state::waiting) item_failed(index, i, late);
  }
  r.waiting = false;
  base::erase_one(waiting_, index);
  if (r.open_count == 0) complete(index);
}

void controller::introduce_kept(const request &r, move &m) {
  if ((r.flags & CUBBY_BYPASS) == 0) introduce(m);
}

controller::found controller::look_up(request &r, uint32_t i) {
  request_item &item = r.items[i];
  bank &where = *item.where;
  locker_word &word = where.word(r.tier, item.number);
  const locker_word::view now = word.look();
  switch (now.state) {
    case locker_state::ready:
      return found::ready;
    case locker_state::evicting:
      return found::blocked;
    case locker_state::filling:
      return moves_[now.frame].state == move_state::stopping ? found::blocked : found::joinable;
    case locker_state::absent:
      break;
  }
  bool somewhere = where.mapped() && where.failed.status == CUBBY_OK;
  for (uint32_t t = 0; t < tier_count() && !somewhere; ++t) {
    somewhere = t != r.tier && tiers_[t]->memory != nullptr &&
                where.word(t, item.number).look().state != locker_state::absent;
  }
  if (!somewhere) return found::impossible;
  const uint64_t bytes = where.frame_bytes_in(r.tier, item.number);
  if (!make_room(r.tier, {where.object_base + item.number, bytes}, r.order)) return found::no_frame;
  const auto frame = tiers_[r.tier]->memory->take(bytes);
  if (!frame) return found::no_frame;
  const uint32_t made = new_move(where, item.number, r.tier, *frame, r.order);
  word.begin_fill(made, 1);
  // At once, for victims are chosen in the order of newcomers; but one that has waited may wait
  // again, and a policy is not to learn from every try.
  if (!r.waiting) introduce_kept(r, moves_[made]);
  tentative_.push_back(made);
  item.move = made;
  return found::begun;
}

/// Takes frames for all that is absent; false leaves everything as it was. With hold_hits, what is
/// resident already is pinned first, so that room is not made at its cost.
bool controller::prepare(request &r, bool hold_hits) {
  tentative_.clear();
  for (request_item &item : r.items) {
    if (item.state != item_state::waiting || !hold_hits) continue;
    uint64_t frame = 0;
    if (item.where->word(r.tier, item.number).pin(frame) == pin_outcome::pinned) {
      item.state = item_state::landed;  // for now: held, not told yet
    }
  }
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    request_item &item = r.items[i];
    if (item.state != item_state::waiting) continue;
    const found what = look_up(r, i);
    if (what != found::no_frame && what != found::blocked) {
      uint64_t frame = 0;
      const bool ready = what == found::ready &&
                         item.where->word(r.tier, item.number).pin(frame) == pin_outcome::pinned;
      if (ready) item.state = item_state::landed;
      continue;
    }
    roll_back(r);
    return false;
  }
  return true;
}

void controller::roll_back(request &r) {
  for (const uint32_t made : tentative_) {
    move &m = moves_[made];
    m.where->word(m.to, m.number).clear();
    withdraw(m);
    tiers_[m.to]->memory->give(m.frame, m.where->frame_bytes_in(m.to, m.number));
    free_move(made);
  }
  tentative_.clear();
  for (request_item &item : r.items) {
    if (item.state == item_state::landed) {
      item.where->word(r.tier, item.number).unpin();
      item.state = item_state::waiting;
    }
    if (item.state == item_state::waiting) item.move = no_index;
  }
}

/// Nobody holds anything in the tier and nothing comes or goes there.
bool controller::at_rest(uint32_t tier) const {
  const tier_slot &slot = *tiers_[tier];
  if (slot.leaving_bytes != 0) return false;
  const bool moving = std::any_of(moves_.begin(), moves_.end(), [&](const move &m) {
    return m.state != move_state::unused && (m.to == tier || m.beside == tier || m.from == tier);
  });
  return !moving && !pinning_.any_pinned(tier);
}

/// For what finds no frames in a tier at rest, where waiting would be for ever: all that is there
/// goes, and memory that came in pieces is taken anew. False: somebody holds a part of it.
bool controller::clear_tier(uint32_t tier) {
  if (!at_rest(tier)) return false;
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, 0};
  while (evict_one(tier, {placement::no_object, base::never_ns}, order, false)) {
  }
  if (tiers_[tier]->memory->used_bytes() != 0) return false;
  merge_blocks(tier);
  return true;
}

bool controller::grant_pins(uint32_t index) {
  request &r = requests_[index];
  if (!prepare(r, true)) {
    // Holes between our own hits, or memory in pieces: without what is there it may fit.
    if (!clear_tier(r.tier)) return false;
    if (!prepare(r, false)) {
      const error why = cannot_lay_out(r);
      for (uint32_t i = 0; i < r.items.size(); ++i) {
        if (r.items[i].state == item_state::waiting) item_failed(index, i, why);
      }
      complete(index);
      return true;
    }
  }
  settle(index);
  return true;
}

/// A large tier has its memory in blocks, and no locker lies across two.
error controller::cannot_lay_out(const request &r) const {
  const tier_slot &slot = *tiers_[r.tier];
  uint64_t total = 0;
  uint64_t largest = 0;
  for (const request_item &item : r.items) {
    if (item.state != item_state::waiting) continue;  // its bank may be gone
    const uint64_t cost = slot.memory->cost_bytes(item.where->frame_bytes_in(r.tier, item.number));
    total += cost;
    largest = std::max(largest, cost);
  }
  uint64_t needed = slot.memory->sure_budget_bytes(total, largest);
  error why = fail(CUBBY_ERR_BUDGET,
                   "tier %s: the set cannot be laid out in its %llu bytes, though nothing else is "
                   "there, for they are in %zu blocks; a budget of %llu is enough, or pin fewer "
                   "lockers together",
                   slot.name.c_str(), static_cast<ull>(slot.memory->budget_bytes()),
                   std::max<size_t>(slot.memory->blocks().size(), 1), static_cast<ull>(needed));
  if (slot.memory->memory_bytes() < slot.memory->budget_bytes()) {
    needed = slot.memory->budget_bytes();
    why = fail(CUBBY_ERR_NO_MEMORY,
               "tier %s: its memory was to be taken anew in one piece, and the system has not "
               "given all of its %llu bytes; free memory, or resize the tier to less",
               slot.name.c_str(), static_cast<ull>(needed));
  }
  why.tier = slot.handle;
  why.needed_bytes = needed;
  return why;
}

/// After prepare(): tells the hits, starts the moves, joins those that were under way.
void controller::settle(uint32_t index) {
  request &r = requests_[index];
  tier_slot &slot = *tiers_[r.tier];
  r.granted_ns = now_ns_;
  const std::vector<uint32_t> begun = tentative_;
  tentative_.clear();
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    request_item &item = r.items[i];
    if (item.state == item_state::withdrawn || item.state == item_state::failed) continue;
    locker_word &word = item.where->word(r.tier, item.number);
    const locker_word::view now = word.look();
    if (item.state == item_state::landed) {
      ++slot.stats.hit_count;
      item_landed(index, i, word, now.frame);
    } else if (now.state == locker_state::filling) {
      ++slot.stats.miss_count;
      item.joined = item.move == no_index;
      item.move = static_cast<uint32_t>(now.frame);
      item.state = item_state::loading;
      add_waiter(item.move, index, i);
    } else {
      ++slot.stats.miss_count;
      const bool here = now.state == locker_state::ready;
      item_failed(
          index, i,
          here ? pinned_too_often(*item.where, item.number) : why_absent(*item.where, item.number));
    }
  }
  for (const uint32_t made : begun) introduce_kept(r, moves_[made]);
  for (const uint32_t made : begun) launch(made);
  if (r.life.load() == life_of(generation_of(r.life.load()), request_state::open) &&
      r.open_count == 0) {
    complete(index);
  }
}

/// Item by item: a prefetch holds nothing, so it need not have all of its frames at once.
bool controller::grant_prefetch(uint32_t index) {
  request &r = requests_[index];
  while (r.next_item < r.items.size()) {
    const uint32_t i = r.next_item;
    request_item &item = r.items[i];
    if (item.state != item_state::waiting) {
      ++r.next_item;
      continue;
    }
    tentative_.clear();
    found what = look_up(r, i);
    if (what == found::no_frame && clear_tier(r.tier)) {
      what = look_up(r, i);
      if (what == found::no_frame) {
        ++r.next_item;
        item_failed(index, i, cannot_lay_out(r));
        continue;
      }
    }
    if (what == found::no_frame || what == found::blocked) return false;
    ++r.next_item;
    locker_word &word = item.where->word(r.tier, item.number);
    if (what == found::ready) {
      item_landed(index, i, word, 0);
    } else if (what == found::impossible) {
      item_failed(index, i, why_absent(*item.where, item.number));
    } else {
      item.move = static_cast<uint32_t>(word.look().frame);
      item.state = item_state::loading;
      add_waiter(item.move, index, i);
      if (what == found::begun) {
        moves_[item.move].unasked = true;
        moves_[item.move].keep = true;
        introduce_kept(r, moves_[item.move]);
        launch(item.move);
        // A launch may end at once and with it this request.
        if (state_of(r.life.load()) != request_state::open) return true;
      }
    }
  }
  if (r.open_count == 0 && state_of(r.life.load()) == request_state::open) complete(index);
  return true;
}

bool controller::grant_resize(uint32_t index) {
  request &r = requests_[index];
  tier_slot &slot = *tiers_[r.tier];
  while (slot.memory->used_bytes() > slot.memory->budget_bytes()) {
    const uint64_t over = slot.memory->used_bytes() - slot.memory->budget_bytes();
    if (slot.leaving_bytes >= over) return false;
    if (!evict_one(r.tier, {}, r.order, true)) return false;
  }
  shrink_blocks(r.tier);
  r.ok_count = 0;
  complete(index);
  return true;
}

}  // namespace cubby::table

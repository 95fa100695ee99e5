// Pin, unpin, prefetch, drop.
//
// The way of a pin. Everything resident: the set that the thread used last is taken again, each
// locker's word is raised by one compare-and-swap, the visit is told to the policies through a
// ring, and the call returns: no lock, no system call. That of lockers of one row stands in
// cubby_pin() itself, and the release of a whole set in cubby_unpin(): bench/pin_cost counts their
// instructions. Something absent: what was pinned is let go again, the request goes to the
// controller, and the set loads as a whole.
#include <algorithm>
#include <array>

#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;

struct pin_call {
  runtime &self;
  uint32_t shard, tier;
  residency::pin_set &set;
  const cubby_item *items;
  uint32_t count, flags;
  const void **addr;
  int8_t *item_status;
};

void set_status(int8_t *item_status, uint32_t item, cubby_status status) {
  if (item_status != nullptr) {
    __atomic_store_n(&item_status[item], static_cast<int8_t>(status), __ATOMIC_RELEASE);
  }
}

/// One visit: items of one bank, more than a note holds.
[[gnu::noinline]] void note_long_visit(engine::thread_shard &to, const cubby_item *items,
                                       uint32_t count) {
  constexpr uint32_t most = engine::event_chain::events_max;
  std::array<uint32_t, most> numbers{};
  engine::event_chain chain;
  for (uint32_t first = 0; first < count; first += most) {
    const uint32_t here = std::min(count - first, most);
    for (uint32_t i = 0; i < here; ++i) numbers[i] = static_cast<uint32_t>(items[first + i].id);
    engine::record_route(to, static_cast<cubby_bank>(items->id >> 48), chain,
                         {numbers.data(), here}, 0, engine::event_follows::same_sequence);
  }
  engine::end_visit(to, chain);
}

/// One visit: items of one bank, all of which it has.
[[gnu::always_inline]] inline void note_visit(engine::thread_shard &to, const cubby_item *items,
                                              uint32_t count) {
  if (count > engine::access_event::numbers_max) return note_long_visit(to, items, count);
  engine::record_visit(to, static_cast<cubby_bank>(items->id >> 48), count,
                       [items](size_t i) { return static_cast<uint32_t>(items[i].id); });
}

/// One visit for each run of items of one bank.
void note_visits(const pin_call &c) {
  uint32_t first = 0;
  for (uint32_t i = 1; i <= c.count; ++i) {
    if (i != c.count && c.items[i].id >> 48 == c.items[first].id >> 48) continue;
    note_visit(c.self.engine().feed.shard(c.shard), c.items + first, i - first);
    first = i;
  }
}

enum class way { resident, absent, refused };

/// Goes on after `done` items that are pinned. `absent`: some item is not resident (with NO_WAIT
/// the others are pinned, and its word in the set is NULL). `refused`: one names nothing.
way pin_rest(const pin_call &c, uint32_t done, const void **addr, uint32_t &ok_count) {
  engine::parts &engine = c.self.engine();
  residency::locker_word **words = c.set.words;
  const residency::bank_row *row = nullptr;
  uint32_t i = done;
  ok_count = done;
  while (i < c.count) {
    row = engine.state.banks.row_of(c.items[i], c.tier);
    if (row == nullptr) break;
    const uint32_t run = row->pin(c.items + i, c.count - i, words + i, addr);
    i += run;
    ok_count += run;
    if (addr != nullptr) addr += run * row->part_count();
    if (i == c.count || !row->has(c.items[i])) continue;
    words[i] = nullptr;
    if ((c.flags & CUBBY_NO_WAIT) == 0) break;
    if (addr != nullptr) addr = std::fill_n(addr, row->part_count(), nullptr);
    ++i;
  }
  if (i == c.count) return ok_count == c.count ? way::resident : way::absent;
  // The controller may have found them pinned just now, and wait for that to end.
  const bool any = i != 0;
  while (i-- > 0) {
    if (words[i] != nullptr) words[i]->unpin();
  }
  if (any && engine.state.tiers[c.tier].frames_wanted.load(std::memory_order_seq_cst)) {
    engine.state.note_frames();
    c.self.kick();
  }
  ok_count = 0;
  return row != nullptr ? way::absent : way::refused;
}

struct set_cost {
  uint64_t bytes = 0, largest_bytes = 0;
};

/// What the whole set costs of the tier; an item named twice counts once.
set_cost cost_of(const engine::tier_slot &slot, uint32_t tier,
                 std::vector<engine::request_item> items) {
  std::sort(items.begin(), items.end(), [](const auto &a, const auto &b) {
    return a.bank != b.bank ? a.bank < b.bank : a.number < b.number;
  });
  set_cost cost;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto &item = items[i];
    if (i != 0 && items[i - 1].bank == item.bank && items[i - 1].number == item.number) continue;
    const uint64_t one = slot.memory->cost_bytes(item.bank->frame_bytes_in(tier, item.number));
    cost.bytes += one;
    cost.largest_bytes = std::max(cost.largest_bytes, one);
  }
  return cost;
}

/// Can frames of the tier hold these lockers as their banks want them?
result<void> check_frames(const engine::tier_slot &slot, uint32_t tier, cubby_tier handle,
                          const std::vector<engine::request_item> &items) {
  const tier::memory_tier &memory = *slot.memory;
  for (const engine::request_item &item : items) {
    const residency::locker_bank &where = *item.bank;
    if (memory.is_lent() && memory.align_bytes() < where.align_bytes()) {
      return fail(CUBBY_ERR_INVALID,
                  "tier %s: its lent memory is aligned to %llu bytes, bank %s "
                  "wants %u",
                  slot.name.c_str(), static_cast<ull>(memory.align_bytes()), where.desc().name,
                  where.align_bytes());
    }
    if (!memory.strided()) continue;
    const uint32_t row = where.row_of(item.number);
    bool fits = memory.piece_parts() == where.part_count();
    for (uint32_t p = 0; fits && p < where.part_count(); ++p) {
      fits = where.part_bytes(row, p) <= memory.piece_bytes()[p];
    }
    if (!fits) {
      return fail(CUBBY_ERR_INVALID,
                  "tier %s: its lent pieces do not hold the parts of row %u of "
                  "bank %s",
                  slot.name.c_str(), row, where.desc().name);
    }
  }
  const set_cost cost = cost_of(slot, tier, items);
  const uint64_t budget = slot.budget_bytes.load();
  if (cost.bytes <= budget) return {};
  const uint64_t sure = memory.sure_budget_bytes(cost.bytes, cost.largest_bytes);
  error failure = fail(CUBBY_ERR_BUDGET,
                       "tier %s: the set needs %llu bytes at once, the budget is "
                       "%llu; raise the budget to %llu, or pin fewer lockers together",
                       slot.name.c_str(), static_cast<ull>(cost.bytes), static_cast<ull>(budget),
                       static_cast<ull>(sure));
  failure.tier = handle;
  failure.needed_bytes = sure;
  return failure;
}

/// Gives the set back where a call ends, or throws, before it was used.
struct unused_set {
  const pin_call &c;
  bool used = false;
  ~unused_set() {
    if (!used) c.self.engine().state.sets.give_back(c.set, c.shard);
  }
};

/// Hands the set to the controller.
cubby_status load_set(const pin_call &c, const cubby_how &how, cubby_pins *pins,
                      cubby_ticket *ticket) {
  engine::parts &engine = c.self.engine();
  engine::tier_slot &slot = engine.state.tiers[c.tier];
  unused_set given_back{c};
  std::vector<engine::request_item> items;
  auto read = read_items(c.self, c.items, c.count, items);
  if (read) read = check_frames(slot, c.tier, slot.handle, items);
  if (!read) return keep_error(read.failure());
  auto *queue = how.cq;
  if (queue != nullptr && !queue->reserve()) {
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "the completion queue has no place left; take "
                           "completions first, or make it larger"));
  }
  const uint32_t index = c.self.engine().requests.take(false);
  if (index == engine::no_index) {
    if (queue != nullptr) queue->unreserve();
    return no_ticket();
  }
  engine::request &r = engine.requests[index];
  prepare_request(c.self, r, engine::pin_verb{c.set.index, c.addr}, c.tier, how);
  r.items = std::move(items);
  for (uint32_t i = 0; i < c.count; ++i) {
    set_status(c.item_status, i, CUBBY_PENDING);
    // Hits that were let go again left their addresses; what fails from here on has none.
    const uint32_t parts = r.items[i].bank->part_count();
    if (c.addr != nullptr) std::fill_n(c.addr + size_t{i} * parts, parts, nullptr);
  }
  std::fill_n(c.set.words, c.count, nullptr);
  given_back.used = true;
  *pins = engine.state.sets.open(c.set, c.count, residency::pin_sets::content::loading);
  if ((c.flags & CUBBY_NO_VISIT) == 0) note_visits(c);
  return submit_request(c.self, index, ticket);
}

/// The end of a pin that waits for nothing.
cubby_status hold_resident(const pin_call &c, uint32_t ok_count, cubby_pins *pins) {
  engine::parts &engine = c.self.engine();
  if (ok_count == 0) {
    engine.state.sets.give_back(c.set, c.shard);
    for (uint32_t i = 0; i < c.count; ++i) set_status(c.item_status, i, CUBBY_MISS);
    return CUBBY_MISS;
  }
  residency::locker_word **words = c.set.words;
  for (uint32_t i = 0; i < c.count; ++i) {
    set_status(c.item_status, i, words[i] != nullptr ? CUBBY_OK : CUBBY_MISS);
  }
  if ((c.flags & CUBBY_NO_VISIT) == 0) note_visits(c);
  engine.feed.shard(c.shard).hits[c.tier].fetch_add(ok_count, std::memory_order_relaxed);
  const bool whole = ok_count == c.count;
  *pins = engine.state.sets.open(
      c.set, c.count,
      whole ? residency::pin_sets::content::whole : residency::pin_sets::content::gaps);
  return whole ? CUBBY_OK : CUBBY_PARTIAL;
}

/// Several rows, something absent, or nothing that there is.
[[gnu::noinline]] cubby_status pin_slowly(const pin_call &c, uint32_t done, const void **addr,
                                          const cubby_how &how, cubby_pins *pins,
                                          cubby_ticket *ticket) {
  return guarded([&]() -> cubby_status {
    uint32_t ok_count = 0;
    const way found = pin_rest(c, done, addr, ok_count);
    if (found == way::refused) {
      c.self.engine().state.sets.give_back(c.set, c.shard);
      std::vector<engine::request_item> ignored;
      auto read = read_items(c.self, c.items, c.count, ignored);
      if (!read) return keep_error(read.failure());
      return keep_error(fail(CUBBY_ERR_STALE, "a bank was removed during the call"));
    }
    if (found == way::resident || (c.flags & CUBBY_NO_WAIT) != 0) {
      return hold_resident(c, ok_count, pins);
    }
    return load_set(c, how, pins, ticket);
  });
}

[[gnu::cold, gnu::noinline]] cubby_status no_set() {
  return keep_error(fail(CUBBY_ERR_BUSY,
                         "as many pin sets are held as there is room for; unpin "
                         "some"));
}

[[gnu::cold, gnu::noinline]] cubby_status make_room(residency::pin_sets &sets,
                                                    residency::pin_set &set, uint32_t count,
                                                    uint32_t shard) {
  const cubby_status made = guarded([&] {
    residency::pin_sets::make_room(set, count);
    return CUBBY_OK;
  });
  if (made != CUBBY_OK) sets.give_back(set, shard);
  return made;
}

constexpr cubby_how nothing_asked{};

}  // namespace

cubby_status cubby_pin(cubby_handle *rt, const cubby_item *items, uint32_t count, cubby_tier tier,
                       const cubby_how *how, cubby_pins *pins, const void **addr,
                       cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  if (items == nullptr || pins == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_pin: items or pins is NULL, or count %u is not 1 to %u", count, items_max);
  }
  *pins = 0;
  if (ticket != nullptr) *ticket = 0;
  cubby_how asked;  // where it has to be looked up
  if (how == nullptr) {
    how = &nothing_asked;
  } else if (!plain(*how)) {
    auto read = read_how(self, how);
    if (!read) return keep_error(read.failure());
    asked = *read;
    how = &asked;
  }
  if (ticket == nullptr && how->cq == nullptr && (how->flags & CUBBY_NO_WAIT) == 0) {
    CUBBY_REFUSE(
        "cubby_pin: what is absent needs a ticket or a completion queue to tell of it; "
        "pass one, or CUBBY_NO_WAIT");
  }
  engine::parts &engine = self.engine();
  const uint32_t slot = engine.state.tiers.find(tier);
  if (slot == engine::no_tier || engine.state.tiers[slot].memory == nullptr) {
    if (slot != engine::no_tier)
      CUBBY_REFUSE("cubby_pin: files cannot be pinned; name a memory tier");
    return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
  }
  const uint32_t shard = entered.shard_index;
  residency::pin_set *const set = engine.state.sets.take(shard);
  if (set == nullptr) return no_set();
  if (count > set->room) {
    const cubby_status made = make_room(engine.state.sets, *set, count, shard);
    if (made != CUBBY_OK) return made;
  }
  set->describe(count, slot, (how->flags & CUBBY_BYPASS) != 0);
  // The usual: lockers of one row, all of them resident.
  const residency::bank_row *const row = engine.state.banks.row_of(*items, slot);
  const uint32_t run = row == nullptr ? 0 : row->pin(items, count, set->words, addr);
  if (run != count) [[unlikely]] {
    const void **const rest =
        addr == nullptr || run == 0 ? addr : addr + size_t{run} * row->part_count();
    return pin_slowly({self, shard, slot, *set, items, count, how->flags, addr, how->item_status},
                      run, rest, *how, pins, ticket);
  }
  if (how->item_status != nullptr) {
    for (uint32_t i = 0; i < count; ++i) set_status(how->item_status, i, CUBBY_OK);
  }
  if ((how->flags & CUBBY_NO_VISIT) == 0) note_visit(entered.mine, items, count);
  entered.mine.hits[slot].fetch_add(count, std::memory_order_relaxed);
  *pins = engine.state.sets.open(*set, count, residency::pin_sets::content::whole);
  return CUBBY_OK;
}

namespace {

/// Somebody waits for frames, or the copy was only for this once. Not only the last pin counts: a
/// waiting set holds its own hits while it looks for room, and so may be the last itself.
[[gnu::always_inline]] inline bool is_awaited(const engine::tier_slot &tier, bool bypass) {
  return bypass || tier.frames_wanted.load(std::memory_order_seq_cst) ||
         tier.decisions_wanted.load(std::memory_order_seq_cst);
}

/// A part of a set, a large one, one that loads, or what is not held.
[[gnu::noinline]] cubby_status unpin_slowly(runtime &self, cubby_pins pins, uint32_t first,
                                            uint32_t count, uint32_t shard) {
  engine::parts &engine = self.engine();
  const auto released = engine.state.sets.release(pins, first, count, shard);
  switch (released.what) {
    case residency::pin_sets::outcome::released:
      break;
    case residency::pin_sets::outcome::stale:
      return keep_error(fail(CUBBY_ERR_STALE,
                             "the pins are not held: they were released before, or "
                             "belong to another runtime"));
    case residency::pin_sets::outcome::twice:
      CUBBY_REFUSE("items %u to %u of the set: some were unpinned before", first,
                   first + count - 1);
    case residency::pin_sets::outcome::out_of_range:
      CUBBY_REFUSE("the set has no items %u to %u", first, first + count - 1);
  }
  if (released.loading) engine.pump.note_withdrawal();
  const bool awaited = is_awaited(engine.state.tiers[released.tier], released.bypass);
  if (awaited) engine.state.note_frames();
  if (released.loading || awaited) self.kick();
  return CUBBY_OK;
}

}  // namespace

cubby_status cubby_unpin(cubby_handle *rt, cubby_pins pins, uint32_t first, uint32_t count,
                         const cubby_sync *sync) {
  CUBBY_ENTER(rt);
  if (sync != nullptr && sync->stream != 0) {
    return keep_error(fail(CUBBY_ERR_NOT_SUPPORTED,
                           "order with a device stream needs a device "
                           "backend, which this build has not; pass sync = NULL"));
  }
  engine::parts &engine = self.engine();
  residency::pin_set *const set = engine.state.sets.find(pins);
  if (set == nullptr || !residency::pin_sets::claim_whole(*set, pins, first, count)) [[unlikely]] {
    return unpin_slowly(self, pins, first, count, entered.shard_index);
  }
  residency::pin_sets::let_go(*set);
  const bool awaited = is_awaited(engine.state.tiers[set->tier.load(std::memory_order_relaxed)],
                                  set->bypass.load(std::memory_order_relaxed));
  engine.state.sets.give_back(*set, entered.shard_index);
  if (awaited) {
    engine.state.note_frames();
    self.kick();
  }
  return CUBBY_OK;
}

cubby_status cubby_prefetch(cubby_handle *rt, const cubby_item *items, uint32_t count,
                            cubby_tier tier, const cubby_how *how, cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  if (items == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_prefetch: items is NULL, or count %u is not 1 to %u", count, items_max);
  }
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    auto asked = read_how(self, how);
    if (!asked) return keep_error(asked.failure());
    // A prefetch is not demand; what is certain to be used is committed.
    if (asked->io_class == CUBBY_DEMAND) asked->io_class = CUBBY_COMMITTED;
    const uint32_t slot = self.engine().state.tiers.find(tier);
    if (slot == engine::no_tier) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
    }
    if (self.engine().state.tiers[slot].memory == nullptr) {
      CUBBY_REFUSE("cubby_prefetch: files are where everything is; name a memory tier");
    }
    std::vector<engine::request_item> named;
    if (auto read = read_items(self, items, count, named); !read) return keep_error(read.failure());
    for (size_t i = 0; i < named.size(); ++i) {
      const std::vector<engine::request_item> one(1, named[i]);
      auto fits = check_frames(self.engine().state.tiers[slot], slot, tier, one);
      if (!fits) return keep_error(fits.failure());
    }
    if (asked->cq != nullptr && !asked->cq->reserve()) {
      return keep_error(fail(CUBBY_ERR_BUSY,
                             "the completion queue has no place left; take "
                             "completions first, or make it larger"));
    }
    const uint32_t index = self.engine().requests.take(ticket == nullptr && asked->cq == nullptr);
    if (index == engine::no_index) {
      if (asked->cq != nullptr) asked->cq->unreserve();
      return no_ticket();
    }
    engine::request &r = self.engine().requests[index];
    prepare_request(self, r, engine::prefetch_verb{}, slot, *asked);
    r.items = std::move(named);
    for (uint32_t i = 0; i < count && asked->item_status != nullptr; ++i) {
      __atomic_store_n(&asked->item_status[i], static_cast<int8_t>(CUBBY_PENDING),
                       __ATOMIC_RELEASE);
    }
    return submit_request(self, index, ticket);
  });
}

cubby_status cubby_drop(cubby_handle *rt, const cubby_item *items, uint32_t count,
                        cubby_tier tier) {
  CUBBY_ENTER(rt);
  if (items == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_drop: items is NULL, or count %u is not 1 to %u", count, items_max);
  }
  return guarded([&]() -> cubby_status {
    std::vector<engine::request_item> named;
    if (auto read = read_items(self, items, count, named); !read) return keep_error(read.failure());
    const auto lock = self.hold_pump();
    engine::parts &engine = self.engine();
    const uint32_t only = tier == 0 ? engine::no_tier : engine.state.tiers.find(tier);
    if (tier != 0 && only == engine::no_tier) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
    }
    uint32_t held = 0;
    for (const engine::request_item &item : named) {
      for (uint32_t t = 0; t < engine.state.tiers.count(); ++t) {
        if (engine.state.tiers[t].memory == nullptr || (only != engine::no_tier && t != only))
          continue;
        if (!engine.copies.drop(*item.bank, item.number, t)) ++held;
      }
    }
    if (held == 0) return CUBBY_OK;
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "%u copies are pinned or on their way and stay; the others "
                           "are gone",
                           held));
  });
}

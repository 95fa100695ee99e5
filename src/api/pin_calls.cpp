// Pin, unpin, prefetch, drop.
//
// residency/pinning.hpp has the protocol. Here are the checks of what callers pass, the visits that
// pins tell to the policies through a ring, and the requests for what is absent.
#include <algorithm>
#include <array>
#include <cerrno>
#include <memory_resource>
#include <optional>
#include <span>

#include "api/block_calls.hpp"
#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"
#include "residency/frame_check.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;

using residency::pinning;

struct pin_call {
  runtime &self;
  residency::pin_set &set;
  residency::pin_order order;
  int8_t *item_status;

  [[nodiscard]] pinning &pins() const { return self.engine().state.pins; }
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
  const auto &[items, count, tier, shard, flags, addr] = c.order;
  uint32_t first = 0;
  for (uint32_t i = 1; i <= count; ++i) {
    if (i != count && items[i].id >> 48 == items[first].id >> 48) continue;
    note_visit(c.self.engine().feed.shard(shard), items + first, i - first);
    first = i;
  }
}

/// Can the tier hold these lockers at once?
result<void> check_frames(engine::parts &engine, uint32_t tier,
                          std::span<const engine::request_item> items) {
  const engine::tier_slot &slot = engine.state.tiers[tier];
  const residency::frame_source from = {*slot.memory, tier, slot.handle, slot.budget_bytes.load()};
  // What fits though it be named twice needs no closer look.
  uint64_t most_bytes = 0;
  for (const engine::request_item &item : items) {
    most_bytes += slot.memory->cost_bytes(item.bank->frame_bytes_in(tier, item.number));
  }
  if (most_bytes <= from.budget_bytes && !slot.memory->is_lent()) return {};
  std::array<std::byte, 64 * sizeof(residency::bank_registry::locker)> room;
  std::pmr::monotonic_buffer_resource memory(room.data(), room.size());
  std::pmr::vector<residency::bank_registry::locker> lockers(&memory);
  lockers.reserve(items.size());
  for (const engine::request_item &item : items) lockers.push_back({item.bank, item.number});
  return residency::check_frames(from, lockers);
}

[[gnu::cold, gnu::noinline]] cubby_status no_set() {
  return keep_error(fail(CUBBY_ERR_BUSY,
                         "as many pin sets are held as there is room for; unpin "
                         "some"));
}

/// Gives the set back where a call ends, or throws, before it was used.
struct unused_set {
  const pin_call &c;
  bool used = false;
  ~unused_set() {
    if (!used) c.pins().give_back(c.set, c.order.shard);
  }
};

/// Hands the set to the controller; `known` are its lockers, or NULL where they are yet to be read.
cubby_status load_set(const pin_call &c, const std::vector<engine::request_item> *known,
                      const cubby_how &how, cubby_pins *pins, cubby_ticket *ticket) {
  engine::parts &engine = c.self.engine();
  const auto &[asked, count, tier, shard, flags, addr] = c.order;
  unused_set given_back{c};
  if (engine.state.tiers[tier].lost.load(std::memory_order_acquire)) {
    return keep_error(engine::lost_tier(engine.state.tiers[tier]));
  }
  request_place place(c.self, false);
  if (place.index == engine::no_index) return no_ticket();
  engine::request &r = engine.requests[place.index];
  if (known != nullptr) {
    r.items = *known;
  } else if (auto read = read_items(c.self, asked, count, r.items); !read) {
    return keep_error(read.failure());
  }
  if (auto fit = check_frames(engine, tier, r.items); !fit) return keep_error(fit.failure());
  auto *queue = how.cq;
  if (queue != nullptr && !queue->reserve()) {
    return keep_error(queue_full());
  }
  r.verb = engine::pin_verb{c.set.index, addr};
  prepare_request(c.self, r, tier, how);
  if (in_stream_order(engine.state.tiers[tier], how.sync)) {
    r.in_stream = true;
    r.stream = read_struct(*how.sync).stream;
  }
  for (uint32_t i = 0; i < count; ++i) {
    set_status(c.item_status, i, CUBBY_PENDING);
    // Hits that were released again left their addresses; what fails from here on has none.
    const uint32_t parts = r.items[i].bank->part_count();
    if (addr != nullptr) std::fill_n(addr + size_t{i} * parts, parts, nullptr);
  }
  given_back.used = true;
  *pins = c.pins().hold_loading(c.set, c.order);
  if ((flags & CUBBY_NO_VISIT) == 0) note_visits(c);
  return submit_request(c.self, place.use(), ticket);
}

/// The end of a pin that waits for nothing.
cubby_status hold_resident(const pin_call &c, uint32_t pinned, cubby_pins *pins) {
  const auto &[items, count, tier, shard, flags, addr] = c.order;
  if (pinned == 0) {
    c.pins().give_back(c.set, shard);
    for (uint32_t i = 0; i < count; ++i) set_status(c.item_status, i, CUBBY_MISS);
    return CUBBY_MISS;
  }
  for (uint32_t i = 0; i < count && c.item_status != nullptr; ++i) {
    const bool here = c.set.items()[i].load(std::memory_order_relaxed) != nullptr;
    set_status(c.item_status, i, here ? CUBBY_OK : CUBBY_MISS);
  }
  if ((flags & CUBBY_NO_VISIT) == 0) note_visits(c);
  c.self.engine().feed.shard(shard).hits[tier].fetch_add(pinned, std::memory_order_relaxed);
  *pins = c.pins().hold(c.set, c.order, pinned);
  return pinned == count ? CUBBY_OK : CUBBY_PARTIAL;
}

bool names_keys(const residency::pin_order &order) {
  return std::any_of(order.items, order.items + order.count, [](const cubby_item &item) {
    return item.space != 0 || item.key.data != nullptr;
  });
}

/// Some locker of the set that is pinned is not its key's any more: the set is released. The words
/// of what is not pinned are NULL.
bool released_as_moved(const pin_call &c, std::span<const engine::request_item> named) {
  std::atomic<residency::locker_word *> *const words = c.set.items();
  const auto pinned = [&](size_t i) { return words[i].load(std::memory_order_relaxed) != nullptr; };
  bool moved = false;
  for (size_t i = 0; i < named.size(); ++i) moved = moved || (pinned(i) && named[i].is_another());
  if (!moved) return false;
  for (size_t i = 0; i < named.size(); ++i) {
    if (pinned(i)) words[i].load(std::memory_order_relaxed)->unpin();
  }
  c.pins().give_back(c.set, c.order.shard);
  c.pins().note_frames();
  return true;
}

/// One try: the lockers that the keys have now. Nothing when one of them is another's meanwhile.
std::optional<cubby_status> try_pin_by_key(runtime &self, const residency::pin_order &asked,
                                           const cubby_how &how, cubby_pins *pins,
                                           cubby_ticket *ticket) {
  std::vector<engine::request_item> named;
  if (auto read = read_items(self, asked.items, asked.count, named); !read) {
    return keep_error(read.failure());
  }
  std::vector<cubby_item> numbered(asked.count);
  bool missing = false;
  for (uint32_t i = 0; i < asked.count; ++i) {
    numbered[i].id = CUBBY_ID(named[i].bank->handle, named[i].number);
    if (named[i].bank->blocks != nullptr) numbered[i].space = residency::block_number_mark;
    missing = missing || named[i].known == CUBBY_MISS;
  }
  if (missing) {
    for (uint32_t i = 0; i < asked.count; ++i) set_status(how.item_status, i, CUBBY_MISS);
    return CUBBY_MISS;
  }
  residency::pin_set *const set = self.engine().state.pins.take(asked.shard);
  if (set == nullptr) return no_set();
  residency::pin_order order = asked;
  order.items = numbered.data();
  const pin_call c{self, *set, order, how.item_status};
  if (order.count > set->room) c.pins().make_room(*set, order);
  set->describe(order.count, order.tier, (order.flags & CUBBY_BYPASS) != 0);
  const pinning::rest rest = c.pins().pin_rest(*set, order, {});
  if (rest.wake) self.kick();
  if (rest.what == pinning::found::refused) {
    c.pins().give_back(*set, order.shard);
    return keep_error(bank_went());
  }
  if (rest.what == pinning::found::resident || (order.flags & CUBBY_NO_WAIT) != 0) {
    if (released_as_moved(c, named)) return std::nullopt;
    return hold_resident(c, rest.pinned, pins);
  }
  return load_set(c, &named, how, pins, ticket);
}

cubby_status pin_by_key(runtime &self, const residency::pin_order &asked, const cubby_how &how,
                        cubby_pins *pins, cubby_ticket *ticket) {
  constexpr uint32_t tries_max = 64;
  for (uint32_t i = 0; i < tries_max; ++i) {
    if (auto done = try_pin_by_key(self, asked, how, pins, ticket)) return *done;
  }
  return keep_error(fail(CUBBY_ERR_BUSY, "blocks come and go faster than they can be pinned"));
}

/// Several rows, something absent, or nothing that there is.
[[gnu::noinline]] cubby_status pin_slowly(const pin_call &c, pinning::start begun,
                                          const cubby_how &how, cubby_pins *pins,
                                          cubby_ticket *ticket) {
  return guarded([&]() -> cubby_status {
    const pinning::rest rest = c.pins().pin_rest(c.set, c.order, begun);
    if (rest.wake) c.self.kick();
    if (rest.what == pinning::found::refused) {
      c.pins().give_back(c.set, c.order.shard);
      if (names_keys(c.order)) return pin_by_key(c.self, c.order, how, pins, ticket);
      std::vector<engine::request_item> ignored;
      auto read = read_items(c.self, c.order.items, c.order.count, ignored);
      if (!read) return keep_error(read.failure());
      return keep_error(bank_went());
    }
    if (rest.what == pinning::found::resident || (c.order.flags & CUBBY_NO_WAIT) != 0) {
      return hold_resident(c, rest.pinned, pins);
    }
    return load_set(c, nullptr, how, pins, ticket);
  });
}

[[gnu::cold, gnu::noinline]] cubby_status make_room(const pin_call &c) {
  return guarded([&] {
    c.pins().make_room(c.set, c.order);
    return CUBBY_OK;
  });
}

constexpr cubby_how nothing_asked{};

/// Does the stream go with the tier?
result<void> check_order(runtime &self, cubby_tier tier, const cubby_sync *sync) {
  engine::tier_set &tiers = self.engine().state.tiers;
  const uint32_t slot = tiers.find(tier);
  if (sync == nullptr || slot == engine::no_tier || !tiers.is_memory(slot)) return {};
  return check_sync(tiers[slot], *sync);
}

/// Of one that is not plain(). Off the way of those that are.
[[gnu::noinline]] cubby_status look_up_how(runtime &self, cubby_tier tier, const cubby_how *how,
                                           cubby_how &asked) {
  auto read = read_how(self, how, order_of::streams);
  if (!read) return keep_error(read.failure());
  asked = *read;
  if (auto order = check_order(self, tier, asked.sync); !order) return keep_error(order.failure());
  return CUBBY_OK;
}

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
    const cubby_status looked_up = look_up_how(self, tier, how, asked);
    if (looked_up != CUBBY_OK) return looked_up;
    how = &asked;
  } else if (how->cq != nullptr && !is_own_queue(self, how->cq)) {
    return keep_error(no_own_queue());
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
  pinning &pins_of = engine.state.pins;
  residency::pin_set *const set = pins_of.take(entered.shard_index);
  if (set == nullptr) return no_set();
  // Made where it is used: on the usual way these stay in registers.
  const auto order = [&]() -> residency::pin_order {
    return {items, count, slot, entered.shard_index, how->flags, addr};
  };
  if (count > set->room) [[unlikely]] {
    const cubby_status made = make_room({self, *set, order(), nullptr});
    if (made != CUBBY_OK) return made;
  }
  const pinning::start begun = pins_of.pin_first_row(*set, items, count, slot, how->flags, addr);
  if (begun.pinned != count) [[unlikely]] {
    return pin_slowly({self, *set, order(), how->item_status}, begun, *how, pins, ticket);
  }
  if (how->item_status != nullptr) {
    for (uint32_t i = 0; i < count; ++i) set_status(how->item_status, i, CUBBY_OK);
  }
  if ((how->flags & CUBBY_NO_VISIT) == 0) note_visit(entered.mine, items, count);
  entered.mine.hits[slot].fetch_add(count, std::memory_order_relaxed);
  *pins = pins_of.hold_all(*set, count);
  return CUBBY_OK;
}

namespace {

/// A part of a set, a large one, one that loads, or what is not held.
[[gnu::noinline]] cubby_status unpin_slowly(runtime &self, cubby_pins pins, uint32_t first,
                                            uint32_t count, uint32_t shard) {
  const pinning::unpinned released = self.engine().state.pins.unpin(pins, first, count, shard);
  using outcome = residency::pin_sets::outcome;
  switch (released.what) {
    case outcome::released:
      break;
    case outcome::stale:
      return keep_error(fail(CUBBY_ERR_STALE,
                             "the pins are not held: they were released before, or "
                             "belong to another runtime"));
    case outcome::twice:
      CUBBY_REFUSE("items %u to %u of the set: some were unpinned before", first,
                   first + count - 1);
    case outcome::out_of_range:
      CUBBY_REFUSE("the set has no items %u to %llu; name those that it was made of", first,
                   ull{first} + std::max(count, 1u) - 1);
  }
  if (released.wake) self.kick();
  return CUBBY_OK;
}

/// Each locker stays pinned until the stream has done what it was given so far.
[[gnu::noinline]] cubby_status unpin_behind(runtime &self, cubby_pins pins, uint32_t first,
                                            uint32_t count, const call &entered,
                                            const cubby_sync &sync) {
  engine::engine_state &state = self.engine().state;
  pinning::pinned_again held = state.pins.pin_again(pins, first, count, state.releases.take_list());
  if (held.saturated) {
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "a locker of the set is pinned as often as it can be; unpin in host "
                           "order"));
  }
  if (held.words.empty()) {
    return unpin_slowly(self, pins, first, count, entered.shard_index);  // nothing of it is used
  }
  engine::tier_slot &slot = state.tiers[held.tier];
  const auto let_go = [&] {
    for (residency::locker_word *word : held.words) word->unpin();
  };
  bool in_stream = true;
  const auto made_ready = [&]() -> result<void> {
    if (auto right = check_sync(slot, sync); !right) return right;
    in_stream = in_stream_order(slot, &sync);
    return in_stream ? state.releases.make_room() : result<void>();
  };
  try {
    const auto ready = made_ready();
    if (!ready || !in_stream) let_go();
    if (!ready) return keep_error(ready.failure());
  } catch (...) {
    let_go();
    throw;
  }
  if (!in_stream) return unpin_slowly(self, pins, first, count, entered.shard_index);
  uint64_t mark = 0;
  const int32_t marked =
      slot.memory->backend().streams().record_mark(read_struct(sync).stream, &mark);
  if (marked != 0) {
    state.releases.take_room_back();
    let_go();
    if (marked != -ENODEV) return keep_error(no_mark(slot, marked));
    engine::note_lost(state, held.tier);  // what it was to do will not be done
    return unpin_slowly(self, pins, first, count, entered.shard_index);
  }
  bool wake = false;
  cubby_status status = CUBBY_OK;
  if (!state.pins.unpin_whole(pins, first, count, entered.shard_index, wake)) {
    status = unpin_slowly(self, pins, first, count, entered.shard_index);
  }
  if (state.releases.hold(held.tier, mark, std::move(held.words)) || wake) self.kick();
  return status;
}

}  // namespace

cubby_status cubby_unpin(cubby_handle *rt, cubby_pins pins, uint32_t first, uint32_t count,
                         const cubby_sync *sync) {
  CUBBY_ENTER(rt);
  if (sync != nullptr) [[unlikely]] {
    return guarded([&] { return unpin_behind(self, pins, first, count, entered, *sync); });
  }
  bool wake = false;
  const bool whole =
      self.engine().state.pins.unpin_whole(pins, first, count, entered.shard_index, wake);
  if (!whole) [[unlikely]]
    return unpin_slowly(self, pins, first, count, entered.shard_index);
  if (wake) self.kick();
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
    request_place place(self, ticket == nullptr && asked->cq == nullptr);
    if (place.index == engine::no_index) return no_ticket();
    engine::request &r = self.engine().requests[place.index];
    auto read = read_items(self, items, count, r.items);
    for (size_t i = 0; i < r.items.size() && read; ++i) {
      read = check_frames(self.engine(), slot, {&r.items[i], 1});
    }
    if (!read) return keep_error(read.failure());
    if (asked->cq != nullptr && !asked->cq->reserve()) {
      return keep_error(queue_full());
    }
    if (self.engine().state.tiers[slot].lost.load(std::memory_order_acquire)) {
      if (asked->cq != nullptr) asked->cq->unreserve();
      return keep_error(engine::lost_tier(self.engine().state.tiers[slot]));
    }
    r.verb = engine::prefetch_verb{};
    prepare_request(self, r, slot, *asked);
    for (uint32_t i = 0; i < count; ++i) set_status(asked->item_status, i, r.items[i].known);
    return submit_request(self, place.use(), ticket);
  });
}

cubby_status cubby_drop(cubby_handle *rt, const cubby_item *items, uint32_t count,
                        cubby_tier tier) {
  CUBBY_ENTER(rt);
  if (items == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_drop: items is NULL, or count %u is not 1 to %u", count, items_max);
  }
  if (items->space != 0) return guarded([&] { return drop_blocks(self, items, count, tier); });
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

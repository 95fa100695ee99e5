#include "engine/fills.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/mutant.hpp"
#include "engine/chunk_run.hpp"

namespace cubby::engine {
namespace {

constexpr uint32_t attempts_max = 3;
constexpr uint64_t read_bytes_max = uint64_t{1} << 20;
/// Of a copy from memory: what the digest has just looked at is still in the core's cache.
constexpr uint64_t copy_bytes_max = uint64_t{256} << 10;

uint64_t waiter_of(uint32_t request, uint32_t item) { return uint64_t{request} << 32 | item; }

bool waits_in_stream(const request &r, const fill &f) {
  return r.in_stream && r.is_pin() && r.tier == f.to;
}

/// A block, or the last page of a table, leaves some of its frame free.
bool may_be_short(const locker_bank &bank) {
  return bank.blocks != nullptr || bank.desc().kind == CUBBY_BANK_ROWS;
}

bool copies_from_tier(const tier_set &tiers, const fill &f) {
  return f.from != no_tier && tiers.is_memory(f.from);
}

}  // namespace

uint32_t chunks_per_piece(const tier_set &tiers, const fill &f) {
  const uint64_t bytes = copies_from_tier(tiers, f) ? copy_bytes_max : read_bytes_max;
  return std::max<uint32_t>(1, static_cast<uint32_t>(bytes / f.bank->grid().chunk_bytes()));
}

error pinned_too_often(const locker_bank &bank, uint32_t number) {
  return fail(CUBBY_ERR_BUSY,
              "locker %u of bank %s is pinned as often as it can be, 65,534 times; unpin some, or "
              "name it once in a set",
              number, bank.desc().name);
}

void fills::add_waiter(uint32_t index, uint32_t request_index, uint32_t item) {
  request &r = requests_[request_index];
  fill &f = table_[index];
  r.items[item].next_waiter = f.first_waiter;
  f.first_waiter = waiter_of(request_index, item);
  if ((r.flags & CUBBY_BYPASS) == 0) f.admit = true;
  if (r.is_pin() && !f.demotion) f.unrequested = false;  // a demotion goes on anyway
  table_.raise(index, r.order);
}

void fills::remove_waiter(uint32_t index, uint32_t request_index, uint32_t item) {
  fill &f = table_[index];
  const uint64_t gone = waiter_of(request_index, item);
  uint64_t *link = &f.first_waiter;
  while (*link != gone) {
    CUBBY_ASSERT(*link != no_waiter);
    link = &requests_[static_cast<uint32_t>(*link >> 32)].items[*link & 0xFFFFFFFF].next_waiter;
  }
  *link = requests_[request_index].items[item].next_waiter;
  const bool running = f.state == fill_state::active || f.state == fill_state::following;
  if (running && !f.wanted()) stop(f, fail(CUBBY_ERR_CANCELED, "nobody waits for it any more"));
}

/// In the tiers of memory between: hits and misses.
void fills::count_looks_below(const fill &f) {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!is_between(t, f)) continue;
    cubby_tier_stats &below = state_.tiers[t].stats;
    ++(t == f.from ? below.hit_count : below.miss_count);
    if (t == f.from) break;
  }
}

/// A fill that finds no memory to begin stops, and its waiters hear of it.
void fills::start(uint32_t index) try {
  choose_and_queue(table_[index]);
} catch (const std::bad_alloc &) {
  stop(table_[index], no_memory());
}

void fills::choose_and_queue(fill &f) {
  f.state = fill_state::active;
  f.next_part = f.next_chunk = 0;
  f.skip_absent_parts();
  f.failure.status = CUBBY_OK;
  f.submitted = false;
  const auto chosen = sources_.choose(f.index);
  if (!chosen) return stop(f, chosen.failure());
  if (*chosen == sources::choice::follows) return;
  begin_way(f);
  if (f.attempts == 0 && state_.tiers[f.to].has_memory_below) count_looks_below(f);
  f.reads_left = 0;
  const bool reads = !copies_from_tier(state_.tiers, f);
  const uint32_t per = chunks_per_piece(state_.tiers, f);
  for (uint32_t part = 0; reads && part < f.bank->part_count(); ++part) {
    f.reads_left += (chunks_of_part(*f.bank, f.number, part) + per - 1) / per;
  }
  if (CUBBY_MUTANT(publish_early)) publish(f, f.to, f.frame);
  table_.queue(f.index);
}

void fills::stop(fill &f, const error &why) {
  if (f.state == fill_state::stopping) return;
  table_.unqueue(f.index);
  f.failure = why;
  f.state = fill_state::stopping;
  if (f.pieces_in_flight == 0) end(f);
}

/// Lets go of what the bytes came from.
void fills::unpin_source(fill &f, bool arrived) {
  if (f.intermediate != no_tier && f.intermediate_ready) {
    copies_.unpin(f.intermediate, f.bank->word(f.intermediate, f.number));
    f.intermediate_ready = false;
    f.intermediate = no_tier;
  }
  const uint32_t from = std::exchange(f.from, no_tier);
  if (from == no_tier || !state_.tiers.is_memory(from)) return;
  locker_word &word = f.bank->word(from, f.number);
  tier_slot &slot = state_.tiers[from];
  if (f.demotion) {
    if (state_.slots.retire(from, *f.bank, f.number)) return;
    const uint64_t bytes = f.bank->frame_bytes_in(from, f.number);
    const uint64_t frame = word.look().frame;
    slot.leaving_bytes -= slot.memory->cost_bytes(bytes);
    word.clear();
    slot.memory->give(frame, bytes);
    return;
  }
  copies_.unpin(from, word);
  const bool bad = f.failure.status == CUBBY_ERR_CORRUPT;
  const bool moved_up = arrived && slot.is_exclusive() && state_.tiers[f.to].rank < slot.rank &&
                        state_.admission.is_admitted(f.to, f.bank->object_base + f.number);
  if (bad || moved_up) copies_.drop(*f.bank, f.number, from);
  if (bad) f.bad_tier = from;
}

/// A stored block whose bytes are not right is read once more: what was transient has passed. What
/// was seen of its chunks counts for nothing.
bool fills::rereads_block(fill &f) {
  const bool read = f.from != no_tier && !copies_from_tier(state_.tiers, f);
  if (f.bank->blocks == nullptr || !read || f.failure.status != CUBBY_ERR_CORRUPT) return false;
  if (!std::exchange(f.first_sight, false)) return false;  // what a put made of them stands
  for (uint32_t p = 0; p < f.bank->part_count() && state_.config.verify; ++p) {
    const uint32_t chunks = chunks_of_part(*f.bank, f.number, p);
    for (uint32_t c = 0; c < chunks; ++c) f.bank->digest(f.number, p, c) = 0;
  }
  return f.wanted() && f.attempts++ == 0;
}

/// What could not be read from one device, or is damaged there, another one may have.
bool fills::reads_other_files(fill &f) {
  const bool read = f.from != no_tier && !copies_from_tier(state_.tiers, f);
  const bool in_vain = f.failure.status == CUBBY_ERR_IO || f.failure.status == CUBBY_ERR_CORRUPT;
  if (!read || !in_vain || f.landed_early || !f.wanted()) return false;
  if (!sources_.have_other_files(f)) return false;
  ++f.attempts;
  return true;
}

/// A failed copy may have another source: a damaged one is replaced by the file's.
bool fills::try_again(fill &f) {
  if (rereads_block(f) || reads_other_files(f)) {
    start(f.index);
    return true;
  }
  if (f.failure.status == CUBBY_ERR_CANCELED || !f.wanted()) return false;
  if (f.landed_early || state_.tiers[f.to].lost.load(std::memory_order_relaxed)) return false;
  if (!f.demotion && std::exchange(f.passed_copy, false)) {  // a slow copy is better than an error
    give_up_intermediate(f);
    unpin_source(f, false);
    ++f.attempts;
    start(f.index);
    return true;
  }
  if (!copies_from_tier(state_.tiers, f) || f.demotion) return false;
  if (++f.attempts >= attempts_max || !f.bank->mapped()) return false;
  unpin_source(f, false);
  start(f.index);
  return true;
}

/// What a locker leaves free of its frame is not shown to whoever reads there.
void fills::clear_tail(const locker_bank &bank, uint32_t number, uint32_t tier, uint64_t frame) {
  if (!state_.tiers[tier].memory->host_addressable()) return;
  const uint64_t length =
      bank.blocks != nullptr ? bank.blocks->length(number) : bank.locker_bytes(number);
  const auto parts = state_.tiers.pieces(bank, tier, frame, number);
  transfer::clear_behind({parts.data(), bank.part_count()}, length);
}

void fills::publish(fill &f, uint32_t tier, uint64_t frame) {
  locker_word &word = f.bank->word(tier, f.number);
  if (word.look().state != locker_state::filling) return;
  if (may_be_short(*f.bank)) clear_tail(*f.bank, f.number, tier, frame);
  // The waiters of this tier leave the list, each with a pin that the word is published with.
  uint64_t mine = no_waiter, too_many = no_waiter;
  uint64_t *link = &f.first_waiter;
  const uint64_t early = word.look().pin_count;
  uint64_t pins = early;
  while (*link != no_waiter) {
    const uint64_t here = *link;
    request &r = requests_[static_cast<uint32_t>(here >> 32)];
    uint64_t &next = r.items[here & 0xFFFFFFFF].next_waiter;
    if (r.tier != tier) {
      link = &next;
      continue;
    }
    *link = next;
    // One place is left for the fill itself, which holds what it copies on.
    uint64_t &list = r.is_pin() && pins == locker_word::pins_max - 1 ? too_many : mine;
    if (r.is_pin() && &list == &mine) ++pins;
    next = list;
    list = here;
  }
  word.publish(frame, pins - early);
  state_.slots.published(tier, *f.bank, f.number, frame);
  const cubby_object object = f.bank->object_base + f.number;
  if (tier == f.to) {
    if (f.admit) {
      copies_.announce(f);
    } else {
      state_.admission.track_no_allocate(tier, object);
    }
    if (!f.demotion && f.unrequested) {
      state_.admission.note_prefetched(tier, object, f.bank->frame_bytes_in(tier, f.number));
    }
  }
  while (mine != no_waiter) {
    const auto request_index = static_cast<uint32_t>(mine >> 32);
    const auto item = static_cast<uint32_t>(mine);
    mine = requests_[request_index].items[item].next_waiter;
    if (CUBBY_MUTANT(lose_waiter) && ++mutant_count_ % 16 == 0) continue;
    waiters_.item_landed(request_index, item, word, frame, f);
  }
  if (too_many != no_waiter) fail_waiters(too_many, pinned_too_often(*f.bank, f.number));
}

void fills::fail_waiters(uint64_t first, const error &why) {
  while (first != no_waiter) {
    const auto request_index = static_cast<uint32_t>(first >> 32);
    const auto item = static_cast<uint32_t>(first);
    first = requests_[request_index].items[item].next_waiter;
    waiters_.item_failed(request_index, item, why);
  }
}

bool fills::has_stream_waiter(const fill &f) const {
  for (uint64_t here = f.first_waiter; here != no_waiter;) {
    const request &r = requests_[static_cast<uint32_t>(here >> 32)];
    if (waits_in_stream(r, f)) return true;
    here = r.items[here & 0xFFFFFFFF].next_waiter;
  }
  return false;
}

/// False where it has to wait for the bytes after all.
bool fills::land_in_stream(fill &f, uint64_t waiter, put_behind &last) {
  const request &r = requests_[static_cast<uint32_t>(waiter >> 32)];
  if (!waits_in_stream(r, f)) return false;
  if (last.tier != f.to || last.stream != r.stream) {
    if (state_.tiers[f.to].memory->backend().streams().wait(r.stream) != 0) return false;
    last = {f.to, r.stream};
  }
  return f.bank->word(f.to, f.number).pin_filling();
}

void fills::land_in_streams(std::span<const uint32_t> indices) {
  put_behind last;
  for (const uint32_t index : indices) land_in_streams(table_[index], last);
}

void fills::land_in_streams(fill &f, put_behind &last) {
  if (!f.submitted || f.state != fill_state::active || !has_stream_waiter(f)) return;
  // What the device does not have yet its streams cannot wait for.
  if (!state_.tiers[f.to].path->flush(state_.now_ns)) return;
  uint64_t landed = no_waiter;
  uint64_t *link = &f.first_waiter;
  while (*link != no_waiter) {
    const uint64_t here = *link;
    uint64_t &next =
        requests_[static_cast<uint32_t>(here >> 32)].items[here & 0xFFFFFFFF].next_waiter;
    if (!land_in_stream(f, here, last)) {
      link = &next;
      continue;
    }
    f.landed_early = true;
    *link = next;
    next = landed;
    landed = here;
  }
  locker_word &word = f.bank->word(f.to, f.number);
  while (landed != no_waiter) {
    const auto request_index = static_cast<uint32_t>(landed >> 32);
    const auto item = static_cast<uint32_t>(landed);
    landed = requests_[request_index].items[item].next_waiter;
    waiters_.item_landed(request_index, item, word, f.frame, f);
  }
}

/// A follower that starts may end at once and start its own; a chain is no longer than there are
/// tiers.
void fills::start_followers(const fill &f) {
  while (f.first_follower != no_index) {
    const uint32_t follower = f.first_follower;
    table_.unfollow(follower);
    if (table_[follower].state == fill_state::following) start(follower);
  }
}

/// Of one that was read from a store: the digests of its chunks may have been seen for the first
/// time, and that of the whole block says whether they are right.
bool fills::is_the_stored_block(const fill &f) {
  if (f.bank->blocks == nullptr || copies_from_tier(state_.tiers, f)) return true;
  return stored_.agrees(*f.bank, f.number);
}

void fills::piece_verified(fill &f) {
  if (--f.reads_left != 0) return;
  f.read_done_ns = state_.now_ns;
  if (!is_the_stored_block(f)) {
    ++state_.tiers[f.from].stats.corrupt_count;
    error why =
        fail(CUBBY_ERR_CORRUPT,
             "locker %u of bank %s: its block in the store of tier %s is not as it was put; "
             "it is given up: put it again, and look at the disk",
             f.number, f.bank->desc().name, state_.tiers[f.from].name.c_str());
    why.tier = state_.tiers[f.from].handle;
    why.data_loss = true;
    return stop(f, why);
  }
  if (f.intermediate == no_tier) return;
  f.intermediate_ready = true;
  publish(f, f.intermediate, f.intermediate_frame);
  uint64_t frame = 0;  // held until the copies from it are done
  const pin_outcome held = f.bank->word(f.intermediate, f.number).pin(frame);
  CUBBY_ASSERT(held == pin_outcome::pinned);
}

void fills::piece_ended(fill &f) {
  CUBBY_ASSERT(f.pieces_in_flight != 0);
  --f.pieces_in_flight;
  const bool all = f.state == fill_state::stopping || f.next_part == f.bank->part_count();
  if (f.pieces_in_flight == 0 && all) end(f);
}

/// Only what could have come from a tier between is measured: what a file takes into that tier
/// itself says nothing of the way past it.
void fills::begin_way(fill &f) {
  CUBBY_ASSERT(!f.on_way);
  if (!state_.tiers[f.to].has_memory_below) return;
  f.on_way = true;
  state_.tiers[f.from].way.started(state_.now_ns);
}

/// It could hold copies for the tier that is filled.
bool fills::is_between(uint32_t tier, const fill &f) const {
  return state_.tiers.is_memory(tier) && state_.tiers[tier].rank > state_.tiers[f.to].rank;
}

/// A memory tier has one state for all files, so it is weighed by the quickest;
/// tier_set::goes_past() asks of a bank's own.
uint32_t fills::quickest_files() const {
  uint32_t best = no_tier;
  double best_ns = 0;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    const double ns = state_.tiers[t].way.ns_per_byte();
    if (state_.tiers.is_memory(t) || ns == 0 || (best != no_tier && ns >= best_ns)) continue;
    best = t;
    best_ns = ns;
  }
  return best;
}

/// What the way took is weighed against the other ways to the same tier.
void fills::end_way(fill &f, bool arrived) {
  if (!std::exchange(f.on_way, false)) return;
  tier_slot &from = state_.tiers[f.from];
  if (!from.way.ended(f.bank->locker_bytes(f.number), state_.now_ns, arrived)) return;
  if (!f.bank->mapped() && f.bank->blocks == nullptr) return;
  const uint32_t files = quickest_files();
  for (uint32_t t = 0; t < state_.tiers.count() && files != no_tier; ++t) {
    if (is_between(t, f) && (f.from == t || f.from == files)) note_change(t, files);
  }
}

void fills::note_change(uint32_t between, uint32_t files) {
  tier_slot &tier = state_.tiers[between];
  const tier_slot &file = state_.tiers[files];
  const auto change = tier.stand_aside.weigh(tier.way, file.way, state_.now_ns);
  if (change == transfer::stand_aside::change::none) return;
  const double here = tier.way.ns_per_byte(), there = file.way.ns_per_byte();
  if (change == transfer::stand_aside::change::begun) {
    state_.log(1, format_text("tier %s stands aside: what comes from it takes %.1f times as long "
                              "as from files of tier %s; it is probed now and then",
                              tier.name.c_str(), here / there, file.name.c_str()));
  } else {
    state_.log(2, format_text("tier %s is used again: what comes from it takes %.2f of the time "
                              "that it takes from tier %s",
                              tier.name.c_str(), here / there, file.name.c_str()));
  }
}

void fills::end(fill &f) {
  end_way(f, f.state != fill_state::stopping);
  if (f.state == fill_state::stopping) return end_failed(f);
  publish(f, f.to, f.frame);
  if (f.intermediate != no_tier || state_.tiers.is_memory(f.from)) unpin_source(f, true);
  if (f.first_follower != no_index) start_followers(f);
  table_.release(f.index);
  state_.changed = true;
}

void fills::end_failed(fill &f) {
  if (try_again(f)) return;
  locker_bank &bank = *f.bank;
  const bool read = f.from != no_tier && !copies_from_tier(state_.tiers, f);
  if (bank.blocks != nullptr && read && f.failure.status == CUBBY_ERR_CORRUPT) {
    stored_.damaged().note(bank, f.number);
  }
  give_up_intermediate(f);
  unpin_source(f, false);
  const bool held = f.landed_early && bank.word(f.to, f.number).look().pin_count != 0;
  if (held) {
    f.next_abandoned = std::exchange(first_abandoned_, f.index);
  } else {
    give_up_frame(f);
  }
  const error why = f.failure;
  fail_waiters(std::exchange(f.first_waiter, no_waiter), why);
  start_followers(f);
  if (!held) table_.release(f.index);
  state_.changed = true;
}

/// Of a copy on the way that is not there yet.
void fills::give_up_intermediate(fill &f) {
  if (f.intermediate == no_tier || f.intermediate_ready) return;
  const uint32_t tier = std::exchange(f.intermediate, no_tier);
  f.bank->word(tier, f.number).clear();
  copies_.retract(tier, *f.bank, f.number);
  state_.tiers[tier].memory->give(f.intermediate_frame, f.bank->frame_bytes_in(tier, f.number));
}

void fills::give_up_frame(fill &f) {
  locker_word &word = f.bank->word(f.to, f.number);
  if (word.look().state != locker_state::filling) return;
  word.clear();
  copies_.retract(f.to, *f.bank, f.number);
  state_.tiers[f.to].memory->give(f.frame, f.bank->frame_bytes_in(f.to, f.number));
}

void fills::look_at_abandoned(bool all) {
  uint32_t left = std::exchange(first_abandoned_, no_index);
  while (left != no_index) {
    const uint32_t index = left;
    fill &f = table_[index];
    left = f.next_abandoned;
    const bool held = f.bank->word(f.to, f.number).look().pin_count != 0;
    if (held && !all) {
      f.next_abandoned = std::exchange(first_abandoned_, index);
      continue;
    }
    if (!held) give_up_frame(f);
    table_.release(index);
    state_.changed = true;
  }
}

}  // namespace cubby::engine

#include "engine/blocks.hpp"

#include <algorithm>

#include "base/digest.hpp"
#include "engine/chunk_run.hpp"
#include "engine/on_pages.hpp"

namespace cubby::engine {
namespace {

using directory::no_locker;
using directory::text_of;

constexpr uint32_t expired_at_once = 64;

/// Threads of the caller write the tier's frames. `only_tier`: no_tier, or the one that is wanted.
bool takes_puts(const tier_set &tiers, uint32_t tier, uint32_t only_tier) {
  const tier_slot &slot = tiers[tier];
  return slot.memory != nullptr && slot.memory->host_addressable() &&
         (only_tier == no_tier || tier == only_tier);
}

error no_host_tier(const locker_bank &bank) {
  return fail(CUBBY_ERR_NOT_SUPPORTED,
              "bank %s: puts need a memory tier that the processor can write to; add one with "
              "backend \"host\"",
              bank.desc().name);
}

}  // namespace

/// Gives up blocks until the bank has a free number, where all are taken.
bool blocks::evict_any(locker_bank &bank) {
  constexpr uint32_t tries_max = 64;
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, state_.next_sequence()};
  if (stored_.free_number(bank)) return true;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!state_.tiers.is_memory(tier)) continue;
    for (uint32_t i = 0; i < tries_max; ++i) {
      if (!copies_.evict_one(tier, {}, order, false)) break;
      // One that is stored, too, has its number until the store gives it up.
      if (bank.blocks->peek_number() != no_locker || stored_.free_number(bank)) return true;
    }
  }
  return false;
}

/// A block that is known already lives as long as the put asks for.
bool blocks::lives_as_long(const locker_bank &bank, uint32_t number, uint8_t keep) const {
  const auto stored_as = stored_.keep_of(bank, number);
  if (keep >= CUBBY_KEEP_RESTART) return stored_as && *stored_as >= keep;
  return stored_as || state_.tiers.have_in_memory(bank, number);
}

/// It was to live while memory lasts, and is to outlast that now. What is not in memory that the
/// processor reads, or finds no memory for its way, stays as it is.
void blocks::store_known(locker_bank &bank, const directory::put_request &request,
                         const directory::put_answer &known) {
  if (bank.blocks->is_stored(known.locker)) return;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!takes_puts(state_.tiers, tier, no_tier)) continue;
    const residency::locker_word::view own = bank.word(tier, known.locker).look();
    if (own.state != residency::locker_state::ready) continue;
    try {
      block_write what;
      what.at.bank = &bank;
      what.at.number = known.locker;
      what.at.tier = tier;
      what.at.frame = own.frame;
      what.at.entry = known.entry;
      what.space = request.space;
      what.key = text_of(request.key);
      if (request.parent != nullptr) what.parent = text_of(*request.parent);
      stored_.write(std::move(what));
    } catch (const std::bad_alloc &) {
    }
    return;
  }
}

void blocks::forget(locker_bank &bank, const directory::entry_ref &entry) {
  const auto erased = bank.blocks->keys.erase(entry, directory::erase_rule::any);
  if (!erased) return;
  stored_.erase(bank, *erased);
  bank.blocks->give_number(*erased);
}

void blocks::reclaim(locker_bank &bank) {
  residency::key_blocks &of = *bank.blocks;
  of.keys.reclaim(~uint32_t{0}, of.leaving);
  for (size_t i = of.leaving.size(); i-- > 0;) {
    const uint32_t number = of.leaving[i];
    bool gone = !of.is_being_read(number);
    for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
      if (state_.tiers.is_memory(tier)) gone = copies_.drop(bank, number, tier) && gone;
    }
    if (!gone) continue;
    stored_.release(bank, number);  // may throw, and then it is still leaving
    of.leaving[i] = of.leaving.back();
    of.leaving.pop_back();
    of.give_number(number);
  }
}

/// Is the key there, without some of the parts that are put? What is wrong with the put is said
/// here, before anything gives way to it.
result<bool> blocks::lacks_parts(locker_bank &bank, const directory::put_request &request) const {
  if (bank.part_count() == 1) return false;
  directory::key_directory &keys = bank.blocks->keys;
  const auto seen = keys.find(request.space, request.key);
  if (!seen) return seen.failure();
  const auto there = static_cast<uint16_t>(seen->present | seen->pending);
  if (there == 0 || (request.parts & ~there) == 0) return false;
  directory::put_request of_those = request;
  of_those.parts = static_cast<uint16_t>(request.parts & there);  // the first part, at least
  if (const auto known = keys.begin_put(of_those); !known) return known.failure();
  return true;
}

/// Is there a frame for the block that is to take the place of one that is there?
bool blocks::has_frame_instead(locker_bank &bank, const directory::key_view &of,
                               uint32_t new_number, uint32_t only_tier) {
  const uint32_t number = of.locker;
  if (!bank.blocks->is_stored(number) && !state_.tiers.have_in_memory(bank, number)) return true;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!takes_puts(state_.tiers, tier, only_tier)) continue;
    const residency::locker_word::view own = bank.word(tier, number).look();
    if (own.state == residency::locker_state::ready && own.pin_count == 0) return true;
  }
  if (new_number == no_locker) new_number = number;
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, state_.next_sequence()};
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!takes_puts(state_.tiers, tier, only_tier)) continue;
    const uint64_t bytes = bank.frame_bytes_in(tier, new_number);
    if (copies_.make_room(tier, {bank.object_base + new_number, bytes}, order)) return true;
  }
  return false;
}

/// The block is put anew. What is stored of it stays until then: a crash must not find neither.
/// `joined`: it is pinned, leased or being put. `full`: there is no frame just now. Then, and after
/// an error, it stays, and nothing has given way.
result<blocks::start> blocks::displace(locker_bank &bank, const directory::put_request &request,
                                       frame_wish wish, block_place &out) {
  residency::key_blocks &of = *bank.blocks;
  auto seen = of.keys.find(request.space, request.key);
  if (!seen) return seen.failure();
  if (is_held(bank, *seen)) return start::joined;
  if ((seen->present & ~request.parts) != 0) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: a put of fewer parts than the block has cannot make it live longer; put "
                "all of them",
                bank.desc().name);
  }
  if (!wish.none && !has_frame_instead(bank, *seen, request.locker, wish.only_tier)) {
    if (auto why = why_never(bank, seen->locker, wish.only_tier)) return *why;
    return start::full;
  }
  seen = of.keys.find(request.space, request.key);
  if (!seen) return seen.failure();
  if (seen->locker == no_locker) return start::begun;  // it has made the room itself
  const bool good = stored_.is_good(bank, seen->locker);
  const uint32_t aside = of.stored(seen->locker);
  of.set_stored(seen->locker, residency::not_stored);
  if (!drop(bank, *seen)) {
    of.set_stored(seen->locker, aside);
    return start::joined;
  }
  stored_.damaged().forget(bank, seen->locker);
  if (aside != residency::not_stored) {
    out.replaced = aside;
    out.replaced_good = good;
  }
  return start::begun;
}

result<blocks::start> blocks::begin(locker_bank &bank, directory::put_request request,
                                    block_place &out, uint64_t call, frame_wish wish) {
  residency::key_blocks &of = *bank.blocks;
  if (!of.leaving.empty()) reclaim(bank);
  if (request.parent != nullptr)
    stored_.spaces().link_children(bank, request.space, *request.parent);
  stored_.spaces().link_children(bank, request.space, request.key);
  out = {};
  out.bank = &bank;
  const std::string_view parent =
      request.parent == nullptr ? std::string_view() : text_of(*request.parent);
  bool is_entered = false;
  result<bool> found = false;
  try {
    auto entered = enter(bank, request, out, call, wish);
    if (!entered || *entered != start::begun) {
      stored_.put_back(out, request.space, parent);
      return entered;
    }
    is_entered = true;
    ++of.puts_in_flight;
    if (wish.none) return start::begun;
    found = take_frame(out, wish.only_tier);
  } catch (...) {
    if (is_entered) {
      end_put(out, request.space, parent);
    } else {
      stored_.put_back(out, request.space, parent);
    }
    throw;
  }
  if (found && *found) return start::begun;
  end_put(out, request.space, parent);
  if (!found) return found.failure();
  return start::full;
}

/// In the directory.
result<blocks::start> blocks::enter(locker_bank &bank, directory::put_request &request,
                                    block_place &out, uint64_t call, frame_wish wish) {
  residency::key_blocks &of = *bank.blocks;
  for (;;) {
    request.locker = of.peek_number();
    if (request.locker == no_locker) {
      const auto seen = of.keys.find(request.space, request.key);
      if (!seen) return seen.failure();
      if (seen->locker == no_locker && !evict_any(bank)) return start::full;
      request.locker = of.peek_number();
    }
    auto gives_way = lacks_parts(bank, request);
    if (!gives_way) return gives_way.failure();
    if (!*gives_way) {
      const auto answer = of.keys.begin_put(request);
      if (!answer) return answer.failure();
      if (answer->took_locker) {
        of.take_number();
        state_.admission.forget(bank.object_base + answer->locker);
      }
      if (answer->joined == 0) uses_.note(bank, answer->locker, call);
      if (answer->fresh != 0) {
        out.number = answer->locker;
        out.entry = answer->entry;
        out.parts = answer->fresh;
        return start::begun;
      }
      if (answer->joined != 0) return start::joined;
      if (lives_as_long(bank, answer->locker, request.keep)) {
        if (answer->lived_as == CUBBY_KEEP_CACHE && request.keep == CUBBY_KEEP_SESSION) {
          store_known(bank, request, *answer);
        }
        return start::known;
      }
    }
    // It lacks parts; or its last copy was lost on the way to another tier, or is not to live as
    // long.
    auto displaced = displace(bank, request, wish, out);
    if (!displaced || *displaced != start::begun) return displaced;
  }
}

/// In the nearest tier that has room, or makes it; or in one tier only.
result<bool> blocks::take_frame(block_place &out, uint32_t only_tier) {
  std::array<uint32_t, tiers_max> by_rank{};
  uint32_t count = 0;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (takes_puts(state_.tiers, tier, only_tier)) by_rank[count++] = tier;
  }
  std::sort(by_rank.begin(), by_rank.begin() + count,
            [&](uint32_t a, uint32_t b) { return state_.tiers[a].rank < state_.tiers[b].rank; });
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, state_.next_sequence()};
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t tier = by_rank[i];
    tier::memory_tier &memory = *state_.tiers[tier].memory;
    const uint64_t bytes = out.bank->frame_bytes_in(tier, out.number);
    if (memory.cost_bytes(bytes) > memory.budget_bytes()) continue;
    if (!copies_.make_room(tier, {out.bank->object_base + out.number, bytes}, order)) continue;
    const auto frame = memory.take(bytes);
    if (!frame) continue;
    out.tier = tier;
    out.frame = *frame;
    out.bank->word(tier, out.number).begin_fill(0, 1);
    try {
      copies_.admit(tier, *out.bank, out.number);
    } catch (...) {
      give_frame(out);
      throw;
    }
    return true;
  }
  if (auto why = why_never(*out.bank, out.number, only_tier)) return *why;
  return false;
}

/// Where no tier has a frame for a block: is there one that may have it later?
std::optional<error> blocks::why_never(const locker_bank &bank, uint32_t number,
                                       uint32_t only_tier) const {
  uint64_t needed_bytes = ~uint64_t{0};
  bool any = false;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!takes_puts(state_.tiers, tier, only_tier)) continue;
    any = true;
    const tier::memory_tier &memory = *state_.tiers[tier].memory;
    const uint64_t bytes = memory.cost_bytes(bank.frame_bytes_in(tier, number));
    if (bytes <= memory.budget_bytes()) return std::nullopt;
    needed_bytes = std::min(needed_bytes, bytes);
  }
  if (!any) return no_host_tier(bank);
  error why = fail(CUBBY_ERR_BUDGET,
                   "bank %s: a block takes %llu bytes, and no memory tier has a budget of that; "
                   "raise one",
                   bank.desc().name, static_cast<unsigned long long>(needed_bytes));
  why.needed_bytes = needed_bytes;
  return why;
}

/// In the directory: the put has ended without a block.
void blocks::end_put(const block_place &at, uint32_t space, std::string_view parent) noexcept {
  residency::key_blocks &of = *at.bank->blocks;
  --of.puts_in_flight;
  const auto ended = of.keys.abandon(at.entry, at.number, at.parts);
  if (ended && ended->released != no_locker) of.give_number(ended->released);
  stored_.put_back(at, space, parent);
}

void blocks::settle(const block_place &at, uint64_t length_bytes) const {
  locker_bank &bank = *at.bank;
  bank.blocks->set_length(at.number, length_bytes);
  for (uint32_t part = 0; part < bank.part_count(); ++part) {
    const std::byte *const bytes = state_.tiers.address(bank, at.tier, at.frame, at.number, part);
    make_digests(at, part, [&](uint64_t behind, uint64_t size, const auto &identity) {
      return base::chunk_digest(bytes + behind, size, identity);
    });
  }
}

void blocks::settle_written(const block_place &at, uint64_t length_bytes) const {
  const auto parts = state_.tiers.pieces(*at.bank, at.tier, at.frame, at.number);
  transfer::clear_behind({parts.data(), at.bank->part_count()}, length_bytes);
  settle(at, length_bytes);
}

void blocks::publish_and_write(block_write &&what) {
  const block_place at = what.at;
  publish(at);
  bool written = false;
  try {
    written = what.keep != CUBBY_KEEP_CACHE && stored_.write(std::move(what));
  } catch (const std::bad_alloc &) {  // it lives in memory alone
  }
  if (!written) stored_.end_replaced(at);
}

void blocks::settle(const block_place &at, std::span<const transfer::memory_piece> from) const {
  at.bank->blocks->set_length(at.number, transfer::bytes_of(from));
  make_digests(at, 0, [&](uint64_t behind, uint64_t size, const auto &identity) {
    const transfer::memory_piece first = place_in(from, behind);
    if (first.bytes >= size) return base::chunk_digest(first.at, size, identity);
    base::digest_stream all(identity);
    for (const uint64_t end = behind + size; behind < end;) {
      const transfer::memory_piece here = place_in(from, behind);
      const uint64_t bytes = std::min(here.bytes, end - behind);
      all.add(here.at, bytes);
      behind += bytes;
    }
    return all.chunk_value();
  });
}

/// `digest_of(behind, size, identity)`: of the chunk that begins so far behind the part's first
/// byte.
template <class Digest>
void blocks::make_digests(const block_place &at, uint32_t part, const Digest &digest_of) const {
  locker_bank &bank = *at.bank;
  const uint32_t chunks = chunks_of_part(bank, at.number, part);
  if (chunks == 0 || !state_.config.verify) return;
  const chunk_run all = cut_run(bank, at.number, part, 0, chunks);
  each_chunk(bank, at.number, all, [&](uint32_t chunk, uint64_t behind, uint64_t size) {
    bank.digest(at.number, part, chunk) =
        digest_of(behind, size, base::chunk_identity{bank.digest_owner(at.number), 1, part, chunk});
    return true;
  });
}

void blocks::publish(const block_place &at) {
  residency::key_blocks &of = *at.bank->blocks;
  --of.puts_in_flight;
  at.bank->word(at.tier, at.number).publish(at.frame, 0);
  state_.changed = true;
  const auto ended = of.keys.publish(at.entry, at.number, at.parts);
  if (!ended || ended->released == no_locker) return;
  // Its space was removed meanwhile.
  give_up_number(copies_, *at.bank, at.number, at.tier);
}

void blocks::give_frame(const block_place &at) noexcept {
  at.bank->word(at.tier, at.number).clear();
  copies_.retract(at.tier, *at.bank, at.number);
  state_.tiers[at.tier].memory->give(at.frame, at.bank->frame_bytes_in(at.tier, at.number));
  state_.changed = true;
}

void blocks::abandon(const block_place &at, uint32_t space, std::string_view parent) noexcept {
  if (at.has_frame()) give_frame(at);
  end_put(at, space, parent);
}

bool blocks::is_held(const locker_bank &bank, const directory::key_view &what) {
  return what.pending != 0 || bank.blocks->keys.describe(what.entry).leases != 0 ||
         bank.blocks->is_being_read(what.locker);
}

result<void> blocks::drop(locker_bank &bank, const directory::key_view &what, uint32_t only_tier) {
  const auto busy = [&] {
    return fail(CUBBY_ERR_BUSY,
                "bank %s: a block is pinned, leased, being put or on its way; end that first",
                bank.desc().name);
  };
  if (is_held(bank, what)) return busy();
  if (only_tier != no_tier) {
    if (state_.tiers.is_memory(only_tier)) {
      if (!copies_.drop(bank, what.locker, only_tier)) return busy();
    } else if (bank.file_tier == only_tier && !stored_.drop_copy(bank, what.locker)) {
      return busy();
    }
    return {};
  }
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if (!state_.tiers.is_memory(tier)) continue;
    if (!copies_.drop(bank, what.locker, tier)) return busy();
  }
  forget(bank, what.entry);  // where it had no copy any more
  return {};
}

void blocks::expire(uint64_t now_ns) {
  for (const locker_bank *bank : state_.banks.in_order()) {
    if (bank->blocks == nullptr || bank->blocks->keys.next_expiry_ns() > now_ns) continue;
    bank->blocks->keys.expire(now_ns, expired_at_once);
    state_.changed = true;
  }
}

uint64_t blocks::next_expiry_ns() const {
  uint64_t next = base::never_ns;
  for (const locker_bank *bank : state_.banks.in_order()) {
    if (bank->blocks != nullptr) next = std::min(next, bank->blocks->keys.next_expiry_ns());
  }
  return next;
}

}  // namespace cubby::engine

// Which blocks leave a store: erased, released by the directory, or given up for others.
#include <algorithm>
#include <new>

#include "engine/stored_blocks.hpp"

namespace cubby::engine {
namespace {

using directory::no_locker;
using residency::not_stored;

/// Room is made for more than one block at a time: each lets go with a record in the journal.
constexpr uint64_t room_bytes = uint64_t{1} << 20;

}  // namespace

void stored_blocks::erase(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *store_for(bank);
  of.to_erase.push_back(stored);  // and nobody lists it meanwhile
  forget_damage(bank, number);
  news_.store(true, std::memory_order_seq_cst);
  bank.blocks->set_stored(number, not_stored);
}

/// The number has another block from here on.
void stored_blocks::forget_damage(const locker_bank &bank, uint32_t number) noexcept {
  std::erase_if(damaged_,
                [&](const auto &one) { return one.first == &bank && one.second == number; });
}

uint32_t stored_blocks::set_aside(locker_bank &bank, uint32_t number) noexcept {
  const uint32_t stored = bank.blocks->stored(number);
  bank.blocks->set_stored(number, not_stored);
  forget_damage(bank, number);
  return stored;
}

void stored_blocks::put_back(locker_bank &bank, uint32_t number, uint32_t stored) noexcept {
  bank.blocks->set_stored(number, stored);
}

void stored_blocks::end_replaced(const block_place &by, bool stored) noexcept {
  if (by.replaced == not_stored) return;
  store_state &of = *store_for(*by.bank);
  of.spoken_for[by.replaced] = false;
  if (!stored) return;
  try {
    of.to_erase.push_back(by.replaced);
  } catch (const std::bad_alloc &) {  // it goes when the store needs its room
    return;
  }
  of.spoken_for[by.replaced] = true;
  news_.store(true, std::memory_order_seq_cst);
}

void stored_blocks::give_up_number(locker_bank &bank, uint32_t number, uint32_t tier) {
  if (copies_.drop(bank, number, tier)) {
    bank.blocks->give_number(number);
  } else {
    bank.blocks->leaving.push_back(number);  // has room for every number
  }
}

void stored_blocks::release(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *store_for(bank);
  const store::block_entry *entry = of.disk->content().blocks().find(stored);
  if (entry == nullptr || entry->keep < CUBBY_KEEP_RESTART) return erase(bank, number);
  of.spoken_for[stored] = false;
  bank.blocks->set_stored(number, not_stored);
}

/// Nothing brings it anywhere, or takes it away.
bool stored_blocks::at_rest(const locker_bank &bank, uint32_t number) const {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!state_.tiers.is_memory(t)) continue;
    const locker_state state = bank.word(t, number).look().state;
    if (state == locker_state::filling || state == locker_state::evicting) return false;
  }
  return true;
}

bool stored_blocks::may_go(const locker_bank &bank, uint32_t number, pass how) const {
  if (!bank.blocks->is_stored(number) || !at_rest(bank, number)) return false;
  const auto &keys = bank.blocks->keys;
  const directory::entry_info known = keys.describe(keys.at_locker(number));
  if (known.leases != 0 || known.pending != 0) return false;
  if (how == pass::leaves && known.children != 0) return false;
  return known.keep < CUBBY_KEEP_DURABLE || how == pass::durable;
}

bool stored_blocks::in_memory(const locker_bank &bank, uint32_t number) const {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!state_.tiers.is_memory(t)) continue;
    if (bank.word(t, number).look().state != locker_state::absent) return true;
  }
  return false;
}

/// The store's copy goes, and the key with it where it was the only one.
void stored_blocks::drop_stored(locker_bank &bank, uint32_t number) {
  erase(bank, number);
  if (in_memory(bank, number)) return;
  auto &keys = bank.blocks->keys;
  const auto erased = keys.erase(keys.at_locker(number), directory::erase_rule::any);
  if (erased) bank.blocks->give_number(*erased);
}

bool stored_blocks::give_up_unlisted(store_state &in) {
  const store::block_table &blocks = in.disk->content().blocks();
  in.spoken_for.resize(std::max<size_t>(in.spoken_for.size(), blocks.end()));
  for (uint32_t i = 0; i < blocks.end(); ++i) {
    const uint32_t number = in.hand++ % blocks.end();
    const store::block_entry *entry = blocks.find(number);
    if (entry == nullptr || entry->state != store::block_state::live || in.spoken_for[number])
      continue;
    in.to_erase.push_back(number);
    in.spoken_for[number] = true;  // it is not chosen twice
    return true;
  }
  return false;
}

bool stored_blocks::give_up_listed(store_state &in, pass how) {
  for (auto &[known, of] : banks_) {
    if (of.tier != in.disk->tier()) continue;
    auto &bank = const_cast<locker_bank &>(*known);
    // Twice round: the first may have found all of them in use.
    for (uint64_t i = 0; i < 2 * bank.count(); ++i) {
      const auto number = static_cast<uint32_t>(of.hand++ % bank.count());
      if (!may_go(bank, number, how) || bank.blocks->take_used(number)) continue;
      drop_stored(bank, number);
      return true;
    }
  }
  return false;
}

/// Chooses blocks that go. False: none may.
bool stored_blocks::make_room(store_state &in) {
  uint64_t found_bytes = 0;
  while (found_bytes < room_bytes) {
    const bool found = give_up_unlisted(in) || give_up_listed(in, pass::leaves) ||
                       give_up_listed(in, pass::others) || give_up_listed(in, pass::durable);
    if (!found) break;
    found_bytes += in.disk->content().blocks().bytes_of_block(in.to_erase.back());
  }
  return found_bytes != 0;
}

bool stored_blocks::free_number(locker_bank &bank) {
  const auto known = banks_.find(&bank);
  if (known == banks_.end()) return false;
  for (const pass how : {pass::leaves, pass::others, pass::durable}) {
    for (uint64_t i = 0; i < 2 * bank.count(); ++i) {
      const auto number = static_cast<uint32_t>(known->second.hand++ % bank.count());
      if (in_memory(bank, number) || !may_go(bank, number, how)) continue;
      if (bank.blocks->take_used(number)) continue;
      drop_stored(bank, number);
      if (bank.blocks->peek_number() != no_locker) return true;
    }
  }
  return false;
}

}  // namespace cubby::engine

#include "engine/store_room.hpp"

#include <algorithm>

namespace cubby::engine {
namespace {

/// Room is made for more than one block at a time: each lets go with a record in the journal.
constexpr uint64_t room_bytes = uint64_t{1} << 20;

}  // namespace

bool store_room::may_go(const locker_bank &bank, uint32_t number, pass how) const {
  if (!bank.blocks->is_stored(number) || !stores_.at_rest(bank, number)) return false;
  const auto &keys = bank.blocks->keys;
  const directory::entry_info known = keys.describe(keys.at_locker(number));
  if (known.leases != 0 || known.pending != 0) return false;
  if (how == pass::leaves && known.children != 0) return false;
  return known.keep < CUBBY_KEEP_DURABLE || how == pass::durable;
}

bool store_room::give_up_unlisted(store_state &in) {
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

/// The bank's next that may go and was not used since it was looked at last. False: none.
bool store_room::give_up_next(locker_bank &bank, pass how, bool not_in_memory) {
  uint32_t &hand = hands_[&bank];
  // Twice round: the first may have found all of them in use.
  for (uint64_t i = 0; i < 2 * bank.count(); ++i) {
    const auto number = static_cast<uint32_t>(hand++ % bank.count());
    if (not_in_memory && state_.tiers.have_in_memory(bank, number)) continue;
    if (!may_go(bank, number, how) || bank.blocks->take_used(number)) continue;
    stores_.drop(bank, number);
    return true;
  }
  return false;
}

bool store_room::give_up_listed(store_state &in, pass how) {
  for (locker_bank *bank : state_.banks.in_order()) {
    if (bank->blocks == nullptr || bank->file_tier != in.disk->tier()) continue;
    if (give_up_next(*bank, how, false)) return true;
  }
  return false;
}

/// Chooses blocks that go. False: none may.
bool store_room::make_room(store_state &in) {
  uint64_t found_bytes = 0;
  bool unlisted = true;  // where all numbers were looked at, they are not looked at again
  while (found_bytes < room_bytes) {
    unlisted = unlisted && give_up_unlisted(in);
    const bool found = unlisted || give_up_listed(in, pass::leaves) ||
                       give_up_listed(in, pass::others) || give_up_listed(in, pass::durable);
    if (!found) break;
    found_bytes += in.disk->content().blocks().bytes_of_block(in.to_erase.back());
  }
  return found_bytes != 0;
}

bool store_room::free_number(locker_bank &bank) {
  if (stores_.find(bank) == nullptr) return false;
  for (const pass how : {pass::leaves, pass::others, pass::durable}) {
    while (give_up_next(bank, how, true)) {
      if (bank.blocks->peek_number() != directory::no_locker) return true;
    }
  }
  return false;
}

}  // namespace cubby::engine

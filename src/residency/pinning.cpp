#include "residency/pinning.hpp"

#include <algorithm>

namespace cubby::residency {

void pinning::make_room(pin_set &set, const pin_order &order) {
  try {
    pin_sets::make_room(set, order.count);
  } catch (...) {
    sets_.give_back(set, order.shard);
    throw;
  }
}

pinning::rest pinning::pin_rest(pin_set &set, const pin_order &order, const start &begun) {
  std::atomic<locker_word *> *const words = set.items();
  const bank_row *row = begun.row;
  const void **addr = order.addr;
  if (addr != nullptr && row != nullptr) addr += size_t{begun.pinned} * row->part_count();
  uint32_t i = begun.pinned;
  uint32_t pinned = begun.pinned;
  // The first look ended where the row does, or at what is not resident.
  bool absent = row != nullptr && row->has(order.items[i]);
  while (i < order.count) {
    if (absent) {
      words[i].store(nullptr, std::memory_order_relaxed);
      if ((order.flags & CUBBY_NO_WAIT) == 0) break;
      if (addr != nullptr) addr = std::fill_n(addr, row->part_count(), nullptr);
      if (++i == order.count) break;
    }
    row = banks_.row_of(order.items[i], order.tier);
    if (row == nullptr) break;
    const uint32_t run = row->pin(order.items + i, order.count - i, words + i, addr);
    i += run;
    pinned += run;
    if (addr != nullptr) addr += size_t{run} * row->part_count();
    absent = i != order.count && row->has(order.items[i]);
  }
  if (i == order.count) {
    return {pinned == order.count ? found::resident : found::absent, pinned, false};
  }
  // The controller may have found them pinned just now, and wait for that to end.
  const bool any = i != 0;
  while (i-- > 0) {
    locker_word *const word = words[i].load(std::memory_order_relaxed);
    if (word != nullptr) word->unpin();
  }
  const bool wake = any && watch(order.tier).frames_wanted.load(std::memory_order_seq_cst);
  if (wake) note_frames();
  return {row != nullptr ? found::absent : found::refused, 0, wake};
}

cubby_pins pinning::hold(pin_set &set, const pin_order &order, uint32_t pinned) {
  const bool whole = pinned == order.count;
  return sets_.open(set, order.count, whole ? pin_sets::content::whole : pin_sets::content::gaps);
}

cubby_pins pinning::hold_loading(pin_set &set, const pin_order &order) {
  for (uint32_t i = 0; i < order.count; ++i) {
    set.items()[i].store(nullptr, std::memory_order_relaxed);
  }
  return sets_.open(set, order.count, pin_sets::content::loading);
}

pinning::unpinned pinning::unpin(cubby_pins pins, uint32_t first, uint32_t count, uint32_t shard) {
  const auto released = sets_.release(pins, first, count, shard);
  if (released.what != pin_sets::outcome::released) return {released.what, false};
  if (released.loading) note_withdrawal();
  const bool awaited = note_release(released.tier, released.bypass);
  return {released.what, released.loading || awaited};
}

pinning::pinned_again pinning::pin_again(cubby_pins pins, uint32_t first, uint32_t count,
                                         std::vector<locker_word *> room) {
  pinned_again out;
  out.words = std::move(room);
  out.words.clear();
  if (!sets_.words_of(pins, first, count, out.tier, out.words)) return {};
  for (size_t i = 0; i < out.words.size(); ++i) {
    const pin_outcome came = out.words[i]->pin_again();
    if (came == pin_outcome::pinned) continue;
    while (i-- > 0) out.words[i]->unpin();
    return {{}, out.tier, came == pin_outcome::saturated};
  }
  return out;
}

bool pinning::any_pinned(uint32_t tier) const {
  return sets_.any_named(tier, [&](const locker_word *word) {
    return banks_.find_word(word, tier).bank != nullptr && word->look().pin_count != 0;
  });
}

std::vector<bank_registry::locker> pinning::pinned(uint32_t tier,
                                                   std::vector<const locker_word *> words) const {
  sets_.any_named(tier, [&](const locker_word *word) {
    words.push_back(word);
    return false;
  });
  std::sort(words.begin(), words.end(), std::less<>());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::vector<bank_registry::locker> lockers;
  for (const locker_word *word : words) {
    const bank_registry::locker named = banks_.find_word(word, tier);
    if (named.bank != nullptr && word->look().pin_count != 0) lockers.push_back(named);
  }
  return lockers;
}

}  // namespace cubby::residency

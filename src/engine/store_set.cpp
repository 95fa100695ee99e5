#include "engine/store_set.hpp"

#include <utility>

namespace cubby::engine {

using residency::not_stored;

void store_set::add(std::unique_ptr<disk_store> made) {
  store_state added;
  added.disk = std::move(made);
  added.spoken_for.resize(added.disk->content().blocks().end());
  all_.push_back(std::move(added));
}

const disk_store *store_set::of_tier(uint32_t tier) const {
  for (const store_state &one : all_) {
    if (one.disk->tier() == tier) return one.disk.get();
  }
  return nullptr;
}

const store_state *store_set::find(const locker_bank &bank) const {
  for (const store_state &one : all_) {
    if (one.disk->tier() == bank.file_tier) return &one;
  }
  return nullptr;
}

store_state *store_set::find(const locker_bank &bank) {
  return const_cast<store_state *>(std::as_const(*this).find(bank));
}

/// Nothing brings it anywhere, or takes it away.
bool store_set::at_rest(const locker_bank &bank, uint32_t number) const {
  if (bank.blocks->is_being_read(number)) return false;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!state_.tiers.is_memory(t)) continue;
    const locker_state state = bank.word(t, number).look().state;
    if (state == locker_state::filling || state == locker_state::evicting) return false;
  }
  return true;
}

void store_set::erase(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *find(bank);
  of.to_erase.push_back(stored);  // and nobody lists it meanwhile
  damaged.forget(bank, number);
  note_news();
  bank.blocks->set_stored(number, not_stored);
}

/// The store's copy goes, and the key with it where it was the only one.
void store_set::drop(locker_bank &bank, uint32_t number) {
  erase(bank, number);
  if (state_.tiers.have_in_memory(bank, number)) return;
  auto &keys = bank.blocks->keys;
  const auto erased = keys.erase(keys.at_locker(number), directory::erase_rule::any);
  if (erased) bank.blocks->give_number(*erased);
}

void store_set::drop_damaged() {
  damaged.take([this](const locker_bank &bank, uint32_t number) { return at_rest(bank, number); },
               [this](locker_bank &bank, uint32_t number) { drop(bank, number); });
}

bool store_set::has_damaged_at_rest() const {
  return damaged.any(
      [this](const locker_bank &bank, uint32_t number) { return at_rest(bank, number); });
}

void store_set::release(locker_bank &bank, uint32_t number) {
  const uint32_t stored = bank.blocks->stored(number);
  if (stored == not_stored) return;
  store_state &of = *find(bank);
  const store::block_entry *entry = of.disk->content().blocks().find(stored);
  if (entry == nullptr || entry->keep < CUBBY_KEEP_RESTART) return erase(bank, number);
  of.spoken_for[stored] = false;
  bank.blocks->set_stored(number, not_stored);
}

bool store_set::erase_some(store_state &of) {
  bool any = false;
  while (!of.to_erase.empty()) {
    const uint32_t number = of.to_erase.front();
    const auto erased = of.disk->content().erase(number, of_erase);
    if (!erased && erased.failure().status == CUBBY_ERR_BUSY) break;
    if (!erased && erased.failure().status == CUBBY_ERR_DEVICE) break;  // until it is restored
    of.to_erase.pop_front();
    if (erased) ++of.erasing_count;
    any = true;
  }
  return any;
}

void store_set::erase_ended(store_state &of, const store::store_completion &done) {
  --of.erasing_count;
  // A write that was accepted meanwhile may have the number.
  const store::block_entry *entry = of.disk->content().blocks().find(done.number);
  if (entry == nullptr) of.spoken_for[done.number] = false;
  if (done.status != CUBBY_OK && entry != nullptr && entry->state == store::block_state::live) {
    of.to_erase.push_back(done.number);  // once more, when the store takes that
  }
}

}  // namespace cubby::engine

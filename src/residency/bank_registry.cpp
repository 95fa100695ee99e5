#include "residency/bank_registry.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "placement/policy.hpp"

namespace cubby::residency {

/// The free index that was given back first, those never used before all others.
result<uint32_t> bank_registry::free_index(const char *name) const {
  uint32_t oldest = 0;
  bool any_free = false;
  for (uint32_t index = 1; index <= banks_max; ++index) {
    if (taken_[index]) continue;
    any_free = true;
    if (lives_[index].handles_given == generations) continue;
    if (oldest == 0 || lives_[index].freed < lives_[oldest].freed) oldest = index;
  }
  if (oldest != 0) return oldest;
  if (!any_free) {
    return fail(CUBBY_ERR_INVALID, "bank %s: a runtime has at most %u banks; remove one first",
                name, banks_max);
  }
  return fail(
      CUBBY_ERR_INVALID,
      "bank %s: this runtime has given out all its %u bank handles, and none is used twice; "
      "reuse banks instead of removing them, or open another runtime",
      name, banks_max * generations);
}

result<locker_bank *> bank_registry::insert(std::unique_ptr<locker_bank> bank) {
  const auto index = free_index(bank->desc().name);
  if (!index) return index.failure();
  owned_.reserve(owned_.size() + 1);
  in_order_.reserve(in_order_.size() + 1);
  objects_.reserve(in_order_.size() + 2);
  const auto count = static_cast<uint32_t>(bank->count());
  const auto base = objects_.take(count, placement::no_object);
  if (!base) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: its %u lockers and those of the other banks are more than %u in all; "
                "remove a bank first",
                bank->desc().name, count, placement::no_object);
  }
  index_life &life = lives_[*index];
  const uint32_t generation = (salt_ + life.handles_given++) % generations;
  taken_[*index] = true;
  bank->object_base = *base;
  bank->handle = generation << index_bits | *index;
  locker_bank *const added = bank.get();
  in_order_.insert(std::upper_bound(in_order_.begin(), in_order_.end(), added,
                                    [](const locker_bank *a, const locker_bank *b) {
                                      return a->object_base < b->object_base;
                                    }),
                   added);
  owned_.push_back(std::move(bank));
  return added;
}

void bank_registry::publish(locker_bank &bank) noexcept {
  by_index_[index_of(bank.handle)].store(&bank, std::memory_order_release);
}

void bank_registry::withdraw(locker_bank &bank) noexcept {
  const uint32_t index = index_of(bank.handle);
  by_index_[index].store(nullptr, std::memory_order_seq_cst);
  taken_[index] = false;
  lives_[index].freed = ++withdrawals_;
  in_order_.erase(std::find(in_order_.begin(), in_order_.end(), &bank));
  if (last_found_ == &bank) last_found_ = nullptr;
  std::erase_if(word_ranges_, [&](const word_range &range) { return range.bank == &bank; });
  objects_.give(bank.object_base, static_cast<uint32_t>(bank.count()));
}

void bank_registry::destroy(locker_bank &bank) noexcept {
  std::erase_if(owned_, [&](const auto &owned) { return owned.get() == &bank; });
}

void bank_registry::index_words() {
  std::vector<word_range> ranges;
  for (const locker_bank *bank : in_order_) {
    for (uint32_t tier = 0; tier < tiers_max; ++tier) {
      const locker_word *const words = bank->words(tier);
      if (words == nullptr) continue;
      const auto begin = reinterpret_cast<uintptr_t>(words);
      ranges.push_back({begin, begin + bank->places().size() * sizeof(locker_word), bank, tier});
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const word_range &a, const word_range &b) { return a.begin < b.begin; });
  word_ranges_ = std::move(ranges);
}

locker_bank *bank_registry::search_object(uint32_t object) const {
  const auto after = std::upper_bound(
      in_order_.begin(), in_order_.end(), object,
      [](uint32_t wanted, const locker_bank *bank) { return wanted < bank->object_base; });
  if (after == in_order_.begin()) return nullptr;
  locker_bank *const bank = *std::prev(after);
  if (object - bank->object_base >= bank->count()) return nullptr;
  return last_found_ = bank;
}

bank_registry::locker bank_registry::find_word(const locker_word *word, uint32_t tier) const {
  const auto address = reinterpret_cast<uintptr_t>(word);
  const auto after = std::upper_bound(
      word_ranges_.begin(), word_ranges_.end(), address,
      [](uintptr_t wanted, const word_range &range) { return wanted < range.begin; });
  if (after == word_ranges_.begin()) return {};
  const word_range &range = *std::prev(after);
  if (address >= range.end || range.tier != tier) return {};
  const uint64_t place = (address - range.begin) / sizeof(locker_word);
  return {range.bank, range.bank->places().number_at(place)};
}

}  // namespace cubby::residency

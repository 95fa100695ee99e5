#include "engine/bank_registry.hpp"

#include <algorithm>

#include "base/room.hpp"

namespace cubby::engine {

locker_bank *bank_registry::of_object(placement::object object, uint32_t &number) const {
  auto after = std::upper_bound(
      by_object_.begin(), by_object_.end(), object,
      [](placement::object o, const locker_bank *b) { return o < b->object_base; });
  if (after == by_object_.begin()) return nullptr;
  locker_bank *bank = *std::prev(after);
  number = object - bank->object_base;
  return number < bank->count() ? bank : nullptr;
}

/// The one that was not used for longest, so that handles are used up evenly.
result<uint32_t> bank_registry::free_index() const {
  bool used_up = false;
  for (uint32_t i = 0; i < banks_max; ++i) {
    const uint32_t index = (last_index_ + i) % banks_max + 1;
    if (at(index) != nullptr) continue;
    if (uses_[index] < bank_uses_max) return index;
    used_up = true;
  }
  if (used_up) {
    return fail(CUBBY_ERR_INVALID,
                "the runtime has given out all of its %u bank handles, each once, so that an old "
                "handle never names another bank; open another runtime, or keep banks",
                banks_max * bank_uses_max);
  }
  return fail(CUBBY_ERR_INVALID, "a runtime has at most %u banks at once; remove one first",
              banks_max);
}

result<locker_bank *> bank_registry::add(std::unique_ptr<locker_bank> made) {
  const auto index = free_index();
  if (!index) return index.failure();
  const auto count = static_cast<uint32_t>(made->count());
  // Each bank may give its numbers back, without memory.
  base::make_room(owned_, owned_.size() + 1);
  base::make_room(by_object_, by_object_.size() + 1);
  base::make_room(free_objects_, free_objects_.size() + owned_.size() + 2);
  auto hole = std::find_if(free_objects_.begin(), free_objects_.end(),
                           [&](const auto &range) { return range.second == count; });
  if (hole != free_objects_.end()) {
    made->object_base = hole->first;
    free_objects_.erase(hole);
  } else {
    if (object_count_ + uint64_t{count} >= placement::no_object) {
      return fail(CUBBY_ERR_INVALID, "bank %s: too many lockers in all", made->desc().name);
    }
    made->object_base = object_count_;
    object_count_ += count;
  }
  made->handle = (salt_ + uses_[*index]) % bank_uses_max << 10 | *index;
  locker_bank *bank = made.get();
  by_object_.insert(std::upper_bound(by_object_.begin(), by_object_.end(), bank,
                                     [](const locker_bank *a, const locker_bank *b) {
                                       return a->object_base < b->object_base;
                                     }),
                    bank);
  owned_.push_back(std::move(made));
  return bank;
}

void bank_registry::publish(locker_bank &bank) {
  const uint32_t index = bank.handle & banks_max;
  ++uses_[index];
  last_index_ = index;
  banks_[index].store(&bank, std::memory_order_release);
}

std::unique_ptr<locker_bank> bank_registry::withdraw(locker_bank &bank) {
  by_object_.erase(std::find(by_object_.begin(), by_object_.end(), &bank));
  free_objects_.emplace_back(bank.object_base, static_cast<uint32_t>(bank.count()));
  return free(bank);
}

void bank_registry::retire(locker_bank &bank) {
  banks_[bank.handle & banks_max].store(nullptr, std::memory_order_seq_cst);
  by_object_.erase(std::find(by_object_.begin(), by_object_.end(), &bank));
  free_objects_.emplace_back(bank.object_base, static_cast<uint32_t>(bank.count()));
}

std::unique_ptr<locker_bank> bank_registry::free(locker_bank &bank) {
  const auto at = std::find_if(owned_.begin(), owned_.end(),
                               [&](const auto &owned) { return owned.get() == &bank; });
  std::unique_ptr<locker_bank> freed = std::move(*at);
  owned_.erase(at);
  return freed;
}

}  // namespace cubby::engine

#include "engine/bank_registry.hpp"

#include <algorithm>

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

result<locker_bank *> bank_registry::add(std::unique_ptr<locker_bank> made) {
  uint32_t index = 1;
  while (index <= banks_max && at(index) != nullptr) ++index;
  if (index > banks_max)
    return fail(CUBBY_ERR_INVALID, "a runtime has at most %u banks", banks_max);
  const auto count = static_cast<uint32_t>(made->count());
  owned_.reserve(owned_.size() + 1);
  by_object_.reserve(by_object_.size() + 1);
  free_objects_.reserve(free_objects_.size() + owned_.size() + 1);
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
  made->handle = uint32_t{generation_[index]} << 10 | index;
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
  banks_[bank.handle & banks_max].store(&bank, std::memory_order_release);
}

std::unique_ptr<locker_bank> bank_registry::withdraw(locker_bank &bank) {
  by_object_.erase(std::find(by_object_.begin(), by_object_.end(), &bank));
  free_objects_.emplace_back(bank.object_base, static_cast<uint32_t>(bank.count()));
  return free(bank);
}

void bank_registry::retire(locker_bank &bank) {
  const uint32_t index = bank.handle & banks_max;
  generation_[index] = static_cast<uint8_t>((generation_[index] + 1) & 63);
  banks_[index].store(nullptr, std::memory_order_seq_cst);
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

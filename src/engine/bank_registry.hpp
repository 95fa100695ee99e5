// The banks of a runtime: by handle, and by the dense object numbers of the policies.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "engine/names.hpp"
#include "placement/policy.hpp"

namespace cubby::engine {

inline constexpr uint32_t banks_max = 1023;
/// A handle is 16 bits, as much as an id has room for: index and use of the index.
inline constexpr uint32_t bank_uses_max = 64;

class bank_registry {
 public:
  explicit bank_registry(uint32_t salt) : salt_(salt) {}

  /// Any thread. nullptr when the handle is stale.
  [[nodiscard]] locker_bank *find(cubby_bank handle) const {
    locker_bank *const bank = at(handle & banks_max);
    const bool there =
        bank != nullptr && bank->handle == handle && !bank->removed.load(std::memory_order_seq_cst);
    return there ? bank : nullptr;
  }
  /// Any thread.
  [[nodiscard]] locker_bank *at(uint32_t index) const {
    return banks_[index].load(std::memory_order_acquire);
  }
  /// The bank of an object, and the locker's number there; nullptr when there is none.
  [[nodiscard]] locker_bank *of_object(placement::object object, uint32_t &number) const;
  /// Any thread. The row of an item in a memory tier; nullptr when it names no locker by number.
  [[nodiscard]] const residency::bank_row *row_of(const cubby_item &item, uint32_t tier) const {
    const locker_bank *const bank = find(static_cast<cubby_bank>(item.id >> 48));
    const uint64_t number = item.id & ((uint64_t{1} << 48) - 1);
    if (bank == nullptr || number >= bank->count() || item.space != 0) return nullptr;
    return &bank->row_in(tier, bank->row_of(static_cast<uint32_t>(number)));
  }
  /// In the order of their objects.
  [[nodiscard]] const std::vector<locker_bank *> &by_object() const { return by_object_; }
  [[nodiscard]] uint32_t object_count() const { return object_count_; }

  /// Gives the bank its handle and its objects; find() knows it once publish() says so.
  result<locker_bank *> add(std::unique_ptr<locker_bank> made);
  void publish(locker_bank &bank);
  /// Takes a bank back that was added and not published.
  std::unique_ptr<locker_bank> withdraw(locker_bank &bank);
  /// From here on the handle is stale and the objects are free; the bank itself stays until free().
  void retire(locker_bank &bank);
  std::unique_ptr<locker_bank> free(locker_bank &bank);
  [[nodiscard]] const std::vector<std::unique_ptr<locker_bank>> &owned() const { return owned_; }

 private:
  [[nodiscard]] result<uint32_t> free_index() const;

  const uint32_t salt_;
  std::array<std::atomic<locker_bank *>, banks_max + 1> banks_{};
  std::vector<std::unique_ptr<locker_bank>> owned_;
  // Handles given out of each index. None is given twice: one that was removed stays stale.
  std::array<uint8_t, banks_max + 1> uses_{};
  uint32_t last_index_ = 0;
  std::vector<locker_bank *> by_object_;
  uint32_t object_count_ = 0;
  std::vector<std::pair<uint32_t, uint32_t>> free_objects_;  // base, count
};

}  // namespace cubby::engine

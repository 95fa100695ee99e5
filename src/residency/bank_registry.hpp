// The banks of a runtime: by handle for any thread, by object number and by the address of a word
// for the controller.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "residency/locker_bank.hpp"
#include "residency/object_ranges.hpp"

namespace cubby::residency {

/// A handle is generation << 10 | index, for a cubby_id has 16 bits for it. Each is given out
/// once, so one of a bank that was removed stays stale for good.
class bank_registry {
 public:
  static constexpr uint32_t index_bits = 10;
  static constexpr uint32_t banks_max = (1u << index_bits) - 1;  // index 0 is none
  static constexpr uint32_t generations = 1u << (16 - index_bits);

  /// `salt` makes handles of two runtimes differ.
  explicit bank_registry(uint32_t salt) : salt_(salt) {}

  [[nodiscard]] static constexpr uint32_t index_of(cubby_bank handle) { return handle & banks_max; }

  // ---- any thread ----------------------------------------------------------------------------
  /// nullptr when stale.
  [[nodiscard]] locker_bank *find(cubby_bank handle) const {
    locker_bank *const bank = at(index_of(handle));
    const bool there =
        bank != nullptr && bank->handle == handle && !bank->removed.load(std::memory_order_seq_cst);
    return there ? bank : nullptr;
  }
  /// Also one that is being removed.
  [[nodiscard]] locker_bank *at(uint32_t index) const {
    return by_index_[index].load(std::memory_order_acquire);
  }
  /// The row of an item in a memory tier; nullptr when it names no locker by number.
  [[nodiscard]] const bank_row *row_of(const cubby_item &item, uint32_t tier) const {
    const locker_bank *const bank = find(static_cast<cubby_bank>(item.id >> 48));
    const uint64_t number = item.id & ((uint64_t{1} << 48) - 1);
    if (bank == nullptr || number >= bank->count()) return nullptr;
    const bank_row &row = bank->row_in(tier, bank->row_of(static_cast<uint32_t>(number)));
    return row.takes(item.space) ? &row : nullptr;
  }

  // ---- the controller ------------------------------------------------------------------------
  /// Gives the bank a handle and object numbers. It has no words yet, and nobody finds it by its
  /// handle before publish(); withdraw() and destroy() undo it.
  result<locker_bank *> insert(std::unique_ptr<locker_bank> bank);
  /// Once it has words in every memory tier. Throws nothing after index_words().
  void publish(locker_bank &bank) noexcept;
  /// Not found any more. Its handle is never given out again; its objects are.
  void withdraw(locker_bank &bank) noexcept;
  /// Frees a withdrawn bank, once no call can look at it any more.
  void destroy(locker_bank &bank) noexcept;
  /// After a bank or a tier got its words. May throw; the index is then as before.
  void index_words();

  /// Those not withdrawn, in the order of their objects.
  [[nodiscard]] const std::vector<locker_bank *> &in_order() const { return in_order_; }
  /// All that are not destroyed.
  [[nodiscard]] const std::vector<std::unique_ptr<locker_bank>> &owned() const { return owned_; }
  /// Objects are below it.
  [[nodiscard]] uint32_t object_count() const { return objects_.end(); }
  /// The locker of an object; nullptr when there is none.
  [[nodiscard]] locker_bank *find_object(uint32_t object, uint32_t &number) const {
    locker_bank *bank = last_found_;
    if (bank == nullptr || object - bank->object_base >= bank->count())
      bank = search_object(object);
    if (bank != nullptr) number = object - bank->object_base;
    return bank;
  }
  struct locker {
    const locker_bank *bank = nullptr;  // nullptr: the address is no word of the tier
    uint32_t number = 0;
  };
  /// The locker whose word in the tier stands at this address, which is not looked at.
  [[nodiscard]] locker find_word(const locker_word *word, uint32_t tier) const;

 private:
  struct index_life {
    uint32_t handles_given = 0;
    uint64_t freed = 0;  // when; 0 = never used
  };
  struct word_range {
    uintptr_t begin = 0, end = 0;
    const locker_bank *bank = nullptr;
    uint32_t tier = 0;
  };
  [[nodiscard]] result<uint32_t> free_index(const char *name) const;
  [[nodiscard]] locker_bank *search_object(uint32_t object) const;

  const uint32_t salt_;
  std::array<std::atomic<locker_bank *>, banks_max + 1> by_index_{};
  std::array<bool, banks_max + 1> taken_{};
  std::array<index_life, banks_max + 1> lives_{};
  uint64_t withdrawals_ = 0;
  std::vector<std::unique_ptr<locker_bank>> owned_;
  std::vector<locker_bank *> in_order_;
  mutable locker_bank *last_found_ = nullptr;  // by find_object(); most objects are of one bank
  object_ranges objects_;
  std::vector<word_range> word_ranges_;  // by address
};

}  // namespace cubby::residency

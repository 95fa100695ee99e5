// What a bank of KV blocks has beside its lockers: the keys, the numbers that are free, how many
// bytes of each locker are in use, and which block of a store has them too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "directory/key_directory.hpp"

namespace cubby::residency {

/// No block of a store.
inline constexpr uint32_t not_stored = ~uint32_t{0};

class key_blocks {
 public:
  /// INVALID: more lockers or parts than a directory takes. May throw bad_alloc.
  static result<std::unique_ptr<key_blocks>> make(uint32_t locker_count, uint32_t part_count);

  /// Its own header says which calls are any thread's and which the writer's: who holds the pump.
  directory::key_directory keys;

  // The writer.

  /// A number that no key has; directory::no_locker when all are taken.
  [[nodiscard]] uint32_t peek_number() const noexcept;
  /// The number that peek_number() gave is taken.
  void take_number() noexcept;
  void give_number(uint32_t number) noexcept;
  /// Before the locker is found by its key.
  void set_length(uint32_t number, uint64_t bytes) noexcept {
    lengths_[number].store(bytes, std::memory_order_relaxed);
  }
  /// Numbers of removed spaces whose blocks are pinned.
  std::vector<uint32_t> leaving;
  /// Puts that have a frame and are not published or abandoned, or whose call goes on.
  uint32_t puts_in_flight = 0;

  /// The store's block with the locker's bytes, or not_stored.
  void set_stored(uint32_t number, uint32_t stored) noexcept {
    stored_[number].store(stored, std::memory_order_release);
  }

  /// Its stored block is read past the tiers of memory, or belongs to a call that goes on, and
  /// stays until end_read(). False: it is read as often as can be counted.
  [[nodiscard]] bool begin_read(uint32_t number) noexcept {
    if (reads_[number] == 0xFFFF) return false;
    ++reads_[number];
    return true;
  }
  void end_read(uint32_t number) noexcept { --reads_[number]; }
  [[nodiscard]] bool is_being_read(uint32_t number) const noexcept { return reads_[number] != 0; }

  // Any thread.

  [[nodiscard]] uint32_t stored(uint32_t number) const noexcept {
    return stored_[number].load(std::memory_order_acquire);
  }
  [[nodiscard]] bool is_stored(uint32_t number) const noexcept {
    return stored(number) != not_stored;
  }
  /// The block was asked for: it is not the next that the store gives up.
  void mark_used(uint32_t number) noexcept {
    if (used_[number].load(std::memory_order_relaxed) == 0) {
      used_[number].store(1, std::memory_order_relaxed);
    }
  }
  /// Was it since this was asked last?
  bool take_used(uint32_t number) noexcept {
    return used_[number].exchange(0, std::memory_order_relaxed) != 0;
  }
  /// Of a locker that is pinned, or that only the caller knows.
  [[nodiscard]] uint64_t length(uint32_t number) const noexcept {
    return lengths_[number].load(std::memory_order_relaxed);
  }

  [[nodiscard]] uint64_t bytes() const noexcept;

 private:
  key_blocks(const directory::directory_config &config);

  const uint32_t locker_count_;
  uint32_t first_unused_ = 0;   // numbers from here on were never taken
  std::vector<uint32_t> free_;  // those below that are free
  std::unique_ptr<std::atomic<uint64_t>[]> lengths_;
  std::unique_ptr<std::atomic<uint32_t>[]> stored_;
  std::unique_ptr<std::atomic<uint8_t>[]> used_;
  std::unique_ptr<uint16_t[]> reads_;
};

}  // namespace cubby::residency

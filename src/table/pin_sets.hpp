// Pins that were taken together. A set of resident lockers is made and released without the
// controller: a place from a free list, one atomic word that says which of its items are still
// held, and the words of the lockers themselves.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/abi.hpp"
#include "table/locker_word.hpp"

namespace cubby::table {

/// Marks of 31 items: generation in the high half, "the controller still loads it" in bit 31, one
/// bit an item that has been released below. One compare-and-swap checks all three, so a stale
/// handle can never release somebody else's pins.
class set_marks {
 public:
  static constexpr uint32_t items = 31;
  static constexpr uint64_t loading_bit = uint64_t{1} << 31;
  static constexpr uint64_t generation_of(uint64_t word) { return word >> 32; }
};

struct pin_set {
  static constexpr uint32_t inline_items = 16;

  std::atomic<uint64_t> marks{0};  // of the first 31 items; its generation is the set's
  std::atomic<uint32_t> held_count{0};
  uint32_t count = 0;
  uint32_t tier = 0;
  uint32_t next_free = 0;
  bool bypass = false;
  std::array<locker_word *, inline_items> few{};
  // For sets of more; they grow and are kept, so that a stale handle still finds memory.
  std::vector<locker_word *> many;
  std::unique_ptr<std::atomic<uint64_t>[]> more_marks;
  uint32_t more_count = 0;

  [[nodiscard]] locker_word **words() { return count <= inline_items ? few.data() : many.data(); }
  [[nodiscard]] std::atomic<uint64_t> &marks_of(uint32_t group) {
    return group == 0 ? marks : more_marks[group - 1];
  }
};

class pin_sets {
 public:
  static constexpr uint32_t none = ~uint32_t{0};
  static constexpr uint32_t shard_count = 16;  // free lists; a thread keeps to its own

  /// `capacity` sets at once; `salt` makes handles of two runtimes differ.
  pin_sets(uint32_t capacity, uint32_t salt);

  /// Any thread. An empty set for `count` items; `none` when all are taken. Nobody else knows it
  /// until open() has said what it holds.
  uint32_t take(uint32_t shard, uint32_t count);
  /// The set stands: its handle may be given out. `loading`: the controller fills it.
  cubby_pins open(uint32_t index, bool loading);
  /// An empty set that was never given out.
  void discard(uint32_t index, uint32_t shard);

  enum class outcome { released, stale, twice, out_of_range };
  struct release_result {
    outcome what = outcome::released;
    uint32_t tier = 0;
    bool loading = false;   // the controller has to look at it
    bool last_pin = false;  // a locker is now unpinned
    bool bypass = false;
  };
  /// Any thread. Releases items first..first+count-1 (count 0 = all that are still held).
  release_result release(cubby_pins handle, uint32_t first, uint32_t count, uint32_t shard);

  /// Controller: has the holder released this item of a loading set?
  [[nodiscard]] bool withdrawn(uint32_t index, uint32_t item);
  /// Controller: all has landed that will. Items released meanwhile are let go. The set is the
  /// holder's from here on.
  void loaded(uint32_t index, uint32_t shard);
  /// Controller: nothing is held after all; the handle turns stale.
  void abandon(uint32_t index, uint32_t shard);

  [[nodiscard]] pin_set &at(uint32_t index) { return sets_[index]; }
  [[nodiscard]] uint64_t table_bytes() const { return capacity_ * sizeof(pin_set); }

 private:
  void retire(uint32_t index, uint32_t shard, uint32_t released);
  void push_free(uint32_t index, uint32_t shard);

  struct alignas(64) free_list {
    std::atomic<uint64_t> head{0};  // change counter << 32 | index + 1
  };

  const uint32_t capacity_;
  const uint32_t salt_;
  std::unique_ptr<pin_set[]> sets_;
  std::array<free_list, shard_count> free_;
};

}  // namespace cubby::table

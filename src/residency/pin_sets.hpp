// Pins that were taken together. A set of resident lockers is made and released without the
// controller: a place from a free list, one atomic word that says which of its items are still
// held, and the words of the lockers themselves.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/abi.hpp"
#include "residency/locker_word.hpp"

namespace cubby::residency {

/// Marks of 31 items: generation in the high half, "the controller still loads it" in bit 31, one
/// bit an item that has been released below. One compare-and-swap checks all three, so a stale
/// handle can never release somebody else's pins.
class set_marks {
 public:
  static constexpr uint32_t items = 31;
  static constexpr uint64_t loading_bit = uint64_t{1} << 31;
  static constexpr uint64_t generation_of(uint64_t word) { return word >> 32; }
  /// Of a set that has landed and of which nothing has been released.
  static constexpr uint64_t whole(uint64_t generation) { return generation << 32; }
  /// Of a set that nobody holds after this generation: a handle that is guessed finds it released.
  static constexpr uint64_t retired(uint64_t generation) {
    return whole(generation) + (whole(1) | (loading_bit - 1));
  }
};

struct alignas(64) pin_set {
  static constexpr uint32_t inline_items = 16;

  std::atomic<uint64_t> marks{0};  // of the first 31 items; its generation is the set's
  // All its items, once it holds them all and if it has one word of marks; else 0.
  std::atomic<uint32_t> simple_count{0};
  std::atomic<uint32_t> next_free{0};
  std::atomic<uint32_t> held_count{0};
  uint32_t index = 0;            // for good
  uint32_t room = inline_items;  // of `words`
  // Whoever releases reads these before it looks at the generation, which tells whether they were
  // of its set.
  std::atomic<uint32_t> count{0}, tier{0};
  std::atomic<bool> bypass{false};
  // [room]: `few`, or the last of `grown_words`; `count` are used. Atomic, for the controller looks
  // at what sets hold while their holders take and release them.
  std::atomic<std::atomic<locker_word *> *> words{nullptr};
  std::array<std::atomic<locker_word *>, inline_items> few{};
  std::atomic<std::atomic<uint64_t> *> more_marks{nullptr};
  // Smaller arrays stay, for whoever looks at a stale handle or at what is held.
  std::vector<std::unique_ptr<std::atomic<uint64_t>[]>> grown_marks;
  std::vector<std::unique_ptr<std::atomic<locker_word *>[]>> grown_words;

  /// Is to hold so many; a set taken and not yet opened.
  void describe(uint32_t item_count, uint32_t of_tier, bool bypasses) {
    count.store(item_count, std::memory_order_release);
    tier.store(of_tier, std::memory_order_release);
    bypass.store(bypasses, std::memory_order_release);
  }
  [[nodiscard]] uint32_t size() const { return count.load(std::memory_order_relaxed); }
  /// For the one who holds the set, or fills it.
  [[nodiscard]] std::atomic<locker_word *> *items() {
    return words.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::atomic<uint64_t> &marks_of(uint32_t group) {
    return group == 0 ? marks : more_marks.load(std::memory_order_acquire)[group - 1];
  }
};

class pin_sets {
 public:
  static constexpr uint32_t shard_count = 16;  // free lists; a thread keeps to its own

  /// `capacity` sets at once; `salt` makes handles of two runtimes differ.
  pin_sets(uint32_t capacity, uint32_t salt);

  /// Any thread. An empty set; nullptr when all are taken. Nobody else knows it until open() has
  /// said what it holds. For more items than it has room for, make_room() comes first.
  pin_set *take(uint32_t shard) {
    pin_set *const set = free_[shard].spare.exchange(nullptr, std::memory_order_acquire);
    return set != nullptr ? set : take_listed(shard);
  }
  static void make_room(pin_set &set, uint32_t count);  // may throw
  /// What a set is when its handle is given out.
  enum class content { whole, gaps, loading };  // gaps: some words are NULL
  cubby_pins open(pin_set &set, uint32_t count, content what) {
    const uint64_t generation = set_marks::generation_of(set.marks.load(std::memory_order_relaxed));
    set.simple_count.store(what == content::whole ? count : 0, std::memory_order_relaxed);
    set.held_count.store(count, std::memory_order_relaxed);
    uint64_t marks = set_marks::whole(generation);
    if (what == content::loading) marks |= set_marks::loading_bit;
    if (count > set_marks::items) open_more(set, marks);
    set.marks.store(marks, std::memory_order_release);
    return generation << 32 | (set.index + 1);
  }
  /// A set that holds nothing: it was never opened, or was claimed and let go of.
  void give_back(pin_set &set, uint32_t shard) {
    pin_set *const other = free_[shard].spare.exchange(&set, std::memory_order_acq_rel);
    if (other != nullptr) push_free(*other, shard);
  }

  /// Any thread. The usual release is of all of a set that holds all it names: one step checks that
  /// it is held whole and ends its generation, and the set is the caller's alone, to unpin and
  /// to give back. False when it is not that simple: release() looks closer.
  static bool claim_whole(pin_set &set, cubby_pins handle, uint32_t first, uint32_t count) {
    // Of a stale handle's set this is anybody's count; the step then fails.
    const uint32_t simple_count = set.simple_count.load(std::memory_order_relaxed);
    if (simple_count == 0 || first != 0 || (count != 0 && count != simple_count)) return false;
    const uint64_t generation = set_marks::generation_of(handle);
    uint64_t marks = set_marks::whole(generation);
    return set.marks.compare_exchange_strong(marks, set_marks::retired(generation),
                                             std::memory_order_acq_rel);
  }
  /// The set of a handle, which may be stale; nullptr when there is none.
  [[nodiscard]] pin_set *find(cubby_pins handle) {
    const uint32_t index = static_cast<uint32_t>(handle) - 1;
    return index < capacity_ ? &sets_[index] : nullptr;
  }
  /// Unpins all that it holds.
  static void unpin_all(pin_set &set) {
    std::atomic<locker_word *> *word = set.items();
    std::atomic<locker_word *> *const end = word + set.size();
    do {
      word->load(std::memory_order_relaxed)->unpin();
    } while (++word != end);
  }

  enum class outcome { released, stale, twice, out_of_range };
  struct release_result {
    outcome what = outcome::released;
    uint32_t tier = 0;
    bool loading = false;  // the controller has to look at it
    bool bypass = false;
  };
  /// For the holder: the words of the items that release() would let go of, as far as they have
  /// landed, and the tier. False: they are not held, or not all of them.
  bool words_of(cubby_pins handle, uint32_t first, uint32_t count, uint32_t &tier,
                std::vector<locker_word *> &out);
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
  /// Any thread. Calls visit(word) for words that sets of the tier name, some more than once, until
  /// it returns true; true if it did. Every word that an open set of the tier has pinned is among
  /// them. Others may be, even words of banks that are gone: the address has to be checked first.
  /// Work grows with the sets that were ever used at once, and what those of now hold.
  template <class Visit>
  bool any_named(uint32_t tier, const Visit &visit) const {
    const uint32_t end = ever_taken_.load(std::memory_order_acquire);
    for (const pin_set *set = sets_.get(); set != sets_.get() + end; ++set) {
      if (!is_open(*set) || set->tier.load(std::memory_order_acquire) != tier) continue;
      const uint32_t count = set->count.load(std::memory_order_acquire);
      // Read after the count: arrays only grow, so it has room for so many.
      const std::atomic<locker_word *> *words = set->words.load(std::memory_order_acquire);
      for (uint32_t i = 0; i < count; ++i) {
        locker_word *const word = words[i].load(std::memory_order_relaxed);
        if (word != nullptr && visit(word)) return true;
      }
    }
    return false;
  }
  [[nodiscard]] uint64_t table_bytes() const { return capacity_ * sizeof(pin_set); }

 private:
  /// The last set that a thread gave back is the next one that it takes; others are in a list.
  struct alignas(64) free_sets {
    std::atomic<pin_set *> spare{nullptr};
    std::atomic<uint64_t> head{0};  // change counter << 32 | index + 1
  };

  /// Does somebody hold some of it? While it is taken or released, either answer may come.
  [[nodiscard]] static bool is_open(const pin_set &set) {
    constexpr uint64_t released = set_marks::loading_bit - 1;
    const uint64_t marks = set.marks.load(std::memory_order_acquire);
    if ((marks & (set_marks::loading_bit | released)) != released) return true;
    // Its first items are released; the count of what is held then tells of the others.
    return set.count.load(std::memory_order_relaxed) > set_marks::items &&
           set.held_count.load(std::memory_order_acquire) != 0;
  }
  void push_free(pin_set &set, uint32_t shard);
  pin_set *pop_free(uint32_t shard);
  pin_set *take_listed(uint32_t shard);
  static void open_more(pin_set &set, uint64_t marks);
  void retire(pin_set &set, uint32_t shard, uint32_t released);

  const uint32_t capacity_;
  const uint32_t salt_;
  std::unique_ptr<pin_set[]> sets_;
  std::atomic<uint32_t> ever_taken_{0};  // all sets that were ever used are below it
  std::array<free_sets, shard_count> free_;
};

}  // namespace cubby::residency

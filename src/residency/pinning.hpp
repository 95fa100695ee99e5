// How lockers are pinned and released.
//
// Everything resident: the set that the thread used last is taken again, each locker's word is
// raised by one compare-and-swap, and the set is open: no lock, no system call. bench/pin_cost
// counts the instructions, so this way is inline: take(), pin_first_row(), hold_all(), and
// unpin_whole(). Something absent: pin_rest() releases what was pinned, and the set loads as a
// whole.
//
// Releases and the controller find each other by flags. The controller sets a tier's flag and then
// looks at the words once more; a release lowers the word and then looks at the flag. All four
// steps are sequentially consistent, so one of the two sees the other, and no wakeup is lost. A
// release that finds the flag set notes it with note_frames(), and its caller wakes the controller.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/abi.hpp"
#include "residency/bank_registry.hpp"
#include "residency/pin_sets.hpp"

namespace cubby::residency {

/// What a call pins.
struct pin_order {
  const cubby_item *items;
  uint32_t count, tier, shard;
  uint32_t flags;     // CUBBY_NO_WAIT, CUBBY_BYPASS
  const void **addr;  // may be NULL
};

/// Which releases the controller wants to hear of.
struct alignas(64) tier_watch {
  std::atomic<bool> frames_wanted{false};     // a request waits for frames
  std::atomic<bool> decisions_wanted{false};  // an unpin may decide whether a locker stays
};

class pinning {
 public:
  pinning(const bank_registry &banks, uint32_t set_count, uint32_t salt)
      : banks_(banks), sets_(set_count, salt) {}
  pinning(const pinning &) = delete;
  pinning &operator=(const pinning &) = delete;

  // ---- any thread: pin -----------------------------------------------------------------------
  /// An empty set; nullptr when all are taken. For more items than its room, make_room() comes
  /// first.
  pin_set *take(uint32_t shard) { return sets_.take(shard); }
  /// When it throws, the set is given back.
  void make_room(pin_set &set, const pin_order &order);
  void give_back(pin_set &set, uint32_t shard) { sets_.give_back(set, shard); }

  /// The leading items, of one row, that are resident: usually all.
  struct start {
    const bank_row *row = nullptr;
    uint32_t pinned = 0;
  };
  [[gnu::always_inline]] start pin_first_row(pin_set &set, const cubby_item *items, uint32_t count,
                                             uint32_t tier, uint32_t flags,
                                             const void **addr) const {
    set.describe(count, tier, (flags & CUBBY_BYPASS) != 0);
    const bank_row *const row = banks_.row_of(*items, tier);
    if (row == nullptr) return {};
    return {row, row->pin(items, count, set.items(), addr)};
  }
  /// All items are pinned.
  cubby_pins hold_all(pin_set &set, uint32_t count) {
    return sets_.open(set, count, pin_sets::content::whole);
  }

  enum class found {
    resident,  // all are pinned
    absent,    // some item is not resident
    refused,   // some item names nothing
  };
  struct rest {
    found what = found::resident;
    uint32_t pinned = 0;
    bool wake = false;  // the controller is to be woken
  };
  /// The other items. With NO_WAIT what is resident stays pinned, and the words of the others are
  /// NULL; without it nothing is pinned unless all are.
  rest pin_rest(pin_set &set, const pin_order &order, const start &begun);
  /// Opens what pin_rest() left: whole, or with gaps.
  cubby_pins hold(pin_set &set, const pin_order &order, uint32_t pinned);
  /// Opens a set that the controller fills, word by word.
  cubby_pins hold_loading(pin_set &set, const pin_order &order);

  // ---- any thread: unpin ---------------------------------------------------------------------
  /// The usual: all of a set that holds all it names. False: unpin() looks closer.
  [[gnu::always_inline]] bool unpin_whole(cubby_pins pins, uint32_t first, uint32_t count,
                                          uint32_t shard, bool &wake) {
    pin_set *const set = sets_.find(pins);
    if (set == nullptr || !pin_sets::claim_whole(*set, pins, first, count)) return false;
    pin_sets::unpin_all(*set);
    wake = note_release(set->tier.load(std::memory_order_relaxed),
                        set->bypass.load(std::memory_order_relaxed));
    sets_.give_back(*set, shard);
    return true;
  }
  struct unpinned {
    pin_sets::outcome what = pin_sets::outcome::released;
    bool wake = false;
  };
  /// A part of a set, a large one, one that loads, or what is not held.
  unpinned unpin(cubby_pins pins, uint32_t first, uint32_t count, uint32_t shard);
  /// The words that an unpin of these items would release, each pinned once more, and their tier.
  /// Nothing for what is not held, or not in one piece: unpin() says what is wrong.
  struct pinned_again {
    std::vector<locker_word *> words;
    uint32_t tier = 0;
    bool saturated = false;
  };
  /// `room`: memory for the words; what is in it goes.
  pinned_again pin_again(cubby_pins pins, uint32_t first, uint32_t count,
                         std::vector<locker_word *> room);

  // ---- flags ---------------------------------------------------------------------------------
  [[nodiscard]] tier_watch &watch(uint32_t tier) { return watches_[tier]; }
  /// The controller is to look at what was released, or at what was withdrawn.
  void note_frames() { frames_came_.store(true, std::memory_order_seq_cst); }
  void note_withdrawal() { withdrawn_.store(true, std::memory_order_seq_cst); }
  bool take_frames_note() { return frames_came_.exchange(false, std::memory_order_seq_cst); }
  bool take_withdrawal_note() { return withdrawn_.exchange(false, std::memory_order_seq_cst); }
  [[nodiscard]] bool has_news() const {
    return withdrawn_.load(std::memory_order_seq_cst) ||
           frames_came_.load(std::memory_order_seq_cst);
  }

  // ---- the controller ------------------------------------------------------------------------
  [[nodiscard]] pin_sets &sets() { return sets_; }
  [[nodiscard]] const pin_sets &sets() const { return sets_; }
  /// Does a set hold a locker of the tier? Work grows with the sets, never with the lockers.
  [[nodiscard]] bool any_pinned(uint32_t tier) const;
  /// The lockers of the tier that are pinned, each once: by sets, or through one of these words,
  /// which the controller holds itself.
  [[nodiscard]] std::vector<bank_registry::locker> pinned(
      uint32_t tier, std::vector<const locker_word *> held) const;

 private:
  /// Notes a release that matters; true when the controller is to be woken for it. A copy for one
  /// use goes when the controller advances for another reason. Not only the last pin counts: a
  /// waiting set holds its own hits while it looks for room, and so may be the last itself.
  bool note_release(uint32_t tier, bool bypass) {
    const tier_watch &watch = watches_[tier];
    const bool awaited = watch.frames_wanted.load(std::memory_order_seq_cst) ||
                         watch.decisions_wanted.load(std::memory_order_seq_cst);
    if (awaited || bypass) note_frames();
    return awaited;
  }

  const bank_registry &banks_;
  pin_sets sets_;
  std::array<tier_watch, tiers_max> watches_;
  std::atomic<bool> frames_came_{false}, withdrawn_{false};
};

}  // namespace cubby::residency

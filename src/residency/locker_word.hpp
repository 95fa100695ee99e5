// The one word of a locker in a memory tier: where its frame is, who holds it, what state it is in.
// A pin of a resident locker is one compare-and-swap on it; everything else about the locker
// belongs to the controller.
//
//   bits  0–15  pin count
//   bits 16–18  state
//   bits 19–27  generation, its low bits
//   bits 28–63  frame: address / 4096 in own memory (47-bit user addresses leave 35 bits), or a
//               slot number in lent memory; while filling, the number of the move that fills it
#pragma once

#include <atomic>
#include <cstdint>

#include "base/assert.hpp"
#include "base/mutant.hpp"

namespace cubby::residency {

enum class locker_state : uint64_t {
  absent = 0,    // no frame
  filling = 1,   // a frame, and bytes on their way; not to be seen
  ready = 2,     // bytes verified; may be pinned
  evicting = 3,  // leaving; not to be pinned
};

enum class pin_outcome { pinned, not_ready, saturated };

class locker_word {
 public:
  static constexpr uint64_t pins_max = 0xFFFF;
  static constexpr uint64_t frame_max = (uint64_t{1} << 36) - 1;

  struct view {
    uint64_t frame = 0;
    uint64_t generation = 0;
    locker_state state = locker_state::absent;
    uint64_t pin_count = 0;
  };

  /// Any thread. Hold the locker if it is ready; its frame then stays until unpin(). One locked
  /// instruction when uncontended.
  pin_outcome pin(uint64_t &frame) noexcept {
    uint64_t word = word_.load(std::memory_order_relaxed);
    for (;;) {
      // State and pins at once: ready, and fewer pins than there can be.
      if ((word & (state_mask | pins_mask)) - ready_bits >= pins_max) {
        return state_of(word) == locker_state::ready ? pin_outcome::saturated
                                                     : pin_outcome::not_ready;
      }
      // Acquire: the bytes were written before the word was made ready.
      if (word_.compare_exchange_weak(word, word + 1, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        frame = word >> frame_shift;
        return pin_outcome::pinned;
      }
    }
  }

  /// Any thread that holds a pin. True when it was the last one. Sequentially consistent, so that a
  /// caller who then looks at a "frames wanted" flag and a controller who sets the flag and then
  /// looks at the word cannot both miss each other.
  bool unpin() noexcept {
    const uint64_t before = word_.fetch_sub(1, std::memory_order_seq_cst);
    CUBBY_ASSERT((before & pins_mask) != 0 || CUBBY_MUTANT(reuse_pinned_frame));
    return (before & pins_mask) == 1;
  }

  /// Any thread that holds a pin: one more, also while the bytes are on their way. not_ready:
  /// nobody holds one, so neither does the caller.
  [[nodiscard]] pin_outcome pin_again() noexcept {
    uint64_t word = word_.load(std::memory_order_relaxed);
    do {
      if ((word & pins_mask) == 0) return pin_outcome::not_ready;
      if ((word & pins_mask) == pins_max) return pin_outcome::saturated;
    } while (!word_.compare_exchange_weak(word, word + 1, std::memory_order_relaxed));
    return pin_outcome::pinned;
  }

  /// Controller only: holds a locker whose bytes are still on their way, for who uses them behind
  /// the copy, in a device's order. False where there are as many pins as can be.
  [[nodiscard]] bool pin_filling() noexcept {
    CUBBY_ASSERT(look().state == locker_state::filling);
    if (look().pin_count == pins_max) return false;
    word_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  /// Controller only: absent → filling, by this move.
  void begin_fill(uint64_t move, uint64_t generation) noexcept {
    CUBBY_ASSERT(move <= frame_max && look().state == locker_state::absent);
    word_.store(pack(move, generation, locker_state::filling), std::memory_order_relaxed);
  }

  /// Controller only: filling → ready in this frame, with `pin_count` pins more, of those who
  /// waited for it.
  void publish(uint64_t frame, uint64_t pin_count) noexcept {
    uint64_t word = word_.load(std::memory_order_relaxed);
    uint64_t fresh = 0;
    do {
      CUBBY_ASSERT(state_of(word) == locker_state::filling);
      CUBBY_ASSERT((word & pins_mask) + pin_count <= pins_max && frame <= frame_max);
      fresh = pack(frame, word >> generation_shift, locker_state::ready) |
              ((word & pins_mask) + pin_count);
    } while (!word_.compare_exchange_weak(word, fresh, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
  }

  /// Controller only: ready and not pinned → evicting. False when somebody holds it.
  [[nodiscard]] bool begin_evict() noexcept {
    uint64_t word = word_.load(std::memory_order_seq_cst);
    if (state_of(word) != locker_state::ready) return false;
    if ((word & pins_mask) != 0 && !CUBBY_MUTANT(reuse_pinned_frame)) return false;
    const uint64_t evicting = (word & ~state_mask) | (uint64_t{3} << state_shift);
    return word_.compare_exchange_strong(word, evicting, std::memory_order_seq_cst);
  }

  /// Controller only: filling or evicting → absent; the frame is free again.
  void clear() noexcept {
    const view now = look();
    CUBBY_ASSERT(now.state != locker_state::ready);
    CUBBY_ASSERT(now.pin_count == 0 || CUBBY_MUTANT(reuse_pinned_frame));
    word_.store(0, std::memory_order_release);
  }

  [[nodiscard]] view look() const noexcept {
    const uint64_t word = word_.load(std::memory_order_acquire);
    return {word >> frame_shift, (word >> generation_shift) & generation_mask, state_of(word),
            word & pins_mask};
  }

 private:
  static constexpr uint64_t pins_mask = pins_max;
  static constexpr unsigned state_shift = 16;
  static constexpr uint64_t state_mask = uint64_t{7} << state_shift;
  static constexpr uint64_t ready_bits = static_cast<uint64_t>(locker_state::ready) << state_shift;
  static constexpr unsigned generation_shift = 19;
  static constexpr uint64_t generation_mask = 0x1FF;
  static constexpr unsigned frame_shift = 28;

  static constexpr locker_state state_of(uint64_t word) noexcept {
    return static_cast<locker_state>((word & state_mask) >> state_shift);
  }
  static constexpr uint64_t pack(uint64_t frame, uint64_t generation, locker_state state) noexcept {
    return (frame << frame_shift) | ((generation & generation_mask) << generation_shift) |
           (static_cast<uint64_t>(state) << state_shift);
  }

  std::atomic<uint64_t> word_{0};
};

static_assert(sizeof(locker_word) == 8 && std::atomic<uint64_t>::is_always_lock_free);

/// Where the words of a table's lockers stand. The routed experts of a layer are neighbours by
/// number, and words of one cache line slow each other down; so there are 64 lanes, and neighbours
/// are in different ones.
class word_places {
 public:
  constexpr word_places() = default;
  /// For the numbers below `count`.
  explicit constexpr word_places(uint64_t count) {
    const uint64_t lines = (count + lane_round - 1) / lane_round;
    lane_words_ = (lines | 1) * line_words;  // odd: or all lanes would meet in one set of a cache
  }
  [[nodiscard]] constexpr uint64_t of(uint32_t number) const noexcept {
    return (number % lanes) * lane_words_ + number / lanes;
  }
  /// The number whose word stands at a place that of() gave.
  [[nodiscard]] constexpr uint32_t number_at(uint64_t place) const noexcept {
    return static_cast<uint32_t>(place % lane_words_ * lanes + place / lane_words_);
  }
  /// Words the table needs.
  [[nodiscard]] constexpr uint64_t size() const noexcept { return lanes * lane_words_; }

 private:
  static constexpr uint32_t lanes = 64, line_words = 8;
  static constexpr uint64_t lane_round = uint64_t{lanes} * line_words;
  uint64_t lane_words_ = 0;
};

}  // namespace cubby::residency

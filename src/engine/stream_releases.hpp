// What callers have given up while a stream of theirs still uses it: each locker stays pinned until
// the stream is past a mark. Nobody waits for that; it is looked at whenever somebody comes by.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "engine/tiers.hpp"

namespace cubby::engine {

/// Any thread. The tier's device is lost: what is in the tier is gone, and looked at until nobody
/// holds any of it.
void note_lost(tier_slot &slot, residency::pinning &pins,
               const cubby_backend_services &services) noexcept;

class stream_releases {
 public:
  stream_releases(tier_set &tiers, residency::pinning &pins, const cubby_backend_services &services)
      : tiers_(tiers), pins_(pins), services_(services) {}
  stream_releases(const stream_releases &) = delete;
  stream_releases &operator=(const stream_releases &) = delete;

  /// Any thread. A place for one more, so that hold() takes no memory but its own list; BUSY when
  /// streams are too far behind.
  result<void> make_room();
  /// The place is not needed after all.
  void take_room_back();
  /// Any thread. A list that was held before and is empty now, so that its memory is used again.
  [[nodiscard]] std::vector<residency::locker_word *> take_list();
  /// Any thread. These words are pinned once more, for the mark of the tier's backend, and stay so
  /// until it is passed. True when the controller is to be woken.
  bool hold(uint32_t tier, uint64_t mark, std::vector<residency::locker_word *> words);
  /// Any thread. Looks at all of them; true when something was unpinned.
  bool step();
  /// Sequentially consistent, as is hold(): who notes that frames are wanted and then looks here,
  /// and who holds and then looks at the note, cannot both miss the other.
  [[nodiscard]] bool empty() const { return count_.load(std::memory_order_seq_cst) == 0; }
  /// The words of the tier that are held.
  void add_words(uint32_t tier, std::vector<const residency::locker_word *> &out);

 private:
  struct held {
    uint32_t tier = 0;
    uint64_t mark = 0;
    std::vector<residency::locker_word *> words;
  };
  bool look_at(held &one);
  void keep_list(std::vector<residency::locker_word *> list);
  bool step_some(size_t count);

  tier_set &tiers_;
  residency::pinning &pins_;
  const cubby_backend_services &services_;
  std::mutex mutex_;  // of the next; never held for long
  std::vector<held> held_;
  std::vector<std::vector<residency::locker_word *>> lists_;  // empty ones
  size_t next_ = 0;                                           // is looked at next
  uint32_t promised_ = 0;  // places for who has made room and not come yet
  std::atomic<size_t> count_{0};
};

}  // namespace cubby::engine

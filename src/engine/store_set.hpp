// The stores on disk, which of their blocks are spoken for, and which are to go.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "engine/damaged_blocks.hpp"
#include "engine/disk_store.hpp"

namespace cubby::engine {

/// What a completion of a store belongs to; the rest of its mark is the number of a write.
inline constexpr uint64_t of_write = uint64_t{1} << 32, of_erase = uint64_t{2} << 32,
                          of_space = uint64_t{3} << 32;

struct store_state {
  std::unique_ptr<disk_store> disk;
  std::deque<uint32_t> to_write;  // writes that the store has not accepted
  uint32_t in_turn_count = 0;     // so many of them, the first ones, are in the order of memory
  std::deque<uint32_t> to_erase;  // numbers of the store
  uint32_t erasing_count = 0;
  std::vector<bool> spoken_for;  // by number of the store: listed in a bank, or going
  uint32_t hand = 0;             // over numbers that nobody speaks for
};

/// For whoever holds the pump, but for calls that say otherwise.
class store_set {
 public:
  explicit store_set(engine_state &state) : state_(state) {}

  void add(std::unique_ptr<disk_store> made);
  [[nodiscard]] std::vector<store_state> &all() { return all_; }
  [[nodiscard]] const std::vector<store_state> &all() const { return all_; }
  /// Of the bank's blocks; NULL where they have none.
  [[nodiscard]] store_state *find(const locker_bank &bank);
  [[nodiscard]] const store_state *find(const locker_bank &bank) const;
  /// NULL when the tier has none.
  [[nodiscard]] const disk_store *of_tier(uint32_t tier) const;

  /// The store's copy goes; its pages are free a little later.
  void erase(locker_bank &bank, uint32_t number);
  /// The same, and the key goes with it where that was the only copy.
  void drop(locker_bank &bank, uint32_t number);
  /// Of a number whose key is gone with its space: the store keeps what outlives the process.
  void release(locker_bank &bank, uint32_t number);
  /// Nothing brings the block anywhere, or takes it away.
  [[nodiscard]] bool at_rest(const locker_bank &bank, uint32_t number) const;
  /// Damaged blocks that nothing moves any more go.
  void drop_damaged();
  /// Would drop_damaged() drop one?
  [[nodiscard]] bool has_damaged_at_rest() const;
  bool erase_some(store_state &of);
  void erase_ended(store_state &of, const store::store_completion &done);

  void note_news() { news_.store(true, std::memory_order_seq_cst); }
  void take_news() { news_.store(false, std::memory_order_seq_cst); }
  /// Any thread: was there something since?
  [[nodiscard]] bool has_news() const { return news_.load(std::memory_order_seq_cst); }

  damaged_blocks damaged;

 private:
  engine_state &state_;
  std::vector<store_state> all_;
  std::atomic<bool> news_{false};
};

}  // namespace cubby::engine

// The fills there are, and their places in the queues of the channels. A fill keeps its address
// and its index until it is released.
#pragma once

#include <array>
#include <vector>

#include "base/ordered_indices.hpp"
#include "base/stable_list.hpp"
#include "engine/engine_state.hpp"
#include "engine/fill.hpp"

namespace cubby::engine {

/// Jobs of a channel are fills, or pieces that wait to be copied: those have this bit.
inline constexpr uint32_t copy_bit = 0x8000'0000;
/// And direct reads this one.
inline constexpr uint32_t direct_bit = 0x4000'0000;
/// And copies between frames and callers' memory of a device this one.
inline constexpr uint32_t region_bit = 0x2000'0000;

/// Who has jobs in the channels' queues beside fills.
enum class other_jobs : uint8_t { direct_reads, region_copies };

class fill_table {
 public:
  explicit fill_table(engine_state &state) : state_(state) {}

  /// A reserved fill, of a locker that has its frame. May throw; nothing was done then.
  uint32_t create(locker_bank &bank, uint32_t number, uint32_t tier, uint64_t frame,
                  const transfer::urgency &order);
  void release(uint32_t index);
  /// From here on every fill and `piece_count` pieces can wait in the channels' queues, and start,
  /// without more memory. May throw.
  void make_room_for_pieces(size_t piece_count) {
    if (piece_count > piece_count_) {
      piece_count_ = piece_count;
      roomy_tiers_ = 0;
    }
    make_room();
  }
  /// The same for as many jobs that are not of fills.
  void make_room_for_others(other_jobs whose, size_t job_count);
  [[nodiscard]] fill &operator[](uint32_t index) { return fills_[index]; }
  [[nodiscard]] const fill &operator[](uint32_t index) const { return fills_[index]; }

  /// Joins or leaves the queue of the channel that reads the fill's next piece.
  void queue(uint32_t index);
  void unqueue(uint32_t index);
  /// A waiter of this urgency has come.
  void raise(uint32_t index, const transfer::urgency &order);
  /// The same for every demotion out of a tier: somebody waits for the frames they leave.
  void raise_demotions(uint32_t from, const transfer::urgency &order);
  /// `follower` waits for `leader` to bring a copy nearer.
  void follow(uint32_t leader, uint32_t follower);
  void unfollow(uint32_t follower);

  [[nodiscard]] bool empty() const { return alive_.empty(); }
  /// Does any fill come into, leave or pass through the tier?
  [[nodiscard]] bool touches_tier(uint32_t tier) const;
  /// The words of the tier that fills hold pinned: what they copy from.
  [[nodiscard]] std::vector<const locker_word *> held_words(uint32_t tier) const;
  [[nodiscard]] bool touches_bank(const locker_bank &bank) const;
  /// From here on fills end once nobody waits for them.
  void forget_unrequested();

 private:
  transfer::channel &reading_channel(const fill &f);
  void make_room() {
    if (roomy_tiers_ != state_.tiers.count()) grow_room();
  }
  void grow_room();

  engine_state &state_;
  base::stable_list<fill> fills_;
  std::vector<uint32_t> free_;
  base::ordered_indices alive_;
  size_t piece_count_ = 0;
  std::array<size_t, 2> other_counts_{};  // by other_jobs
  uint32_t roomy_tiers_ = 0;              // whose channels have room for all jobs there may be
};

}  // namespace cubby::engine

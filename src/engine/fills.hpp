// The life of a fill: who waits for it, where it gets its bytes, how it ends. It publishes the
// locker when all of it is there.
#pragma once

#include <span>

#include "engine/fill_table.hpp"
#include "engine/request_table.hpp"
#include "engine/sources.hpp"
#include "engine/stored_blocks.hpp"

namespace cubby::engine {

/// Hears what has become of the items that waited for a fill.
class fill_waiters {
 public:
  /// The locker is in the request's tier; a pin's item holds it already.
  virtual void item_landed(uint32_t request, uint32_t item, locker_word &word, uint64_t frame,
                           const fill &by) = 0;
  virtual void item_failed(uint32_t request, uint32_t item, const error &why) = 0;

 protected:
  ~fill_waiters() = default;
};

/// How many chunks of a fill are moved by one I/O.
[[nodiscard]] uint32_t chunks_per_piece(const tier_set &tiers, const fill &f);

class fills {
 public:
  fills(engine_state &state, fill_table &table, residents &copies, stored_blocks &stored,
        sources &from, request_table &requests, fill_waiters &waiters)
      : state_(state),
        table_(table),
        copies_(copies),
        stored_(stored),
        sources_(from),
        requests_(requests),
        waiters_(waiters) {}

  void add_waiter(uint32_t index, uint32_t request, uint32_t item);
  /// Stops the fill where nobody wants it any more.
  void remove_waiter(uint32_t index, uint32_t request, uint32_t item);
  /// Chooses a source and queues the fill. It may end at once, and with it requests that waited.
  void start(uint32_t index);
  /// It will not be published; ends once nothing of it is in flight.
  void stop(fill &f, const error &why);
  /// One piece less has to be read and verified.
  void piece_verified(fill &f);
  /// One piece less is in flight.
  void piece_ended(fill &f);
  /// Of fills whose last copy was started: those who wait for them in a stream's order have them
  /// from here on, for their stream waits for the copies.
  void land_in_streams(std::span<const uint32_t> indices);
  /// Fills that failed while somebody holds what they had landed early; they end once it is let go
  /// of. All of them, where nobody is left who could.
  void end_abandoned(bool all) {
    if (first_abandoned_ != no_index) look_at_abandoned(all);
  }

 private:
  void choose_and_queue(fill &f);
  void count_looks_below(const fill &f);
  [[nodiscard]] bool is_the_stored_block(const fill &f);
  void clear_tail(const locker_bank &bank, uint32_t number, uint32_t tier, uint64_t frame);
  void publish(fill &f, uint32_t tier, uint64_t frame);
  void unpin_source(fill &f, bool arrived);
  bool try_again(fill &f);
  bool rereads_block(fill &f);
  bool reads_other_files(fill &f);
  void fail_waiters(uint64_t first, const error &why);
  [[nodiscard]] bool has_stream_waiter(const fill &f) const;
  /// A stream that was put behind all copies into the tier.
  struct put_behind {
    uint32_t tier = no_tier;
    uint64_t stream = 0;
  };
  void land_in_streams(fill &f, put_behind &last);
  bool land_in_stream(fill &f, uint64_t waiter, put_behind &last);
  void give_up_intermediate(fill &f);
  void give_up_frame(fill &f);
  void start_followers(const fill &f);
  [[nodiscard]] bool is_between(uint32_t tier, const fill &f) const;
  [[nodiscard]] uint32_t quickest_files() const;
  void begin_way(fill &f);
  void end_way(fill &f, bool arrived);
  void note_change(uint32_t between, uint32_t files);
  void look_at_abandoned(bool all);
  void end(fill &f);
  void end_failed(fill &f);

  engine_state &state_;
  fill_table &table_;
  residents &copies_;
  stored_blocks &stored_;
  sources &sources_;
  request_table &requests_;
  fill_waiters &waiters_;
  uint32_t first_abandoned_ = no_index;
  uint32_t mutant_count_ = 0;
};

/// Of a locker that is pinned as often as a word can count.
[[nodiscard]] error pinned_too_often(const locker_bank &bank, uint32_t number);

}  // namespace cubby::engine

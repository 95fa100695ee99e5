// The requests that are open: what has become of their items, which of them wait for frames, and
// how each one is completed.
#pragma once

#include <vector>

#include "base/ordered_indices.hpp"
#include "engine/block_deliveries.hpp"
#include "engine/fills.hpp"
#include "engine/region_copies.hpp"

namespace cubby::engine {

/// Where demand waited; the last locker of a set says what the whole set waited for.
struct stall_times {
  uint64_t read_ns = 0, join_ns = 0, frame_wait_ns = 0, copy_ns = 0, handoff_ns = 0;
};

class open_requests final : public fill_waiters, public delivery_sink, public region_sink {
 public:
  open_requests(engine_state &state, request_table &requests, block_deliveries &deliveries,
                region_copies &regions, completion_sink &sink);

  /// Takes up an accepted request.
  void open(uint32_t index);
  void complete(uint32_t index);
  /// What the item needs is being loaded for its sake.
  void mark_begun(uint32_t index, uint32_t item);
  /// What has become of an item. The request is not completed here: complete_if_over() follows once
  /// all that is known now has been marked.
  void mark_landed(uint32_t index, uint32_t item, locker_word &word, uint64_t frame);
  /// A block that was put is in its store.
  void mark_stored(uint32_t index, uint32_t item);
  /// By value: a copy may throw, and then nothing has changed.
  void mark_failed(uint32_t index, uint32_t item, error why);
  void mark_withdrawn(uint32_t index, uint32_t item);
  void complete_if_over(uint32_t index);
  void item_landed(uint32_t index, uint32_t item, locker_word &word, uint64_t frame,
                   const fill &by) override;
  void item_failed(uint32_t index, uint32_t item, const error &why) override;
  void delivered(uint32_t index, uint32_t item) override;
  void not_delivered(uint32_t index, uint32_t item) override;
  void copied(uint32_t index, uint32_t item, const error *why) override;

  /// The request joins those that wait for frames, the most urgent first.
  void wait_for_frames(uint32_t index);
  void stop_waiting(uint32_t index);
  /// Those that wait, as they are now. Valid until the next call.
  [[nodiscard]] const std::vector<uint32_t> &waiting_now();
  /// Sets what unpinning threads look at: does anybody wait for frames of the tier?
  void publish_waiting();
  /// Those that are open, as they are now, in the order they came. Valid until the next call.
  [[nodiscard]] const std::vector<uint32_t> &open_now();

  [[nodiscard]] bool is_open(uint32_t index) const {
    return state_of(requests_[index].life.load()) == request_state::open;
  }
  [[nodiscard]] bool empty() const { return open_.empty(); }
  [[nodiscard]] bool any_waiting() const { return !waiting_.empty(); }
  [[nodiscard]] uint32_t demand_count() const { return demand_count_; }
  [[nodiscard]] uint64_t completed_count() const { return completed_count_; }
  [[nodiscard]] const stall_times &stalls() const { return stalls_; }

  /// Items whose key has another block since the call fail: MISS.
  void mark_moved(uint32_t index);

 private:
  void end_metering(const request &r, request_item &item, bool arrived);
  bool deliver(uint32_t index, uint32_t item, locker_word &word, uint64_t frame);
  void deliver_to_device(uint32_t index, uint32_t item, uint64_t frame);
  static void release_memory(request &r);
  void mark_over(request &r, uint32_t item, uint64_t bytes);
  [[nodiscard]] static error not_there(const request_item &item);
  static void count_known_items(request &r);
  void count_stall(const request &r, const request_item &item, const fill &by);
  [[nodiscard]] static cubby_status status_of(const request &r);

  engine_state &state_;
  request_table &requests_;
  block_deliveries &deliveries_;
  region_copies &regions_;
  completion_sink &sink_;
  base::ordered_indices open_;
  std::vector<uint32_t> waiting_;                   // by urgency
  std::vector<uint32_t> seen_waiting_, seen_open_;  // copies to walk while requests end
  uint32_t demand_count_ = 0;
  uint64_t completed_count_ = 0;
  stall_times stalls_;
  uint32_t mutant_count_ = 0;
};

}  // namespace cubby::engine

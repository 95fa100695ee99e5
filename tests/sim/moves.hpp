// Which ways of the runtime a simulation has gone, as far as they can be told from outside.
#pragma once
#include <bitset>
#include <cstddef>

namespace sim {

enum class seen : size_t {
  file_to_host,
  file_to_device,
  host_to_device,
  device_to_host,
  hit,
  join,
  raise,
  partial_set,
  landed_early,
  no_wait_miss,
  bypass,
  cancel_before_issue,
  cancel_in_flight,
  cancel_too_late,
  withdraw_whole,
  withdraw_part,
  unpin_part,
  unpin_twice_refused,
  frame_wait,
  evict,
  resize_grow,
  resize_shrink,
  resize_refused,
  prefetch_used,
  prefetch_wasted,
  late_forecast_canceled,
  late_demand_served,
  drop,
  drop_refused,
  bank_removed,
  bank_busy,
  stale_bank_refused,
  corrupt_refused,
  io_error_refused,
  fault_hidden,
  rotten_frame_replaced,
  changed_file_refused,
  budget_refused,
  queue_full_refused,
  healed,
  closed_under_load
};
inline constexpr size_t seen_count = 41;
using seen_set = std::bitset<seen_count>;

inline const char *seen_name(size_t which) {
  static constexpr const char *names[seen_count] = {"file_to_host",
                                                    "file_to_device",
                                                    "host_to_device",
                                                    "device_to_host",
                                                    "hit",
                                                    "join",
                                                    "raise",
                                                    "partial_set",
                                                    "landed_early",
                                                    "no_wait_miss",
                                                    "bypass",
                                                    "cancel_before_issue",
                                                    "cancel_in_flight",
                                                    "cancel_too_late",
                                                    "withdraw_whole",
                                                    "withdraw_part",
                                                    "unpin_part",
                                                    "unpin_twice_refused",
                                                    "frame_wait",
                                                    "evict",
                                                    "resize_grow",
                                                    "resize_shrink",
                                                    "resize_refused",
                                                    "prefetch_used",
                                                    "prefetch_wasted",
                                                    "late_forecast_canceled",
                                                    "late_demand_served",
                                                    "drop",
                                                    "drop_refused",
                                                    "bank_removed",
                                                    "bank_busy",
                                                    "stale_bank_refused",
                                                    "corrupt_refused",
                                                    "io_error_refused",
                                                    "fault_hidden",
                                                    "rotten_frame_replaced",
                                                    "changed_file_refused",
                                                    "budget_refused",
                                                    "queue_full_refused",
                                                    "healed",
                                                    "closed_under_load"};
  return names[which];
}

}  // namespace sim

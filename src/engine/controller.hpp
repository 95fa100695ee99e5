// The pump: looks at what is new, starts I/O, takes back what has come, and lets requests go on. It
// advances only when it is given the time, reads no clock and makes no system call except through a
// backend, so the whole engine runs in a simulator. Whoever holds the runtime's pump calls it.
#pragma once

#include <array>
#include <atomic>
#include <vector>

#include "engine/fill_io.hpp"
#include "engine/operations/gather.hpp"
#include "engine/operations/get.hpp"
#include "engine/operations/pin.hpp"
#include "engine/operations/put.hpp"
#include "engine/operations/resize.hpp"
#include "engine/operations/seal.hpp"
#include "engine/operations/verify.hpp"
#include "engine/policy_feed.hpp"
#include "engine/slot_writer.hpp"

namespace cubby::engine {

class controller {
 public:
  controller(const operation_units &units, policy_feed &feed, fill_io &io, transfer::io_table &ios,
             transfer::work_queue &work, slot_writer &slots);

  /// How much of what can be done now: all of it; until a request has completed, for who waits for
  /// one should not also wait for the bytes of others; or only the starting of I/O.
  enum class effort { all, one_completion, start };
  /// True when something was done. *next_ns: when to come again at the latest; now_ns when there is
  /// more to do. `time_passes`: the clock is looked at again on the way, for it may take long.
  bool advance(uint64_t now_ns, uint64_t *next_ns, effort how_far = effort::all,
               bool time_passes = false);
  [[nodiscard]] bool idle() const {
    return units_.open.empty() && units_.table.empty() && units_.stored.idle() &&
           units_.regions.idle() && slots_.idle();
  }
  [[nodiscard]] uint32_t demand_count() const { return units_.open.demand_count(); }
  /// Descriptors that are readable once something in flight has come back.
  void descriptors(std::vector<int> &fds);
  void cancel_everything();
  /// Seals whose reads never came back: their tickets end, their memory is left to the device.
  void give_up_seals() { seals_.give_up(); }

  /// Has some file so much in flight that a request more can wait for the next advance()?
  [[nodiscard]] bool well_supplied() const;
  [[nodiscard]] uint64_t next_store_ns() const;

  /// Any thread: is there something that advance() has not seen?
  [[nodiscard]] bool has_news() const;

 private:
  void begin(uint32_t index);
  bool grant(uint32_t index);
  void refuse_impossible(uint32_t tier);
  void accept_requests(bool &progress);
  void look_at_frames();
  void look_at_withdrawals();
  void retry_waiting();
  bool start_job(transfer::channel &path, uint32_t job);
  bool start_jobs(transfer::channel &path);
  bool start_all_jobs(effort how_far);
  bool run_channels(uint64_t *next_ns);
  bool take_back(uint32_t tier, uint64_t *next_ns);
  void look_at_clock();
  void look_for_overstatement(tier_slot &slot);
  void report_unexpected(tier_slot &slot, uint64_t cookie);
  operation &operation_of(const request &r) { return *operations_[r.verb.index()]; }

  const operation_units units_;
  engine_state &state_;
  policy_feed &feed_;
  fill_io &io_;
  transfer::io_table &ios_;
  transfer::work_queue &work_;
  slot_writer &slots_;
  bool time_passes_ = false;
  pin_operation pins_;
  prefetch_operation prefetches_;
  resize_operation resizes_;
  seal_operation seals_;
  put_operation puts_;
  get_operation gets_;
  gather_operation gathers_;
  verify_operation verifies_;
  const std::array<operation *, std::variant_size_v<request_verb>> operations_;  // by request_kind
};

}  // namespace cubby::engine

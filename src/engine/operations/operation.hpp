// What the controller asks of a kind of request. One type a verb; each works on requests of its
// kind, which hold their own state.
#pragma once

#include "engine/blocks.hpp"
#include "engine/direct_reads.hpp"
#include "engine/fills.hpp"
#include "engine/frame_grants.hpp"
#include "engine/open_requests.hpp"

namespace cubby::engine {

/// The units that operations work with.
struct operation_units {
  engine_state &state;
  request_table &requests;
  open_requests &open;
  fill_table &table;
  direct_reads &direct;
  class fills &fills;
  frame_grants &grants;
  residents &copies;
  stored_blocks &stored;
  blocks &puts;
  region_copies &regions;
};

class operation {
 public:
  explicit operation(const operation_units &units) : units_(units) {}
  operation(const operation &) = delete;
  operation &operator=(const operation &) = delete;
  virtual ~operation() = default;

  /// Once, when the request is taken up, before all else: what the call has begun already is the
  /// request's from here on.
  virtual void take_over(uint32_t) noexcept {}
  /// Once, before its first grant().
  virtual void begin(uint32_t index);
  /// Takes the frames that it needs and goes on; false: it has to wait for them. May complete it.
  virtual bool grant(uint32_t index) = 0;
  /// Of a request that waits for frames: is it too late for it? It is completed then.
  virtual bool expire(uint32_t index);
  /// Of one that found no frames: what can never fit the tier's budget fails with BUDGET. True when
  /// the request is over.
  virtual bool refuse_impossible(uint32_t index);
  /// The caller has withdrawn the request, or (not `all`) perhaps items of it.
  virtual void withdraw(uint32_t index, bool all) = 0;
  /// Its tier is lost, and nothing will come there: what waits fails with DEVICE.
  void tier_lost(uint32_t index);
  /// There was no memory for the library's own tables: what has not begun of it fails.
  void out_of_memory(uint32_t index);

 protected:
  request &at(uint32_t index) { return units_.requests[index]; }
  /// Of the verbs that name lockers: withdraws the items for which unwanted(item) is true, and
  /// completes the request where nothing is left to wait for.
  template <class Unwanted>
  void withdraw_items(uint32_t index, const Unwanted &unwanted) {
    if (mark_withdrawn(index, unwanted)) units_.open.complete_if_over(index);
  }
  /// What cannot be withdrawn any more, as a device writes to the caller's memory, comes; a request
  /// of which all comes is none that was withdrawn.
  void withdraw_all_items(uint32_t index);
  [[nodiscard]] uint64_t cost_of(const request &r, const request_item &item) const;
  [[nodiscard]] error beyond_budget(const request &r, uint64_t needed) const;
  /// What a waiting item has taken goes back: it fails before it has begun.
  virtual void let_go(uint32_t, uint32_t) noexcept {}
  /// Marks every item that waits as failed.
  void fail_waiting_items(uint32_t index, const error &why);

  const operation_units units_;

 private:
  /// True where there was one.
  template <class Unwanted>
  bool mark_withdrawn(uint32_t index, const Unwanted &unwanted) {
    request &r = at(index);
    bool any = false;
    for (uint32_t i = 0; i < r.items.size(); ++i) {
      request_item &item = r.items[i];
      if (item.state > item_state::reading || !unwanted(i)) continue;
      if (item.state == item_state::reading && !units_.direct.withdraw(item.fill)) continue;
      if (item.state == item_state::loading) units_.fills.remove_waiter(item.fill, index, i);
      units_.open.mark_withdrawn(index, i);
      any = true;
    }
    return any;
  }
};

}  // namespace cubby::engine

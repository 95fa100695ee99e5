// Frames for requests: all that a set of pins needs, or none, so that two callers can never hold
// half each.
#pragma once

#include <vector>

#include "engine/request_table.hpp"
#include "engine/residents.hpp"

namespace cubby::engine {

enum class lookup_result {
  ready,     // it is in the tier
  joinable,  // another request's fill brings it
  blocked,   // it is just leaving
  begun,     // it has a frame, and a reserved fill
  nowhere,   // neither a tier nor a file has it
  no_frame,  // there is no room
};

class frame_grants {
 public:
  frame_grants(engine_state &state, fill_table &fills, residents &copies)
      : state_(state), fills_(fills), copies_(copies) {}

  /// Looks an item up in the request's tier, and takes a frame where it is absent.
  lookup_result look_up(request &r, uint32_t item);
  /// Takes frames for all items that wait; false leaves everything as it was. With hold_hits, what
  /// is resident is pinned first, so that room is not made at its cost.
  bool reserve_all(request &r, bool hold_hits);
  /// The fills begun by look_up() and reserve_all(), which are the caller's to start.
  void take_reserved(std::vector<uint32_t> &into) {
    into.clear();
    into.swap(reserved_);
  }
  /// Announces the locker to the admission of the tier, unless the request is no-allocate.
  void announce(const request &r, fill &f) {
    if ((r.flags & CUBBY_BYPASS) == 0) copies_.announce(f);
  }
  /// What the request's lockers that have no frame yet take of the tier's budget.
  [[nodiscard]] uint64_t waiting_bytes(const request &r) const;
  /// Of a request that does not fit though nothing else is in the tier.
  [[nodiscard]] error cannot_lay_out(const request &r) const;
  /// Of a locker that no tier and no file can give.
  [[nodiscard]] static error why_absent(const locker_bank &bank, uint32_t number);

 private:
  [[nodiscard]] bool is_somewhere(const request &r, const request_item &item) const;
  void roll_back(request &r);

  engine_state &state_;
  fill_table &fills_;
  residents &copies_;
  std::vector<uint32_t> reserved_;
};

}  // namespace cubby::engine

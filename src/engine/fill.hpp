// One locker on its way into a tier.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "engine/names.hpp"
#include "transfer/channel.hpp"

namespace cubby::engine {

enum class fill_state : uint8_t {
  unused,
  reserved,   // has a frame; the request that it belongs to is not granted yet
  following,  // waits for another fill to bring a copy nearer
  active,     // bytes are moving
  stopping,   // will not be published; waits for what is in flight
};

/// A waiter: request << 32 | item.
inline constexpr uint64_t no_waiter = ~uint64_t{0};

struct fill_fields {
  fill_state state = fill_state::unused;
  bool intermediate_ready = false;
  bool demotion = false;      // the copy leaves `from` for good
  bool unrequested = false;   // a prefetch or a demotion: goes on without waiters
  bool admit = false;         // some waiter wants the copy to stay (no bypass)
  bool announced = false;     // the admission of its tier knows of it
  bool begun = false;         // a piece of it was started
  bool first_sight = false;   // digests of some chunks were not known before
  bool submitted = false;     // all its copies were started
  bool landed_early = false;  // and some waiter has it already, behind them
  bool on_way = false;        // tier_slot::way of `from` counts it
  bool passed_copy = false;   // a tier that stands aside has it, ready
  bool queued = false;        // in the queue of the channel that reads its next piece
  bool may_expire = true;     // every waiter has a deadline

  locker_bank *bank = nullptr;
  uint32_t number = 0;
  uint32_t to = no_tier;
  uint32_t from = no_tier;  // the tier it reads, of memory or of files; no_tier = not chosen
  // A host tier that is read into on the way to a device, and keeps the copy.
  uint32_t intermediate = no_tier;
  uint64_t frame = 0;  // in `to`
  uint64_t intermediate_frame = 0;
  transfer::urgency order;

  uint32_t next_part = 0, next_chunk = 0;
  uint32_t pieces_in_flight = 0;
  uint32_t pieces_copying = 0;  // of those: on their way into the frame
  uint32_t reads_left = 0;      // pieces that are not verified yet
  uint32_t attempts = 0;
  uint64_t begun_ns = 0, read_done_ns = 0;
  uint64_t first_waiter = no_waiter;
  uint32_t bad_tier = no_tier;  // its copy was found damaged: not asked again
  uint32_t bad_files = 0;       // bit t: tier t was read from in vain, another has the files too
  uint32_t first_follower = no_index;                    // of those that wait for this fill
  uint32_t leader = no_index, next_follower = no_index;  // while it follows
  uint32_t next_abandoned = no_index;                    // of those whose frames are still held
};

struct fill : fill_fields {
  uint32_t index = no_index;  // its place in the table
  error failure{.status = CUBBY_OK, .text = {}};

  /// As a new one.
  void renew() {
    static_cast<fill_fields &>(*this) = {};
    if (failure.status != CUBBY_OK) failure = {.status = CUBBY_OK, .text = {}};
  }
  /// Goes past parts that the row lacks.
  void skip_absent_parts() {
    while (next_part < bank->part_count() && bank->extent(number, next_part).bytes == 0) {
      ++next_part;
    }
  }
  [[nodiscard]] bool wanted() const {
    return first_waiter != no_waiter || unrequested || landed_early || first_follower != no_index;
  }
};

}  // namespace cubby::engine

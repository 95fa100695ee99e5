// A locker on its way into a tier, and the pieces of it that are in flight.
#pragma once

#include <cstdint>
#include <vector>

#include "table/bank.hpp"
#include "table/request.hpp"
#include "transfer/channel.hpp"

namespace cubby::table {

inline constexpr uint32_t no_tier = ~uint32_t{0};

enum class move_state : uint8_t {
  unused,
  tentative,  // has a frame; the set it belongs to is not granted yet
  following,  // waits for another move to bring a copy nearer
  active,     // bytes are moving
  stopping,   // will not be published; waits for what is in flight
};

struct move {
  move_state state = move_state::unused;
  bank *where = nullptr;
  uint32_t number = 0;
  uint32_t to = no_tier;      // slot of the tier it goes to
  uint32_t from = no_tier;    // slot of the tier it comes from; no_tier = the file
  uint32_t beside = no_tier;  // a tier that keeps a copy on the way
  uint64_t frame = 0;         // in `to`
  uint64_t beside_frame = 0;
  bool beside_ready = false;
  bool demotion = false;   // leaves `from` for good
  bool unasked = false;    // prefetched or demoted: lives on without waiters
  bool may_expire = true;  // all who wait have a deadline
  bool keep = false;       // some waiter wants it kept (no bypass)
  transfer::urgency order;
  bool queued = false;  // in the queue of the channel that reads its next piece
  uint32_t next_part = 0, next_chunk = 0;
  uint32_t pieces_in_flight = 0;
  uint32_t reads_left = 0;      // pieces not yet verified, for `beside`
  uint32_t bad_tier = no_tier;  // its copy was found damaged: not asked again
  uint32_t attempts = 0;
  uint64_t first_waiter = ~uint64_t{0};
  std::vector<uint32_t> followers;
  error failure{.status = CUBBY_OK, .text = {}};
  uint64_t begun_ns = 0, read_done_ns = 0;
};

/// Jobs of a channel are moves, or pieces that wait to be copied: those have this bit.
inline constexpr uint32_t copy_bit = 0x8000'0000;

enum class piece_stage : uint8_t { unused, reading, copying, copying_out };

/// Consecutive chunks of one part, one I/O at a time.
struct piece {
  piece_stage stage = piece_stage::unused;
  uint32_t flight = 0;       // of the I/O under way; 0 = none: which completion is its own
  uint32_t move = no_index;  // none: of a seal
  uint32_t seal_request = no_index;
  uint32_t part = 0, first_chunk = 0, chunk_count = 0;
  uint64_t offset_bytes = 0, bytes = 0;            // in the file: what is wanted
  uint64_t read_offset_bytes = 0, read_bytes = 0;  // what is read for it
  std::byte *landing = nullptr;                    // where the wanted bytes come to lie
  std::byte *staging = nullptr;                    // the pool's, when it is one
  std::byte *target = nullptr;                     // where a copy takes them
  transfer::urgency order;
  uint32_t attempts = 0;
  uint64_t io_bytes = 0;
  uint32_t io_class = 0;
  uint64_t started_ns = 0;
  bool reread = false;
  uint64_t bad_offset_bytes = 0;  // of the chunk that was not as its digest says
};

}  // namespace cubby::table
